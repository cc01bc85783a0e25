"""Clients that are slow or greedy, on any request of a connection: each is ended in time, and nobody else waits."""

import asyncio
import socket

import pytest

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

MIB = 1 << 20
WINDOW = ("timeouts.rate_window_s=0.5", "limits.min_request_bytes_per_s=1000", "limits.min_response_bytes_per_s=1000")
LENGTH, CHUNKED = b"Content-Length: 1000000", b"Transfer-Encoding: chunked"


async def reading(connection: OriginConnection) -> None:
    """Read everything, answer nothing."""
    await connection.end()


async def streaming(connection: OriginConnection) -> None:
    """Answer every request with as much as the edge takes."""
    while await connection.request() is not None:
        await connection.send(response(b"200 OK", b"Content-Length: %d" % (64 * MIB)))
        for _ in range(64 * 16):
            await connection.send(b"a" * 65536)


async def trickle(client: RawClient, piece: bytes) -> None:
    """Send a piece at a time, until the edge has had enough."""
    while not client.writer.is_closing():
        await client.send(piece)
        await asyncio.sleep(0.02)


# Heads.


@pytest.mark.parametrize("half", [b"G", b"GET / HTTP/1.1\r\nHost: edge.test\r\nX-Half: "])
async def test_s11_m1_a_slow_head_is_a_408_on_a_later_request_of_a_connection_too(half: bytes) -> None:
    async with (
        raw_origin(answering(ok())) as origin,
        running_edge(origin.address, "timeouts.head_read_s=0.3", "timeouts.keep_alive_idle_s=60.0") as edge,
        connected(edge.port) as client,
    ):
        for _ in range(2):
            assert (await client.ask(get())).status == 200
        await client.send(half)
        answer = await client.response()
        assert (answer.status, problem(answer)["reason"]) == (408, "head_timeout")
        assert await client.rest() == b""


async def test_s11_m1_a_head_that_was_begun_behind_another_request_has_its_own_deadline() -> None:
    async with (
        raw_origin(answering(ok())) as origin,
        running_edge(origin.address, "timeouts.head_read_s=0.3", "timeouts.keep_alive_idle_s=60.0") as edge,
        connected(edge.port) as client,
    ):
        await client.send(get() + b"GET / HTTP/1.1\r\nHost: ed")
        assert (await client.response()).status == 200
        assert (await client.response()).status == 408


# Bodies.


@pytest.mark.parametrize("more", [(), (b"Expect: 100-continue",)], ids=["unasked", "expecting"])
@pytest.mark.parametrize(("framing", "piece"), [(LENGTH, b"a"), (CHUNKED, b"1\r\na\r\n")])
async def test_s11_m1_a_body_that_trickles_in_is_a_408_though_it_never_stops(
    framing: bytes, piece: bytes, more: tuple[bytes, ...]
) -> None:
    async with (
        raw_origin(reading) as origin,
        running_edge(origin.address, *WINDOW) as edge,
        connected(edge.port) as client,
    ):
        await client.send(request(b"POST", b"/upload", framing, *more))
        sending = asyncio.create_task(trickle(client, piece))
        answer = await client.response(b"POST")
        sending.cancel()
        assert (answer.status, problem(answer)["reason"]) == (408, "body_timeout")
        assert edge.metrics.refusals == {("body_timeout", "min_request_bytes_per_s"): 1}
        await until(lambda: origin.connections[0].ended)


@pytest.mark.parametrize("ended", [False, True])
async def test_m3_a_flood_of_tiny_chunks_leaves_others_their_turn_and_arrives_whole(ended: bool) -> None:
    async with (
        raw_origin(answering(ok())) as origin,
        running_edge(origin.address) as edge,
        connected(edge.port) as client,
    ):
        await until(lambda: edge.engine.connections)
        device = next(iter(edge.engine.connections))
        flood = b"1\r\na\r\n" * 20_000 + b"0\r\n\r\n" + get(b"/next")
        device.data_received(request(b"POST", b"/upload", CHUNKED, body=flood))  # one read
        assert len(flood) // 2 < len(device._held) < len(flood)
        assert not device.reading
        if ended:
            client.half_close()
        assert (await client.response(b"POST")).status == 200
        assert (await client.response()).status == 200
        assert origin.requests[0].body == b"a" * 20_000
        assert origin.requests[1].target == b"/next"


async def test_a_body_that_keeps_to_the_minimum_rate_arrives() -> None:
    async def counting(connection: OriginConnection) -> None:
        asked = await connection.request()
        assert asked is not None
        await connection.send(ok(b"%d" % len(asked.body)))

    async with (
        raw_origin(counting) as origin,
        running_edge(origin.address, *WINDOW) as edge,
        connected(edge.port) as client,
    ):
        await client.send(request(b"POST", b"/upload", b"Content-Length: 40000"))
        for _ in range(40):  # far beyond the window
            await client.send(b"a" * 1000)
            await asyncio.sleep(0.05)
        assert (await client.response(b"POST")).body == b"40000"


async def test_a_route_may_take_bodies_that_are_slower() -> None:
    async with (
        raw_origin(reading) as origin,
        running_edge(origin.address, *WINDOW, "routes.upload.min_request_bytes_per_s=0", "timeouts.idle_s=1.5") as edge,
        connected(edge.port) as client,
    ):
        await client.send(request(b"POST", b"/upload", LENGTH, body=b"a"))
        assert (await client.response(b"POST")).status == 408
        assert edge.metrics.refusals == {("body_timeout", "idle_timeout_s"): 1}


async def test_a_device_is_not_slow_while_the_origin_does_not_read() -> None:
    gate = asyncio.Event()

    async def late(connection: OriginConnection) -> None:
        await connection.request(head_only=True)
        await gate.wait()
        await connection.end()

    async with (
        raw_origin(late, receive_buffer=4096, limit=4096) as origin,
        running_edge(origin.address, *WINDOW) as edge,
        connected(edge.port) as client,
    ):
        sending = asyncio.create_task(
            client.send(request(b"POST", b"/upload", LENGTH[:-7] + b"50000000") + b"a" * 50_000_000)
        )
        await until(lambda: any(not each.reading for each in edge.engine.connections))
        await asyncio.sleep(1.5)  # three windows
        assert not sending.done()
        assert edge.metrics.refusals == {}
        sending.cancel()
        gate.set()


# Readers.


async def test_m1_a_reader_that_does_not_read_is_cut_off_and_the_origin_let_go() -> None:
    async with (
        raw_origin(streaming) as origin,
        running_edge(origin.address, *WINDOW) as edge,
        connected(edge.port, receive_buffer=4096) as client,
    ):
        await client.send(get(b"/download"))
        await client.receive_until(b"\r\n\r\n")
        await until(lambda: edge.metrics.dropped == {("reader_too_slow",): 1})
        assert edge.metrics.refusals == {("reader_too_slow", "min_response_bytes_per_s"): 1}
        assert edge.metrics.requests == {("download", 200, "cut"): 1}
        await until(lambda: not edge.engine.connections and edge.engine.origin_connections == 0)
        with pytest.raises(ConnectionResetError):
            await client.rest()


@pytest.mark.parametrize("setting", [b"131072", b"65536", b"null"])
async def test_m1_the_kernel_holds_no_more_of_an_answer_that_nobody_reads_than_it_may(setting: bytes) -> None:
    overrides = (f"origins.api.receive_buffer_bytes={setting.decode()}",)
    async with (
        raw_origin(streaming) as origin,
        running_edge(origin.address, *overrides) as edge,
        connected(edge.port, receive_buffer=4096) as client,
    ):
        await client.send(get(b"/download"))
        await client.receive_until(b"\r\n\r\n")
        (upstream,) = edge.engine.pools["api"]._all
        sock = upstream._transport.get_extra_info("socket")
        await until(lambda: not upstream._transport.is_reading())
        room = sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
        assert (room == 2 * int(setting)) if setting != b"null" else (room not in (131072, 262144))


async def test_m1_a_slow_but_steady_reader_outlives_window_and_idle_time() -> None:
    async with (
        raw_origin(streaming) as origin,
        running_edge(origin.address, *WINDOW, "timeouts.idle_s=0.3") as edge,
        connected(edge.port, receive_buffer=4096) as client,
    ):
        await client.send(get(b"/download"))
        await client.receive_until(b"\r\n\r\n")
        await until(lambda: any(each.full for each in edge.engine.connections))
        for _ in range(30):  # for six windows and ten idle times
            await client.receive(65536)
            await asyncio.sleep(0.1)
        assert edge.metrics.dropped == {}
        assert edge.metrics.refusals == {}


async def test_a_route_may_have_readers_that_pause() -> None:
    async with (
        raw_origin(streaming) as origin,
        running_edge(
            origin.address,
            *WINDOW,
            "routes.download.min_response_bytes_per_s=0",
            "routes.download.request_timeout_s=3.0",
        ) as edge,
        connected(edge.port, receive_buffer=4096) as client,
    ):
        await client.send(get(b"/download"))
        await until(lambda: edge.metrics.refusals)
        assert edge.metrics.refusals == {("request_timeout", "request_timeout_s"): 1}


@pytest.mark.parametrize("line", [b"Connection: keep-alive", b"Connection: close"])
async def test_m1_an_answer_that_is_written_and_never_read_is_given_up(line: bytes) -> None:
    async def script(connection: OriginConnection) -> None:
        while await connection.request() is not None:
            await connection.send(ok(b"a" * 8 * MIB))

    async with (
        raw_origin(script) as origin,
        running_edge(origin.address, *WINDOW, "timeouts.idle_s=60.0") as edge,
        connected(edge.port, receive_buffer=4096) as client,
    ):
        edge.engine.write_buffer_bytes = 64 * MIB  # all of it is written at once
        async with connected(edge.port, receive_buffer=4096) as other:
            await other.send(get(b"/download", line))
            await until(lambda: edge.metrics.requests == {("download", 200, "ok"): 1})
            await until(lambda: edge.metrics.dropped == {("reader_too_slow",): 1})
        assert (await client.ask(get(b"/nothing-else", line))).status == 200


# What is sent ahead.


async def test_m4_what_is_refused_on_the_spot_does_not_keep_others_waiting() -> None:
    async with (
        raw_origin(answering(ok())) as origin,
        running_edge(origin.address, "routes.root.hosts=[edge.test]") as edge,
        connected(edge.port) as greedy,
        connected(edge.port) as other,
    ):
        await greedy.send(b"GET /x HTTP/1.1\r\nHost: nobody\r\n\r\n" * 1000)
        await until(lambda: edge.metrics.requests.get(("", 404, "refused")))
        assert (await other.ask(get())).status == 200
        assert edge.metrics.requests["", 404, "refused"] < 1000
        for _ in range(1000):
            assert (await greedy.response()).status == 404


async def test_m4_a_hundred_thousand_requests_sent_ahead_wait_unread() -> None:
    number = 100_000
    async with (
        raw_origin(answering(ok(b"a" * 1000))) as origin,
        running_edge(origin.address) as edge,
        connected(edge.port, receive_buffer=4096) as client,
    ):
        sending = asyncio.create_task(client.send(b"".join(get(b"/?%d" % turn) for turn in range(number))))
        await until(lambda: any(each.full for each in edge.engine.connections))
        (connection,) = edge.engine.connections
        assert len(connection._held) < MIB
        assert connection._transport.get_write_buffer_size() < MIB
        assert sum(edge.metrics.requests.values()) < number // 10
        asked = [each.target for each in origin.requests]
        assert asked == [b"/?%d" % turn for turn in range(len(asked))]
        sending.cancel()


# Greedy bodies.


@pytest.mark.parametrize("target", [b"/upload", b"/echo"])
@pytest.mark.parametrize("chunk", [b"1\r\na\r\n", b"400\r\n" + b"a" * 1024 + b"\r\n"])
async def test_m3_a_chunked_body_is_cut_at_the_routes_limit(target: bytes, chunk: bytes) -> None:
    caps = ("limits.max_request_body_bytes=5000", "routes.echo.max_request_body_bytes=3000")
    async with (
        raw_origin(reading) as origin,
        running_edge(origin.address, *caps) as edge,
        connected(edge.port) as client,
    ):
        await client.send(request(b"POST", target, CHUNKED))
        sending = asyncio.create_task(trickle_all(client, chunk))
        answer = await client.response(b"POST")
        sending.cancel()
        assert (answer.status, problem(answer)["reason"]) == (413, "body_too_large")
        assert edge.metrics.refusals == {("body_too_large", "streamed"): 1}
        await until(lambda: origin.connections[0].ended)
        passed_on = bytes(origin.connections[0].received).partition(b"\r\n\r\n")[2]
        assert passed_on.count(b"a") <= (3000 if target == b"/echo" else 5000)
        assert not passed_on.endswith(b"0\r\n\r\n")


async def trickle_all(client: RawClient, chunk: bytes) -> None:
    """Send chunks without an end."""
    while not client.writer.is_closing():
        await client.send(chunk * 16)
        await asyncio.sleep(0)


@pytest.mark.parametrize(("size", "status"), [(3000, 200), (3001, 413)])
@pytest.mark.parametrize("framing", [b"length", b"chunked", b"expect"])
async def test_m3_the_limit_is_exact_for_every_framing(framing: bytes, size: int, status: int) -> None:
    body = b"a" * size
    lines: tuple[bytes, ...] = (b"Content-Length: %d" % size,)
    wire = body
    if framing == b"chunked":
        lines, wire = (CHUNKED,), b"%x\r\n%s\r\n0\r\n\r\n" % (size, body)
    elif framing == b"expect":
        lines = (*lines, b"Expect: 100-continue")
    async with (
        raw_origin(answering(ok())) as origin,
        running_edge(origin.address, "routes.echo.max_request_body_bytes=3000") as edge,
        connected(edge.port) as client,
    ):
        answer = await client.ask(request(b"POST", b"/echo", *lines) + wire)
        assert answer.status == status
        if framing != b"chunked":
            assert bool(origin.connections) == (status == 200)
