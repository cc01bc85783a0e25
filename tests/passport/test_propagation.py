"""Chains of services: the Passport goes on to the next one, and the newer one comes back. THREATS X5, X7."""

from base64 import b64encode
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import httpx
import pytest
from aiohttp import web
from flask import Flask

import passport.flask
from passport import HEADER, NO_USER, Adoption, ExchangePassport, Level, Source, UserAction, UserPart, with_user
from passport.aiohttp import exchange_of, passport_middleware, passport_of, propagating
from passport.httpx import async_propagating
from passport.httpx import propagating as httpx_propagating
from passport.receiving import ReceivingOptions
from tests.passport.samples import DOMAIN, KEYS, NOW, build, read, signer
from tests.passport.serving import threaded

SIGNED_IN = UserPart.of(Source.USER_CREDENTIALS, Level.HIGHEST, 42, 41)
SENT = build(NO_USER)
VALUE = b64encode(SENT).decode()
BELIEVES_AUTH: ReceivingOptions = {"clock": lambda: NOW, "user_signers": {"passport-auth"}}


class Keys:
    passport_keys = KEYS


class Downstream:
    """The services behind: `/login` signs in as an auth service does, `/who` says who asks, `/away` leads elsewhere."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, str | None]] = []
        self.url = self.elsewhere = ""

    def app(self) -> web.Application:
        app = web.Application()
        verify = passport_middleware(Keys(), DOMAIN, **BELIEVES_AUTH)
        app.middlewares.append(self._seen)
        app.middlewares.append(verify)
        app.router.add_get("/login", self._login)
        app.router.add_get("/who", self._who)
        app.router.add_get("/twice", self._twice)
        app.router.add_get("/away", self._away)
        return app

    @web.middleware
    async def _seen(self, request: web.Request, handler: Any) -> web.StreamResponse:
        self.seen.append((request.path, request.headers.get(HEADER)))
        response: web.StreamResponse = await handler(request)
        return response

    async def _login(self, request: web.Request) -> web.Response:
        received = passport_of(request).received
        value = with_user(received, SIGNED_IN, [UserAction.USER_LOGIN], signer("passport-auth"), now=NOW)
        return web.json_response({}, headers={HEADER: value})

    async def _who(self, request: web.Request) -> web.Response:
        return web.json_response({"customer_id": passport_of(request).customer_id})

    async def _twice(self, request: web.Request) -> web.Response:
        answer = await self._login(request)
        answer.headers.add(HEADER, answer.headers[HEADER])
        return answer

    async def _away(self, _: web.Request) -> web.Response:
        raise web.HTTPFound(f"{self.elsewhere}/who")


async def serve(app: web.Application) -> tuple[web.AppRunner, str]:
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    return runner, "http://{}:{}".format(*runner.addresses[0][:2])


@pytest.fixture
async def behind() -> AsyncIterator[Downstream]:
    made, foreign = Downstream(), Downstream()
    first, made.url = await serve(made.app())
    second, made.elsewhere = await serve(foreign.app())
    made.foreign = foreign  # type: ignore[attr-defined]
    yield made
    await first.cleanup()
    await second.cleanup()


class Calls:
    """One client library, as a service uses it."""

    def __init__(self, library: str, behind: Downstream, exchange: ExchangePassport) -> None:
        self._library = library
        self._url = behind.url
        self._exchange = exchange

    async def get(self, path: str) -> tuple[int, Any]:
        origins = [self._url]
        if self._library == "aiohttp":
            async with (
                aiohttp.ClientSession(middlewares=[propagating(origins, self._exchange)]) as session,
                session.get(self._url + path) as answer,
            ):
                return answer.status, await answer.json()
        async with httpx.AsyncClient(
            event_hooks=async_propagating(origins, self._exchange), follow_redirects=True, trust_env=False
        ) as client:
            got = await client.get(self._url + path)
            return got.status_code, got.json()


@pytest.fixture(params=["aiohttp", "httpx"])
def library(request: pytest.FixtureRequest) -> str:
    return str(request.param)


async def test_the_next_service_gets_the_new_passport_after_a_change(behind: Downstream, library: str) -> None:
    exchange = ExchangePassport(read(SENT))
    calls = Calls(library, behind, exchange)
    assert await calls.get("/who") == (200, {"customer_id": None})
    await calls.get("/login")
    assert exchange.is_changed
    assert await calls.get("/who") == (200, {"customer_id": 42})
    assert [value for _, value in behind.seen] == [VALUE, VALUE, exchange.header_value]


async def test_x5_two_passports_on_a_response_are_not_adopted(behind: Downstream, library: str) -> None:
    said: list[Adoption] = []
    exchange = ExchangePassport(read(SENT), None, said.append)
    await Calls(library, behind, exchange).get("/twice")
    assert (exchange.is_changed, said) == (False, [Adoption.REFUSED])


async def test_x6_the_passport_does_not_follow_a_redirect_out_of_the_trust_domain(
    behind: Downstream, library: str
) -> None:
    status, _ = await Calls(library, behind, ExchangePassport(read(SENT))).get("/away")
    assert status == 401
    assert behind.foreign.seen == [("/who", None)]  # type: ignore[attr-defined]


async def test_x6_a_foreign_origin_does_not_get_one_that_is_set_by_hand(behind: Downstream) -> None:
    exchange = ExchangePassport(read(SENT))
    async with aiohttp.ClientSession(middlewares=[propagating([], exchange)]) as session:
        await session.get(behind.url + "/who", headers={HEADER: VALUE})
    async with httpx.AsyncClient(event_hooks=async_propagating([], exchange), trust_env=False) as client:
        await client.get(behind.url + "/who", headers={HEADER: VALUE})
    assert behind.seen == [("/who", None)] * 2


def api(behind: Downstream, options: ReceivingOptions) -> web.Application:
    """An API of aiohttp: signs in at one service, asks another who it is, and never touches the Passport itself."""

    async def login(request: web.Request) -> web.Response:
        async with aiohttp.ClientSession(middlewares=[propagating([behind.url])]) as session:
            await session.get(f"{behind.url}/login")
            answer = await session.get(f"{behind.url}/who")
            said = await answer.json()
        return web.json_response({"next": said, "here": exchange_of(request).passport.customer_id})

    app = web.Application(middlewares=[passport_middleware(Keys(), DOMAIN, **options)])
    app.router.add_get("/login", login)
    return app


@pytest.mark.parametrize(("options", "here"), [(BELIEVES_AUTH, 42), ({"clock": lambda: NOW}, None)])
async def test_a_chain_of_services_answers_with_the_newest(
    behind: Downstream, options: ReceivingOptions, here: int | None
) -> None:
    runner, url = await serve(api(behind, options))
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{url}/login", headers={HEADER: VALUE}) as answer,
    ):
        assert await answer.json() == {"next": {"customer_id": 42}, "here": here}
        exchange = ExchangePassport(read(SENT))
        assert exchange.adopt_all(answer.headers.getall(HEADER)) is Adoption.ADOPTED
    await runner.cleanup()


async def test_a_chain_that_begins_in_flask_answers_with_the_newest(behind: Downstream) -> None:
    app = Flask("api")
    passport.flask.receive_passports(app, Keys(), DOMAIN, clock=lambda: NOW)

    @app.get("/login")
    def login() -> dict[str, object]:
        with httpx.Client(event_hooks=httpx_propagating([behind.url]), trust_env=False) as client:
            client.get(f"{behind.url}/login")
            said: dict[str, object] = client.get(f"{behind.url}/who").json()
        return said

    with threaded(app) as url:
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"{url}/login", headers={HEADER: VALUE}) as answer,
        ):
            assert await answer.json() == {"customer_id": 42}
            assert len(answer.headers.getall(HEADER)) == 1


async def test_outside_of_requests_nothing_is_sent(behind: Downstream) -> None:
    async with aiohttp.ClientSession(middlewares=[propagating([behind.url])]) as session:
        await session.get(f"{behind.url}/who")
    assert behind.seen == [("/who", None)]
