"""The auth service over HTTP: who may change an identity, and how. Each change is answered with a changed Passport."""

import asyncio
from collections.abc import AsyncIterator

import pydantic
import structlog
from aiohttp import web
from aiohttp.typedefs import Handler

from origins_stub.auth.activation_routes import ActivationRoutes
from origins_stub.auth.activations import Activations
from origins_stub.auth.credentials import Credentials, NoUser
from origins_stub.auth.members import Members
from origins_stub.auth.signup_routes import SignupRoutes
from origins_stub.auth.signups import SignupStore
from origins_stub.auth.users import User, UserStore
from origins_stub.kit.answers import StrictModel, health, json_answer, problem, read_json
from origins_stub.kit.bearer import Callers
from passport import (
    NO_USER,
    Level,
    PassportKeySource,
    PassportMutator,
    PassportRefusal,
    SignerUnavailable,
    Source,
    UserAction,
    UserPart,
    require,
)
from passport.aiohttp import exchange_of, passport_middleware, passport_of
from passport.receiving import PUBLIC_PATHS

SIGNING_PURPOSE = "passport-auth"
_log = structlog.get_logger("origins_stub.auth")


class LoginBody(StrictModel):
    """What a device sends to sign in."""

    email: str = pydantic.Field(min_length=1, max_length=254)
    password: pydantic.SecretStr = pydantic.Field(min_length=1, max_length=1024)


class ProfileBody(StrictModel):
    """What a device sends to go on as another profile."""

    profile_id: str = pydantic.Field(min_length=1, max_length=64)


class AuthServer:
    """Answers with Passports signed under the service's own key, `passport-auth`.

    `checkers` may have a password checked without a Passport, as origins did before there was one.
    """

    def __init__(
        self,
        users: UserStore,
        credentials: Credentials,
        members: Members,
        keys: PassportKeySource,
        trust_domain: str,
        *,
        checkers: Callers | None = None,
    ) -> None:
        self._users = users
        self._credentials = credentials
        self._members = members
        self._keys = keys
        self._trust_domain = trust_domain
        self._checkers = checkers
        self._mutator = PassportMutator(keys, SIGNING_PURPOSE)
        self._activations = Activations()

    def app(self) -> web.Application:
        """Return the application; every path but /health, and /v1/check for its callers, needs a valid Passport."""
        public = PUBLIC_PATHS if self._checkers is None else PUBLIC_PATHS | {"/v1/check"}
        verify = passport_middleware(self._keys, self._trust_domain, public_paths=public, on_refused=_refused)
        app = web.Application(middlewares=[verify, _without_signer])
        app.router.add_get("/health", health)
        app.router.add_post("/v1/login", self._login)
        if self._checkers is not None:
            app.router.add_post("/v1/check", self._check)
        app.router.add_post("/v1/logout", self._logout)
        app.router.add_post("/v1/logout-everywhere", self._logout_everywhere)
        app.router.add_get("/v1/profile", self._profiles)
        app.router.add_post("/v1/profile", self._switch_profile)
        SignupRoutes(self._credentials, SignupStore(self._users.engine), self._members, self._mutator).add_to(app)
        ActivationRoutes(self._activations, self._mutator).add_to(app)
        app.cleanup_ctx.append(self._members.running)
        app.cleanup_ctx.append(self._closing)
        return app

    async def _closing(self, _: web.Application) -> AsyncIterator[None]:
        yield
        self._credentials.close()

    async def _login(self, request: web.Request) -> web.Response:
        user = await self._user(request)
        if isinstance(user, web.Response):
            return user
        # HIGHEST: the credentials were checked just now. What the device's next token is worth, the edge decides.
        part = UserPart.of(Source.USER_CREDENTIALS, Level.HIGHEST, user.customer_id, user.account_owner_id)
        self._mutator.replace_user(exchange_of(request), part, UserAction.USER_LOGIN)
        return json_answer(200, {"action": UserAction.USER_LOGIN.name})

    async def _check(self, request: web.Request) -> web.Response:
        if self._checkers is None or self._checkers.identity(request) is None:
            return problem(401, "unknown_caller", "A bearer token of a known caller is needed.")
        user = await self._user(request)
        if isinstance(user, web.Response):
            return user
        return json_answer(200, {"customer_id": user.customer_id, "account_owner_id": user.account_owner_id})

    async def _user(self, request: web.Request) -> User | web.Response:
        """Return whose credentials the body has, or the answer when they are nobody's."""
        body = await read_json(request, LoginBody)
        if isinstance(body, web.Response):
            return body
        user = await self._credentials.check(body.email, body.password.get_secret_value())
        if user is NoUser.OVERLOADED:
            return problem(503, "overloaded", "Too many logins are being checked.")
        if not isinstance(user, User):
            return problem(401, "wrong_credentials", "The e-mail address or the password is wrong.")
        return user

    async def _logout(self, request: web.Request) -> web.Response:
        customer_id = passport_of(request).customer_id
        if customer_id is not None:  # or a device could sign in again by a poll that it repeats
            self._activations.drop_told(customer_id)
        self._mutator.replace_user(exchange_of(request), NO_USER, UserAction.USER_LOGOUT)
        return json_answer(200, {"action": UserAction.USER_LOGOUT.name})

    async def _logout_everywhere(self, request: web.Request) -> web.Response:
        passport = passport_of(request)
        require(passport, level=Level.HIGH)
        self._mutator.replace_user(exchange_of(request), NO_USER, UserAction.USER_LOGOUT_EVERYWHERE)
        # Or a device that was to be the user's would sign in after this.
        self._activations.drop(passport.customer_id or 0)
        return json_answer(200, {"action": UserAction.USER_LOGOUT_EVERYWHERE.name})

    async def _profiles(self, request: web.Request) -> web.Response:
        passport = passport_of(request)
        require(passport)
        profiles = await asyncio.to_thread(self._users.profiles, passport.account_owner_id or 0)
        listed = [profile.model_dump() for profile in profiles]
        return json_answer(200, {"profile_id": passport.profile_id, "profiles": listed})

    async def _switch_profile(self, request: web.Request) -> web.Response:
        passport = passport_of(request)
        require(passport, level=Level.HIGH)
        body = await read_json(request, ProfileBody)
        if isinstance(body, web.Response):
            return body
        profiles = await asyncio.to_thread(self._users.profiles, passport.account_owner_id or 0)
        if body.profile_id not in {profile.profile_id for profile in profiles}:
            return problem(404, "unknown_profile", "The account has no such profile.")
        switched = UserAction.USER_PROFILE_SWITCHED
        self._mutator.change_user(exchange_of(request), switched, profile_id=body.profile_id)
        return json_answer(200, {"action": switched.name, "profile_id": body.profile_id})


@web.middleware
async def _without_signer(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except SignerUnavailable:
        return problem(503, "no_signing_key", "The service has no active key of its own.")


def _refused(reason: PassportRefusal) -> None:
    _log.warning("passport_refused", reason=reason.value)
