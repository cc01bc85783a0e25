"""Framing over the wire: what is refused closes the connection, and nothing of it ever reaches an origin."""

import asyncio

import pytest

from tests.edge.raw import OriginConnection, answering, connected, get, ok, raw_origin, request, response, until
from tests.edge.running import running_edge

pytestmark = pytest.mark.usefixtures("every_delivery")

SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: edge.test\r\n\r\n"


def post(*lines: bytes, body: bytes = b"", version: bytes = b"HTTP/1.1", host: bytes = b"Host: edge.test\r\n") -> bytes:
    """Return a POST with these header lines, byte for byte."""
    return b"POST /upload " + version + b"\r\n" + host + b"".join(lines) + b"\r\n" + body


AMBIGUOUS = {
    "s1_cl_te": post(b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n", body=b"0\r\n\r\n" + SMUGGLED),
    "s1_te_cl": post(b"Transfer-Encoding: chunked\r\n", b"Content-Length: 5\r\n", body=b"0\r\n\r\n" + SMUGGLED),
    "s1_te_te": post(b"Transfer-Encoding: chunked\r\n", b"Transfer-Encoding: x\r\n", body=b"0\r\n\r\n" + SMUGGLED),
    "s1_xchunked": post(b"Transfer-Encoding: xchunked\r\n", body=b"0\r\n\r\n" + SMUGGLED),
    "s1_vertical_tab": post(b"Transfer-Encoding: \x0bchunked\r\n", body=b"0\r\n\r\n" + SMUGGLED),
    "s1_http10_te": post(b"Transfer-Encoding: chunked\r\n", body=b"0\r\n\r\n" + SMUGGLED, version=b"HTTP/1.0"),
    "s1_http10_te_no_host": post(b"Transfer-Encoding: chunked\r\n", body=SMUGGLED, version=b"HTTP/1.0", host=b""),
    "s2_two_cl": post(b"Content-Length: 0\r\n", b"Content-Length: 44\r\n", body=SMUGGLED),
    "s2_same_cl": post(b"Content-Length: 5\r\n", b"Content-Length: 5\r\n", body=b"hello" + SMUGGLED),
    "s2_listed_cl": post(b"Content-Length: 5, 5\r\n", body=b"hello" + SMUGGLED),
    "s2_plus": post(b"Content-Length: +5\r\n", body=b"hello" + SMUGGLED),
    "s2_minus": post(b"Content-Length: -5\r\n", body=SMUGGLED),
    "s2_hex": post(b"Content-Length: 0x5\r\n", body=b"hello" + SMUGGLED),
    "s2_overflow": post(b"Content-Length: 18446744073709551621\r\n", body=b"hello" + SMUGGLED),
    "s3_bare_lf": post(b"X: y\n", b"Content-Length: 5\r\n", body=b"hello" + SMUGGLED),
    "s3_bare_lf_end": b"POST /upload HTTP/1.1\nHost: edge.test\n\n" + SMUGGLED,
    "s3_bare_cr": post(b"X: y\rContent-Length: 5\r\n", body=b"hello" + SMUGGLED),
    "s3_space_before_colon": post(b"Content-Length : 5\r\n", body=b"hello" + SMUGGLED),
    "s3_fold": post(b"X: y\r\n Content-Length: 5\r\n", body=b"hello" + SMUGGLED),
    "s3_nul": post(b"X: \x00\r\n", body=SMUGGLED),
    "s6_upgrade_cl": post(b"Connection: upgrade\r\nUpgrade: h2c\r\nContent-Length: 5\r\n", body=b"hello" + SMUGGLED),
    "s6_upgrade_te": post(
        b"Connection: upgrade\r\nUpgrade: x\r\nTransfer-Encoding: chunked\r\n", body=b"0\r\n\r\n" + SMUGGLED
    ),
    "s7_connect": b"CONNECT edge.test:80 HTTP/1.1\r\nHost: edge.test\r\nContent-Length: 5\r\n\r\nhello" + SMUGGLED,
    "s3_http09": b"GET /\r\n\r\n" + SMUGGLED,
    "h2_preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + SMUGGLED,
    "leading_crlf": b"\r\n" + SMUGGLED,
    "trace": b"TRACE / HTTP/1.1\r\nHost: edge.test\r\n\r\n" + SMUGGLED,
    "two_hosts": b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n" + SMUGGLED,
}


@pytest.mark.parametrize("size", [None, 1])
@pytest.mark.parametrize("name", AMBIGUOUS)
async def test_s1_s2_s3_s6_s7_an_ambiguous_head_is_refused_and_nothing_after_it_is_read(
    name: str, size: int | None
) -> None:
    async with (
        raw_origin(answering(ok())) as origin,
        running_edge(origin.address) as edge,
        connected(edge.port) as client,
    ):
        await client.send(AMBIGUOUS[name], size=size)
        answer = await client.response()
        assert answer.status in {400, 501, 505}
        assert answer.get(b"connection") == b"close"
        assert await client.rest() == b""
        assert origin.connections == []


BROKEN_CHUNKS = [
    b"5;ext=a\r\nhello\r\n0\r\n\r\n",
    b"0x5\r\nhello\r\n0\r\n\r\n",
    b"5 \r\nhello\r\n0\r\n\r\n",
    b"5\nhello\n0\n\n",
    b"5\r\nhello!\r\n0\r\n\r\n",
    b"ffffffffffffffff5\r\nhello\r\n0\r\n\r\n",
    b"-5\r\nhello\r\n0\r\n\r\n",
    b"0\r\nX : y\r\n\r\n",
    b"0\r\nX: y\r\n z\r\n\r\n",
    b"0\r\nX: " + b"y" * 40000 + b"\r\n\r\n",
]


@pytest.mark.parametrize("size", [None, 1000])
@pytest.mark.parametrize("chunks", BROKEN_CHUNKS)
async def test_s3_broken_chunks_are_refused_and_the_origin_never_sees_a_whole_body(
    chunks: bytes, size: int | None
) -> None:
    async def script(connection: OriginConnection) -> None:
        await connection.request(head_only=True)
        await connection.end()

    async with raw_origin(script) as origin, running_edge(origin.address) as edge, connected(edge.port) as client:
        head = post(b"Transfer-Encoding: chunked\r\n")
        await client.send(head + chunks + SMUGGLED, size=size)
        answer = await client.response(b"POST")
        assert (answer.status, answer.get(b"connection")) == (400, b"close")
        assert await client.rest() == b""
        await until(lambda: all(each.ended for each in origin.connections if each.received))
        for connection in origin.connections:
            assert not connection.received.endswith(b"0\r\n\r\n")
            assert b"smuggled" not in connection.received


async def test_s3_a_chunk_that_breaks_after_the_origins_answer_began_resets_the_device() -> None:
    async def script(connection: OriginConnection) -> None:
        await connection.request(head_only=True)
        await connection.send(response(b"200 OK", b"Content-Length: 10") + b"part")
        await connection.end()

    async with raw_origin(script) as origin, running_edge(origin.address) as edge, connected(edge.port) as client:
        await client.send(post(b"Transfer-Encoding: chunked\r\n", body=b"1\r\na\r\n"))
        await client.receive_until(b"part")
        await client.send(b"nonsense\r\n")
        with pytest.raises(ConnectionResetError):
            await client.rest()
        await until(lambda: origin.connections[0].ended)


async def test_s3_a_missing_last_crlf_is_no_end() -> None:
    async def script(connection: OriginConnection) -> None:
        await connection.request(head_only=True)
        await connection.end()

    async with raw_origin(script) as origin, running_edge(origin.address) as edge, connected(edge.port) as client:
        await client.send(post(b"Transfer-Encoding: chunked\r\n", body=b"1\r\na\r\n0\r\n"))
        await until(lambda: origin.connections and b"1\r\na\r\n" in origin.connections[0].received)
        client.half_close()
        await until(lambda: origin.connections[0].ended)
        assert not origin.connections[0].received.endswith(b"0\r\n\r\n")


async def test_s1_chunks_are_written_anew_for_the_origin() -> None:
    async with (
        raw_origin(answering(ok())) as origin,
        running_edge(origin.address) as edge,
        connected(edge.port) as client,
    ):
        sent = post(b"Transfer-Encoding:\tCHUNKED \r\n", body=b"0005\r\nhello\r\n0\r\n\r\n" + SMUGGLED)
        await client.send(sent, size=len(sent))  # as one: its one chunk is to stay one
        for _ in range(2):
            assert (await client.response()).status == 200
        assert [asked.target for asked in origin.requests] == [b"/upload", b"/smuggled"]
        assert b"transfer-encoding: chunked\r\n" in origin.connections[0].received
        assert b"\r\n\r\n5\r\nhello\r\n0\r\n\r\n" in origin.connections[0].received


async def test_s2_an_http_1_0_body_is_no_second_request() -> None:
    async with (
        raw_origin(answering(ok())) as origin,
        running_edge(origin.address) as edge,
        connected(edge.port) as client,
    ):
        length = b"Content-Length: %d\r\n" % len(SMUGGLED)
        await client.send(post(length, body=SMUGGLED, version=b"HTTP/1.0", host=b""))
        assert (await client.rest()).count(b"HTTP/1.1") == 1
        assert [(asked.target, asked.body) for asked in origin.requests] == [(b"/upload", SMUGGLED)]


@pytest.mark.parametrize("method", [b"GET", b"HEAD", b"DELETE", b"OPTIONS"])
async def test_s2_a_body_that_its_origin_takes_for_a_request_is_answered_to_nobody(method: bytes) -> None:
    smuggled = get(b"/smuggled")

    async def bodiless(connection: OriginConnection) -> None:
        while True:
            head = await connection.request(head_only=True)  # a body is the next one
            if head is None:
                return
            if head.method == method and head.target == b"/":
                await connection.send(ok(b"" if method == b"HEAD" else b"hello"))
            elif head.target == b"/smuggled":
                await asyncio.sleep(0.1)
                await connection.send(ok(b"stolen"))
            else:
                await connection.send(ok(b"mine"))

    async with (
        raw_origin(bodiless) as origin,
        running_edge(origin.address) as edge,
        connected(edge.port) as attacker,
        connected(edge.port) as victim,
    ):
        length = b"Content-Length: %d" % len(smuggled)
        assert (await attacker.ask(request(method, b"/", length, body=smuggled))).status == 200
        assert (await victim.ask(get(b"/mine"))).body == b"mine"


async def test_s4_a_request_behind_a_refused_one_is_not_served() -> None:
    async with (
        raw_origin(answering(ok())) as origin,
        running_edge(origin.address) as edge,
        connected(edge.port) as client,
    ):
        await client.send(post(b"Content-Length: 5x\r\n", body=SMUGGLED * 1000))
        assert (await client.response(b"POST")).status == 400
        assert await client.rest() == b""
        assert origin.requests == []


async def test_s4_a_device_that_goes_on_sending_still_reads_its_refusal() -> None:
    async with (
        raw_origin(answering(ok())) as origin,
        running_edge(origin.address) as edge,
        connected(edge.port) as client,
    ):
        await client.send(post(b"Content-Length: 5x\r\n"))
        more = asyncio.create_task(client.send(b"a" * 10_000_000))
        answer = await client.response(b"POST")
        assert (answer.status, await client.rest()) == (400, b"")
        await asyncio.gather(more, return_exceptions=True)


@pytest.mark.parametrize("first", [get(b"/../x"), get(host=b"a@b"), get(b"http://other.test/")])
async def test_s4_a_device_that_sends_more_after_its_refusal_can_still_read_it(first: bytes) -> None:
    async with (
        raw_origin(answering(ok())) as origin,
        running_edge(origin.address) as edge,
        connected(edge.port) as client,
    ):
        await client.send(first)
        await until(lambda: edge.metrics.refusals)
        for _ in range(20):
            await client.send(get(b"/more"))
        answer = await client.response()
        assert (answer.status, answer.get(b"connection")) == (400, b"close")
        assert await client.rest() == b""
        assert origin.requests == []


async def test_s6_an_upgrade_is_not_made_and_the_bytes_after_it_are_a_request() -> None:
    async with (
        raw_origin(answering(ok())) as origin,
        running_edge(origin.address) as edge,
        connected(edge.port) as client,
    ):
        lines = (b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABk")
        await client.send(get(b"/", *lines) + get(b"/second"))
        assert (await client.response()).status == 200
        assert (await client.response()).status == 200
        assert [asked.target for asked in origin.requests] == [b"/", b"/second"]
        for name in (b"upgrade", b"connection", b"http2-settings"):
            assert origin.requests[0].get(name) is None


async def test_s12_http_2_is_spoken_neither_after_its_preface_nor_after_an_upgrade() -> None:
    frames = b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"
    async with raw_origin(answering(ok())) as origin, running_edge(origin.address) as edge:
        async with connected(edge.port) as client:
            await client.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frames)
            assert (await client.response()).status == 505
            assert await client.rest() == b""
        async with connected(edge.port) as client:
            lines = (b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABk")
            await client.send(get(b"/", *lines) + b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frames)
            assert (await client.response()).status == 200
            assert (await client.response()).status == 505
            assert await client.rest() == b""
        assert [asked.target for asked in origin.requests] == [b"/"]


# The origin's framing.


@pytest.mark.parametrize(
    "head",
    [
        response(b"200 OK", b"Content-Length: 5", b"Location: /a\rSet-Cookie: evil=1"),
        response(b"200 OK", b"Content-Length: 5", b"Location: /a\nSet-Cookie: evil=1"),
        response(b"302 Found", b"Content-Length: 5", b"X-Passport-Action: a\x00b"),
    ],
)
async def test_s8_a_response_that_could_be_split_is_a_502(head: bytes) -> None:
    async with (
        raw_origin(answering(head + b"hello")) as origin,
        running_edge(origin.address) as edge,
        connected(edge.port) as client,
    ):
        answer = await client.ask(get())
        assert (answer.status, answer.get(b"set-cookie")) == (502, None)


@pytest.mark.parametrize(
    "first",
    [
        ok(b"one") + ok(b"evil"),
        ok(b"one") + b"x",
        response(b"204 No Content") + ok(b"evil"),
        response(b"200 OK", b"Transfer-Encoding: chunked") + b"3\r\none\r\n0\r\n\r\n" + ok(b"evil"),
        response(b"304 Not Modified", b"Content-Length: 4") + b"evil",
    ],
)
@pytest.mark.parametrize("size", [None, 1])
async def test_s9_bytes_beyond_an_answer_are_never_the_next_ones_answer(first: bytes, size: int | None) -> None:
    async def script(connection: OriginConnection) -> None:
        await connection.request()
        if connection.number == 0:
            await connection.send(first, size=size)
        else:
            await connection.send(ok(b"two"))
        await connection.end()

    async with raw_origin(script) as origin, running_edge(origin.address) as edge, connected(edge.port) as client:
        answer = await client.ask(get())
        assert answer.body in {b"one", b""}
        await until(lambda: origin.connections[0].ended)
        assert (await client.ask(get())).body == b"two"
        assert len(origin.connections) == 2


async def test_s9_a_body_after_the_answer_to_head_ends_its_connection() -> None:
    async def script(connection: OriginConnection) -> None:
        await connection.request()
        await connection.send(ok(b"evil" if connection.number == 0 else b"two"))
        await connection.end()

    async with raw_origin(script) as origin, running_edge(origin.address) as edge, connected(edge.port) as client:
        answer = await client.ask(request(b"HEAD", b"/"))
        assert (answer.status, answer.body) == (200, b"")
        await until(lambda: origin.connections[0].ended)
        assert (await client.ask(get())).body == b"two"


async def test_s9_an_unasked_answer_on_an_idle_connection_ends_it() -> None:
    go = asyncio.Event()

    async def script(connection: OriginConnection) -> None:
        await connection.request()
        await connection.send(ok(b"one" if connection.number == 0 else b"two"))
        await go.wait()
        await connection.send(response(b"408 Request Timeout", b"Content-Length: 0"))
        await connection.end()

    async with raw_origin(script) as origin, running_edge(origin.address) as edge, connected(edge.port) as client:
        assert (await client.ask(get())).body == b"one"
        go.set()
        await until(lambda: origin.connections[0].ended)
        assert (await client.ask(get())).body == b"two"


async def test_s9_endless_interim_answers_end_at_the_deadline() -> None:
    async def script(connection: OriginConnection) -> None:
        await connection.request()
        while not connection.gone:
            await connection.send(response(b"102 Processing"))
            await asyncio.sleep(0.01)

    async with (
        raw_origin(script) as origin,
        running_edge(origin.address, "timeouts.response_head_s=0.3") as edge,
        connected(edge.port) as client,
    ):
        assert (await client.ask(get())).status == 504


async def test_s9_interim_answers_with_a_body_are_a_502() -> None:
    early = response(b"103 Early Hints", b"Content-Length: 4") + b"evil"
    async with (
        raw_origin(answering(early + ok())) as origin,
        running_edge(origin.address) as edge,
        connected(edge.port) as client,
    ):
        assert (await client.ask(get())).status == 502


async def test_s9_connection_and_hop_by_hop_fields_of_the_origin_end_here() -> None:
    lines = (
        b"Connection: X-Hop, keep-alive",
        b"X-Hop: 1",
        b"Keep-Alive: timeout=5",
        b"Proxy-Authenticate: Basic",
        b"X-End: 2",
    )
    async with (
        raw_origin(answering(ok(b"one", *lines))) as origin,
        running_edge(origin.address) as edge,
        connected(edge.port) as client,
    ):
        answer = await client.ask(get())
        assert {name for name, _ in answer.headers} == {b"content-length", b"x-end"}
