"""Draining: nothing new, what is in flight is finished, nobody waits for an idle connection."""

import asyncio
import os

from tests.edge.raw import OriginConnection, answering, connected, get, ok, raw_origin, request, response, until
from tests.edge.running import running_edge


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
        connection.drain()
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
