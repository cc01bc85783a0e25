"""The auth service over HTTP: `POST /v1/login` and `/v1/logout`, each answered with a changed Passport."""

import time
from collections.abc import AsyncIterator

import pydantic
import structlog
from aiohttp import web

from origins_stub.auth.credentials import Credentials, NoUser
from origins_stub.auth.users import User
from origins_stub.kit.answers import StrictModel, health, json_answer, problem, read_json
from passport import NO_USER, Level, MacKey, PassportRefusal, Source, UserAction, UserPart, with_user
from passport.aiohttp import HEADER, PassportKeySource, passport_middleware, passport_of

SIGNING_PURPOSE = "passport-auth"
_log = structlog.get_logger("origins_stub.auth")


class LoginBody(StrictModel):
    """What a device sends to sign in."""

    email: str = pydantic.Field(min_length=1, max_length=254)
    password: pydantic.SecretStr = pydantic.Field(min_length=1, max_length=1024)


class AuthServer:
    """Answers with Passports signed under the service's own key, `passport-auth`."""

    def __init__(self, credentials: Credentials, keys: PassportKeySource, trust_domain: str) -> None:
        self._credentials = credentials
        self._keys = keys
        self._trust_domain = trust_domain

    def app(self) -> web.Application:
        """Return the application; every path but /health needs a valid Passport."""
        app = web.Application(middlewares=[passport_middleware(self._keys, self._trust_domain, on_refused=_refused)])
        app.router.add_get("/health", health)
        app.router.add_post("/v1/login", self._login)
        app.router.add_post("/v1/logout", self._logout)
        app.cleanup_ctx.append(self._closing)
        return app

    async def _closing(self, _: web.Application) -> AsyncIterator[None]:
        yield
        self._credentials.close()

    async def _login(self, request: web.Request) -> web.Response:
        signer = self._signer()
        body = await read_json(request, LoginBody)
        if isinstance(body, web.Response):
            return body
        if signer is None:
            return _no_signer()
        user = await self._credentials.check(body.email, body.password.get_secret_value())
        if user is NoUser.OVERLOADED:
            return problem(503, "overloaded", "Too many logins are being checked.")
        if not isinstance(user, User):
            return problem(401, "wrong_credentials", "The e-mail address or the password is wrong.")
        return self._changed(request, _signed_in(user), UserAction.USER_LOGIN, signer)

    async def _logout(self, request: web.Request) -> web.Response:
        signer = self._signer()
        if signer is None:
            return _no_signer()
        return self._changed(request, NO_USER, UserAction.USER_LOGOUT, signer)

    def _changed(self, request: web.Request, user: UserPart, action: UserAction, signer: MacKey) -> web.Response:
        received = passport_of(request).received
        value = with_user(received, user, [action], signer, now=int(time.time()))
        return json_answer(200, {"action": action.name}, {HEADER: value})

    def _signer(self) -> MacKey | None:
        keys = self._keys.passport_keys
        return keys.signer(SIGNING_PURPOSE) if keys is not None else None


def _signed_in(user: User) -> UserPart:
    # HIGHEST: the credentials were checked just now. What the device's next token is worth, the edge decides.
    return UserPart.of(Source.USER_CREDENTIALS, Level.HIGHEST, user.customer_id, user.account_owner_id)


def _no_signer() -> web.Response:
    return problem(503, "no_signing_key", "The service has no active key of its own.")


def _refused(reason: PassportRefusal) -> None:
    _log.warning("passport_refused", reason=reason.value)
