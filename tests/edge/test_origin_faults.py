"""Origins that fail in the middle: what is cut never looks whole, and nothing of one answer reaches another one."""

import asyncio
from pathlib import Path

import h11
import pytest

from tests.edge.raw import (
    OriginConnection,
    RawClient,
    Script,
    connected,
    get,
    ok,
    raw_origin,
    request,
    response,
    until,
)
from tests.edge.running import running_edge

SIZED = response(b"200 OK", b"Content-Length: 1000") + b"x" * 500
CHUNKED = response(b"200 OK", b"Transfer-Encoding: chunked") + b"1f4\r\n" + b"x" * 500 + b"\r\n"


def descriptors() -> int:
    """Return how many files and sockets this process has open."""
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def ending(answer: bytes, how: str, seen: asyncio.Event) -> Script:
    """Return an origin that sends this much of an answer and, when that was seen, ends: `close` or `reset`."""

    async def script(connection: OriginConnection) -> None:
        await connection.request()
        await connection.send(answer)
        await seen.wait()
        getattr(connection, how)()

    return script


async def cut(client: RawClient, seen: asyncio.Event, mark: bytes, *, method: bytes = b"GET") -> bytes:
    """Ask, let the origin fail once `mark` was seen, and return what the device got; it must end in a reset."""
    await client.send(request(method, b"/download", *([b"Content-Length: 0"] if method == b"POST" else [])))
    got = await client.receive_until(mark)
    seen.set()
    with pytest.raises(ConnectionResetError):
        got += await client.rest()
    return got


async def test_b6_a_drip_of_single_bytes_streams_through_and_holds_nobody_up() -> None:
    seen: asyncio.Queue[None] = asyncio.Queue()
    body = b"one byte at a time"

    async def script(connection: OriginConnection) -> None:
        while (asked := await connection.request()) is not None:
            if asked.target != b"/download":
                await connection.send(ok(b"quick"))
                continue
            await connection.send(response(b"200 OK", b"Content-Length: %d" % len(body)))
            for byte in body:
                await connection.send(bytes((byte,)))
                await seen.get()

    async with (
        raw_origin(script) as origin,
        running_edge(origin.address) as edge,
        connected(edge.port) as slow,
        connected(edge.port) as quick,
    ):
        await slow.send(get(b"/download"))
        await slow.receive_until(b"\r\n\r\n")
        for byte in body:
            assert await slow.receive(1) == bytes((byte,))
            seen.put_nowait(None)
            assert (await quick.ask(get(b"/echo"))).body == b"quick"
        assert (await slow.ask(get(b"/echo"))).body == b"quick"


@pytest.mark.parametrize("how", ["close", "reset", "half_close"])
@pytest.mark.parametrize("method", [b"GET", b"POST"])
@pytest.mark.parametrize("answer", [SIZED, CHUNKED], ids=["sized", "chunked"])
async def test_b7_b8_b9_an_answer_cut_in_the_middle_is_never_whole_never_asked_again_and_leaks_nothing(
    how: str, method: bytes, answer: bytes
) -> None:
    seen = asyncio.Event()
    async with raw_origin(ending(answer, how, seen)) as origin, running_edge(origin.address) as edge:
        async with connected(edge.port) as client:
            got = await cut(client, seen, b"x" * 500, method=method)
        assert not got.endswith(b"0\r\n\r\n")
        assert len(got.partition(b"\r\n\r\n")[2]) < 1000
        await until(lambda: edge.engine.origin_connections == 0)
        assert len(origin.connections) == 1
        assert len(origin.requests) == 1
        assert edge.metrics.requests == {("download", 200, "cut"): 1}


@pytest.mark.parametrize(
    "sent", [b"", b"1f4", b"1f4\r\n", b"1f4\r\nx", b"1\r\nx", b"1\r\nx\r\n", b"1\r\nx\r\n0", b"1\r\nx\r\n0\r\n"]
)
async def test_b8_chunks_cut_at_any_place_have_no_last_chunk(sent: bytes) -> None:
    seen = asyncio.Event()
    script = ending(response(b"200 OK", b"Transfer-Encoding: chunked") + sent, "close", seen)
    async with raw_origin(script) as origin, running_edge(origin.address) as edge, connected(edge.port) as client:
        got = await cut(client, seen, b"x\r\n" if b"x" in sent else b"\r\n\r\n")
        assert not got.endswith(b"0\r\n\r\n")
        oracle = h11.Connection(h11.CLIENT)
        oracle.send(h11.Request(method=b"GET", target=b"/", headers=[(b"host", b"x")]))
        oracle.send(h11.EndOfMessage())
        oracle.receive_data(got)
        events = []
        while (event := oracle.next_event()) is not h11.NEED_DATA:
            events.append(type(event))
        assert h11.EndOfMessage not in events


@pytest.mark.parametrize("head", [SIZED[:-500], CHUNKED[:-507]], ids=["sized", "chunked"])
async def test_b9_a_half_close_right_after_the_head_is_a_cut_and_its_descriptors_are_given_back(head: bytes) -> None:
    async def script(connection: OriginConnection) -> None:
        await connection.request()
        await connection.send(head)
        connection.half_close()
        await connection.end()

    async with raw_origin(script) as origin, running_edge(origin.address) as edge:
        before = 0
        for turn in range(20):
            async with connected(edge.port) as client:
                await client.send(get(b"/download"))
                with pytest.raises(ConnectionResetError):
                    await client.rest()
            await until(lambda: not edge.engine.connections and edge.engine.origin_connections == 0)
            await until(lambda: all(connection.ended for connection in origin.connections))
            if turn == 4:
                before = descriptors()
        await until(lambda: descriptors() <= before)
        assert len(origin.connections) == 20


@pytest.mark.parametrize("framing", [b"Content-Length: 1000000", b"Transfer-Encoding: chunked"])
async def test_b11_an_answer_before_the_end_of_the_body_is_relayed_and_both_connections_end(framing: bytes) -> None:
    async def script(connection: OriginConnection) -> None:
        await connection.request(head_only=True)
        if connection.number:
            await connection.send(ok(b"another"))
        else:
            await connection.send(response(b"413 Too Large", b"Content-Length: 7") + b"too big")
        await connection.end()

    async with raw_origin(script) as origin, running_edge(origin.address) as edge:
        async with connected(edge.port) as client:
            await client.send(request(b"POST", b"/upload", framing, body=b"5\r\nhello\r\n"))
            answer = await client.response(b"POST")
            assert (answer.status, answer.body, answer.get(b"connection")) == (413, b"too big", b"close")
            # What still comes of the body is nobody's request.
            await client.send(get(b"/smuggled"))
            assert await client.rest() == b""
        await until(lambda: origin.connections[0].ended)
        async with connected(edge.port) as client:
            assert (await client.ask(get())).body == b"another"
        assert [asked.target for asked in origin.requests] == [b"/upload", b"/"]


@pytest.mark.parametrize("size", [None, 1, 13])
@pytest.mark.parametrize(
    "beyond", [ok(b"evil"), b"x", b"\r\n", b"HTTP/1.1 200 OK\r\n", response(b"103 Early Hints", b"Link: </a>")]
)
@pytest.mark.parametrize(
    "first", [ok(b"mine"), response(b"200 OK", b"Transfer-Encoding: chunked") + b"4\r\nmine\r\n0\r\n\r\n"]
)
async def test_b11_what_follows_an_answer_is_nobodys(first: bytes, beyond: bytes, size: int | None) -> None:
    async def script(connection: OriginConnection) -> None:
        while (asked := await connection.request()) is not None:
            await connection.send(first + beyond if connection.number == 0 else ok(asked.target), size=size)
            if connection.number == 0:
                await connection.end()
                return

    async with (
        raw_origin(script) as origin,
        running_edge(origin.address) as edge,
        connected(edge.port) as client,
        connected(edge.port) as other,
    ):
        assert (await client.ask(get())).body == b"mine"
        await until(lambda: origin.connections[0].ended)
        assert (await other.ask(get(b"/echo/other"))).body == b"/echo/other"
        assert (await client.ask(get(b"/echo/again"))).body == b"/echo/again"
        assert bytes(origin.connections[0].received).count(b"HTTP/1.1") == 1


NOT_AN_ANSWER = {
    "garbage": b"\x16\x03\x01\x02\x00\x01\x00" * 20,
    "http09": b"<html>hello</html>",
    "http2": b"HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n",
    "empty_lines": b"\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    "large_head": b"HTTP/1.1 200 OK\r\nX: " + b"y" * (1 << 20) + b"\r\n\r\n",
    "many_fields": b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 5000 + b"\r\n",
    "two_lengths": response(b"200 OK", b"Content-Length: 4", b"Content-Length: 40") + b"evil",
    "same_lengths": response(b"200 OK", b"Content-Length: 4", b"Content-Length: 4") + b"evil",
    "length_and_chunks": response(b"200 OK", b"Content-Length: 4", b"Transfer-Encoding: chunked") + b"evil",
    "signed_length": response(b"200 OK", b"Content-Length: +4") + b"evil",
    "unknown_coding": response(b"200 OK", b"Transfer-Encoding: gzip") + b"evil",
    "unasked_101": response(b"101 Switching Protocols", b"Connection: upgrade", b"Upgrade: websocket") + b"evil",
    "bare_101": response(b"101 Switching Protocols") + b"evil",
    "status_600": response(b"600 High", b"Content-Length: 4") + b"evil",
    "status_2": b"HTTP/1.1 2 OK\r\nContent-Length: 4\r\n\r\nevil",
    "nul": response(b"200 OK", b"X: a\x00b", b"Content-Length: 4") + b"evil",
    "folded": response(b"200 OK", b"X: a", b" b", b"Content-Length: 4") + b"evil",
    "blank_before_colon": response(b"200 OK", b"X : a", b"Content-Length: 4") + b"evil",
}


@pytest.mark.parametrize("size", [None, 1, 1000])
@pytest.mark.parametrize("name", NOT_AN_ANSWER)
async def test_b12_what_is_not_one_answer_is_a_502_and_its_connection_is_dropped(name: str, size: int | None) -> None:
    bad = NOT_AN_ANSWER[name]
    if size == 1 and len(bad) > 10_000:
        size = 4001

    async def script(connection: OriginConnection) -> None:
        await connection.request()
        await connection.send(bad if connection.number == 0 else ok(b"well"), size=size)
        await connection.end()

    async with raw_origin(script) as origin, running_edge(origin.address) as edge, connected(edge.port) as client:
        answer = await client.ask(get())
        assert (answer.status, answer.get(b"content-type")) == (502, b"application/problem+json")
        assert b"evil" not in answer.body
        await until(lambda: origin.connections[0].ended)
        assert (await client.ask(get())).body == b"well"
        assert edge.metrics.refusals == {("origin_protocol_error", "api"): 1}
