"""Connections to an origin: reused last in first out, bounded, waited for in order, never reused after an error."""

import asyncio
import contextlib

import pytest

from edge.contract.reasons import Reason
from edge.net.upstream import Upstream
from edge.upstream.pool import OriginPool
from tests.edge.raw import (
    OriginConnection,
    RawClient,
    answering,
    connected,
    get,
    ok,
    raw_origin,
    request,
    response,
    until,
)
from tests.edge.running import running_edge
from tests.edge.test_relay import problem

WAIT = "origins.api.wait_timeout_s=30.0"


class Gate:
    """An origin's script whose answers wait to be let through, each naming its connection."""

    def __init__(self) -> None:
        self.open = asyncio.Event()

    async def __call__(self, connection: OriginConnection) -> None:
        """Answer every request once the gate is open."""
        while await connection.request() is not None:
            await self.open.wait()
            await connection.send(ok(b"%d" % connection.number))


async def clients(stack: contextlib.AsyncExitStack, port: int, count: int) -> list[RawClient]:
    """Connect some devices."""
    return [await stack.enter_async_context(connected(port)) for _ in range(count)]


async def test_the_connection_used_last_is_used_next() -> None:
    gate = Gate()
    async with raw_origin(gate) as origin, running_edge(origin.address) as edge, contextlib.AsyncExitStack() as stack:
        devices = await clients(stack, edge.port, 3)
        for device in devices:
            await device.send(get())
        await until(lambda: len(origin.requests) == 3)
        gate.open.set()
        for device in devices:
            await device.response()
        used = {(await devices[0].ask(get())).body for _ in range(10)}
        assert len(used) == 1
        assert len(origin.connections) == 3


async def test_no_more_connections_are_opened_than_the_origin_may_have_and_the_others_wait() -> None:
    gate = Gate()
    overrides = ("origins.api.max_connections=2", "origins.api.wait_timeout_s=5.0")
    async with (
        raw_origin(gate) as origin,
        running_edge(origin.address, *overrides) as edge,
        contextlib.AsyncExitStack() as stack,
    ):
        devices = await clients(stack, edge.port, 8)
        for device in devices:
            await device.send(get())
        await until(lambda: len(origin.requests) == 2)
        gate.open.set()
        for device in devices:
            assert (await device.response()).status == 200
        assert len(origin.connections) == 2


async def test_a_wait_that_lasts_too_long_is_a_503() -> None:
    gate = Gate()
    overrides = ("origins.api.max_connections=1", "origins.api.wait_timeout_s=0.2")
    async with (
        raw_origin(gate) as origin,
        running_edge(origin.address, *overrides) as edge,
        contextlib.AsyncExitStack() as stack,
    ):
        first, second = await clients(stack, edge.port, 2)
        await first.send(get())
        await until(lambda: origin.requests)
        answer = await second.ask(get())
        assert (answer.status, problem(answer)["reason"]) == (503, "origin_pool_exhausted")
        gate.open.set()
        assert (await first.response()).status == 200
        assert (await second.ask(get())).status == 200


async def test_a_full_queue_is_a_503_at_once() -> None:
    gate = Gate()
    overrides = ("origins.api.max_connections=1", "origins.api.max_waiting=1", "origins.api.wait_timeout_s=30.0")
    async with (
        raw_origin(gate) as origin,
        running_edge(origin.address, *overrides) as edge,
        contextlib.AsyncExitStack() as stack,
    ):
        first, second, third = await clients(stack, edge.port, 3)
        await first.send(get())
        await until(lambda: origin.requests)
        await second.send(request(b"POST", b"/upload", b"Content-Length: 3", body=b"abc"))
        await until(lambda: edge.engine.pools["api"]._waiting)
        answer = await third.ask(get())
        assert (answer.status, problem(answer)["reason"]) == (503, "origin_pool_exhausted")
        gate.open.set()
        assert (await first.response()).status == 200
        assert (await second.response(b"POST")).status == 200
        assert origin.requests[1].body == b"abc"


@pytest.mark.parametrize("max_waiting", [0, 1])
async def test_a_request_that_has_its_own_connection_opened_takes_no_place_in_the_queue(max_waiting: int) -> None:
    gate = Gate()
    overrides = ("origins.api.max_connections=3", f"origins.api.max_waiting={max_waiting}", WAIT)
    async with (
        raw_origin(gate) as origin,
        running_edge(origin.address, *overrides) as edge,
        contextlib.AsyncExitStack() as stack,
    ):
        devices = await clients(stack, edge.port, 4 + max_waiting)
        for device in devices[:3]:
            await device.send(get())
        await until(lambda: len(origin.requests) == 3)
        for device in devices[3:-1]:
            await device.send(get())
            await until(lambda: edge.engine.pools["api"]._waiting)
        assert problem(await devices[-1].ask(get()))["reason"] == "origin_pool_exhausted"
        gate.open.set()
        assert {(await device.response()).status for device in devices[:-1]} == {200}


async def test_a_device_that_gives_up_waiting_frees_its_place() -> None:
    gate = Gate()
    overrides = ("origins.api.max_connections=1", "origins.api.max_waiting=1", "origins.api.wait_timeout_s=30.0")
    async with (
        raw_origin(gate) as origin,
        running_edge(origin.address, *overrides) as edge,
        contextlib.AsyncExitStack() as stack,
    ):
        first, second, third = await clients(stack, edge.port, 3)
        await first.send(get())
        await until(lambda: origin.requests)
        waiting = edge.engine.pools["api"]
        await second.send(get())
        await until(lambda: waiting._waiting)
        second.reset()
        await until(lambda: not waiting._waiting)
        await third.send(get())
        await until(lambda: waiting._waiting)
        gate.open.set()
        assert (await first.response()).status == 200
        assert (await third.response()).status == 200


# Stale connections.


def stale_after_first(how: str) -> "StaleOrigin":
    """Return an origin whose first connection answers once and dies on its second request."""
    return StaleOrigin(how)


class StaleOrigin:
    """An origin that ends its first connection when a second request comes on it, without a word."""

    def __init__(self, how: str) -> None:
        self._how = how

    async def __call__(self, connection: OriginConnection) -> None:
        """Serve."""
        while await connection.request() is not None:
            if connection.number == 0 and len(connection.requests) == 2:
                getattr(connection, self._how)()
                return
            await connection.send(ok(b"%d" % connection.number))


@pytest.mark.parametrize("how", ["close", "reset"])
@pytest.mark.parametrize("method", [b"GET", b"HEAD", b"OPTIONS", b"DELETE", b"PUT"])
async def test_a_request_without_body_is_sent_once_more_when_a_kept_connection_was_dead(
    how: str, method: bytes
) -> None:
    async with (
        raw_origin(stale_after_first(how)) as origin,
        running_edge(origin.address) as edge,
        connected(edge.port) as client,
    ):
        assert (await client.ask(get())).body == b"0"
        answer = await client.ask(request(method, b"/echo"))
        assert answer.status == 200
        assert [seen.method for seen in origin.requests] == [b"GET", method, method]


@pytest.mark.parametrize(
    "asked",
    [
        request(b"POST", b"/upload", b"Content-Length: 0"),
        request(b"POST", b"/upload", b"Content-Length: 3", body=b"abc"),
        request(b"PATCH", b"/upload", b"Content-Length: 0"),
        request(b"PUT", b"/upload", b"Content-Length: 70000", body=b"a" * 70000),
    ],
)
async def test_a_post_or_a_large_body_is_never_sent_twice(asked: bytes) -> None:
    async with (
        raw_origin(stale_after_first("close")) as origin,
        running_edge(origin.address) as edge,
        connected(edge.port) as client,
    ):
        assert (await client.ask(get())).body == b"0"
        answer = await client.ask(asked)
        assert (answer.status, problem(answer)["reason"]) == (502, "origin_closed")
        assert len(origin.requests) == 2


async def test_a_request_is_sent_at_most_twice() -> None:
    async def script(connection: OriginConnection) -> None:
        await connection.request()
        if connection.number == 0:
            await connection.send(ok())
            await connection.request()

    async with raw_origin(script) as origin, running_edge(origin.address) as edge, connected(edge.port) as client:
        assert (await client.ask(get())).status == 200
        answer = await client.ask(get())
        assert (answer.status, problem(answer)["reason"]) == (502, "origin_closed")
        assert len(origin.requests) == 3


async def test_a_fresh_connection_that_dies_is_not_retried() -> None:
    async def script(connection: OriginConnection) -> None:
        await connection.request()

    async with raw_origin(script) as origin, running_edge(origin.address) as edge, connected(edge.port) as client:
        assert (await client.ask(get())).status == 502
        assert len(origin.requests) == 1


async def test_a_kept_connection_that_the_origin_closes_is_simply_replaced() -> None:
    async def script(connection: OriginConnection) -> None:
        await connection.request()
        await connection.send(ok(b"%d" % connection.number))

    async with raw_origin(script) as origin, running_edge(origin.address) as edge, connected(edge.port) as client:
        for turn in range(3):
            answer = await client.ask(request(b"POST", b"/upload", b"Content-Length: 0"))
            assert answer.body == b"%d" % turn
            await until(lambda: edge.engine.origin_connections == 0)


async def test_b10_what_was_sent_on_a_stale_connection_is_not_sent_again_on_another_stale_one() -> None:
    """Connections are scarce, and each is good for one answer."""
    answers, end = [asyncio.Event() for _ in range(4)], asyncio.Event()

    async def script(connection: OriginConnection) -> None:
        await connection.request()
        await answers[connection.number].wait()
        await connection.send(ok(b"%d" % connection.number))
        await connection.request()
        await end.wait()

    overrides = ("origins.api.max_connections=2", "origins.api.wait_timeout_s=5.0")
    async with (
        raw_origin(script) as origin,
        running_edge(origin.address, *overrides) as edge,
        contextlib.AsyncExitStack() as stack,
    ):
        waiting = edge.engine.pools["api"]._waiting
        first, second, third = await clients(stack, edge.port, 3)
        for place, device in enumerate((first, second)):
            await device.send(get())
            await until(lambda place=place: len(origin.requests) > place)  # type: ignore[misc]
        answers[1].set()
        assert (await second.response()).body == b"1"
        await second.send(get())
        await until(lambda: len(origin.requests) == 3)
        await third.send(get())
        await until(lambda: waiting)
        end.set()  # the third gets the place of the second, which has to wait now
        await until(lambda: len(origin.requests) == 4 and waiting)
        for answer in answers:
            answer.set()
        assert [(await device.response()).body for device in (first, third, second)] == [b"0", b"2", b"3"]


async def test_b10_a_connection_that_was_kept_before_its_first_request_may_be_stale_too() -> None:
    async def script(connection: OriginConnection) -> None:
        await connection.request()
        if connection.number:
            await connection.send(ok())
            await connection.end()

    async with raw_origin(script) as origin, running_edge(origin.address) as edge, connected(edge.port) as client:
        nobody = Wants()
        edge.engine.pools["api"].request(nobody)
        edge.engine.pools["api"].cancel(nobody)
        await until(lambda: edge.engine.pools["api"]._only.idle)  # type: ignore[union-attr]
        assert (await client.ask(get())).status == 200
        assert len(origin.requests) == 2


class Wants:
    """A request that keeps what it gets."""

    def __init__(self) -> None:
        self.got: Upstream | None = None

    def connection_ready(self, connection: Upstream) -> None:
        """Keep it."""
        self.got = connection

    def connection_failed(self, reason: Reason) -> None:
        """There must be one."""
        raise AssertionError(reason)


async def kept_connections(pool: OriginPool, count: int) -> list[Upstream]:
    """Let the pool have so many connections, each used before and idle now."""
    waiters = [Wants() for _ in range(count)]
    for waiter in waiters:
        pool.request(waiter)
    await until(lambda: all(waiter.got for waiter in waiters))
    connections = [waiter.got for waiter in waiters if waiter.got is not None]
    for connection in connections:
        connection.requests = 1
        pool.release(connection, 0.0)
    return connections


@pytest.mark.parametrize("most", [2, 3])
async def test_b10_who_wants_a_fresh_connection_gets_no_idle_one_at_the_limit_neither(most: int) -> None:
    overrides = f"origins.api.max_connections={most}"
    async with raw_origin(answering(ok())) as origin, running_edge(origin.address, overrides) as edge:
        pool = edge.engine.pools["api"]
        kept = await kept_connections(pool, 2)
        wants = Wants()
        pool.request(wants, fresh=True)
        await until(lambda: wants.got)
        assert wants.got not in kept
        assert pool.open_connections == most
        assert pool.acquire() in kept


async def test_b10_others_get_kept_connections_while_one_waits_for_a_fresh_one() -> None:
    async with raw_origin(answering(ok())) as origin, running_edge(origin.address) as edge:
        pool = edge.engine.pools["api"]
        (kept,) = await kept_connections(pool, 1)
        assert pool.acquire() is kept
        fresh, other = Wants(), Wants()
        pool.request(fresh, fresh=True)
        pool.request(other)
        pool.release(kept, 0.0)
        assert other.got is kept
        await until(lambda: fresh.got)
        assert fresh.got is not kept


@pytest.mark.parametrize("first", [True, False])
async def test_b10_at_the_limit_a_connection_ends_for_who_waits_for_a_fresh_one_when_it_is_its_turn(
    *, first: bool
) -> None:
    async with (
        raw_origin(answering(ok())) as origin,
        running_edge(origin.address, "origins.api.max_connections=2") as edge,
    ):
        pool = edge.engine.pools["api"]
        kept = await kept_connections(pool, 2)
        for _ in kept:
            assert pool.acquire() in kept
        fresh, other = Wants(), Wants()
        for waiter in (fresh, other) if first else (other, fresh):
            pool.request(waiter, fresh=waiter is fresh)
        pool.release(kept[0], 0.0)
        assert other.got is (None if first else kept[0])
        pool.release(kept[1], 0.0)
        assert other.got is kept[first]
        await until(lambda: fresh.got)
        assert fresh.got not in kept
        assert pool.open_connections == 2


async def test_connections_that_idle_too_long_are_closed() -> None:
    async with (
        raw_origin(answering(ok())) as origin,
        running_edge(origin.address, "origins.api.idle_timeout_s=0.2") as edge,
        connected(edge.port) as client,
    ):
        await client.ask(get())
        await until(lambda: origin.connections[0].ended)
        assert (await client.ask(get())).status == 200
        assert len(origin.connections) == 2


@pytest.mark.parametrize(
    "answer",
    [
        ok(b"one", b"Connection: close"),
        b"HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\none",
        response(b"204 No Content", b"Content-Length: 5"),
        response(b"401 Unauthorized", b"Content-Length: 0", b"WWW-Authenticate: Basic", b"www-authenticate: ntlm abc"),
        response(b"401 Unauthorized", b"Content-Length: 3", b"WWW-Authenticate: Negotiate") + b"one",
    ],
)
async def test_s10_a_connection_that_ends_or_is_bound_to_its_user_is_not_used_again(answer: bytes) -> None:
    async def script(connection: OriginConnection) -> None:
        await connection.request()
        await connection.send(answer)
        await connection.end()

    async with raw_origin(script) as origin, running_edge(origin.address) as edge, connected(edge.port) as client:
        for turn in range(3):
            assert (await client.ask(get())).status in {200, 204, 401}
            assert len(origin.connections) == turn + 1
        await until(lambda: all(each.ended for each in origin.connections))


async def test_an_http_1_0_origin_that_keeps_its_connection_is_used_again() -> None:
    answer = b"HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\nContent-Length: 3\r\n\r\none"
    async with (
        raw_origin(answering(answer)) as origin,
        running_edge(origin.address) as edge,
        connected(edge.port) as client,
    ):
        for _ in range(3):
            assert (await client.ask(get())).body == b"one"
        assert len(origin.connections) == 1


async def test_an_origin_that_resets_whatever_it_accepts_is_told_apart_at_once_and_leaks_no_connection() -> None:
    async def script(connection: OriginConnection) -> None:
        connection.reset()

    overrides = ("origins.api.max_connections=2", "origins.api.wait_timeout_s=30.0")
    async with (
        raw_origin(script) as origin,
        running_edge(origin.address, *overrides) as edge,
        connected(edge.port) as client,
    ):
        for _ in range(10):
            assert (await client.ask(get())).status in {502, 503}
        await until(lambda: edge.engine.origin_connections == 0)


async def test_addresses_take_turns_and_one_that_is_down_is_passed_over() -> None:
    async with raw_origin(answering(ok())) as gone:
        down = gone.address
    async with (
        raw_origin(answering(ok(b"up", b"Connection: close"))) as origin,
        running_edge(down, f'origins.api.addresses=["{down}", "{origin.address}"]') as edge,
        connected(edge.port) as client,
    ):
        for _ in range(4):
            assert (await client.ask(get())).body == b"up"


async def test_a_connection_whose_upload_was_not_finished_is_not_used_again() -> None:
    async def script(connection: OriginConnection) -> None:
        await connection.request(head_only=True)
        await connection.send(ok(b"early"))
        await connection.end()

    async with raw_origin(script) as origin, running_edge(origin.address) as edge, connected(edge.port) as client:
        await client.send(request(b"POST", b"/upload", b"Content-Length: 10", body=b"half"))
        answer = await client.response(b"POST")
        assert (answer.body, answer.get(b"connection")) == (b"early", b"close")
        await until(lambda: origin.connections[0].ended)
        assert edge.engine.origin_connections == 0


async def test_ending_the_data_plane_ends_what_is_in_flight() -> None:
    async def script(connection: OriginConnection) -> None:
        await connection.request()
        await connection.end()

    async with raw_origin(script) as origin:
        async with running_edge(origin.address) as edge, connected(edge.port) as client:
            await client.send(get())
            await until(lambda: origin.requests)
        await until(lambda: origin.connections[0].ended)


async def test_all_who_wait_hear_at_once_that_the_origin_cannot_be_reached() -> None:
    async with raw_origin(answering(ok())) as gone:
        address = gone.address
    overrides = ("origins.api.max_connections=1", "origins.api.wait_timeout_s=30.0")
    async with running_edge(address, *overrides) as edge, contextlib.AsyncExitStack() as stack:
        devices = await clients(stack, edge.port, 4)
        for device in devices:
            await device.send(get())
        for device in devices:
            assert problem(await device.response())["reason"] == "origin_connect_failed"
