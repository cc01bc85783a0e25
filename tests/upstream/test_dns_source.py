"""DNS against a server that answers as no server should; its bytes are made by hand."""

import asyncio
import socket
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.control.origins_file import DnsDiscovery
from edge.control.values import Address
from edge.upstream.discovery.dns_source import Answer, DnsSource, RecordType, joined
from edge.upstream.discovery.look import Look, Problem, Result
from tests.upstream.dns_server import NXDOMAIN, REFUSED, SERVFAIL, DnsServer, Reply, dns_server

ONE, TWO, SIX = Address("10.0.0.1", 80), Address("10.0.0.2", 80), Address("2001:db8::1", 80)


class InPlace(Executor):
    """Does at once what it is given."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> "Future[Any]":
        """Do it."""
        done: Future[Any] = Future()
        done.set_result(fn(*args, **kwargs))
        return done


def source(*servers: DnsServer | str, timeout_s: float = 5.0) -> DnsSource:
    """Return a source for api.test:80 that asks these servers."""
    addresses = [each if isinstance(each, str) else each.address for each in servers]
    settings = {"name": "api.test:80", "servers": addresses, "timeout_s": timeout_s}
    return DnsSource(DnsDiscovery.model_validate(settings), InPlace())


def result(look: Look) -> Result | None:
    return None if look.problem is None else look.problem.result


def closed_port() -> str:
    """Return an address that nobody listens on."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{free.getsockname()[1]}"


async def test_a_and_aaaa_records_make_one_sorted_list_with_the_shortest_time_to_live() -> None:
    async with dns_server() as server:
        server.say(Reply(("10.0.0.2", "10.0.0.1"), ttl_s=300), "A")
        server.say(Reply(("2001:db8::1",), ttl_s=30), "AAAA")
        assert await source(server).look() == Look((ONE, TWO, SIX), None, 30.0)
        assert sorted(server.asked) == ["A", "AAAA"]
        assert set(server.names) == {"api.test"}


async def test_a_family_without_records_is_no_problem() -> None:
    async with dns_server(Reply(("10.0.0.1",), ttl_s=7)) as server:
        assert await source(server).look() == Look((ONE,), None, 7.0)


async def test_only_the_record_types_that_are_wanted_are_asked_for() -> None:
    async with dns_server(Reply(("10.0.0.1", "2001:db8::1"))) as server:
        settings = {"name": "api.test:80", "servers": [server.address], "record_types": ["AAAA"]}
        assert (await DnsSource(DnsDiscovery.model_validate(settings), InPlace()).look()).addresses == (SIX,)
        assert server.asked == ["AAAA"]


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (Reply(rcode=NXDOMAIN), Result.NXDOMAIN),
        (Reply(rcode=SERVFAIL), Result.SERVFAIL),
        (Reply(rcode=REFUSED), Result.SERVFAIL),
        (Reply(), Result.EMPTY),
        (Reply(silent=True), Result.TIMEOUT),
        (Reply(garbage=b"\x81\x80" + b"\xff" * 20), Result.TIMEOUT),
        (Reply(("0.0.0.0", "::")), Result.EMPTY),
        (Reply(("224.0.0.1", "ff02::1")), Result.EMPTY),
    ],
)
async def test_n1_an_answer_without_addresses_brings_no_list_and_says_why(reply: Reply, expected: Result) -> None:
    async with dns_server(reply) as server:
        look = await source(server, timeout_s=0.3 if expected is Result.TIMEOUT else 5.0).look()
        assert (look.addresses, result(look)) == (None, expected)


async def test_n1_a_name_server_that_is_not_there_is_a_problem() -> None:
    look = await source(closed_port(), timeout_s=1.0).look()
    assert look.addresses is None
    assert result(look) in {Result.ERROR, Result.TIMEOUT}


async def test_n1_a_time_to_live_of_nothing_is_told_as_it_is() -> None:
    async with dns_server(Reply(("10.0.0.1",), ttl_s=0)) as server:
        assert (await source(server).look()).ttl_s == 0.0


async def test_n1_changing_answers_are_followed() -> None:
    async with dns_server(Reply(("10.0.0.1",))) as server:
        looked_up = source(server)
        assert (await looked_up.look()).addresses == (ONE,)
        server.say(Reply(("10.0.0.2",)))
        assert (await looked_up.look()).addresses == (TWO,)


@pytest.mark.parametrize("failure", [Reply(rcode=SERVFAIL), Reply(silent=True)])
async def test_n1_a_family_that_cannot_be_looked_up_keeps_its_last_addresses(failure: Reply) -> None:
    async with dns_server(Reply(("10.0.0.1", "2001:db8::1"))) as server:
        looked_up = source(server, timeout_s=1.0)
        await looked_up.look()
        server.say(failure, "AAAA")
        server.say(Reply(("10.0.0.2",)), "A")
        look = await looked_up.look()
        assert look.addresses == (TWO, SIX)
        assert result(look) in {Result.SERVFAIL, Result.TIMEOUT}


async def test_a_family_that_is_gone_for_certain_is_given_up() -> None:
    async with dns_server(Reply(("10.0.0.1", "2001:db8::1"))) as server:
        looked_up = source(server)
        await looked_up.look()
        server.say(Reply(), "AAAA")
        assert await looked_up.look() == Look((ONE,))
        server.say(Reply(rcode=SERVFAIL), "AAAA")
        assert (await looked_up.look()).addresses == (ONE,)


async def test_n1_another_name_server_is_asked_when_one_fails() -> None:
    async with dns_server(Reply(rcode=SERVFAIL)) as broken, dns_server(Reply(("10.0.0.1",))) as server:
        assert await source(closed_port(), broken, server).look() == Look((ONE,))


async def test_n1_a_silent_name_server_leaves_time_for_the_next() -> None:
    async with dns_server(Reply(silent=True)) as silent, dns_server(Reply(("10.0.0.1",))) as server:
        assert await source(silent, server, timeout_s=2.0).look() == Look((ONE,))


async def test_a_long_answer_comes_over_tcp() -> None:
    many = tuple(f"10.0.{high}.{low}" for high in range(4) for low in range(100))
    async with dns_server(Reply(many, truncated=True)) as server:
        look = await source(server).look()
        assert look.addresses is not None
        assert len(look.addresses) == 400
        assert server.over_tcp


async def test_a_look_that_is_cancelled_ends_at_once() -> None:
    async with dns_server(Reply(silent=True)) as server:
        task = asyncio.create_task(source(server, timeout_s=30.0).look())
        while len(server.asked) < 2:  # noqa: ASYNC110
            await asyncio.sleep(0.002)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


HOSTS = st.lists(st.integers(1, 5).map(lambda last: f"10.0.0.{last}"), min_size=1, max_size=4).map(tuple)
ANSWERS = st.one_of(
    st.builds(Answer, HOSTS, st.floats(0, 1e6)),
    st.sampled_from([Result.EMPTY, Result.NXDOMAIN, Result.SERVFAIL, Result.TIMEOUT, Result.ERROR]).map(
        lambda result: Answer((), problem=Problem(result, ""))
    ),
)


@given(st.fixed_dictionaries({"A": ANSWERS, "AAAA": ANSWERS}), st.dictionaries(st.sampled_from(["A", "AAAA"]), HOSTS))
def test_n1_no_answers_whatever_make_an_empty_list(
    answers: dict[RecordType, Answer], known: dict[RecordType, tuple[str, ...]]
) -> None:
    look = joined(answers, known, 80)
    fresh = {host for answer in answers.values() for host in answer.hosts}
    if look.addresses is None:
        assert not fresh
        assert look.problem is not None
    else:
        hosts = {address.host for address in look.addresses}
        assert fresh
        assert fresh <= hosts <= fresh | {host for each in known.values() for host in each}
    assert (result(look) in {None, Result.EMPTY, Result.NXDOMAIN}) == all(each.definite for each in answers.values())
