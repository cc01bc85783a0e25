"""Activating a device by a code: it shows one and polls; somebody who is signed in elsewhere enters it."""

import asyncio

import pydantic
from aiohttp import web

from origins_stub.auth.activations import (
    LIFE_S,
    POLL_AFTER_S,
    Activations,
    Activator,
    Begun,
    Entered,
    NotBegun,
    Waiting,
)
from origins_stub.auth.clients import client_of
from origins_stub.kit.answers import StrictModel, json_answer, problem, read_json
from passport import Level, PassportIntrospector, PassportMutator, Source, UserAction, UserPart, require
from passport.aiohttp import exchange_of, passport_of


class BeginBody(StrictModel):
    """What the API says of who asks for a code: the device's address, where it is known. An older API says nothing."""

    client_address: pydantic.IPvAnyAddress | None = None


class PollBody(StrictModel):
    """What a device sends to ask whether its code was entered."""

    poll_token: pydantic.SecretStr = pydantic.Field(min_length=1, max_length=64)


class CodeBody(StrictModel):
    """What a person enters."""

    code: str = pydantic.Field(min_length=1, max_length=64)


class ActivationRoutes:
    """The device's two routes, and the one of the person who enters the code."""

    def __init__(self, activations: Activations, mutator: PassportMutator) -> None:
        self._activations = activations
        self._mutator = mutator

    def add_to(self, app: web.Application) -> None:
        """Add the routes."""
        app.router.add_post("/v1/activation", self._begin)
        app.router.add_post("/v1/activation/poll", self._poll)
        app.router.add_post("/v1/activation/enter", self._enter)

    async def _begin(self, request: web.Request) -> web.Response:
        body = await read_json(request, BeginBody) if request.can_read_body else BeginBody()
        if isinstance(body, web.Response):
            return body
        begun = self._activations.begin(client_of(passport_of(request), body.client_address), _now())
        if begun is NotBegun.TOO_MANY_OF_CLIENT:
            return problem(429, begun.value, "Too many codes are waited for here. Try again in ten minutes.")
        if not isinstance(begun, Begun):
            return problem(503, begun.value, "Too many devices wait for their codes.")
        times = {"expires_in_s": LIFE_S, "poll_after_s": POLL_AFTER_S}
        return json_answer(200, {"code": begun.code, "poll_token": begun.poll_token, **times})

    async def _poll(self, request: web.Request) -> web.Response:
        body = await read_json(request, PollBody)
        if isinstance(body, web.Response):
            return body
        by = self._activations.poll(body.poll_token.get_secret_value(), _now(), _signed_in(passport_of(request)))
        if by is Waiting.HAS_SESSION:
            return json_answer(200, {"activated": True})
        if by is Waiting.PENDING:
            return json_answer(200, {"activated": False})
        if not isinstance(by, Activator):
            return problem(404, by.value, "No activation is open: its code was used, or is too old.")
        # Not HIGHEST: whose device it is, was said elsewhere.
        part = UserPart.of(Source.USER_CREDENTIALS, Level.HIGH, by.customer_id, by.account_owner_id)
        activated = UserAction.USER_ACTIVATED_BY_CODE
        self._mutator.replace_user(exchange_of(request), part, activated)
        return json_answer(200, {"activated": True, "action": activated.name})

    async def _enter(self, request: web.Request) -> web.Response:
        passport = passport_of(request)
        require(passport, level=Level.HIGH)
        body = await read_json(request, CodeBody)
        if isinstance(body, web.Response):
            return body
        by = Activator(passport.customer_id or 0, passport.account_owner_id or 0)
        entered = self._activations.enter(body.code, by, _now())
        if entered is Entered.TOO_MANY_GUESSES:
            return problem(429, entered.value, "Too many wrong codes. Try again in ten minutes.")
        if entered is Entered.UNKNOWN_CODE:
            return problem(404, entered.value, "No device shows this code, or it is too old.")
        return json_answer(200, {"entered": True})


def _signed_in(passport: PassportIntrospector) -> int | None:
    """Return whose session the device has, of the level that an activation yields."""
    return passport.customer_id if passport.user_level >= Level.HIGH else None


def _now() -> float:
    return asyncio.get_running_loop().time()
