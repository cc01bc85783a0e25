"""What the relay makes of everything that a filter may answer, ask for, do to a body, or fail at."""

import asyncio
import tracemalloc
from collections.abc import Callable, Coroutine
from typing import TypeAlias

import pytest

from edge.contract.exchange import Exchange, Response
from edge.contract.filters import CONTINUE, NOT_MINE, Answer, NeedBody, OnError, Refuse, Verdict
from edge.contract.headers import Headers
from edge.contract.reasons import Reason
from tests.edge.conftest import CountingLoop
from tests.edge.raw import OriginConnection, answering, connected, get, ok, raw_origin, request, response, until
from tests.edge.running import Filters, running_edge
from tests.edge.test_relay import problem

Call: TypeAlias = Callable[[Exchange], "Verdict | Coroutine[None, None, Verdict]"]


class Inbound:
    """An inbound filter that is one function."""

    id = "test_inbound"

    def __init__(
        self, call: Call, *, on_error: OnError = OnError.CLOSED, deadline_s: float = 5.0, concurrency: int = 10
    ) -> None:
        self._call = call
        self.on_error = on_error
        self.deadline_s = deadline_s
        self.concurrency = concurrency

    def inbound(self, exchange: Exchange) -> Verdict | Coroutine[None, None, Verdict]:
        """Call it."""
        return self._call(exchange)


class Outbound(Inbound):
    """An outbound filter that is one function."""

    id = "test_outbound"

    def outbound(self, exchange: Exchange) -> Verdict | Coroutine[None, None, Verdict]:
        """Call it."""
        return self._call(exchange)


def with_inbound(each: Inbound) -> Callable[[Filters], Filters]:
    """Put a filter before the one that signs."""
    return lambda filters: ([*filters[0][:-1], each, *filters[0][-1:]], filters[1])


def with_outbound(each: Outbound) -> Callable[[Filters], Filters]:
    """Put a filter before the one that scrubs."""
    return lambda filters: (filters[0], [*filters[1][:-1], each, *filters[1][-1:]])


def raising(exchange: Exchange) -> Verdict:
    """Fail."""
    raise RuntimeError("a secret")


def no_verdict(exchange: Exchange) -> Verdict:
    """Answer what is no verdict."""
    return None  # type: ignore[return-value]


async def _raising_later(exchange: Exchange) -> Verdict:
    await asyncio.sleep(0)
    raise RuntimeError("a secret")


async def _never(exchange: Exchange) -> Verdict:
    await asyncio.Event().wait()
    return CONTINUE


# Failures.


@pytest.mark.parametrize("call", [raising, no_verdict, _raising_later])
async def test_f1_an_inbound_filter_that_fails_closes_the_way_to_the_origin(call: Call) -> None:
    async with (
        raw_origin(answering(ok())) as origin,
        running_edge(origin.address, change=with_inbound(Inbound(call))) as edge,
        connected(edge.port) as client,
    ):
        for _ in range(2):
            answer = await client.ask(get())
            assert (answer.status, problem(answer)["reason"]) == (500, "filter_error")
            assert b"secret" not in answer.body
        assert origin.requests == []
        assert edge.metrics.refusals == {("filter_error", "test_inbound"): 2}


@pytest.mark.parametrize("call", [raising, no_verdict, _raising_later])
async def test_f1_an_outbound_filter_that_fails_lets_nothing_of_the_answer_out(call: Call) -> None:
    async with (
        raw_origin(answering(ok(b"private", b"X-Private: 1"))) as origin,
        running_edge(origin.address, change=with_outbound(Outbound(call))) as edge,
        connected(edge.port) as client,
    ):
        for _ in range(2):
            answer = await client.ask(get())
            assert (answer.status, problem(answer)["reason"]) == (500, "filter_error")
            assert answer.get(b"x-private") is None
            assert b"private" not in answer.body


@pytest.mark.parametrize("call", [raising, no_verdict, _raising_later, _never])
@pytest.mark.parametrize("side", [with_inbound, with_outbound])
async def test_a_filter_declared_open_that_fails_lets_the_exchange_go_on(
    call: Call, side: Callable[[Inbound], object]
) -> None:
    kind = Inbound if side is with_inbound else Outbound
    change = side(kind(call, on_error=OnError.OPEN, deadline_s=0.05))
    async with (
        raw_origin(answering(ok())) as origin,
        running_edge(origin.address, change=change) as edge,  # type: ignore[arg-type]
        connected(edge.port) as client,
    ):
        for _ in range(2):
            assert (await client.ask(get())).body == b"hello"


@pytest.mark.parametrize("side", [with_inbound, with_outbound])
async def test_a_filter_beyond_its_deadline_is_a_failure(side: Callable[[Inbound], object]) -> None:
    kind = Inbound if side is with_inbound else Outbound
    async with (
        raw_origin(answering(ok())) as origin,
        running_edge(origin.address, change=side(kind(_never, deadline_s=0.05))) as edge,  # type: ignore[arg-type]
        connected(edge.port) as client,
    ):
        answer = await client.ask(get())
        assert (answer.status, problem(answer)["reason"]) == (500, "filter_timeout")
        assert len(origin.requests) == (side is with_outbound)


async def test_a_call_beyond_a_filters_concurrency_is_a_failure_and_does_not_disturb_the_others() -> None:
    go = asyncio.Event()
    waiting = []

    async def call(exchange: Exchange) -> Verdict:
        waiting.append(exchange)
        await go.wait()
        return CONTINUE

    async with (
        raw_origin(answering(ok())) as origin,
        running_edge(origin.address, change=with_inbound(Inbound(call, concurrency=1))) as edge,
        connected(edge.port) as first,
        connected(edge.port) as second,
    ):
        await first.send(get())
        await until(lambda: waiting)
        answer = await second.ask(get())
        assert (answer.status, problem(answer)["reason"]) == (503, "filter_overloaded")
        go.set()
        assert (await first.response()).status == 200
        assert (await second.ask(get())).status == 200


async def test_a_filter_that_awaits_is_cancelled_when_the_device_goes() -> None:
    started, cancelled = asyncio.Event(), asyncio.Event()

    async def call(exchange: Exchange) -> Verdict:
        started.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise
        return CONTINUE

    async with (
        raw_origin(answering(ok())) as origin,
        running_edge(origin.address, change=with_inbound(Inbound(call, deadline_s=60, concurrency=1))) as edge,
        connected(edge.port) as client,
    ):
        await client.send(get())
        await started.wait()
        client.reset()
        async with asyncio.timeout(5):
            await cancelled.wait()
        await until(lambda: edge.metrics.refusals == {("client_gone", ""): 1})
        assert origin.requests == []


# Verdicts.


async def test_a_refusal_names_its_reason_and_the_connection_goes_on() -> None:
    refuse = Inbound(lambda _: Refuse(403, Reason.LEVEL_TOO_LOW, "private"))
    async with (
        raw_origin(answering(ok())) as origin,
        running_edge(origin.address, change=with_inbound(refuse)) as edge,
        connected(edge.port) as client,
    ):
        await client.send(get() + request(b"HEAD", b"/") + get())
        answer = await client.response()
        assert (answer.status, problem(answer)["reason"]) == (403, "level_too_low")
        assert b"private" not in answer.body
        assert (await client.response(b"HEAD")).body == b""
        assert (await client.response()).status == 403
        assert origin.requests == []


async def test_an_answer_goes_through_the_outbound_chain() -> None:
    def call(exchange: Exchange) -> Verdict:
        headers = Headers()
        headers.add(b"X-Passport", b"leaked")
        headers.add(b"X-Own", b"1")
        return Answer(Response(200, headers, b"from the edge", local=True))

    async with (
        raw_origin(answering(ok())) as origin,
        running_edge(origin.address, change=with_inbound(Inbound(call))) as edge,
        connected(edge.port) as client,
    ):
        answer = await client.ask(get())
        assert (answer.status, answer.body) == (200, b"from the edge")
        assert (answer.get(b"x-own"), answer.get(b"x-passport")) == (b"1", None)
        assert origin.requests == []


@pytest.mark.parametrize("method", [b"GET", b"HEAD"])
async def test_an_answer_without_a_body_is_an_empty_one_and_the_connection_goes_on(method: bytes) -> None:
    answer_ = Inbound(lambda _: Answer(Response(200, Headers())))
    async with (
        raw_origin(answering(ok())) as origin,
        running_edge(origin.address, change=with_inbound(answer_)) as edge,
        connected(edge.port) as client,
    ):
        for _ in range(2):
            answer = await client.ask(request(method, b"/"))
            assert (answer.body, answer.get(b"content-length")) == (b"", b"0")


async def test_a_body_that_a_filter_sets_unasked_replaces_the_origins_and_leaves_no_second_end() -> None:
    def call(exchange: Exchange) -> Verdict:
        assert exchange.response is not None
        exchange.response.body = b"instead"
        return CONTINUE

    async with (
        raw_origin(answering(ok(b"hello"), response(b"200 OK", b"Content-Length: 500000") + b"a" * 500_000)) as origin,
        running_edge(origin.address, change=with_outbound(Outbound(call))) as edge,
        connected(edge.port) as client,
    ):
        await client.send(get() * 4)
        for _ in range(4):
            assert (await client.response()).body == b"instead"
        assert edge.metrics.requests == {("root", 200, "ok"): 4}


@pytest.mark.parametrize("verdict", [CONTINUE, NOT_MINE])
async def test_a_filter_that_awaits_and_passes_delays_and_changes_nothing(verdict: Verdict) -> None:
    async def call(exchange: Exchange) -> Verdict:
        await asyncio.sleep(0.01)
        return verdict

    def change(filters: Filters) -> Filters:
        return with_outbound(Outbound(call))(with_inbound(Inbound(call))(filters))

    body = b"".join(b"%08d" % turn for turn in range(100_000))

    async def script(connection: OriginConnection) -> None:
        while (seen := await connection.request()) is not None:
            await connection.send(ok(seen.body))

    async with (
        raw_origin(script) as origin,
        running_edge(origin.address, change=change) as edge,
        connected(edge.port) as client,
    ):
        for _ in range(2):
            await client.send(request(b"POST", b"/upload", b"Content-Length: %d" % len(body), body=body) + get())
            assert (await client.response(b"POST")).body == body
            assert (await client.response()).status == 200
        assert len(origin.connections) == 1


@pytest.mark.parametrize("later", [False, True])
@pytest.mark.parametrize("kind", ["refuse", "answer"])
async def test_an_outbound_filter_can_replace_the_answer(kind: str, later: bool) -> None:
    def now(exchange: Exchange) -> Verdict:
        if kind == "refuse":
            return Refuse(503, Reason.TOKEN_SERVICE_UNAVAILABLE, "private")
        return Answer(Response(418, Headers(), b"instead"))

    async def after(exchange: Exchange) -> Verdict:
        await asyncio.sleep(0.01)
        return now(exchange)

    async with (
        raw_origin(answering(ok(b"private" * 100_000, b"X-Private: 1"))) as origin,
        running_edge(origin.address, change=with_outbound(Outbound(after if later else now))) as edge,
        connected(edge.port) as client,
    ):
        for _ in range(2):
            answer = await client.ask(get())
            assert answer.status == (503 if kind == "refuse" else 418)
            assert answer.get(b"x-private") is None
            assert b"private" not in answer.body


async def test_an_upload_goes_on_undisturbed_when_its_answer_is_replaced_meanwhile() -> None:
    async def replace(exchange: Exchange) -> Verdict:
        await asyncio.sleep(0.05)
        return Refuse(503, Reason.TOKEN_SERVICE_UNAVAILABLE)

    async def script(connection: OriginConnection) -> None:
        await connection.request(head_only=True)
        await connection.send(response(b"200 OK", b"Content-Length: 0"))
        connection.close()

    async with (
        raw_origin(script) as origin,
        running_edge(origin.address, change=with_outbound(Outbound(replace))) as edge,
        connected(edge.port) as client,
    ):
        await client.send(request(b"POST", b"/upload", b"Content-Length: 1000000"))
        answered = asyncio.create_task(client.response(b"POST"))
        while not answered.done():
            await client.send(b"a" * 100)
            await asyncio.sleep(0.001)
        assert answered.result().status == 503


# Whole bodies.


def _reversed_request(exchange: Exchange) -> Verdict:
    if exchange.request.body is None:
        return NeedBody(100)
    exchange.request.body = exchange.request.body[::-1]
    return CONTINUE


def _reversed_response(exchange: Exchange) -> Verdict:
    assert exchange.response is not None
    if exchange.response.body is None:
        return NeedBody(100)
    exchange.response.body = exchange.response.body[::-1] + b"!"
    return CONTINUE


async def _reversed_request_later(exchange: Exchange) -> Verdict:
    await asyncio.sleep(0)
    return _reversed_request(exchange)


async def _reversed_response_later(exchange: Exchange) -> Verdict:
    await asyncio.sleep(0)
    return _reversed_response(exchange)


@pytest.mark.parametrize("call", [_reversed_request, _reversed_request_later])
@pytest.mark.parametrize("size", [None, 1])
async def test_an_inbound_filter_gets_and_changes_a_whole_body(call: Call, size: int | None) -> None:
    async with (
        raw_origin(answering(ok())) as origin,
        running_edge(origin.address, change=with_inbound(Inbound(call))) as edge,
        connected(edge.port) as client,
    ):
        bodies = [
            request(b"POST", b"/upload", b"Content-Length: 3", body=b"abc"),
            request(b"POST", b"/upload", b"Transfer-Encoding: chunked", body=b"1\r\na\r\n2\r\nbc\r\n0\r\nX: y\r\n\r\n"),
            request(b"POST", b"/upload", b"Content-Length: 0"),
            get(b"/echo"),
        ]
        for asked in bodies:
            assert (await client.ask(asked, size=size)).status == 200
        assert [seen.body for seen in origin.requests] == [b"cba", b"cba", b"", b""]
        assert [seen.get(b"content-length") for seen in origin.requests] == [b"3", b"3", b"0", None]


@pytest.mark.parametrize("call", [_reversed_request, _reversed_request_later])
async def test_a_filter_that_needs_the_body_asks_for_one_that_waits_to_be_expected(call: Call) -> None:
    async with (
        raw_origin(answering(ok())) as origin,
        running_edge(origin.address, change=with_inbound(Inbound(call))) as edge,
        connected(edge.port) as client,
    ):
        await client.send(request(b"POST", b"/upload", b"Content-Length: 3", b"Expect: 100-continue"))
        assert await client.receive_until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        await client.send(b"abc")
        assert (await client.response(b"POST")).status == 200
        assert (origin.requests[0].body, origin.requests[0].get(b"expect")) == (b"cba", None)


@pytest.mark.parametrize(
    "asked",
    [
        request(b"POST", b"/upload", b"Content-Length: 101", body=b"a" * 101),
        request(b"POST", b"/upload", b"Transfer-Encoding: chunked", body=b"64\r\n" + b"a" * 100 + b"\r\n1\r\na\r\n"),
    ],
)
async def test_a_body_that_is_too_much_for_a_filter_is_a_413(asked: bytes) -> None:
    async with (
        raw_origin(answering(ok())) as origin,
        running_edge(origin.address, change=with_inbound(Inbound(_reversed_request))) as edge,
        connected(edge.port) as client,
    ):
        answer = await client.ask(asked)
        assert (answer.status, problem(answer)["reason"]) == (413, "body_too_large")
        assert await client.rest() == b""
        assert origin.requests == []


async def test_no_filter_gets_a_larger_body_than_the_limit_for_all() -> None:
    for change, status in (
        (with_inbound(Inbound(lambda _: NeedBody(1000))), 413),
        (with_outbound(Outbound(lambda _: NeedBody(1000))), 502),
    ):
        async with (
            raw_origin(answering(ok(b"a" * 11))) as origin,
            running_edge(origin.address, "limits.max_buffered_body_bytes=10", change=change) as edge,
            connected(edge.port) as client,
        ):
            answer = await client.ask(request(b"POST", b"/upload", b"Content-Length: 11", body=b"a" * 11))
            assert (answer.status, problem(answer)["reason"]) == (status, "body_too_large")


@pytest.mark.parametrize("call", [_reversed_response, _reversed_response_later])
@pytest.mark.parametrize("size", [None, 1])
async def test_an_outbound_filter_gets_and_changes_a_whole_body(call: Call, size: int | None) -> None:
    answers = [
        ok(b"abc"),
        response(b"200 OK", b"Transfer-Encoding: chunked") + b"1\r\na\r\n2\r\nbc\r\n0\r\nX: y\r\n\r\n",
        ok(b""),
        response(b"200 OK", b"Connection: close") + b"abc",
    ]

    async def script(connection: OriginConnection) -> None:
        while await connection.request() is not None:
            answer = answers[len(origin.requests) - 1]
            await connection.send(answer, size=size)
            if b"close" in answer:
                connection.close()
                return

    async with (
        raw_origin(script) as origin,
        running_edge(origin.address, change=with_outbound(Outbound(call))) as edge,
        connected(edge.port) as client,
    ):
        for expected in (b"cba!", b"cba!", b"!", b"cba!"):
            answer = await client.ask(get())
            assert (answer.body, answer.get(b"content-length")) == (expected, b"%d" % len(expected))


@pytest.mark.parametrize(
    "answer",
    [
        ok(b"a" * 101),
        response(b"200 OK", b"Transfer-Encoding: chunked") + b"64\r\n" + b"a" * 100 + b"\r\n1\r\na\r\n0\r\n\r\n",
    ],
)
@pytest.mark.parametrize("call", [_reversed_response, _reversed_response_later])
async def test_an_answer_that_is_too_much_for_a_filter_is_a_502(answer: bytes, call: Call) -> None:
    async with (
        raw_origin(answering(answer)) as origin,
        running_edge(origin.address, change=with_outbound(Outbound(call))) as edge,
        connected(edge.port) as client,
    ):
        for _ in range(2):
            refused = await client.ask(get())
            assert (refused.status, problem(refused)["reason"]) == (502, "body_too_large")


async def test_an_answer_cut_while_a_filter_collects_it_is_a_502() -> None:
    async def script(connection: OriginConnection) -> None:
        await connection.request()
        await connection.send(response(b"200 OK", b"Content-Length: 50") + b"half")
        connection.close()

    for call in (_reversed_response, _reversed_response_later):
        async with (
            raw_origin(script) as origin,
            running_edge(origin.address, change=with_outbound(Outbound(call))) as edge,
            connected(edge.port) as client,
        ):
            answer = await client.ask(get())
            assert (answer.status, problem(answer)["reason"]) == (502, "origin_cut")


@pytest.mark.parametrize(
    "change", [with_inbound(Inbound(lambda _: NeedBody(100))), with_outbound(Outbound(lambda _: NeedBody(100)))]
)
async def test_asking_for_a_body_for_ever_is_a_failure(change: Callable[[Filters], Filters]) -> None:
    async with (
        raw_origin(answering(ok())) as origin,
        running_edge(origin.address, change=change) as edge,
        connected(edge.port) as client,
    ):
        answer = await client.ask(request(b"POST", b"/upload", b"Content-Length: 3", body=b"abc"))
        assert (answer.status, problem(answer)["reason"]) == (500, "filter_error")


async def test_the_answer_to_head_has_neither_a_body_nor_a_length_that_a_filter_would_change() -> None:
    async with (
        raw_origin(answering(response(b"200 OK", b"Content-Length: 3"))) as origin,
        running_edge(origin.address, change=with_outbound(Outbound(_reversed_response))) as edge,
        connected(edge.port) as client,
    ):
        for _ in range(2):
            answer = await client.ask(request(b"HEAD", b"/"))
            assert (answer.body, answer.get(b"content-length")) == (b"", None)


# Streaming transforms.


class Rotating:
    """Changes letters piece by piece, keeps one byte back, and adds a mark at the end."""

    def __init__(self, *, fail_at: int | None = None) -> None:
        self._kept = b""
        self._fed = 0
        self._fail_at = fail_at

    def feed(self, piece: bytes) -> bytes:
        """Return what was kept and all but the last byte."""
        self._fed += 1
        if self._fail_at is not None and self._fed >= self._fail_at:
            raise RuntimeError("a secret")
        together = self._kept + piece
        self._kept = together[-1:]
        return together[:-1].upper()

    def finish(self) -> bytes:
        """Return the rest."""
        if self._fail_at is not None:
            raise RuntimeError("a secret")
        return self._kept.upper() + b"."


def transforming(*, fail_at: int | None = None) -> Call:
    """Return a filter's function that sets a transform on whichever message it sees."""

    def call(exchange: Exchange) -> Verdict:
        message = exchange.response if exchange.response is not None else exchange.request
        message.transform = Rotating(fail_at=fail_at)
        return CONTINUE

    return call


@pytest.mark.parametrize("size", [None, 1])
async def test_a_transform_changes_a_request_body_as_it_streams_by(size: int | None) -> None:
    async with (
        raw_origin(answering(ok())) as origin,
        running_edge(origin.address, change=with_inbound(Inbound(transforming()))) as edge,
        connected(edge.port) as client,
    ):
        await client.ask(request(b"POST", b"/upload", b"Content-Length: 5", body=b"hello"), size=size)
        chunks = b"3\r\nhel\r\n2\r\nlo\r\n0\r\nX-Sum: 1\r\n\r\n"
        await client.ask(request(b"POST", b"/upload", b"Transfer-Encoding: chunked", body=chunks), size=size)
        assert [seen.body for seen in origin.requests] == [b"HELLO.", b"HELLO."]
        assert origin.requests[1].trailers == [(b"x-sum", b"1")]
        assert len(origin.connections) == 1


@pytest.mark.parametrize("size", [None, 1])
@pytest.mark.parametrize(
    "answer",
    [ok(b"hello"), response(b"200 OK", b"Transfer-Encoding: chunked") + b"3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n"],
)
async def test_a_transform_changes_a_response_body_as_it_streams_by(answer: bytes, size: int | None) -> None:
    async def script(connection: OriginConnection) -> None:
        while await connection.request() is not None:
            await connection.send(answer, size=size)

    async with (
        raw_origin(script) as origin,
        running_edge(origin.address, change=with_outbound(Outbound(transforming()))) as edge,
        connected(edge.port) as client,
    ):
        for _ in range(2):
            changed = await client.ask(get())
            assert (changed.body, changed.get(b"content-length")) == (b"HELLO.", None)
        await client.send(b"GET / HTTP/1.0\r\n\r\n")
        assert (await client.rest()).endswith(b"\r\n\r\nHELLO.")


async def test_a_transform_does_not_announce_a_length_it_will_change() -> None:
    async with (
        raw_origin(answering(response(b"200 OK", b"Content-Length: 5"))) as origin,
        running_edge(origin.address, change=with_outbound(Outbound(transforming()))) as edge,
        connected(edge.port) as client,
    ):
        assert (await client.ask(request(b"HEAD", b"/"))).get(b"content-length") is None


@pytest.mark.parametrize("fail_at", [1, 2, 99])
async def test_a_request_transform_that_fails_never_completes_a_body_at_the_origin(fail_at: int) -> None:
    async def script(connection: OriginConnection) -> None:
        await connection.end()

    async with (
        raw_origin(script) as origin,
        running_edge(origin.address, change=with_inbound(Inbound(transforming(fail_at=fail_at)))) as edge,
        connected(edge.port) as client,
    ):
        chunks = b"3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n"
        answer = await client.ask(request(b"POST", b"/upload", b"Transfer-Encoding: chunked", body=chunks))
        assert (answer.status, problem(answer)["reason"]) == (500, "filter_error")
        await until(lambda: all(each.ended for each in origin.connections if each.received))
        assert not any(each.received.endswith(b"0\r\n\r\n") for each in origin.connections)


@pytest.mark.parametrize("fail_at", [1, 2, 99])
async def test_a_response_transform_that_fails_never_ends_cleanly(fail_at: int) -> None:
    async def script(connection: OriginConnection) -> None:
        await connection.request()
        await connection.send(response(b"200 OK", b"Transfer-Encoding: chunked") + b"3\r\nhel\r\n")
        await until(lambda: fail_at == 1 or b"HE" in client.left)
        await connection.send(b"2\r\nlo\r\n0\r\n\r\n")
        await connection.end()

    async with (
        raw_origin(script) as origin,
        running_edge(origin.address, change=with_outbound(Outbound(transforming(fail_at=fail_at)))) as edge,
        connected(edge.port) as client,
    ):
        await client.send(get())
        with pytest.raises(ConnectionResetError):
            await client.receive_until(b"0\r\n\r\n")
        assert edge.metrics.refusals == {("filter_error", "transform"): 1}


async def test_a_response_transform_that_fails_on_what_was_held_never_ends_cleanly() -> None:
    async def call(exchange: Exchange) -> Verdict:
        await asyncio.sleep(0.01)
        return transforming(fail_at=1)(exchange)  # type: ignore[return-value]

    async with (
        raw_origin(answering(ok())) as origin,
        running_edge(origin.address, change=with_outbound(Outbound(call))) as edge,
        connected(edge.port) as client,
    ):
        await client.send(get())
        with pytest.raises(ConnectionResetError):
            await client.rest()
        assert edge.metrics.refusals == {("filter_error", "transform"): 1}


async def test_a_transform_that_fails_does_not_disturb_the_exchange_that_handed_its_connection_over() -> None:
    go = asyncio.Event()

    async def script(connection: OriginConnection) -> None:
        while await connection.request() is not None:
            await go.wait()
            await connection.send(ok())

    def call(exchange: Exchange) -> Verdict:
        return transforming(fail_at=1)(exchange) if exchange.request.method == b"POST" else CONTINUE  # type: ignore[return-value]

    overrides = ("origins.api.max_connections=1", "origins.api.wait_timeout_s=5.0")
    async with (
        raw_origin(script) as origin,
        running_edge(origin.address, *overrides, change=with_inbound(Inbound(call))) as edge,
        connected(edge.port) as first,
        connected(edge.port) as second,
    ):
        await first.send(get())
        await until(lambda: origin.requests)
        await second.send(request(b"POST", b"/upload", b"Content-Length: 3", body=b"abc"))
        await until(lambda: edge.engine.pools["api"]._waiting)
        go.set()
        assert (await first.response()).body == b"hello"
        assert (await second.response(b"POST")).status == 500


# The fast path.


@pytest.mark.parametrize("signed_in", [False, True])
async def test_a_warm_exchange_makes_no_task_no_future_no_timer_and_no_callback(signed_in: bool) -> None:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, CountingLoop)
    async with (
        raw_origin(answering(ok())) as origin,
        running_edge(origin.address) as edge,
        connected(edge.port) as client,
    ):
        lines = [b"Cookie: " + edge.keys.cookies(7).encode()] if signed_in else []
        asked = get(b"/echo", *lines)
        await client.ask(asked)
        connection = next(iter(edge.engine.connections))
        upstream = next(iter(edge.engine.pools["api"]._all))
        counted = dict(loop.calls)
        # What the device's and the origin's bytes set off, and nothing else: both protocols are called by hand.
        connection.data_received(asked)
        upstream.data_received(ok())
        made = [(what, count) for what, count in loop.calls.items() if count != counted.get(what, 0)]
        assert made == []
        assert (await client.response()).status == 200
        await until(lambda: len(origin.requests) == 2)


async def test_s1_a_body_given_to_a_get_is_framed() -> None:
    def gives_a_body(exchange: Exchange) -> Verdict:
        exchange.request.body = b"GET /admin HTTP/1.1\r\nHost: a\r\n\r\n"
        return CONTINUE

    async with (
        raw_origin(answering(ok())) as origin,
        running_edge(origin.address, change=with_inbound(Inbound(gives_a_body))) as edge,
        connected(edge.port) as client,
    ):
        assert (await client.ask(get())).status == 200
        assert (await client.ask(get())).status == 200
        assert [(seen.target, len(seen.body)) for seen in origin.requests] == [(b"/", 32), (b"/", 32)]


async def test_a_filter_that_collects_does_not_widen_the_routes_own_limit() -> None:
    def collects(exchange: Exchange) -> Verdict:
        return NeedBody(100_000) if exchange.request.body is None else CONTINUE

    async with (
        raw_origin(answering(ok())) as origin,
        running_edge(
            origin.address, "limits.max_request_body_bytes=1000", change=with_inbound(Inbound(collects))
        ) as edge,
        connected(edge.port) as client,
    ):
        body = b"%x\r\n%b\r\n0\r\n\r\n" % (5000, b"x" * 5000)
        answer = await client.ask(request(b"POST", b"/upload", b"Transfer-Encoding: chunked", body=body))
        assert (answer.status, problem(answer)["reason"]) == (413, "body_too_large")
        assert origin.requests == []


async def test_an_answer_keeps_nothing_of_the_body_that_nobody_reads() -> None:
    release = asyncio.Event()

    async def waits(exchange: Exchange) -> Verdict:
        await release.wait()
        return CONTINUE

    def both(filters: Filters) -> Filters:
        answers = Inbound(lambda _: Answer(Response(200, Headers(), b"early")))
        return with_outbound(Outbound(waits))(with_inbound(answers)(filters))

    async with (
        raw_origin(answering(ok())) as origin,
        running_edge(origin.address, change=both) as edge,
        connected(edge.port) as client,
    ):
        length = 64 * 1024 * 1024
        await client.send(request(b"POST", b"/upload", b"Content-Length: %d" % length))
        tracemalloc.start()
        for _ in range(64):
            await client.send(b"x" * (512 * 1024))
        held, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert held < 8 * 1024 * 1024
        release.set()
        answer = await client.response(b"POST")
        assert (answer.body, answer.get(b"connection")) == (b"early", b"close")


@pytest.mark.parametrize("later", [False, True])
async def test_f1_a_filter_whose_helper_was_cancelled_by_another_is_a_failure(later: bool) -> None:
    def helper() -> "asyncio.Future[None]":
        future = asyncio.get_running_loop().create_future()
        future.cancel()
        return future

    async def awaits(exchange: Exchange) -> Verdict:
        await helper()
        return CONTINUE

    def looks(exchange: Exchange) -> Verdict:
        helper().result()
        return CONTINUE

    async with (
        raw_origin(answering(ok())) as origin,
        running_edge(origin.address, change=with_inbound(Inbound(awaits if later else looks))) as edge,
        connected(edge.port) as client,
    ):
        answer = await client.ask(get())
        assert (answer.status, problem(answer)["reason"]) == (500, "filter_error")
        assert origin.requests == []
