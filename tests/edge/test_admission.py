"""Connections of one address, of all, and file descriptors: nobody takes them from the others."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from operator import attrgetter

import pytest

from edge.relay.admission import SETTLED_S, connections_within
from tests.edge.raw import OriginConnection, RawClient, answering, connected, get, ok, raw_origin, request, until
from tests.edge.running import RunningEdge, running_edge


@asynccontextmanager
async def from_address(port: int, address: str) -> AsyncIterator[RawClient]:
    """Connect to the edge from another loopback address."""
    sock = socket.socket()
    sock.setblocking(False)
    sock.bind((address, 0))
    await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))
    reader, writer = await asyncio.open_connection(sock=sock)
    try:
        yield RawClient(reader, writer)
    finally:
        writer.transport.abort()


async def is_refused(client: RawClient) -> bool:
    """Return whether the edge ends a connection without an answer."""
    try:
        await client.send(get())
        return await client.rest() == b""
    except ConnectionError:
        return True


async def settled(edge: RunningEdge) -> None:
    """Wait until every connection has been idle for long enough to make room."""
    engine = edge.engine
    await until(lambda: all(engine.clock() - each.idle_at > SETTLED_S for each in engine.connections))


async def test_m1_an_address_at_its_cap_is_reset_and_other_addresses_are_served() -> None:
    async with AsyncExitStack() as stack:
        origin = await stack.enter_async_context(raw_origin(answering(ok())))
        edge = await stack.enter_async_context(running_edge(origin.address, "limits.max_connections_per_client=3"))
        first = [await stack.enter_async_context(connected(edge.port)) for _ in range(3)]
        for client in first:
            assert (await client.ask(get())).status == 200
        assert await is_refused(await stack.enter_async_context(connected(edge.port)))
        other = await stack.enter_async_context(from_address(edge.port, "127.0.0.2"))
        assert (await other.ask(get())).status == 200
        assert edge.metrics.dropped == {("client_cap",): 1}
        first[0].close()
        await until(lambda: len(edge.engine.connections) == 3)
        assert (await (await stack.enter_async_context(connected(edge.port))).ask(get())).status == 200


async def test_trusted_proxies_carry_many_clients_and_have_no_cap() -> None:
    async with AsyncExitStack() as stack:
        origin = await stack.enter_async_context(raw_origin(answering(ok())))
        overrides = ("limits.max_connections_per_client=1", 'listener.trusted_proxies=["127.0.0.0/8"]')
        edge = await stack.enter_async_context(running_edge(origin.address, *overrides))
        for _ in range(3):
            client = await stack.enter_async_context(connected(edge.port))
            assert (await client.ask(get())).status == 200


async def test_m2_at_the_workers_cap_the_oldest_idle_connection_makes_room() -> None:
    async with AsyncExitStack() as stack:
        origin = await stack.enter_async_context(raw_origin(answering(ok())))
        edge = await stack.enter_async_context(running_edge(origin.address, "limits.max_connections=3"))
        clients = [await stack.enter_async_context(connected(edge.port)) for _ in range(3)]
        for client in clients:
            assert (await client.ask(get())).status == 200
        await settled(edge)
        assert (await clients[0].ask(get())).status == 200
        before = max(each.idle_at for each in edge.engine.connections)
        await until(lambda: any(each.idle_at > before for each in edge.engine.connections))
        idle = sorted(edge.engine.connections, key=attrgetter("idle_at"))
        for evicted in (1, 2):
            new = await stack.enter_async_context(connected(edge.port))
            assert (await new.ask(get())).status == 200
            await until(lambda: len(edge.engine.connections) == 3)
            assert edge.metrics.dropped == {("idle_evicted",): evicted}
            assert edge.engine.connections >= set(idle[evicted:])
        assert (await clients[0].ask(get())).status == 200
        assert await is_refused(await stack.enter_async_context(connected(edge.port))), "none has been idle for long"


async def test_m2_a_connection_whose_request_is_not_read_yet_makes_no_room() -> None:
    async with AsyncExitStack() as stack:
        origin = await stack.enter_async_context(raw_origin(answering(ok())))
        edge = await stack.enter_async_context(running_edge(origin.address, "limits.max_connections=2"))
        clients = [await stack.enter_async_context(connected(edge.port)) for _ in range(2)]
        for client in clients:
            assert (await client.ask(get())).status == 200
        await settled(edge)
        for client in clients:  # past this loop, which has no time to read it before the next line
            os.write(client.writer.get_extra_info("socket").fileno(), get())
        assert not edge.engine._admission._make_room()
        for client in clients:
            assert (await client.response()).status == 200


async def test_m2_a_connection_that_has_just_been_answered_makes_no_room_for_others() -> None:
    async def script(connection: OriginConnection) -> None:
        while await connection.request() is not None:
            await go.wait()
            await connection.send(ok())

    go = asyncio.Event()
    async with AsyncExitStack() as stack:
        origin = await stack.enter_async_context(raw_origin(script))
        edge = await stack.enter_async_context(running_edge(origin.address, "limits.max_connections=2"))
        busy, idle = [await stack.enter_async_context(connected(edge.port)) for _ in range(2)]
        await busy.send(get())
        await until(lambda: origin.requests)
        await settled(edge)
        assert edge.engine._pulser is not None
        edge.engine._pulser.cancel()  # no sweep sees it idle before there must be room
        go.set()
        assert (await busy.response()).status == 200
        new = await stack.enter_async_context(connected(edge.port))
        assert (await new.ask(get())).status == 200
        assert (await busy.ask(get())).status == 200
        assert await idle.rest() == b""
        assert edge.metrics.dropped == {("idle_evicted",): 1}


async def test_m2_a_connection_with_a_request_never_makes_room() -> None:
    async with AsyncExitStack() as stack:
        origin = await stack.enter_async_context(raw_origin(answering(ok())))
        edge = await stack.enter_async_context(running_edge(origin.address, "limits.max_connections=2"))
        busy = await stack.enter_async_context(connected(edge.port))
        half = await stack.enter_async_context(connected(edge.port))
        await busy.send(request(b"POST", b"/upload", b"Content-Length: 5", body=b"he"))
        await half.send(b"GET / HTTP/1.1\r\nHost: ed")
        await until(lambda: len(edge.engine.connections) == 2)
        await asyncio.sleep(1.5)  # long enough to count as idle
        assert await is_refused(await stack.enter_async_context(connected(edge.port)))
        assert edge.metrics.dropped == {("worker_cap",): 1}
        await busy.send(b"llo")
        await half.send(b"ge\r\n\r\n")
        assert (await busy.response(b"POST")).status == 200
        assert (await half.response()).status == 200


async def test_l2_a_noisy_client_gets_429_and_another_address_does_not() -> None:
    async with AsyncExitStack() as stack:
        origin = await stack.enter_async_context(raw_origin(answering(ok())))
        edge = await stack.enter_async_context(running_edge(origin.address, "limits.max_requests_per_client_per_s=8"))
        noisy = [await stack.enter_async_context(connected(edge.port)) for _ in range(2)]
        other = await stack.enter_async_context(from_address(edge.port, "127.0.0.2"))
        seen = [(await noisy[turn % 2].ask(get())) for turn in range(40)]
        refused = [answer for answer in seen if answer.status == 429]
        assert {answer.status for answer in seen} == {200, 429}
        assert all(answer.get(b"retry-after") == b"1" and b'"too_many_requests"' in answer.body for answer in refused)
        assert (await other.ask(get())).status == 200
        assert edge.metrics.refusals == {("too_many_requests", ""): len(refused)}
        await until(lambda: all(client.left > 0 for client in edge.engine._admission.clients._clients.values()))
        assert (await noisy[0].ask(get())).status == 200


@pytest.mark.parametrize(
    ("descriptors", "wanted", "others", "within"),
    [(20_000, 20_000, 384, 19_616), (1_000_000, 20_000, 384, 20_000), (256, 20_000, 384, 128), (256, 10, 384, 10)],
)
def test_m6_device_connections_fit_into_what_the_system_allows(
    descriptors: int, wanted: int, others: int, within: int
) -> None:
    assert connections_within(descriptors, wanted, others) == within
