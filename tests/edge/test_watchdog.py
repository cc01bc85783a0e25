"""A blocked event loop is noticed while it is blocked, with the name of the filter that holds it."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from edge import wiring
from edge.contract.dials import Dials
from edge.contract.exchange import Exchange
from edge.contract.filters import CONTINUE, Verdict
from edge.control.load import load_config
from edge.control.snapshot import Snapshot
from edge.relay.watchdog import Watchdog
from edge.telemetry.metrics import WorkerMetrics
from edge.telemetry.telemetry import Telemetry
from tests.edge.raw import answering, connected, get, ok, raw_origin, until
from tests.edge.running import CONFIG, CookieServiceDouble, Keys, RunningEdge, build_filters, running_edge
from tests.edge.test_filters_contract import Inbound, Outbound, with_inbound, with_outbound

BLOCKED_S = 0.5
LONGEST_S = 30.0


class Holding:
    """Holds the event loop from inside a filter until the watchdog has seen it."""

    def __init__(self) -> None:
        self.seen = threading.Event()
        self.reports: list[tuple[str, str, str]] = []

    def at_once(self, exchange: Exchange) -> Verdict:
        """Hold it on the fast path."""
        return self.hold()

    async def later(self, exchange: Exchange) -> Verdict:
        """Hold it in a task."""
        await asyncio.sleep(0)
        return self.hold()

    def hold(self) -> Verdict:
        """Wait as no filter should."""
        self.seen.wait(LONGEST_S)
        return CONTINUE

    def report(self, event: str, filter_id: str, place: str) -> None:
        """Take a report, on the watchdog's thread."""
        self.reports.append((event, filter_id, place))
        self.seen.set()


@asynccontextmanager
async def watched(edge: RunningEdge, holding: Holding) -> AsyncIterator[Watchdog]:
    """Watch the edge's loop, which is the test's own."""
    watchdog = Watchdog(
        BLOCKED_S,
        turn=lambda: edge.engine.turn,
        running=lambda: edge.engine.running_filter,
        report=holding.report,
    )
    watchdog.start()
    try:
        yield watchdog
    finally:
        watchdog.stop()


@pytest.mark.parametrize("direction", ["inbound", "outbound"])
async def test_w5_a_filter_that_blocks_the_loop_is_named_while_it_does(direction: str) -> None:
    holding = Holding()
    change = (
        with_inbound(Inbound(holding.at_once)) if direction == "inbound" else with_outbound(Outbound(holding.at_once))
    )
    async with (
        raw_origin(answering(ok())) as origin,
        running_edge(origin.address, change=change) as edge,
        watched(edge, holding) as watchdog,
        connected(edge.port) as client,
    ):
        began = time.monotonic()
        assert (await client.ask(get())).status == 200
        assert time.monotonic() - began < LONGEST_S
        assert watchdog.blocked == {f"test_{direction}": 1}
        await until(lambda: len(holding.reports) == 2)
        (event, filter_id, place), resumed = holding.reports
        assert (event, filter_id) == ("loop_blocked", f"test_{direction}")
        assert place.startswith("threading.py:")
        assert resumed[0] == "loop_resumed"


async def test_w1_a_loop_that_turns_beats_and_one_that_is_blocked_does_not() -> None:
    holding, beats = Holding(), 0

    def beat() -> None:
        nonlocal beats
        beats += 1

    def seen(event: str, filter_id: str, place: str) -> None:
        holding.report(event, filter_id, f"{beats}")

    async with (
        raw_origin(answering(ok())) as origin,
        running_edge(origin.address, change=with_inbound(Inbound(holding.at_once))) as edge,
        connected(edge.port) as client,
    ):
        watchdog = Watchdog(BLOCKED_S, turn=lambda: edge.engine.turn, running=str, report=seen, beat=beat)
        watchdog.start()
        await until(lambda: beats > 2)
        before = beats
        assert (await client.ask(get())).status == 200
        watchdog.stop()
        blocked_with = int(holding.reports[0][2])
        assert before <= blocked_with <= before + 1  # none in the four looks before


async def test_w5_a_task_that_blocks_the_loop_is_placed() -> None:
    holding = Holding()
    async with (
        raw_origin(answering(ok())) as origin,
        running_edge(origin.address, change=with_inbound(Inbound(holding.later, deadline_s=LONGEST_S))) as edge,
        watched(edge, holding) as watchdog,
        connected(edge.port) as client,
    ):
        assert (await client.ask(get())).status == 200
        assert watchdog.blocked == {"": 1}


async def test_w5_a_loop_that_comes_round_is_left_alone() -> None:
    holding = Holding()
    async with (
        raw_origin(answering(ok())) as origin,
        running_edge(origin.address) as edge,
        watched(edge, holding) as watchdog,
        connected(edge.port) as client,
    ):
        for _ in range(15):
            assert (await client.ask(get())).status == 200
            await asyncio.sleep(0.1)
        assert edge.engine.running_filter == ""
        assert watchdog.blocked == {}


async def test_w5_a_loop_that_serves_nothing_yet_is_not_taken_for_blocked() -> None:
    """As that of a process that stands by: it is measured once it serves."""
    snapshot = load_config(CONFIG, ("access_log.path=off",))
    assert isinstance(snapshot, Snapshot), snapshot
    metrics = WorkerMetrics()
    filters = build_filters(snapshot, Keys(), CookieServiceDouble(), metrics, Dials())
    engine = wiring.build_engine(snapshot, filters, Telemetry(metrics, None), asyncio.get_running_loop())
    assert engine.turn == 0
    engine.start()
    assert engine.turn > 0
    await engine.close()


def test_w5_a_filter_that_had_awaited_is_found_on_the_stack() -> None:
    namespace: dict[str, object] = {"__name__": "filters.inbound.renew"}
    exec("def inbound(wait): wait()", namespace)  # noqa: S102 - a function of another module
    held, seen = threading.Event(), threading.Event()
    reports: list[tuple[str, str, str]] = []

    def report(*facts: str) -> None:
        reports.append((facts[0], facts[1], facts[2]))
        seen.set()

    watchdog = Watchdog(0.2, turn=lambda: 1.0, running=lambda: "", report=report)
    inbound = namespace["inbound"]

    def loop() -> None:
        watchdog.start()
        assert callable(inbound)
        inbound(held.wait)

    thread = threading.Thread(target=loop)
    thread.start()
    assert seen.wait(LONGEST_S)
    held.set()
    watchdog.stop()
    thread.join()
    assert reports[0][:2] == ("loop_blocked", "renew")
