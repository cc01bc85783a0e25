"""Commands over one connection: each gets its own answer, whoever gives up, fails or loses the connection."""

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import pytest_asyncio
from redis.exceptions import ResponseError

from edge.clients.redis_pipeline import RedisPipeline, redis_pipeline
from edge.control.service_sections import RenewalSharing
from tests.redis_server import NEEDS_REDIS, RedisServer, redis_running

pytestmark = [NEEDS_REDIS, pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def redis() -> AsyncIterator[RedisServer]:
    async with redis_running() as running:
        yield running


@asynccontextmanager
async def pipeline(url: str, timeout_s: float = 20.0) -> AsyncIterator[RedisPipeline]:
    made = redis_pipeline(RenewalSharing(redis_url=url, timeout_s=1.0), None, None)
    made._timeout_s = timeout_s
    try:
        yield made
    finally:
        await made.close()


async def test_each_of_many_at_once_gets_its_own_answer_also_when_some_give_up(redis: RedisServer) -> None:
    async with pipeline(redis.url) as one:
        asked = [asyncio.ensure_future(one.run("ECHO", b"%d" % number)) for number in range(700)]
        await asyncio.sleep(0)
        for given_up in asked[::3]:
            given_up.cancel()
        later = [asyncio.ensure_future(one.run("ECHO", b"%d" % number)) for number in range(700, 800)]
        answers = await asyncio.gather(*asked, *later, return_exceptions=True)
        for number, answer in enumerate(answers):
            gave_up = number < 700 and number % 3 == 0
            assert isinstance(answer, asyncio.CancelledError) if gave_up else answer == b"%d" % number
        assert one._waiting == []


async def test_an_error_is_of_its_own_command(redis: RedisServer) -> None:
    async with pipeline(redis.url) as one:
        asked = (one.run("ECHO", b"1"), one.run("NO-SUCH-COMMAND"), one.run("ECHO", b"2"))
        first, wrong, second = await asyncio.gather(*asked, return_exceptions=True)
        assert (first, second) == (b"1", b"2")
        assert isinstance(wrong, ResponseError)


async def test_a_connection_that_was_closed_meanwhile_is_made_anew(redis: RedisServer) -> None:
    async with pipeline(redis.url) as one, pipeline(redis.url) as other:
        number = await one.run("CLIENT", "ID")
        assert isinstance(number, int)
        assert await other.run("CLIENT", "KILL", "ID", number) == 1
        assert await one.run("ECHO", b"again") == b"again"


async def test_who_is_answered_too_late_is_answered_no_more_and_nobody_gets_that_answer(redis: RedisServer) -> None:
    async with pipeline(redis.url, 0.05) as one:
        assert await one.run("ECHO", b"before") == b"before"
        redis.process.send(signal.SIGSTOP)
        try:
            with pytest.raises(TimeoutError):
                await one.run("ECHO", b"late")
        finally:
            redis.process.send(signal.SIGCONT)
        one._timeout_s = 20.0
        assert await one.run("ECHO", b"after") == b"after"


async def test_closing_it_leaves_nobody_waiting(redis: RedisServer) -> None:
    async with pipeline(redis.url) as one:
        waiting = asyncio.ensure_future(one.run("BLPOP", b"nothing", 0))
        await asyncio.sleep(0)
    with pytest.raises(ConnectionError):
        await waiting
