"""The aiohttp adapter, over a real socket."""

from base64 import b64encode
from collections.abc import AsyncIterator

import pytest
from aiohttp import ClientSession, web
from multidict import CIMultiDict

from passport import PassportKeys, PassportRefusal
from passport.aiohttp import passport_middleware, passport_of
from tests.passport.samples import CUSTOMER_ID, DOMAIN, KEYS, NOW, build

VALUE = b64encode(build()).decode()


class Service:
    """A service behind the middleware, with what it was told."""

    def __init__(self) -> None:
        self.passport_keys: PassportKeys | None = KEYS
        self.refused: list[PassportRefusal] = []
        self.url = ""

    async def start(self) -> web.AppRunner:
        middleware = passport_middleware(self, DOMAIN, on_refused=self.refused.append, clock=lambda: NOW)
        app = web.Application(middlewares=[middleware])
        app.router.add_get("/who", self._who)
        app.router.add_get("/health", self._health)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
        self.url = f"http://{host}:{port}"
        return runner

    async def _who(self, request: web.Request) -> web.Response:
        return web.json_response({"customer_id": passport_of(request).customer_id})

    async def _health(self, request: web.Request) -> web.Response:
        return web.json_response({"status": "ok" if "X-Passport" not in request.headers else "asked"})


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    made = Service()
    runner = await made.start()
    yield made
    await runner.cleanup()


async def ask(service: Service, *values: str, path: str = "/who") -> tuple[int, dict[str, object]]:
    headers = CIMultiDict([("X-Passport", value) for value in values])
    async with ClientSession() as session, session.get(service.url + path, headers=headers) as response:
        return response.status, await response.json()


async def test_a_handler_gets_the_verified_passport(service: Service) -> None:
    assert await ask(service, VALUE) == (200, {"customer_id": CUSTOMER_ID})


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ((), PassportRefusal.MISSING),
        ((VALUE, VALUE), PassportRefusal.REPEATED),
        ((VALUE + "=",), PassportRefusal.NOT_CANONICAL),
        (("AAAA",), PassportRefusal.MALFORMED),
        ((b64encode(build(version=1)).decode(),), PassportRefusal.VERSION_NOT_ACCEPTED),
        ((b64encode(build(now=NOW - 1000)).decode(),), PassportRefusal.EXPIRED),
    ],
)
async def test_rule_7_every_refusal_looks_the_same_from_outside(
    service: Service, values: tuple[str, ...], reason: PassportRefusal
) -> None:
    assert await ask(service, *values) == (401, {"reason": "passport_refused"})
    assert service.refused == [reason]


async def test_without_keys_nothing_is_let_through(service: Service) -> None:
    service.passport_keys = None
    assert await ask(service, VALUE) == (503, {"reason": "keys_unavailable"})


async def test_public_paths_need_no_passport(service: Service) -> None:
    assert await ask(service, path="/health") == (200, {"status": "ok"})
