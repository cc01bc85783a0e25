"""What a device and an origin see of one relayed exchange."""

import asyncio
import json
import re

import h11
import pytest

from tests.edge.raw import (
    OriginConnection,
    RawResponse,
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


def problem(answer: RawResponse) -> dict[str, object]:
    """Return an error page that is as RFC 9457 and the docs say."""
    assert answer.get(b"content-type") == b"application/problem+json"
    assert answer.get(b"cache-control") == b"no-store"
    page: dict[str, object] = json.loads(answer.body)
    assert set(page) == {"type", "title", "status", "reason", "request_id"}
    assert page["status"] == answer.status
    assert page["request_id"] == (answer.get(b"x-request-id") or b"").decode()
    return page


async def test_a_request_reaches_the_origin_and_its_answer_the_device() -> None:
    async with (
        raw_origin(answering(ok(b"hello", b"X-Custom: kept"))) as origin,
        running_edge(origin.address) as edge,
        connected(edge.port) as client,
    ):
        answer = await client.ask(get(b"/echo?a=b", b"Accept: text/plain"))
        assert (answer.status, answer.body, answer.get(b"x-custom")) == (200, b"hello", b"kept")
        asked = origin.requests[0]
        assert (asked.method, asked.target) == (b"GET", b"/echo?a=b")
        assert (asked.get(b"host"), asked.get(b"accept"), asked.get(b"via")) == (
            b"edge.test",
            b"text/plain",
            b"1.1 edge",
        )
        assert asked.get(b"content-length") is None
        assert asked.get(b"transfer-encoding") is None


@pytest.mark.parametrize("size", [None, 1, 7])
@pytest.mark.parametrize("answer_size", [None, 1, 7])
async def test_messages_are_the_same_in_whatever_pieces_they_come(size: int | None, answer_size: int | None) -> None:
    async def script(connection: OriginConnection) -> None:
        while await connection.request() is not None:
            head = response(b"200 OK", b"Transfer-Encoding: chunked")
            await connection.send(head + b"5\r\nhello\r\n6\r\n world\r\n0\r\nX-Sum: 1\r\n\r\n", size=answer_size)

    async with raw_origin(script) as origin, running_edge(origin.address) as edge, connected(edge.port) as client:
        chunks = b"3\r\nabc\r\n4\r\ndefg\r\n0\r\nX-Check: 2\r\n\r\n"
        asked = request(b"POST", b"/upload", b"Transfer-Encoding: chunked", body=chunks)
        for _ in range(2):
            answer = await client.ask(asked, size=size)
            assert (answer.status, answer.body) == (200, b"hello world")
            assert answer.trailers == [(b"x-sum", b"1")]
            seen = origin.requests[-1]
            assert (seen.body, seen.trailers) == (b"abcdefg", [(b"x-check", b"2")])
        # Trailers end the use of an origin connection: some servers add them to the next request's header.
        assert len(origin.connections) == len(origin.requests) > 1


async def test_no_two_requests_have_the_same_id() -> None:
    async with (
        raw_origin(answering(ok())) as origin,
        running_edge(origin.address) as edge,
        connected(edge.port) as client,
    ):
        for _ in range(150):
            await client.ask(get(b"/echo"))
        ids = [asked.get(b"x-request-id") for asked in origin.requests]
        assert len(ids) == len(set(ids)) == 150
        assert all(re.fullmatch(rb"[0-9a-f]{32}", each or b"") for each in ids)


async def test_a_body_of_known_length_keeps_its_length_both_ways() -> None:
    async with (
        raw_origin(answering(ok(b"thanks"))) as origin,
        running_edge(origin.address) as edge,
        connected(edge.port) as client,
    ):
        answer = await client.ask(request(b"PUT", b"/upload", b"Content-Length: 4", body=b"data"))
        assert (answer.get(b"content-length"), answer.get(b"transfer-encoding")) == (b"6", None)
        seen = origin.requests[0]
        assert (seen.body, seen.get(b"content-length"), seen.get(b"transfer-encoding")) == (b"data", b"4", None)


async def test_a_post_without_body_says_so_to_the_origin() -> None:
    async with (
        raw_origin(answering(ok())) as origin,
        running_edge(origin.address) as edge,
        connected(edge.port) as client,
    ):
        await client.ask(request(b"POST", b"/upload", b"Content-Length: 0"))
        assert origin.requests[0].get(b"content-length") == b"0"


@pytest.mark.parametrize(
    "head",
    [
        response(b"200 OK", b"Content-Length: 5"),
        response(b"200 OK", b"Transfer-Encoding: chunked"),
        response(b"200 OK", b"Date: now"),
    ],
)
async def test_a_head_request_is_answered_by_a_head_and_its_connections_go_on(head: bytes) -> None:
    async with (
        raw_origin(answering(head, ok(b"after", b"X-After: 1"))) as origin,
        running_edge(origin.address) as edge,
        connected(edge.port) as client,
    ):
        answer = await client.ask(request(b"HEAD", b"/"))
        assert (answer.status, answer.body) == (200, b"")
        assert answer.get(b"content-length") == (b"5" if b"Content-Length" in head else None)
        answer = await client.ask(get())
        assert (answer.status, answer.body, answer.get(b"x-after")) == (200, b"after", b"1")
        assert len(origin.connections) == 1


@pytest.mark.parametrize(
    "head", [response(b"204 No Content"), response(b"304 Not Modified", b"ETag: a", b"Content-Length: 5")]
)
async def test_204_and_304_end_with_their_head(head: bytes) -> None:
    async with (
        raw_origin(answering(head, ok(b"after"))) as origin,
        running_edge(origin.address) as edge,
        connected(edge.port) as client,
    ):
        await client.send(get() + get())
        raw = await client.receive_until(b"after")
        assert raw.startswith(head.split(b"\r\n")[0])
        assert raw.count(b"HTTP/1.1 ") == 2
        assert raw.index(b"\r\n\r\n") + 4 == raw.index(b"HTTP/1.1 200")
        assert (b"content-length" in raw.split(b"\r\n\r\n")[0].lower()) == (b"304" in head)
        assert len(origin.connections) == 1


async def test_a_response_without_length_is_chunked_for_the_device() -> None:
    async def script(connection: OriginConnection) -> None:
        await connection.request()
        await connection.send(response(b"200 OK") + b"until close")
        connection.close()

    async with raw_origin(script) as origin, running_edge(origin.address) as edge, connected(edge.port) as client:
        for _ in range(2):
            answer = await client.ask(get())
            assert (answer.body, answer.get(b"transfer-encoding")) == (b"until close", b"chunked")
        assert len(origin.connections) == 2


@pytest.mark.parametrize("chunked", [False, True])
async def test_an_http_1_0_device_gets_what_it_understands(chunked: bool) -> None:
    answer = (
        response(b"200 OK", b"Transfer-Encoding: chunked") + b"5\r\nhello\r\n0\r\nX: y\r\n\r\n" if chunked else ok()
    )
    async with (
        raw_origin(answering(response(b"103 Early Hints", b"Link: </a>") + answer)) as origin,
        running_edge(origin.address) as edge,
        connected(edge.port) as client,
    ):
        await client.send(b"GET /echo HTTP/1.0\r\nHost: edge.test\r\n\r\n")
        raw = await client.rest()
        head, _, body = raw.partition(b"\r\n\r\n")
        assert raw.startswith(b"HTTP/1.1 200 OK\r\n")
        assert b"connection: close" in head
        assert b"chunked" not in head
        assert body == b"hello"
        assert origin.requests[0].get(b"host") == b"edge.test"


async def test_an_http_1_0_device_keeps_its_connection_when_it_asks_to() -> None:
    async with (
        raw_origin(answering(ok())) as origin,
        running_edge(origin.address) as edge,
        connected(edge.port) as client,
    ):
        for _ in range(2):
            answer = await client.ask(b"GET /echo HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
            assert (answer.body, answer.get(b"connection")) == (b"hello", b"keep-alive")


async def test_a_device_that_asks_for_it_is_closed_after_its_answer() -> None:
    async with (
        raw_origin(answering(ok())) as origin,
        running_edge(origin.address) as edge,
        connected(edge.port) as client,
    ):
        await client.send(get(b"/", b"Connection: close") + get(b"/never"))
        raw = await client.rest()
        assert raw.count(b"HTTP/1.1") == 1
        assert b"connection: close" in raw
        assert len(origin.requests) == 1


async def test_repeated_fields_keep_their_order_and_their_case_both_ways() -> None:
    cookies = (b"Set-Cookie: a=1; Path=/", b"set-cookie: b=2", b"SET-COOKIE: a=3")
    async with (
        raw_origin(answering(ok(b"hello", *cookies))) as origin,
        running_edge(origin.address) as edge,
        connected(edge.port) as client,
    ):
        await client.send(get(b"/", b"X-List: 1", b"ACCEPT: a", b"x-list: 2", b"X-Empty:", b"X-Blank:  \t c \t "))
        raw = await client.receive_until(b"hello")
        positions = [raw.index(line) for line in (b"Set-Cookie: a=1; Path=/", b"set-cookie: b=2", b"SET-COOKIE: a=3")]
        assert positions == sorted(positions)
        seen = bytes(origin.connections[0].received)
        assert b"X-List: 1\r\nACCEPT: a\r\nx-list: 2\r\n" in seen
        asked = origin.requests[0]
        assert (asked.get(b"x-empty"), asked.get(b"x-blank")) == (b"", b"c")


async def test_a_flood_of_tiny_chunks_is_relayed_in_few_large_ones() -> None:
    count = 20_000
    wire = b"1\r\na\r\n" * count + b"0\r\n\r\n"

    async def script(connection: OriginConnection) -> None:
        await connection.request()
        await connection.send(response(b"200 OK", b"Transfer-Encoding: chunked") + wire)
        await connection.end()

    async with raw_origin(script) as origin, running_edge(origin.address) as edge, connected(edge.port) as client:
        await client.send(request(b"POST", b"/upload", b"Transfer-Encoding: chunked", body=wire))
        raw = await client.receive_until(b"\r\n0\r\n\r\n")
        assert raw.count(b"a") >= count
        assert len(raw) < 2 * count
        assert origin.requests[0].body == b"a" * count
        assert len(origin.connections[0].received) < 2 * count


# 1xx and Expect.


async def test_expect_100_continue_is_the_origins_to_answer() -> None:
    async def script(connection: OriginConnection) -> None:
        head = await connection.request(head_only=True)
        assert head is not None
        assert head.get(b"expect") == b"100-continue"
        assert connection.received.endswith(b"\r\n\r\n")
        await connection.send(response(b"100 Continue"))
        while not connection.received.endswith(b"body"):
            await connection.read()
        await connection.send(ok(b"done"))
        await connection.end()

    async with raw_origin(script) as origin, running_edge(origin.address) as edge, connected(edge.port) as client:
        await client.send(request(b"POST", b"/upload", b"Content-Length: 4", b"Expect: 100-continue"))
        assert await client.receive_until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        await client.send(b"body")
        assert (await client.response(b"POST")).body == b"done"


async def test_s5_an_early_refusal_of_an_expected_body_closes_and_the_body_is_no_request() -> None:
    async with (
        raw_origin(answering(ok())) as origin,
        running_edge(origin.address) as edge,
        connected(edge.port) as client,
    ):
        body = get(b"/smuggled")
        lines = (b"Content-Length: %d" % len(body), b"Expect: 100-continue")
        await client.send(request(b"POST", b"/account", *lines))
        answer = await client.response(b"POST")
        assert (answer.status, answer.interim, answer.get(b"connection")) == (401, [], b"close")
        await client.send(body)
        assert await client.rest() == b""
        assert origin.requests == []


async def test_s5_an_early_answer_of_the_origin_closes_both_and_the_body_is_no_request() -> None:
    async def script(connection: OriginConnection) -> None:
        await connection.request(head_only=True)
        await connection.send(response(b"401 Unauthorized", b"Content-Length: 0"))
        await connection.end()

    async with raw_origin(script) as origin, running_edge(origin.address) as edge, connected(edge.port) as client:
        body = get(b"/smuggled")
        lines = (b"Content-Length: %d" % len(body), b"Expect: 100-continue")
        await client.send(request(b"POST", b"/upload", *lines))
        answer = await client.response(b"POST")
        assert (answer.status, answer.interim, answer.get(b"connection")) == (401, [], b"close")
        await client.send(body)
        assert await client.rest() == b""
        await until(lambda: origin.connections[0].ended)
        assert b"smuggled" not in origin.connections[0].received


async def test_early_hints_pass_with_their_links_only_and_other_interim_answers_do_not() -> None:
    hints = response(b"103 Early Hints", b"Link: </a.css>; rel=preload", b"X-Passport: secret")
    async with (
        raw_origin(answering(response(b"102 Processing") + hints + response(b"100 Continue") + ok())) as origin,
        running_edge(origin.address) as edge,
        connected(edge.port) as client,
    ):
        answer = await client.ask(get())
        assert (answer.status, answer.body) == (200, b"hello")
        assert answer.interim == [(103, [(b"link", b"</a.css>; rel=preload")])]


# Early answers.


@pytest.mark.parametrize("framing", [b"Content-Length: 50000000", b"Transfer-Encoding: chunked"])
async def test_an_answer_in_the_middle_of_an_upload_reaches_the_device(framing: bytes) -> None:
    async def script(connection: OriginConnection) -> None:
        await connection.request(head_only=True)
        await connection.send(response(b"413 Too Large", b"Content-Length: 3", b"Connection: close") + b"big")
        await connection.end()

    async with raw_origin(script) as origin, running_edge(origin.address) as edge, connected(edge.port) as client:
        piece = b"a" * 65536
        await client.send(request(b"POST", b"/upload", framing))
        sent = asyncio.create_task(
            client.send((b"10000\r\n" + piece + b"\r\n" if b"chunked" in framing else piece) * 100)
        )
        answer = await client.response(b"POST")
        assert (answer.status, answer.body, answer.get(b"connection")) == (413, b"big", b"close")
        assert await client.rest() == b""
        await asyncio.gather(sent, return_exceptions=True)


async def test_a_body_announced_beyond_the_limit_is_refused_before_the_origin_hears_of_it() -> None:
    async with (
        raw_origin(answering(ok())) as origin,
        running_edge(origin.address, "limits.max_request_body_bytes=10") as edge,
        connected(edge.port) as client,
    ):
        answer = await client.ask(request(b"POST", b"/upload", b"Content-Length: 11", body=b"a" * 11))
        assert (answer.status, problem(answer)["reason"]) == (413, "body_too_large")
        assert await client.rest() == b""
        assert origin.connections == []


async def test_a_chunked_body_that_grows_beyond_the_limit_is_refused_and_the_origin_gets_no_whole_one() -> None:
    async with (
        raw_origin(answering(ok())) as origin,
        running_edge(origin.address, "limits.max_request_body_bytes=10") as edge,
        connected(edge.port) as client,
    ):
        await client.send(request(b"POST", b"/upload", b"Transfer-Encoding: chunked", body=b"8\r\n12345678\r\n"))
        await until(lambda: origin.connections and origin.connections[0].received.endswith(b"12345678\r\n"))
        await client.send(b"3\r\nabc\r\n0\r\n\r\n")
        assert (await client.response(b"POST")).status == 413
        await until(lambda: origin.connections[0].ended)
        assert b"0\r\n\r\n" not in origin.connections[0].received.partition(b"\r\n\r\n")[2]


# Pipelining.


async def test_pipelined_requests_are_answered_in_order() -> None:
    async def script(connection: OriginConnection) -> None:
        while (asked := await connection.request()) is not None:
            await connection.send(ok(asked.target + b" " + asked.body))

    async with raw_origin(script) as origin, running_edge(origin.address) as edge, connected(edge.port) as client:
        many = b"".join(
            request(b"POST", b"/upload/%d" % turn, b"Content-Length: 3", body=b"%03d" % turn) + get(b"/%d" % turn)
            for turn in range(50)
        )
        await client.send(many)
        for turn in range(50):
            assert (await client.response()).body == b"/upload/%d %03d" % (turn, turn)
            assert (await client.response()).body == b"/%d " % turn


@pytest.mark.parametrize(
    "bad", [b"GET / HTTP/1.1\r\nHost : x\r\n\r\n", b"NOT HTTP\r\n\r\n", b"GET /%zz HTTP/1.1\r\nHost: x\r\n\r\n"]
)
async def test_s4_an_error_in_the_third_request_leaves_the_first_two_answers_whole(bad: bytes) -> None:
    async with (
        raw_origin(answering(ok(b"first"), ok(b"second"))) as origin,
        running_edge(origin.address) as edge,
        connected(edge.port) as client,
    ):
        await client.send(get() + get() + bad + get(b"/never"))
        assert (await client.response()).body == b"first"
        assert (await client.response()).body == b"second"
        answer = await client.response()
        assert (answer.status, answer.get(b"connection")) == (400, b"close")
        assert await client.rest() == b""
        assert len(origin.requests) == 2


async def test_a_request_without_a_route_does_not_end_the_connection() -> None:
    async with (
        raw_origin(answering(ok())) as origin,
        running_edge(origin.address) as edge,
        connected(edge.port) as client,
    ):
        await client.send(get() + get(b"/login") + get() + request(b"HEAD", b"/login") + get())
        assert (await client.response()).status == 200
        refused = await client.response()
        assert (refused.status, problem(refused)["reason"]) == (405, "method_not_allowed")
        assert dict(refused.headers)[b"allow"] == b"POST"
        assert (await client.response()).status == 200
        refused = await client.response(b"HEAD")
        assert (refused.status, refused.body) == (405, b"")
        assert (await client.response()).status == 200


@pytest.mark.parametrize("target", [b"/login", b"/account", b"/echo"])
async def test_s11_a_device_that_half_closes_gets_every_answer_it_asked_for(target: bytes) -> None:
    async with (
        raw_origin(answering(ok())) as origin,
        running_edge(origin.address) as edge,
        connected(edge.port) as client,
    ):
        await client.send(get(target) * 5)
        client.half_close()
        raw = await client.rest()
        assert raw.count(b"HTTP/1.1 ") == 5


async def test_s11_a_device_that_half_closes_while_its_first_answer_is_made_gets_the_refused_ones_after_it_too() -> (
    None
):
    go = asyncio.Event()

    async def script(connection: OriginConnection) -> None:
        await connection.request()
        await go.wait()
        await connection.send(ok())
        await connection.end()

    async with raw_origin(script) as origin, running_edge(origin.address) as edge, connected(edge.port) as client:
        await client.send(get() + get(b"/login") * 3)
        client.half_close()
        await until(lambda: origin.requests)
        go.set()
        raw = await client.rest()
        assert (raw.count(b"HTTP/1.1 200"), raw.count(b"HTTP/1.1 405")) == (1, 3)


async def test_s11_half_a_request_before_a_half_close_reaches_no_origin() -> None:
    async with (
        raw_origin(answering(ok())) as origin,
        running_edge(origin.address) as edge,
        connected(edge.port) as client,
    ):
        await client.send(get() + b"GET /half HTTP/1.1\r\nHost: a\r\n")
        assert (await client.response()).status == 200
        client.half_close()
        assert await client.rest() == b""
        assert len(origin.requests) == 1


async def test_s11_half_a_body_before_a_half_close_ends_the_origins_connection() -> None:
    async def script(connection: OriginConnection) -> None:
        await connection.request(head_only=True)
        await connection.end()

    async with raw_origin(script) as origin, running_edge(origin.address) as edge, connected(edge.port) as client:
        await client.send(request(b"POST", b"/upload", b"Transfer-Encoding: chunked", body=b"5\r\nhel"))
        await until(lambda: origin.requests)
        client.half_close()
        await until(lambda: origin.connections[0].ended)
        assert b"0\r\n" not in origin.connections[0].received.partition(b"\r\n\r\n")[2]


async def test_ten_thousand_pipelined_requests_wait_for_a_device_that_does_not_read_and_are_all_answered() -> None:
    count = 10_000

    async def script(connection: OriginConnection) -> None:
        while await connection.request() is not None:
            await connection.send(ok(b"x" * 2000))

    async with (
        raw_origin(script) as origin,
        running_edge(origin.address) as edge,
        connected(edge.port, receive_buffer=65536) as client,
    ):
        asked = get(b"/", b"X-Padding: " + b"p" * 100) * (count - 1) + get(b"/", b"Connection: close")
        sending = asyncio.create_task(client.send(asked))
        await until(lambda: edge.engine.connections)
        connection = next(iter(edge.engine.connections))
        await until(lambda: connection._full)
        assert 0 < len(origin.requests) < count
        assert len(connection._held) <= 1 << 18
        assert connection._transport.get_write_buffer_size() < 1 << 17
        raw = await client.rest()
        await sending
        assert raw.count(b"HTTP/1.1 200 OK\r\n") == len(origin.requests) == count


# Ends that are not clean.


@pytest.mark.parametrize(
    "head",
    [
        response(b"200 OK", b"Content-Length: 100"),
        response(b"200 OK", b"Transfer-Encoding: chunked") + b"64\r\n",
    ],
)
@pytest.mark.parametrize("how", ["close", "reset"])
async def test_an_answer_that_the_origin_cuts_is_never_a_whole_one_for_the_device(head: bytes, how: str) -> None:
    go = asyncio.Event()

    async def script(connection: OriginConnection) -> None:
        await connection.request()
        await connection.send(head + b"partly")
        await go.wait()
        getattr(connection, how)()

    async with raw_origin(script) as origin, running_edge(origin.address) as edge, connected(edge.port) as client:
        await client.send(get())
        await client.receive_until(b"partly")
        go.set()
        with pytest.raises(ConnectionResetError):
            await client.rest()
        assert edge.metrics.refusals == {("origin_cut", "api"): 1}


async def test_an_answer_until_close_that_is_reset_is_never_a_whole_one_for_the_device() -> None:
    go = asyncio.Event()

    async def script(connection: OriginConnection) -> None:
        await connection.request()
        await connection.send(response(b"200 OK") + b"partly")
        await go.wait()
        connection.reset()

    async with raw_origin(script) as origin, running_edge(origin.address) as edge:
        for asked in (get(), b"GET / HTTP/1.0\r\n\r\n"):
            go.clear()
            async with connected(edge.port) as client:
                await client.send(asked)
                await client.receive_until(b"partly")
                go.set()
                with pytest.raises(ConnectionResetError):
                    await client.rest()


@pytest.mark.parametrize("how", ["close", "reset"])
async def test_an_origin_that_goes_without_answering_is_a_502(how: str) -> None:
    async def script(connection: OriginConnection) -> None:
        await connection.request()
        getattr(connection, how)()

    async with raw_origin(script) as origin, running_edge(origin.address) as edge, connected(edge.port) as client:
        answer = await client.ask(get())
        assert (answer.status, problem(answer)["reason"]) == (502, "origin_closed")
        answer = await client.ask(get())
        assert answer.status == 502


async def test_half_a_head_from_the_origin_is_a_502() -> None:
    async def script(connection: OriginConnection) -> None:
        await connection.request()
        await connection.send(b"HTTP/1.1 200 OK\r\nContent-")
        connection.close()

    async with raw_origin(script) as origin, running_edge(origin.address) as edge, connected(edge.port) as client:
        answer = await client.ask(get())
        assert (answer.status, problem(answer)["reason"]) == (502, "origin_cut")


@pytest.mark.parametrize("how", ["close", "reset"])
async def test_a_device_that_goes_in_the_middle_of_its_answer_ends_the_origins_connection(how: str) -> None:
    async def script(connection: OriginConnection) -> None:
        await connection.request()
        await connection.send(response(b"200 OK", b"Transfer-Encoding: chunked"))
        while not connection.ended:
            await connection.send(b"1\r\na\r\n")
            await asyncio.sleep(0.001)
            if connection.gone:
                break

    async with raw_origin(script) as origin, running_edge(origin.address) as edge:
        async with connected(edge.port) as client:
            await client.send(get())
            await client.receive_until(b"a\r\n")
            getattr(client, how)()
        await until(lambda: edge.engine.origin_connections == 0)
        assert edge.metrics.requests == {("root", 200, "client_gone"): 1}


async def test_a_device_that_resets_while_the_origin_thinks_ends_the_origins_connection() -> None:
    async def script(connection: OriginConnection) -> None:
        await connection.request()
        await connection.end()

    async with raw_origin(script) as origin, running_edge(origin.address) as edge:
        async with connected(edge.port) as client:
            await client.send(get())
            await until(lambda: origin.requests)
            client.reset()
            await until(lambda: origin.connections[0].ended)
        assert edge.metrics.refusals == {("client_gone", ""): 1}


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
        b"HTTP/1.1 200 OK\r\nX : y\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 40000 + b"\r\n\r\n",
    ],
)
async def test_s9_an_answer_that_is_not_http_is_a_502_and_its_connection_is_not_used_again(answer: bytes) -> None:
    async with (
        raw_origin(answering(answer)) as origin,
        running_edge(origin.address) as edge,
        connected(edge.port) as client,
    ):
        for turn in range(2):
            refused = await client.ask(get())
            assert (refused.status, problem(refused)["reason"]) == (502, "origin_protocol_error")
            assert len(origin.connections) == turn + 1


async def test_broken_chunks_in_the_middle_of_an_answer_reset_the_device() -> None:
    go = asyncio.Event()

    async def script(connection: OriginConnection) -> None:
        await connection.request()
        await connection.send(response(b"200 OK", b"Transfer-Encoding: chunked") + b"5\r\nhello\r\n")
        await go.wait()
        await connection.send(b"nonsense\r\n")
        await connection.end()

    async with raw_origin(script) as origin, running_edge(origin.address) as edge, connected(edge.port) as client:
        await client.send(get())
        await client.receive_until(b"hello\r\n")
        go.set()
        with pytest.raises(ConnectionResetError):
            await client.rest()


async def test_an_origin_that_is_down_is_a_503_that_says_when_to_come_back() -> None:
    async with raw_origin(answering(ok())) as origin:
        address = origin.address
    async with running_edge(address) as edge, connected(edge.port) as client:
        answer = await client.ask(get())
        assert (answer.status, problem(answer)["reason"]) == (503, "origin_connect_failed")
        assert answer.get(b"retry-after") == b"1"
        assert (await client.ask(get())).status == 503


@pytest.mark.parametrize(
    "asked",
    [
        get(b"/account"),
        get(b"/%2e%2e/x"),
        get(b"/login"),
        get(b"/", host=b"edge..test"),
        b"nonsense\r\n\r\n",
    ],
)
async def test_no_error_page_repeats_what_was_sent(asked: bytes) -> None:
    secrets = b"Cookie: EdgeId=very-secret-a; SecureEdgeId=very-secret-b\r\nX-Passport: very-secret-c\r\n\r\n"
    async with (
        raw_origin(answering(ok())) as origin,
        running_edge(origin.address) as edge,
        connected(edge.port) as client,
    ):
        await client.send(asked[:-2] + secrets)
        raw = await client.receive_until(b"}")
        assert b"very-secret" not in raw
        head, _, body = raw.partition(b"\r\n\r\n")
        assert b"application/problem+json" in head
        assert set(json.loads(body)) == {"type", "title", "status", "reason", "request_id"}


async def test_a_truncated_answer_is_seen_by_h11_as_truncated() -> None:
    async def script(connection: OriginConnection) -> None:
        await connection.request()
        await connection.send(response(b"200 OK", b"Content-Length: 100") + b"partly")
        connection.close()

    async with raw_origin(script) as origin, running_edge(origin.address) as edge, connected(edge.port) as client:
        with pytest.raises((ConnectionResetError, h11.RemoteProtocolError)):
            await client.ask(get())
