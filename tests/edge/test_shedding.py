"""Overload on a real socket: what is not important is answered on its head alone, what is goes on."""

import asyncio
import itertools
import json
import socket
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from edge.contract.exchange import Exchange
from edge.contract.filters import CONTINUE, Verdict
from edge.guard.shedding import NOTHING_SHED, PARTS
from edge.net.listening import take_queued
from edge.relay.load import busy_s
from tests.edge.raw import OriginConnection, answering, connected, get, ok, raw_origin, request, until
from tests.edge.running import RunningEdge, running_edge
from tests.edge.test_admission import from_address
from tests.edge.test_filters_contract import Inbound, with_inbound

PRIORITIES = (
    "routes.account.priority=critical",
    "routes.account.auth.user=none",
    "routes.browse.priority=best_effort",
    "routes.browse.auth.user=none",
    "routes.echo.priority=bulk",
)
CRITICAL, DEGRADED, BEST_EFFORT, BULK = b"/account", b"/", b"/browse", b"/echo"


class Gate:
    """An origin's script: answers everything at once, but /slow when it is told to."""

    def __init__(self) -> None:
        self.opened = asyncio.Event()

    async def __call__(self, connection: OriginConnection) -> None:
        while (asked := await connection.request()) is not None:
            if asked.target == b"/slow":
                await self.opened.wait()
            await connection.send(ok())


@asynccontextmanager
async def overloaded(*overrides: str, requests: int = 10) -> AsyncIterator[tuple[RunningEdge, Gate]]:
    """Run an edge with as many requests in flight as it may have."""
    gate = Gate()
    settings = (f"shedding.max_in_flight={requests}", *PRIORITIES, *overrides)
    async with AsyncExitStack() as stack:
        origin = await stack.enter_async_context(raw_origin(gate))
        edge = await stack.enter_async_context(running_edge(origin.address, *settings))
        for _ in range(requests):
            client = await stack.enter_async_context(connected(edge.port))
            await client.send(get(b"/slow"))
        await until(lambda: edge.engine.rejections.load.shedding.parts[PARTS.index("in_flight")] > 0.97)
        yield edge, gate


async def test_l1_the_less_important_is_shed_and_the_critical_is_served() -> None:
    async with overloaded() as (edge, _), connected(edge.port) as client:
        for target in (DEGRADED, BEST_EFFORT, BULK):
            assert (await client.ask(get(target))).status == 503
        assert 200 in [(await client.ask(get(CRITICAL))).status for _ in range(5)]


async def test_l1_what_was_shed_is_served_again_after_the_overload() -> None:
    async with overloaded() as (edge, gate), connected(edge.port) as client:
        assert (await client.ask(get(BULK))).status == 503
        gate.opened.set()
        await until(lambda: edge.engine.rejections.load.shedding.shed_from == NOTHING_SHED)
        assert (await client.ask(get(BULK))).status == 200


async def test_l1_a_rejection_says_why_and_when_to_come_back_and_keeps_the_connection() -> None:
    async with overloaded() as (edge, _), connected(edge.port) as client:
        waits = []
        for _ in range(6):
            answer = await client.ask(get(BULK))
            page = json.loads(answer.body)
            assert (answer.status, page["status"], page["reason"]) == (503, 503, "overloaded")
            assert answer.get(b"cache-control") == b"no-store"
            waits.append(int(answer.get(b"retry-after") or 0))
        assert set(waits) == {1, 2, 3}


@pytest.mark.parametrize(
    ("asked", "line"),
    [
        (get(BULK, b"Connection: close"), b"close"),
        (request(b"POST", BULK, b"Content-Length: 5", body=b"hello"), b"close"),
        (request(b"POST", BULK, b"Transfer-Encoding: chunked", b"Expect: 100-continue"), b"close"),
        (b"GET /echo HTTP/1.0\r\n\r\n", b"close"),
        (b"GET /echo HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", b"keep-alive"),
        (request(b"HEAD", BULK), None),
    ],
)
async def test_a_rejection_is_well_framed_for_every_kind_of_request(asked: bytes, line: bytes | None) -> None:
    async with overloaded() as (edge, _), connected(edge.port) as client:
        answer = await client.ask(asked)
        assert (answer.status, answer.get(b"connection"), answer.interim) == (503, line, [])
        assert bool(answer.body) == (not asked.startswith(b"HEAD"))
        if line == b"close":
            assert await client.rest() == b""
        else:
            assert (await client.ask(get(BULK))).status == 503


async def test_l1_a_rejection_is_the_same_whether_its_request_was_read_or_recognised() -> None:
    async with overloaded() as (edge, _), connected(edge.port) as client:
        seen = set()
        for number in range(8):
            answer = await client.ask(get(b"/echo?number=%d" % number))
            seen.add((answer.status, answer.body, *(each for each in answer.headers if each[0] != b"retry-after")))
        assert len(seen) == 1
        assert edge.metrics.refusals == {("overloaded", "bulk"): 8}
        assert edge.metrics.requests == {("echo", 503, "shed"): 8}


@pytest.mark.parametrize(
    ("asked", "status"),
    [
        (b"GET /echo?a b HTTP/1.1\r\nHost: edge.test\r\n\r\n", 400),
        (b"GET /echo?a\x00b HTTP/1.1\r\nHost: edge.test\r\n\r\n", 400),
        (b"GET /echo?a HTTP/1.2\r\nHost: edge.test\r\n\r\n", 400),
        (b"GET /echo?" + 9000 * b"a" + b" HTTP/1.1\r\nHost: edge.test\r\n\r\n", 414),
        (b"GET /echo/../echo?a HTTP/1.1\r\nHost: edge.test\r\n\r\n", 400),
        (b"HEAD /echo?a HTTP/1.1\r\nHost: edge.test\r\n\r\n", 503),
    ],
)
async def test_what_looks_like_a_request_that_is_shed_is_read(asked: bytes, status: int) -> None:
    """Its field section is known, and so is what the rest of it looks like."""
    async with overloaded() as (edge, _), connected(edge.port) as client:
        for _ in range(3):
            assert (await client.ask(b"GET /echo?a HTTP/1.1\r\nHost: edge.test\r\n\r\n")).status == 503
        assert (await client.ask(asked)).status in {status, 505 if status == 400 else status}


async def test_rejections_of_pipelined_requests_come_in_order_however_these_are_cut() -> None:
    async with overloaded() as (edge, _), connected(edge.port) as client:
        together = get(b"/echo?1") + get(b"/echo?2") + get(b"/browse?3") + get(b"/echo?4")
        for cut in (len(together), 7, 1):
            for start in range(0, len(together), cut):
                await client.send(together[start : start + cut])
            answers = [await client.response() for _ in range(4)]
            assert [answer.status for answer in answers] == [503] * 4
            waits = [int(answer.get(b"retry-after") or 0) for answer in answers]
            assert [after - before for before, after in itertools.pairwise(waits)].count(1) >= 2
        assert edge.metrics.refusals == {("overloaded", "bulk"): 9, ("overloaded", "best_effort"): 3}


async def test_l1_what_waits_behind_a_long_turn_of_the_loop_is_shed_at_once() -> None:
    """The score is an old one by then; how late the loop is at this moment is seen at each head."""

    def slow(exchange: Exchange) -> Verdict:
        if exchange.request.target == b"/account?slow":
            time.sleep(0.5)  # in the loop, on purpose
        return CONTINUE

    async with AsyncExitStack() as stack:
        origin = await stack.enter_async_context(raw_origin(answering(ok())))
        change = with_inbound(Inbound(slow))
        edge = await stack.enter_async_context(running_edge(origin.address, *PRIORITIES, change=change))
        clients = [await stack.enter_async_context(connected(edge.port)) for _ in range(5)]
        targets = (b"/account?slow", BULK, BEST_EFFORT, DEGRADED, CRITICAL)
        for client, target in zip(clients, targets, strict=True):
            client.writer.write(get(target))  # all in one turn of the loop
        assert edge.engine.rejections.load.shedding.shed_from == NOTHING_SHED
        assert [(await client.response()).status for client in clients] == [200, 503, 503, 200, 200]


async def test_l1_what_an_overloaded_origin_has_no_place_for_is_refused_on_its_head() -> None:
    ten = [f"origins.api.concurrency_limit.{name}=10" for name in ("minimum", "initial", "maximum")]
    async with overloaded("shedding.enabled=false", *ten, requests=9) as (edge, gate), connected(edge.port) as client:
        before = edge.metrics.requests.get(("echo", 503, "shed"), 0)
        assert (await client.ask(get(BULK))).status == 503  # after the chain has run
        await until(lambda: edge.engine.rejections.shedding)
        for number in range(5):
            answer = await client.ask(get(b"/echo?number=%d" % number))
            assert (answer.status, json.loads(answer.body)["reason"]) == (503, "origin_overloaded")
            assert answer.get(b"retry-after") == b"1"
        assert edge.metrics.requests["echo", 503, "shed"] == before + 5
        assert (await client.ask(get(CRITICAL))).status == 200
        gate.opened.set()
        await until(lambda: not edge.engine.rejections.shedding)
        assert (await client.ask(get(BULK))).status == 200


async def test_l1_requests_are_looked_at_before_they_are_read_only_while_many_are_rejected() -> None:
    async with overloaded() as (edge, gate), connected(edge.port) as client:
        edge.engine.rejections.load.shedding._random = lambda: 0.95  # nothing critical is shed by chance
        assert edge.engine.rejections.shedding
        for _ in range(5):
            assert (await client.ask(get(CRITICAL))).status == 200
            assert not edge.engine.rejecting
        for _ in range(3):
            assert (await client.ask(get(BULK))).status == 503
        assert edge.engine.rejecting
        gate.opened.set()
        await until(lambda: not edge.engine.rejections.shedding)
        assert not edge.engine.rejecting


async def test_l1_requests_of_all_devices_for_one_path_are_recognised_as_the_same() -> None:
    async with overloaded() as (edge, _), connected(edge.port) as client:
        for device in range(20):
            asked = get(b"/echo?by=%d" % device, b"X-Device: %d" % device)
            for _ in range(3):
                assert (await client.ask(asked)).status == 503
        assert len(edge.engine.rejections._sheddable) == 1


async def test_what_was_shed_is_counted_by_priority_and_route() -> None:
    async with overloaded() as (edge, _), connected(edge.port) as client:
        for target in (BULK, BULK, BEST_EFFORT):
            await client.ask(get(target))
        assert edge.metrics.refusals == {("overloaded", "bulk"): 2, ("overloaded", "best_effort"): 1}
        assert edge.metrics.requests == {("echo", 503, "shed"): 2, ("browse", 503, "shed"): 1}
        values = dict(edge.metrics.snapshot(0.0).values["edge_load_score"])
        assert values["overall",] == values["in_flight",] > 0.9
        assert values.keys() == {("overall",), ("loop_lag",), ("in_flight",), ("cpu",)}


async def test_load_is_measured_and_nothing_shed_where_shedding_is_off() -> None:
    async with overloaded("shedding.enabled=false") as (edge, _), connected(edge.port) as client:
        assert (await client.ask(get(BULK))).status == 200


async def test_l2_a_noisy_client_is_shed_whatever_its_route_and_others_are_not() -> None:
    async with (
        overloaded() as (edge, _),
        connected(edge.port) as noisy,
        from_address(edge.port, "127.0.0.2") as quiet,
    ):
        statuses = []
        while ("overloaded", "noisy") not in edge.metrics.refusals:
            await noisy.send(get(CRITICAL) * 50)
            statuses.append((await quiet.ask(get(CRITICAL))).status)
            for _ in range(50):
                await noisy.response()
        assert statuses.count(200) > len(statuses) / 2


async def test_m1_uploads_that_are_slow_to_come_shed_nobody_else() -> None:
    async with AsyncExitStack() as stack:
        origin = await stack.enter_async_context(raw_origin(Gate()))
        edge = await stack.enter_async_context(running_edge(origin.address, "shedding.max_in_flight=4", *PRIORITIES))
        for _ in range(8):
            client = await stack.enter_async_context(connected(edge.port))
            await client.send(request(b"POST", b"/upload", b"Content-Length: 10", body=b"half"))
        for _ in range(6):
            swept_at = edge.engine.rejections.load.swept_at
            await until(lambda before=swept_at: edge.engine.rejections.load.swept_at > before)  # type: ignore[misc]
        assert len(edge.engine.connections) == 8
        assert edge.engine.rejections.load.shedding.parts[PARTS.index("in_flight")] == 0


def test_time_in_which_others_had_the_processor_counts_as_busy() -> None:
    began, ran = busy_s(), time.thread_time()
    ends = time.monotonic() + 0.2
    while time.monotonic() < ends:
        pass
    assert busy_s() - began >= time.thread_time() - ran - 0.05


async def test_l1_a_loop_that_is_late_takes_more_connections_than_one_in_each_turn() -> None:
    async with AsyncExitStack() as stack:
        origin = await stack.enter_async_context(raw_origin(answering(ok())))
        edge = await stack.enter_async_context(running_edge(origin.address))
        calls: list[float] = []
        edge.engine.take_more = lambda: calls.append(time.monotonic())
        began = time.monotonic()
        time.sleep(0.1)  # noqa: ASYNC251 - in the loop, on purpose
        await until(lambda: calls)
        assert calls[0] - began >= 0.1


async def test_l1_waiting_connections_are_taken_many_at_a_time_and_served() -> None:
    async with AsyncExitStack() as stack:
        origin = await stack.enter_async_context(raw_origin(answering(ok())))
        edge = await stack.enter_async_context(running_edge(origin.address))
        door = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        door.setblocking(False)
        clients = [await stack.enter_async_context(connected(door.getsockname()[1])) for _ in range(5)]
        take_queued(edge.engine, door, None, at_most=3)
        await until(lambda: len(edge.engine.connections) == 3)
        take_queued(edge.engine, door, None, at_most=3)
        for client in clients:
            assert (await client.ask(get())).status == 200
        assert len(edge.engine.connections) == 5
