"""Everything that changes who is signed in: ask the auth service, and let its Passport tell the edge what changed.

The identity is the auth service's to change, never this origin's. What follows in the same exchange, such as asking
whether the user is a member, is asked with the newer Passport.
"""

from collections.abc import Sequence

import orjson
from aiohttp import web

from origins_stub.api.auth_client import AuthClient
from origins_stub.api.client_address import Network, client_address
from origins_stub.api.services import Answer
from origins_stub.api.subscriber_client import SubscriberClient
from origins_stub.kit.answers import MAX_JSON_BYTES, json_answer, problem
from passport import Level, require
from passport.aiohttp import passport_of


class Sessions:
    """The routes for devices; bodies are passed on as they came."""

    def __init__(self, auth: AuthClient, subscriber: SubscriberClient, trusted_proxies: Sequence[Network] = ()) -> None:
        self._auth = auth
        self._subscriber = subscriber
        self._trusted_proxies = trusted_proxies

    def add_to(self, app: web.Application) -> None:
        """Add the routes."""
        app.router.add_post("/login", self._login)
        app.router.add_post("/logout", self._logout)
        app.router.add_post("/logout-everywhere", self._logout_everywhere)
        app.router.add_get("/profile", self._profiles)
        app.router.add_post("/profile", self._switch_profile)
        app.router.add_post("/signup", self._sign_up)
        app.router.add_post("/signup/plan", self._choose_plan)
        app.router.add_post("/signup/complete", self._complete_signup)
        app.router.add_post("/activation", self._begin_activation)
        app.router.add_post("/activation/poll", self._poll_activation)
        app.router.add_post("/activation/enter", self._enter_code)

    async def _login(self, request: web.Request) -> web.Response:
        return await self._signed_in(await self._change(request, "/v1/login"))

    async def _logout(self, request: web.Request) -> web.Response:
        """Sign out; a device without a user may ask for it too, which clears what it holds."""
        return _answer(await self._change(request, "/v1/logout"), {"signed_in": False})

    async def _logout_everywhere(self, request: web.Request) -> web.Response:
        require(passport_of(request), level=Level.HIGH)
        return _answer(await self._change(request, "/v1/logout-everywhere"), {"signed_in": False})

    async def _profiles(self, request: web.Request) -> web.Response:
        require(passport_of(request))
        return _answer(await self._auth.ask("GET", "/v1/profile"))

    async def _switch_profile(self, request: web.Request) -> web.Response:
        require(passport_of(request), level=Level.HIGH)
        return _answer(await self._change(request, "/v1/profile"))

    async def _sign_up(self, request: web.Request) -> web.Response:
        return await self._signed_in(await self._change(request, "/v1/signup"))

    async def _choose_plan(self, request: web.Request) -> web.Response:
        require(passport_of(request), level=Level.HIGH)
        return _answer(await self._change(request, "/v1/signup/plan"))

    async def _complete_signup(self, request: web.Request) -> web.Response:
        require(passport_of(request), level=Level.HIGH)
        return await self._signed_in(await self._change(request, "/v1/signup/complete"))

    async def _begin_activation(self, request: web.Request) -> web.Response:
        """Say from where the device asks: each client has a share of the codes."""
        address = client_address(request.headers.get("X-Forwarded-For", ""), self._trusted_proxies)
        return _answer(await self._auth.ask("POST", "/v1/activation", orjson.dumps({"client_address": address})))

    async def _poll_activation(self, request: web.Request) -> web.Response:
        return _answer(await self._auth.ask("POST", "/v1/activation/poll", await read_body(request)))

    async def _enter_code(self, request: web.Request) -> web.Response:
        require(passport_of(request), level=Level.HIGH)
        return _answer(await self._auth.ask("POST", "/v1/activation/enter", await read_body(request)))

    async def _change(self, request: web.Request, path: str) -> Answer | None:
        return await self._auth.change(path, await read_body(request))

    async def _signed_in(self, answer: Answer | None) -> web.Response:
        """Answer with whether the user of the newer Passport is a member."""
        if answer is None or answer.status != 200:
            return _answer(answer)
        return _answer(answer, {"signed_in": True, "member": await self._subscriber.is_member()})


def _answer(answer: Answer | None, more: dict[str, object] | None = None) -> web.Response:
    if answer is None:
        return problem(503, "auth_unavailable", "This is not possible right now.")
    if answer.status != 200:
        return problem(answer.status, answer.reason, str(answer.document.get("detail", "")))
    said = {name: value for name, value in answer.document.items() if name != "action"}
    return json_answer(200, said | (more or {}))


async def read_body(request: web.Request) -> bytes:
    """Return the whole body; raise the 413 to answer with when it is longer than any that is asked for."""
    body = bytearray()
    async for piece in request.content.iter_any():
        body += piece
        if len(body) > MAX_JSON_BYTES:
            refusal = problem(413, "body_too_large", f"The body may have {MAX_JSON_BYTES} bytes.")
            raise web.HTTPRequestEntityTooLarge(
                MAX_JSON_BYTES, len(body), text=refusal.text, content_type=refusal.content_type
            )
    return bytes(body)
