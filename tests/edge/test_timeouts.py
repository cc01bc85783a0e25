"""Every wait of the data plane ends: the head, the idle connection, the body, the origin, the whole request."""

import asyncio
import os
import socket
from contextlib import AsyncExitStack

import pytest

from edge.relay.engine import SWEEP_INTERVAL_S
from edge.relay.refusal import Ended
from tests.edge.raw import OriginConnection, answering, connected, get, ok, raw_origin, request, response, until
from tests.edge.running import running_edge
from tests.edge.test_relay import problem


class Unconnected(asyncio.Transport):
    """Stands for the connections of thousands: nothing is ever sent or read."""

    def __init__(self) -> None:
        super().__init__({"peername": ("127.0.0.1", 1)})

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Take any."""

    def get_write_buffer_size(self) -> int:
        """Tell that nothing is unsent."""
        return 0

    def abort(self) -> None:
        """Do nothing."""


async def silent(connection: OriginConnection) -> None:
    """Read everything, answer nothing."""
    await connection.end()


@pytest.mark.parametrize("half", [b"G", b"GET /", b"GET / HTTP/1.1\r\nHost: edge.test\r\n", b"GET /\r\n"])
async def test_s11_a_head_that_does_not_arrive_in_time_is_a_408(half: bytes) -> None:
    async with (
        raw_origin(answering(ok())) as origin,
        running_edge(origin.address, "timeouts.head_read_s=0.2") as edge,
        connected(edge.port) as client,
    ):
        await client.send(half)
        answer = await client.response()
        assert (answer.status, problem(answer)["reason"]) == (408, "head_timeout")
        assert await client.rest() == b""
        assert origin.connections == []


class Broken(Ended):
    """A handler whose sweep fails."""

    def start(self) -> None:
        """It has begun."""

    def sweep(self, now: float) -> None:
        raise RuntimeError("a bug")


async def test_what_is_wrong_with_one_connection_keeps_no_other_from_its_deadline() -> None:
    async with (
        raw_origin(answering(ok())) as origin,
        running_edge(origin.address, "timeouts.head_read_s=0.5") as edge,
        AsyncExitStack() as stack,
    ):
        wrong = [await stack.enter_async_context(connected(edge.port)) for _ in range(5)]
        await until(lambda: len(edge.engine.connections) == len(wrong))
        for connection in edge.engine.connections:
            connection._handler = Broken()
        client = await stack.enter_async_context(connected(edge.port))
        await client.send(b"GET / HTTP/1.1\r\n")
        assert (await client.response()).status == 408
        client.close()
        await until(lambda: not edge.engine.connections)


async def test_s11_a_head_that_trickles_in_has_no_longer_than_one_that_stalls() -> None:
    async with (
        raw_origin(answering(ok())) as origin,
        running_edge(origin.address, "timeouts.head_read_s=0.3") as edge,
        connected(edge.port) as client,
    ):
        answering_ = asyncio.create_task(client.response())
        await client.send(b"GET / HTTP/1.1\r\nX: ")
        while not answering_.done():
            await client.send(b"a")
            await asyncio.sleep(0.02)
        assert answering_.result().status == 408


async def test_s11_a_connection_that_says_nothing_is_closed_without_an_answer() -> None:
    async with (
        raw_origin(answering(ok())) as origin,
        running_edge(origin.address, "timeouts.head_read_s=0.2") as edge,
        connected(edge.port) as client,
    ):
        assert await client.rest() == b""


async def test_w2_a_request_that_has_come_as_the_idle_time_ends_is_answered() -> None:
    async with (
        raw_origin(answering(ok(), ok())) as origin,
        running_edge(origin.address, "timeouts.keep_alive_idle_s=5.0") as edge,
        connected(edge.port) as client,
    ):
        await client.ask(get())
        (connection,) = edge.engine.connections
        await until(lambda: connection._deadline)
        os.write(client.writer.get_extra_info("socket").fileno(), get())  # past this loop, which does not read it yet
        connection.sweep(connection._deadline)
        assert (await client.response()).status == 200
        await until(lambda: connection._deadline)
        connection.sweep(connection._deadline)
        assert await client.rest() == b""


async def test_an_idle_connection_is_closed_after_its_time_and_not_before() -> None:
    overrides = ("timeouts.keep_alive_idle_s=0.6", "timeouts.head_read_s=0.1")
    async with (
        raw_origin(answering(ok())) as origin,
        running_edge(origin.address, *overrides) as edge,
        connected(edge.port) as client,
    ):
        await client.ask(get())
        began = asyncio.get_running_loop().time()
        assert await client.rest() == b""
        assert asyncio.get_running_loop().time() - began >= 0.5


@pytest.mark.parametrize("framing", [b"Content-Length: 100", b"Transfer-Encoding: chunked"])
async def test_s11_a_body_that_stops_arriving_is_a_408_and_the_origin_is_let_go(framing: bytes) -> None:
    async with (
        raw_origin(silent) as origin,
        running_edge(origin.address, "timeouts.idle_s=0.2") as edge,
        connected(edge.port) as client,
    ):
        await client.send(request(b"POST", b"/upload", framing, body=b"5\r\nhello\r\n"))
        answer = await client.response(b"POST")
        assert (answer.status, problem(answer)["reason"]) == (408, "body_timeout")
        assert await client.rest() == b""
        await until(lambda: origin.connections[0].ended)


async def test_an_origin_that_does_not_answer_is_a_504_and_its_connection_is_not_used_again() -> None:
    async with (
        raw_origin(silent) as origin,
        running_edge(origin.address, "timeouts.response_head_s=0.2") as edge,
        connected(edge.port) as client,
    ):
        for turn in range(2):
            answer = await client.ask(get())
            assert (answer.status, problem(answer)["reason"]) == (504, "origin_timeout")
            await until(lambda: origin.connections[-1].ended)
            assert len(origin.connections) == turn + 1


async def test_an_answers_head_that_stalls_half_way_is_a_504() -> None:
    async def script(connection: OriginConnection) -> None:
        await connection.request()
        await connection.send(b"HTTP/1.1 200 OK\r\nContent-")
        await connection.end()

    async with (
        raw_origin(script) as origin,
        running_edge(origin.address, "timeouts.response_head_s=0.2") as edge,
        connected(edge.port) as client,
    ):
        assert (await client.ask(get())).status == 504


async def test_an_answers_body_that_stalls_resets_the_device() -> None:
    async def script(connection: OriginConnection) -> None:
        await connection.request()
        await connection.send(response(b"200 OK", b"Content-Length: 100") + b"partly")
        await connection.end()

    async with (
        raw_origin(script) as origin,
        running_edge(origin.address, "timeouts.idle_s=0.2") as edge,
        connected(edge.port) as client,
    ):
        await client.send(get())
        await client.receive_until(b"partly")
        with pytest.raises(ConnectionResetError):
            await client.rest()
        await until(lambda: origin.connections[0].ended)


async def test_a_whole_request_has_a_deadline_that_progress_does_not_move() -> None:
    async def script(connection: OriginConnection) -> None:
        await connection.request()
        await connection.send(response(b"200 OK", b"Transfer-Encoding: chunked"))
        while not connection.gone:
            await connection.send(b"1\r\na\r\n")
            await asyncio.sleep(0.02)

    async with (
        raw_origin(script) as origin,
        running_edge(origin.address, "timeouts.request_s=0.4", "timeouts.idle_s=0.2") as edge,
        connected(edge.port) as client,
    ):
        await client.send(get())
        await client.receive_until(b"\r\n\r\n")
        with pytest.raises(ConnectionResetError):
            await client.rest()
        assert edge.metrics.refusals == {("request_timeout", "request_timeout_s"): 1}


async def test_a_whole_request_that_was_not_answered_in_time_is_a_504() -> None:
    async with (
        raw_origin(silent) as origin,
        running_edge(origin.address, "timeouts.request_s=0.3") as edge,
        connected(edge.port) as client,
    ):
        answer = await client.ask(get())
        assert (answer.status, problem(answer)["reason"]) == (504, "request_timeout")


async def test_a_trickling_upload_ends_at_the_whole_requests_deadline() -> None:
    async with (
        raw_origin(silent) as origin,
        running_edge(origin.address, "timeouts.request_s=0.4", "timeouts.idle_s=0.2") as edge,
        connected(edge.port) as client,
    ):
        await client.send(request(b"POST", b"/upload", b"Content-Length: 100000"))
        answered = asyncio.create_task(client.response(b"POST"))
        while not answered.done():
            await client.send(b"a")
            await asyncio.sleep(0.02)
        assert answered.result().status == 504


async def test_an_origin_that_does_not_accept_is_a_503_in_time() -> None:
    # A full backlog: Linux then drops what would connect, and the connecting side waits.
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(0)
    address = f"127.0.0.1:{listener.getsockname()[1]}"
    fillers = []
    for _ in range(4):
        filler = socket.socket()
        filler.setblocking(False)
        filler.connect_ex(listener.getsockname())
        fillers.append(filler)
    try:
        async with running_edge(address, "timeouts.connect_s=0.2") as edge, connected(edge.port) as client:
            answer = await client.ask(get())
            assert (answer.status, problem(answer)["reason"]) == (503, "origin_connect_timeout")
    finally:
        for each in (listener, *fillers):
            each.close()


async def test_a_slow_but_steady_answer_outlives_the_idle_time() -> None:
    async def script(connection: OriginConnection) -> None:
        await connection.request()
        await connection.send(response(b"200 OK", b"Content-Length: 20"))
        for _ in range(20):
            await connection.send(b"a")
            await asyncio.sleep(0.05)
        await connection.end()

    async with (
        raw_origin(script) as origin,
        running_edge(origin.address, "timeouts.idle_s=0.5", "timeouts.response_head_s=0.5") as edge,
        connected(edge.port) as client,
    ):
        assert (await client.ask(get())).body == b"a" * 20


async def test_a_refused_device_that_neither_reads_nor_goes_is_dropped() -> None:
    async with (
        raw_origin(answering(ok())) as origin,
        running_edge(origin.address, "timeouts.idle_s=0.2") as edge,
        connected(edge.port) as client,
    ):
        await client.send(b"nonsense\r\n\r\n")
        await client.receive_until(b"}")
        async with asyncio.timeout(6):
            await until(lambda: not edge.engine.connections)


async def test_the_wait_for_the_answers_head_begins_with_the_end_of_an_upload() -> None:
    async def slow_answer(connection: OriginConnection) -> None:
        while await connection.request() is not None:
            await asyncio.sleep(0.3)
            await connection.send(ok(b"done"))

    async with (
        raw_origin(slow_answer) as origin,
        running_edge(origin.address, "timeouts.response_head_s=0.8", "timeouts.idle_s=5.0") as edge,
        connected(edge.port) as client,
    ):
        await client.send(request(b"POST", b"/upload", b"Content-Length: 12"))
        for _ in range(12):
            await client.send(b"x")
            await asyncio.sleep(0.1)
        assert (await client.response()).body == b"done"


async def test_s5_a_client_that_waits_for_a_100_hears_that_the_origin_is_silent() -> None:
    async with (
        raw_origin(silent) as origin,
        running_edge(origin.address, "timeouts.response_head_s=0.2") as edge,
        connected(edge.port) as client,
    ):
        await client.send(request(b"POST", b"/upload", b"Content-Length: 5", b"Expect: 100-continue"))
        answer = await client.response(b"POST")
        assert (answer.status, problem(answer)["reason"]) == (504, "origin_timeout")


async def test_m2_thousands_of_connections_are_swept_a_few_at_a_time_and_all_within_the_interval() -> None:
    async with (
        raw_origin(silent) as origin,
        running_edge(origin.address, "limits.max_connections_per_client=2000") as edge,
    ):
        engine = edge.engine
        await until(lambda: engine.rejections.load.swept_at)
        assert engine._pulser is not None
        engine._pulser.cancel()  # the pulses are ours
        crowd = [engine.accept() for _ in range(1000)]
        for connection in crowd:
            connection.connection_made(Unconnected())

        def pulse(passed: float) -> int:
            """Let a share of the interval pass; return how many connections are swept by then."""
            for connection in crowd:
                connection._deadline = 0.0 if connection.idle_at <= begun else 1e9
            engine._keep_deadlines(begun + passed * SWEEP_INTERVAL_S)
            return sum(connection.idle_at > begun for connection in crowd)

        begun = engine.clock() + 10.0
        engine._end_sweep(begun)
        assert [pulse(passed) for passed in (0.0, 0.1, 0.5, 0.99)] == pytest.approx([0, 100, 500, 990], abs=2)
        assert pulse(1.0) == 1000
        begun = engine.rejections.load.swept_at
        assert pulse(0.1) == pytest.approx(100, abs=2)
        assert pulse(7.0) == 1000, "a loop that was late has no time to lose"
