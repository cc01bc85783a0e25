"""A proxy that does not do its job is not measured."""

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from secrets import token_bytes

import aiohttp
import pytest
from aiohttp import web
from edgepb.kms.v1 import kms_pb2
from multidict import CIMultiDict, CIMultiDictProxy

from loadtest.bench.check_origin import Seen, check_origin
from loadtest.bench.checks import Target, check_relay, check_tokens
from loadtest.bench.failure import BenchError
from loadtest.bench.passport_check import PassportCheck
from loadtest.bench.processes import free_port
from loadtest.bench.visitors import Visitor, visitors
from passport import (
    DEVICE_PURPOSE,
    NO_USER,
    USER_PURPOSE,
    DevicePart,
    Level,
    PassportBuilder,
    PassportKeys,
    Source,
    UserPart,
)

GOOD = "Authorization: Bearer aaaaaaaaaaaaaaaaaaaaaaaa"
NOW = int(time.time())
VISITOR = visitors(1)[0]
Proxy = Callable[[web.Request, aiohttp.ClientSession, str], Awaitable[web.Response]]


async def honest(request: web.Request, session: aiohttp.ClientSession, origin: str) -> web.Response:
    if request.headers.get("Authorization") != GOOD.split(": ")[1]:
        return web.Response(status=401)
    return await _ask(session, origin, {})


async def open_to_all(_: web.Request, session: aiohttp.ClientSession, origin: str) -> web.Response:
    return await _ask(session, origin, {})


async def leaky(request: web.Request, session: aiohttp.ClientSession, origin: str) -> web.Response:
    answer = await honest(request, session, "")
    return answer if answer.status == 401 else await _ask(session, origin, dict(request.headers))


async def from_memory(request: web.Request, session: aiohttp.ClientSession, _: str) -> web.Response:
    return await honest(request, session, "")


async def _ask(session: aiohttp.ClientSession, origin: str, headers: dict[str, str]) -> web.Response:
    if not origin:
        return web.Response()
    async with session.get(origin, headers=headers) as answer:
        return web.Response(status=answer.status)


@asynccontextmanager
async def behind(proxy: Proxy) -> AsyncIterator[tuple[Target, aiohttp.ClientSession, Seen]]:
    """Serve `proxy` in front of the origin that looks."""
    ports = free_port(), free_port()
    async with check_origin(ports[0]) as seen, aiohttp.ClientSession() as session:

        async def handle(request: web.Request) -> web.Response:
            return await proxy(request, session, f"http://127.0.0.1:{ports[0]}/")

        application = web.Application()
        application.router.add_get("/browse", handle)
        runner = web.AppRunner(application)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", ports[1]).start()
        yield Target("the proxy", f"http://127.0.0.1:{ports[1]}/browse"), session, seen
        await runner.cleanup()


async def test_a_proxy_that_ends_good_tokens_and_refuses_bad_ones_passes() -> None:
    async with behind(honest) as (target, session, seen):
        await check_tokens(target, session, seen, GOOD)
        await check_relay(target, session, seen, GOOD)


@pytest.mark.parametrize(
    ("proxy", "words"),
    [
        (open_to_all, "a bad request got 200, not 401"),
        (leaky, "the origin received Authorization"),
        (from_memory, "0 of 4 requests reached the origin"),
    ],
)
async def test_a_proxy_that_does_not_do_its_job_is_named(proxy: Proxy, words: str) -> None:
    async with behind(proxy) as (target, session, seen):
        with pytest.raises(BenchError, match=f"the proxy: {words}"):
            await check_tokens(target, session, seen, GOOD)


async def test_a_relay_must_reach_the_origin() -> None:
    async with behind(from_memory) as (target, session, seen):
        with pytest.raises(BenchError, match="did not reach the origin"):
            await check_relay(target, session, seen, GOOD)


def _key_set(purpose: str, key_id: int) -> kms_pb2.KeySet:
    version = kms_pb2.KeyVersion(key_id=key_id, state=kms_pb2.ACTIVE, material=token_bytes(32), created=1, primary=True)
    return kms_pb2.KeySet(purpose=purpose, versions=[version])


KEYS = PassportKeys.from_key_sets([_key_set(USER_PURPOSE, 1), _key_set(DEVICE_PURPOSE, 2)])
CHECK = PassportCheck(KEYS, "bench.test", VISITOR)


def _head(user: UserPart, device: DevicePart, trust_domain: str = "bench.test") -> CIMultiDictProxy[str]:
    user_key, device_key = KEYS.signer(USER_PURPOSE), KEYS.signer(DEVICE_PURPOSE)
    assert user_key is not None
    assert device_key is not None
    builder = PassportBuilder("bench", trust_domain, user_key, device_key)
    value = builder.header_value(b"0" * 32, user, device, NOW)
    return CIMultiDictProxy(CIMultiDict({"X-Passport": value.decode()}))


def _user(visitor: Visitor, level: Level = Level.HIGH) -> UserPart:
    return UserPart.of(Source.COOKIE, level, visitor.customer_id, visitor.account_owner_id)


def _device(visitor: Visitor) -> DevicePart:
    return DevicePart.of(Source.COOKIE, Level.HIGH, visitor.esn, visitor.device_type)


def test_the_passport_of_the_visitor_passes() -> None:
    CHECK.verify(_head(_user(VISITOR), _device(VISITOR)), NOW)


def test_a_missing_passport_is_a_failure() -> None:
    with pytest.raises(BenchError, match="0 Passports"):
        CHECK.verify(CIMultiDictProxy(CIMultiDict()), NOW)


def test_a_passport_of_another_trust_domain_is_a_failure() -> None:
    with pytest.raises(BenchError, match="does not verify"):
        CHECK.verify(_head(_user(VISITOR), _device(VISITOR), "elsewhere.test"), NOW)


@pytest.mark.parametrize("user", [NO_USER, _user(visitors(2)[1])], ids=["nobody", "another"])
def test_a_passport_of_somebody_else_is_a_failure(user: UserPart) -> None:
    with pytest.raises(BenchError, match="somebody else"):
        CHECK.verify(_head(user, _device(VISITOR)), NOW)


def test_a_passport_that_trusts_the_visitor_too_little_is_a_failure() -> None:
    with pytest.raises(BenchError, match="level HIGH"):
        CHECK.verify(_head(_user(VISITOR, Level.LOW), _device(VISITOR)), NOW)
