"""Draining: nothing new, what is in flight is finished, nobody waits for an idle connection."""

import asyncio
import os
import socket
from contextlib import AsyncExitStack
from ipaddress import ip_network
from pathlib import Path

from edge.net.listening import take_queued
from edge.net.proxy_listener import ProxyPeers
from tests.certificates import TestAuthority
from tests.edge.raw import (
    WAIT_S,
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
from tests.processes import beside


async def test_idle_connections_close_with_a_clean_end() -> None:
    async with (
        raw_origin(answering(ok())) as origin,
        running_edge(origin.address) as edge,
        connected(edge.port) as used,
        connected(edge.port) as fresh,
    ):
        await used.ask(get())
        await until(lambda: len(edge.engine.connections) == 2)
        await edge.engine.drain(5)
        assert await used.rest() == b""
        assert await fresh.rest() == b""


async def test_what_is_in_flight_is_finished_and_says_that_the_connection_ends() -> None:
    go = asyncio.Event()

    async def script(connection: OriginConnection) -> None:
        await connection.request()
        await go.wait()
        await connection.send(ok())
        await connection.end()

    async with raw_origin(script) as origin, running_edge(origin.address) as edge, connected(edge.port) as client:
        await client.send(get() + get(b"/never"))
        await until(lambda: origin.requests)
        draining = asyncio.create_task(edge.engine.drain(5))
        await asyncio.sleep(0)
        go.set()
        answer = await client.response()
        assert (answer.body, answer.get(b"connection")) == (b"hello", b"close")
        assert await client.rest() == b""
        await draining
        assert len(origin.requests) == 1


async def test_an_upload_in_flight_is_finished() -> None:
    async with (
        raw_origin(answering(ok(b"thanks"))) as origin,
        running_edge(origin.address) as edge,
        connected(edge.port) as client,
    ):
        await client.send(request(b"POST", b"/upload", b"Content-Length: 10", body=b"first"))
        await until(lambda: origin.connections and origin.connections[0].received.endswith(b"first"))
        draining = asyncio.create_task(edge.engine.drain(5))
        await asyncio.sleep(0)
        await client.send(b"after")
        answer = await client.response(b"POST")
        assert (answer.body, answer.get(b"connection")) == (b"thanks", b"close")
        await draining


async def test_draining_ends_at_its_limit_whatever_is_in_flight() -> None:
    async def script(connection: OriginConnection) -> None:
        await connection.request()
        await connection.send(response(b"200 OK", b"Content-Length: 10"))
        await connection.end()

    async with raw_origin(script) as origin, running_edge(origin.address) as edge, connected(edge.port) as client:
        await client.send(get())
        await client.receive_until(b"\r\n\r\n")
        async with asyncio.timeout(5):
            await edge.engine.drain(0.1)
        assert edge.engine.connections


async def test_a_head_that_is_half_read_is_still_answered() -> None:
    async with (
        raw_origin(answering(ok())) as origin,
        running_edge(origin.address) as edge,
        connected(edge.port) as client,
    ):
        asked = get()
        await client.send(asked[:10])
        await until(lambda: any(not each._reader.idle for each in edge.engine.connections))
        draining = asyncio.create_task(edge.engine.drain(5))
        await asyncio.sleep(0)
        await client.send(asked[10:])
        answer = await client.response()
        assert (answer.status, answer.get(b"connection")) == (200, b"close")
        await draining


async def test_connections_beyond_the_limit_are_reset_and_the_others_served() -> None:
    async with (
        raw_origin(answering(ok())) as origin,
        running_edge(origin.address, "limits.max_connections=2") as edge,
        connected(edge.port) as first,
        connected(edge.port) as second,
    ):
        await first.ask(get())
        await second.ask(get())
        async with connected(edge.port) as third:
            try:
                await third.send(get())
                assert await third.rest() == b""
            except ConnectionError:
                pass
        assert (await first.ask(get())).status == 200
        assert (await second.ask(get())).status == 200
        assert len(origin.requests) == 4


async def test_w2_a_request_that_has_come_and_is_not_read_yet_is_answered_and_not_cut() -> None:
    async with (
        raw_origin(answering(ok(), ok())) as origin,
        running_edge(origin.address) as edge,
        connected(edge.port) as client,
    ):
        await client.ask(get())
        (connection,) = edge.engine.connections
        sock = client.writer.get_extra_info("socket")
        os.write(sock.fileno(), get())  # past this loop, which has no time to read it before the next line
        edge.engine.draining = edge.engine._context.draining = True
        assert not connection.close_idle(linger=True)
        answer = await client.response()
        assert (answer.status, answer.get(b"connection")) == (200, b"close")
        assert await client.rest() == b""


async def test_w2_a_client_that_asks_on_before_it_reads_gets_its_answer_and_no_reset() -> None:
    go = asyncio.Event()

    async def script(connection: OriginConnection) -> None:
        await connection.request()
        await go.wait()
        await connection.send(ok(b"x" * 200_000))
        await connection.end()

    async with raw_origin(script) as origin, running_edge(origin.address) as edge, connected(edge.port) as client:
        await client.send(get())
        await until(lambda: origin.requests)
        draining = asyncio.create_task(edge.engine.drain(5))
        await asyncio.sleep(0)
        go.set()
        await until(lambda: any(each._closing for each in edge.engine.connections))
        await client.send(get(b"/never"))
        answer = await client.response()
        assert (len(answer.body), answer.get(b"connection")) == (200_000, b"close")
        assert await client.rest() == b""
        await draining
        assert len(origin.requests) == 1


async def test_w2_connections_are_taken_until_the_door_closes() -> None:
    taken = asyncio.Event()
    async with (
        raw_origin(answering(ok())) as origin,
        running_edge(origin.address) as edge,
        connected(edge.port) as old,
    ):
        await until(lambda: edge.engine.connections)

        async def close_door() -> None:
            await taken.wait()

        draining = asyncio.create_task(edge.engine.drain(5, close_door, grace_s=0.01))
        await until(lambda: edge.engine.draining)
        async with connected(edge.port) as late:
            answer = await late.ask(get())
        assert (answer.status, answer.get(b"connection")) == (200, b"close")
        taken.set()
        await draining
        assert await old.rest() == b""


async def test_w2_who_is_taken_at_the_last_moment_has_time_for_its_request() -> None:
    async with (
        raw_origin(answering(ok())) as origin,
        running_edge(origin.address) as edge,
        AsyncExitStack() as stack,
    ):
        clients: list[RawClient] = []

        async def close_door() -> None:
            clients.append(await stack.enter_async_context(connected(edge.port)))
            clients.append(await stack.enter_async_context(connected(edge.port)))
            await until(lambda: len(edge.engine.connections) == 2)

        async with beside(edge.engine.drain(5, close_door, grace_s=1.5)) as draining:
            await until(lambda: edge.engine.connections)
            before = edge.engine.turn
            await until(lambda: edge.engine.turn > before + 0.5)  # two sweeps
            answer = await clients[0].ask(get())
            assert (answer.status, answer.get(b"connection")) == (200, b"close")
            assert await clients[0].rest() == b""
            assert await clients[1].rest() == b""  # it has none
            clients[1].close()
            await draining


async def test_w2_a_drain_waits_for_a_handshake_that_is_under_way(tmp_path: Path) -> None:
    authority = TestAuthority(tmp_path)
    pair = authority.issue("edge", ["localhost"])
    settings = ("listener.local_plain_http=false", f"listener.tls.certificates=[{{{pair}}}]")
    async with raw_origin(answering(ok())) as origin, running_edge(origin.address, *settings) as edge:
        loop = asyncio.get_running_loop()
        with socket.socket() as late, socket.socket() as never:
            for each in (late, never):
                each.setblocking(False)
                await loop.sock_connect(each, ("127.0.0.1", edge.port))
            await until(lambda: len(edge.engine.arriving) == 2)
            async with beside(edge.engine.drain(5)) as draining:
                await until(lambda: edge.engine.draining)
                never.close()
                reader, writer = await asyncio.open_connection(
                    sock=late, ssl=authority.client(), server_hostname="localhost"
                )
                client = RawClient(reader, writer)
                try:
                    answer = await client.ask(get())
                    assert (answer.status, answer.get(b"connection")) == (200, b"close")
                finally:
                    client.writer.transport.abort()
                async with asyncio.timeout(WAIT_S):
                    await draining
        assert not edge.engine.arriving


async def test_w2_a_drain_waits_for_the_header_of_a_proxy() -> None:
    header = b"PROXY TCP4 203.0.113.9 192.0.2.1 4711 443\r\n"
    peers = ProxyPeers([ip_network("127.0.0.0/8")])
    async with raw_origin(answering(ok())) as origin, running_edge(origin.address) as edge:
        with socket.create_server(("127.0.0.1", 0)) as door:
            door.setblocking(False)
            async with connected(door.getsockname()[1]) as client:
                take_queued(edge.engine, door, None, peers)
                await client.send(header[:9])
                async with beside(edge.engine.drain(5)) as draining:
                    await until(lambda: edge.engine.draining)
                    answer = await client.ask(header[9:] + get(), method=b"GET")
                    assert (answer.status, answer.get(b"connection")) == (200, b"close")
                    assert not draining.done()
                    client.close()
                    await draining
