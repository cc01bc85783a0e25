"""Whoever is slow slows down whoever sends: what the edge holds in between is bounded, both ways."""

import asyncio
import hashlib
import socket
from collections.abc import Callable

import pytest

from edge.contract.reasons import Reason
from edge.net.upstream import Owner, Peer, Upstream
from tests.edge.raw import OriginConnection, connected, get, ok, raw_origin, request, response, until
from tests.edge.running import running_edge

MIB = 1 << 20
KERNEL_BYTES = 80 * MIB
"""What loopback sockets may hold on both connections together, generously; the edge's own share is asserted apart."""
EDGE_BYTES = 2 * MIB


async def stands_still(read: Callable[[], int]) -> None:
    """Wait until a count that `read` gives has not moved for a while."""
    seen, still = -1, 0
    while still < 10:
        await asyncio.sleep(0.02)
        now = read()
        still = still + 1 if now == seen else 0
        seen = now


@pytest.mark.parametrize("framing", [b"Content-Length: 104857600", b"Transfer-Encoding: chunked"])
async def test_a_device_that_does_not_read_stops_the_origin(framing: bytes) -> None:
    piece = b"a" * 65536
    wire = b"10000\r\n" + piece + b"\r\n" if b"chunked" in framing else piece

    async def script(connection: OriginConnection) -> None:
        await connection.request()
        await connection.send(response(b"200 OK", framing))
        for _ in range(1600):
            await connection.send(wire)

    async with (
        raw_origin(script) as origin,
        running_edge(origin.address) as edge,
        connected(edge.port, receive_buffer=65536) as client,
    ):
        await client.send(get(b"/download"))
        await until(lambda: origin.connections and origin.connections[0].sent > MIB)
        await stands_still(lambda: origin.connections[0].sent)
        assert origin.connections[0].sent < KERNEL_BYTES
        device = next(iter(edge.engine.connections))
        assert device._transport.get_write_buffer_size() < EDGE_BYTES
        client.reset()
        await until(lambda: edge.engine.origin_connections == 0)


async def test_a_slow_device_gets_everything_in_the_end() -> None:
    body = b"".join(b"%08d" % turn for turn in range(MIB))

    async def script(connection: OriginConnection) -> None:
        await connection.request()
        await connection.send(ok(body))
        await connection.end()

    async with (
        raw_origin(script) as origin,
        running_edge(origin.address) as edge,
        connected(edge.port, receive_buffer=65536) as client,
    ):
        await client.send(get(b"/download", b"Connection: close"))
        head = await client.receive_until(b"\r\n\r\n")
        assert b"Content-Length: 8388608" in head.title()
        await asyncio.sleep(0.2)
        assert hashlib.sha256(await client.rest()).digest() == hashlib.sha256(body).digest()


@pytest.mark.parametrize("chunked", [False, True])
async def test_an_origin_that_does_not_read_stops_the_device(chunked: bool) -> None:
    async def script(connection: OriginConnection) -> None:
        await connection.request(head_only=True)
        await asyncio.Event().wait()

    piece = b"a" * 65536
    wire = b"10000\r\n" + piece + b"\r\n" if chunked else piece
    async with (
        raw_origin(script, receive_buffer=65536, limit=4096) as origin,
        running_edge(origin.address, "timeouts.idle_s=1.0") as edge,
        connected(edge.port) as client,
    ):
        sent = 0

        async def upload() -> None:
            nonlocal sent
            for _ in range(1600):
                await client.send(wire)
                sent += len(wire)

        await client.send(
            request(b"POST", b"/upload", b"Transfer-Encoding: chunked" if chunked else b"Content-Length: 104857600")
        )
        uploading = asyncio.create_task(upload())
        await until(lambda: sent > MIB)
        await stands_still(lambda: sent)
        assert sent < KERNEL_BYTES
        pool = edge.engine.pools["api"]
        assert sum(each._transport.get_write_buffer_size() for each in pool._all) < EDGE_BYTES
        uploading.cancel()
        await asyncio.gather(uploading, return_exceptions=True)
        client.reset()
        await until(lambda: edge.engine.origin_connections == 0)


async def test_an_origin_that_takes_none_of_what_waited_for_its_connection_stops_the_device() -> None:
    async def script(connection: OriginConnection) -> None:
        await connection.request(head_only=True)
        await asyncio.Event().wait()

    async with (
        raw_origin(script, receive_buffer=4096, limit=4096) as origin,
        running_edge(origin.address, "origins.api.wait_timeout_s=30.0") as edge,
        connected(edge.port) as client,
    ):
        pool = edge.engine.pools["api"]
        opening = asyncio.Event()
        open_now = pool._connector.open

        async def open_late(peer: Peer, owner: Owner) -> Upstream | Reason:
            await opening.wait()
            connection = await open_now(peer, owner)
            assert isinstance(connection, Upstream)
            # As little as the kernel takes at first for an origin that is far away.
            connection._transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
            return connection

        pool._connector.open = open_late  # type: ignore[method-assign]
        sending = asyncio.create_task(
            client.send(request(b"POST", b"/upload", b"Content-Length: 104857600", body=b"a" * (32 * MIB)))
        )
        device = next(iter(edge.engine.connections))
        await until(lambda: not device.reading)
        opening.set()
        await until(lambda: pool._all)
        buffered = next(iter(pool._all))._transport.get_write_buffer_size
        await until(buffered)
        await stands_still(buffered)
        assert buffered() < EDGE_BYTES
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_large_upload_and_its_echo_pass_unchanged(chunked: bool) -> None:
    digests = []

    async def script(connection: OriginConnection) -> None:
        seen = await connection.request()
        assert seen is not None
        digests.append(hashlib.sha256(seen.body).digest())
        await connection.send(ok(seen.body))
        await connection.end()

    body = b"".join(b"%08d" % turn for turn in range(MIB // 2))
    async with raw_origin(script) as origin, running_edge(origin.address) as edge, connected(edge.port) as client:
        if chunked:
            wire = b"".join(
                b"%x\r\n%b\r\n" % (len(body[at : at + 50000]), body[at : at + 50000])
                for at in range(0, len(body), 50000)
            )
            asked = request(b"POST", b"/upload", b"Transfer-Encoding: chunked", body=wire + b"0\r\n\r\n")
        else:
            asked = request(b"POST", b"/upload", b"Content-Length: %d" % len(body), body=body)
        answered = asyncio.create_task(client.response(b"POST"))
        await client.send(asked)
        answer = await answered
        assert digests == [hashlib.sha256(body).digest()]
        assert answer.body == body


async def test_a_device_that_sends_ahead_of_its_answer_is_held_back() -> None:
    async def script(connection: OriginConnection) -> None:
        await connection.request()
        await connection.end()

    async with raw_origin(script) as origin, running_edge(origin.address) as edge, connected(edge.port) as client:
        sent = 0

        async def ahead() -> None:
            nonlocal sent
            while True:
                await client.send(get() * 1000)
                sent += len(get()) * 1000

        sending = asyncio.create_task(ahead())
        await until(lambda: sent > MIB // 4)
        await stands_still(lambda: sent)
        assert sent < KERNEL_BYTES
        assert len(next(iter(edge.engine.connections))._held) < EDGE_BYTES
        assert len(origin.requests) == 1
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)


async def test_an_origin_that_answers_without_reading_an_upload_is_let_go_with_all_that_was_held_for_it() -> None:
    async def script(connection: OriginConnection) -> None:
        await connection.request(head_only=True)
        await asyncio.sleep(0.1)
        await connection.send(response(b"413 Too Large", b"Content-Length: 0"))
        await connection.end()

    async with (
        raw_origin(script, receive_buffer=65536, limit=4096) as origin,
        running_edge(origin.address) as edge,
        connected(edge.port) as client,
    ):
        await client.send(request(b"POST", b"/upload", b"Content-Length: 104857600"))
        sending = asyncio.create_task(client.send(b"a" * (32 * MIB)))
        assert (await client.response(b"POST")).status == 413
        await until(lambda: edge.engine.origin_connections == 0)
        await asyncio.gather(sending, return_exceptions=True)


async def test_s5_an_early_answer_reaches_a_device_that_reads_it_late_and_still_sends() -> None:
    size = 3_000_000

    async def early(connection: OriginConnection) -> None:
        await connection.request(head_only=True)
        await connection.send(ok(b"x" * size))
        await connection.end()

    async with (
        raw_origin(early) as origin,
        running_edge(origin.address) as edge,
        connected(edge.port, receive_buffer=4096) as client,
    ):
        await client.send(request(b"POST", b"/upload", b"Content-Length: 100000000", body=b"y" * 1000))
        await asyncio.sleep(2.8)  # longer than the edge lingers for a device that has read everything
        answer = await client.response(b"POST")
        assert (answer.status, len(answer.body)) == (200, size)
