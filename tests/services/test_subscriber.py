"""The cookie service's client of the subscriber service: what it takes for an answer, and when it leaves it alone."""

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TypeAlias

import aiohttp
import pytest
from pydantic import ValidationError

from resilience.breaker import State
from services.cookie.subscriber import Standing, SubscriberClient
from services.kit.breaker import BreakerConfig
from tests.processes import eventually
from tests.services.subscriber import (
    CUT,
    FORMER_MEMBER,
    MEMBER,
    NOT_JSON,
    OTHER_USER,
    REDIRECT,
    SLOW,
    STATUS_401,
    STATUS_404,
    STATUS_500,
    Subscribers,
    subscribers_running,
)

ENOUGH = 10
Asking: TypeAlias = tuple[SubscriberClient, Subscribers]


@asynccontextmanager
async def asking(*, timeout_s: float = 5.0, open_s: float = 60.0) -> AsyncIterator[Asking]:
    """Yield a client whose breaker opens on the tenth failure, and the service that it asks."""
    breaker = BreakerConfig(window_s=600.0, min_calls=ENOUGH, open_s=open_s, max_open_s=open_s).breaker("subscriber")
    async with subscribers_running() as subscribers, aiohttp.ClientSession() as session:
        yield SubscriberClient(session, subscribers.url, "token-canary", timeout_s, breaker), subscribers


@pytest.mark.parametrize("customer_id", [STATUS_500, SLOW, CUT, NOT_JSON, OTHER_USER])
async def test_s2_a_service_that_keeps_failing_is_left_alone_and_costs_nothing(customer_id: int) -> None:
    async with asking(timeout_s=0.05 if customer_id == SLOW else 5.0) as (client, subscribers):
        for _ in range(ENOUGH):
            assert (await client.membership(customer_id)).standing is Standing.UNKNOWN
        asked = len(subscribers.asked_with)
        for _ in range(100):
            membership = await client.membership(MEMBER)
            assert (membership.standing, membership.problem) == (Standing.UNKNOWN, "breaker open")
        assert len(subscribers.asked_with) == asked
        assert client.health() == "open"


async def test_s2_so_is_one_that_is_not_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    breaker = BreakerConfig(window_s=600.0, min_calls=ENOUGH).breaker("subscriber")
    async with aiohttp.ClientSession() as session:
        client = SubscriberClient(session, f"http://127.0.0.1:{port}", "t", 5.0, breaker)
        for _ in range(ENOUGH):
            await client.membership(MEMBER)
    assert breaker.state is State.OPEN


@pytest.mark.parametrize("customer_id", [STATUS_404, STATUS_401, REDIRECT])
async def test_what_it_says_of_one_user_or_of_this_caller_is_no_failure_of_it(customer_id: int) -> None:
    async with asking() as (client, _):
        for _ in range(5 * ENOUGH):
            assert (await client.membership(customer_id)).standing is Standing.UNKNOWN
        assert (await client.membership(MEMBER)).standing is Standing.MEMBER


async def test_one_user_s_trouble_keeps_nobody_else_from_being_renewed() -> None:
    async with asking() as (client, _):
        for _ in range(5 * ENOUGH):
            assert (await client.membership(MEMBER)).standing is Standing.MEMBER
            assert (await client.membership(STATUS_500)).problem == "status 500"
        assert client.health() == "closed"


async def test_s2_one_that_is_back_is_asked_again() -> None:
    async with asking(open_s=0.01) as (client, _):
        for _ in range(ENOUGH):
            await client.membership(STATUS_500)

        async def asked() -> bool:
            return (await client.membership(FORMER_MEMBER)).standing is Standing.NOT_A_MEMBER

        await eventually(asked, "it is asked again")
        assert client.health() == "closed"


def test_a_breaker_that_would_open_for_less_than_nothing_is_refused() -> None:
    with pytest.raises(ValidationError, match="max_open_s is less than open_s"):
        BreakerConfig(open_s=2.0, max_open_s=1.0)
