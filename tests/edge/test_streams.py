"""Streams: every event and every piece passes before the next one is sent; a silent stream lives as long as it may."""

import asyncio
from collections.abc import Callable

import pytest

from edge.net.roles import StreamHandler
from tests.edge.raw import OriginConnection, answering, connected, get, ok, raw_origin, request, response, until
from tests.edge.running import RunningEdge, running_edge

EVENTS = [b"data: %d\n\n" % number for number in range(20)] + [b":\n\n", b"data: " + b"x" * 70_000 + b"\n\n"]


def chunk(event: bytes) -> bytes:
    """Return an event as one chunk."""
    return b"%x\r\n%b\r\n" % (len(event), event)


def handler_of(edge: RunningEdge) -> StreamHandler:
    """Return what handles the only request."""
    (connection,) = edge.engine.connections
    assert connection._handler is not None
    return connection._handler


@pytest.mark.parametrize(
    ("framing", "encode", "end"),
    [
        (b"Transfer-Encoding: chunked", chunk, b"0\r\n\r\n"),
        (b"Content-Length: %d" % sum(map(len, EVENTS)), bytes, b""),
        (b"Connection: close", bytes, b""),
    ],
)
@pytest.mark.parametrize("size", [None, 1])
async def test_each_event_is_seen_before_the_next_is_sent(
    framing: bytes, encode: Callable[[bytes], bytes], end: bytes, size: int | None
) -> None:
    seen: asyncio.Queue[None] = asyncio.Queue()

    async def script(connection: OriginConnection) -> None:
        await connection.request()
        await connection.send(response(b"200 OK", framing, b"Content-Type: text/event-stream"), size=size)
        for event in EVENTS:
            await connection.send(encode(event), size=None if len(event) > 100 else size)
            await seen.get()
        await connection.send(end)
        connection.half_close()
        await connection.end()

    sized = framing.startswith(b"Content-Length")
    async with raw_origin(script) as origin, running_edge(origin.address) as edge, connected(edge.port) as client:
        await client.send(get(b"/stream"))
        head = await client.receive_until(b"\r\n\r\n")
        assert (b"transfer-encoding: chunked" in head) != sized
        for event in EVENTS:
            received = b""
            while received != event:
                if sized:
                    received += await client.receive(1)
                else:
                    length = int((await client.receive_until(b"\r\n"))[:-2], 16)
                    received += (await client.receive(length + 2))[:-2]
                assert event.startswith(received)
            seen.put_nowait(None)
        if not sized:
            assert await client.receive(5) == b"0\r\n\r\n"


@pytest.mark.parametrize("chunked", [True, False])
async def test_each_piece_of_an_upload_is_seen_before_the_next_is_sent(chunked: bool) -> None:
    async with (
        raw_origin(answering(ok())) as origin,
        running_edge(origin.address) as edge,
        connected(edge.port) as client,
    ):
        framing = b"Transfer-Encoding: chunked" if chunked else b"Content-Length: %d" % sum(map(len, EVENTS))
        await client.send(request(b"POST", b"/upload", framing))
        for event in EVENTS:
            await client.send(chunk(event) if chunked else event)
            mark = event + b"\r\n" if chunked else event
            await until(lambda mark=mark: origin.connections and origin.connections[0].received.endswith(mark))  # type: ignore[misc]
        await client.send(b"0\r\n\r\n" if chunked else b"")
        assert (await client.response(b"POST")).status == 200
        assert origin.requests[0].body == b"".join(EVENTS)


async def test_a_silent_stream_lives_as_long_as_its_route_says() -> None:
    async def script(connection: OriginConnection) -> None:
        await connection.request()
        await connection.send(response(b"200 OK", b"Transfer-Encoding: chunked") + chunk(b"first"))
        await connection.end()

    longer = ("routes.stream.idle_timeout_s=60", "routes.stream.request_timeout_s=3600", "timeouts.idle_s=1")
    async with (
        raw_origin(script) as origin,
        running_edge(origin.address, *longer) as edge,
        connected(edge.port) as client,
    ):
        await client.send(get(b"/stream"))
        await client.receive_until(b"first\r\n")
        handler, now = handler_of(edge), edge.engine.clock()
        handler.sweep(now)
        handler.sweep(now + 59)
        assert edge.metrics.requests == {}
        handler.sweep(now + 62)
        with pytest.raises(ConnectionResetError):
            await client.rest()
        assert edge.metrics.refusals == {("origin_timeout", "idle_timeout_s"): 1}


async def test_a_long_poll_waits_as_long_as_its_route_says() -> None:
    polled = asyncio.Event()

    async def script(connection: OriginConnection) -> None:
        while await connection.request() is not None:
            await polled.wait()
            polled.clear()
            await connection.send(ok(b"news"))

    longer = ("routes.slow.response_head_timeout_s=60", "timeouts.response_head_s=1", "timeouts.idle_s=1")
    async with (
        raw_origin(script) as origin,
        running_edge(origin.address, *longer) as edge,
        connected(edge.port) as client,
    ):
        for turn in range(1, 3):
            await client.send(get(b"/slow"))
            await until(lambda turn=turn: len(origin.requests) == turn)  # type: ignore[misc]
            handler_of(edge).sweep(edge.engine.clock() + 50)
            polled.set()
            assert (await client.response()).body == b"news"
        assert len(origin.connections) == 1
        await client.send(get(b"/slow"))
        await until(lambda: len(origin.requests) == 3)
        handler_of(edge).sweep(edge.engine.clock() + 61)
        assert (await client.response()).status == 504


@pytest.mark.parametrize("how", ["close", "reset"])
async def test_a_device_that_leaves_a_stream_ends_it_at_the_origin(how: str) -> None:
    async def script(connection: OriginConnection) -> None:
        await connection.request()
        await connection.send(response(b"200 OK", b"Transfer-Encoding: chunked"))
        while not connection.gone:
            await connection.send(chunk(b"data: tick\n\n"))
            await asyncio.sleep(0.005)
        await connection.end()

    async with raw_origin(script) as origin, running_edge(origin.address) as edge:
        async with connected(edge.port) as client:
            await client.send(get(b"/stream"))
            await client.receive_until(b"tick")
            getattr(client, how)()
            await until(lambda: edge.engine.origin_connections == 0)
        assert edge.metrics.requests == {("stream", 200, "client_gone"): 1}


@pytest.mark.parametrize("answered", [True, False])
async def test_a_device_that_resets_a_silent_wait_ends_it_at_the_origin_at_once(answered: bool) -> None:
    async def script(connection: OriginConnection) -> None:
        await connection.request()
        if answered:
            await connection.send(response(b"200 OK", b"Transfer-Encoding: chunked"))
        await connection.end()

    async with raw_origin(script) as origin, running_edge(origin.address) as edge:
        async with connected(edge.port) as client:
            await client.send(get(b"/stream"))
            await until(lambda: origin.requests)
            if answered:
                await client.receive_until(b"\r\n\r\n")
            client.reset()
            await until(lambda: origin.connections[0].ended)
        assert edge.metrics.requests == {("stream", 200 if answered else 0, "client_gone"): 1}
