"""More requests than the edge can answer, and one client that wants it all: L1, L2."""

import asyncio
import time
from dataclasses import replace

from loadtest.chaos.figures import Window, failures, p99_ms
from loadtest.chaos.load import together
from loadtest.chaos.outcomes import Outcome
from loadtest.chaos.plan import Stream
from loadtest.chaos.result import Result, at_least, at_most, no_slower
from loadtest.chaos.setup import CALM, route
from loadtest.chaos.stage import CrowdOf, Stage
from loadtest.chaos.trial import Seen

CRITICAL, EXTRAS = "critical", "extras"
ROUTES = tuple(route(name, CALM, {"priority": name}, user="none") for name in (CRITICAL, "best_effort"))
IN_TIME_MS = 500.0
STEADY, SURGE = 200, 1000  # connections that devices have open already: what is in question is not their opening
BUSY = 3  # programs that take their share of the edge's core, so that one client can ask for three times the rest
CRITICAL_SHARE = 0.3  # of the capacity


async def overload(stage: Stage) -> Result:
    """Ask for three times what one worker can do, then for half of it again."""
    for _ in range(BUSY):
        await stage.start_busy()
    capacity = await _capacity(stage)
    critical = Stream(CRITICAL, capacity * CRITICAL_SHARE, "/critical", size=64, signed_in=False, timeout_s=2.0)
    calm = Stream(EXTRAS, capacity * 0.2, "/best_effort", size=64, signed_in=False, timeout_s=2.0)
    more = replace(calm, name="more", rate=capacity * (3 - CRITICAL_SHARE - 0.2))
    phases = stage.phases
    async with stage.load(critical, calm, kept=STEADY) as steady:
        await steady.phase(phases.warm_up_s)
        normal = await steady.phase(phases.normal_s)
        began = time.monotonic()
        async with stage.load(more, kept=SURGE) as surge:
            began = max(began, surge.started)
            await surge.phase(phases.fault_s)
            fault = Window(began, time.monotonic())
        recovery = await steady.phase(phases.recovery_s)
    outcomes = together([steady, surge])
    seen = Seen(
        stage, outcomes, stage.sightings_of(outcomes), normal, fault, fault, recovery,
        max(steady.late_ms, surge.late_ms),
    )  # fmt: skip
    return _overload_result(seen, capacity)


async def noisy_client(stage: Stage) -> Result:
    """Let one of eight addresses ask for ten times what the others ask for together."""
    quiet = tuple(Stream(f"quiet-{source}", 20, "/calm", source=source) for source in range(1, 8))
    names = tuple(stream.name for stream in quiet)
    phases = stage.phases
    async with stage.load(*quiet) as others:
        await others.phase(phases.warm_up_s)
        normal = await others.phase(phases.normal_s)
        async with stage.load(Stream("noisy", 1400, "/calm", source=0, timeout_s=5.0)) as noise:
            began = noise.started
            await noise.phase(phases.fault_s)
            fault = Window(began, time.monotonic())
        recovery = await others.phase(phases.recovery_s)
    outcomes = together([others, noise])
    late = max(others.late_ms, noise.late_ms)
    seen = Seen(stage, outcomes, stage.sightings_of(outcomes), normal, fault, fault, recovery, late)
    lost = failures(one for one in outcomes if one.stream != "noisy")
    noisy = fault.of(outcomes, "noisy")
    return seen.result(
        failed=len(lost), unaffected=names, slower=1.2,
        extra={"noisy_failed_share": round(len(failures(noisy)) / max(1, len(noisy)), 3)},
    )  # fmt: skip


def _overload_result(seen: Seen, capacity: float) -> Result:
    normal_ms = p99_ms(seen.normal.of(seen.outcomes, CRITICAL))
    fault = Window(seen.fault.start + 1.0, seen.fault.end)  # the score is smoothed over a second
    critical = fault.of(seen.outcomes, CRITICAL)
    good = [one for one in fault.of(seen.outcomes) if _in_time(one)]
    offered = len(fault.of(seen.outcomes)) / fault.seconds
    good_rate = len(good) / fault.seconds
    critical_good = sum(_in_time(one) for one in critical) / max(1, len(critical))
    critical_ms = p99_ms(one for one in critical if not one.failed)
    kept = failures(one for one in seen.outcomes if one.stream == CRITICAL)
    return seen.result(
        failed=len(kept), unaffected=(CRITICAL,), slower=None, recovered_within_s=5.0,
        extra={
            "busy_neighbours": BUSY,
            "capacity_rps": round(capacity), "offered_rps": round(offered), "good_rps": round(good_rate),
            "critical_good": round(critical_good, 4), "critical_p99_ms": critical_ms,
            "critical_p99_ms_normal": normal_ms,
        },
        bars=[
            at_most("failed", len(kept), 0.01 * len(critical)), at_least("critical_good", critical_good, 0.99),
            no_slower(critical_ms, normal_ms, 2.0, "critical_p99_ms"),
            at_least("good_rps", good_rate, 0.9 * capacity), at_least("offered_rps", offered, 2.7 * capacity),
        ],
    )  # fmt: skip


async def _capacity(stage: Stage) -> float:
    """Return how many requests a second 64 connections get answered that ask one after the other."""
    await stage.start_crowd(CrowdOf("closed_loop", 64))
    seconds = max(2.0, stage.phases.normal_s)
    await asyncio.sleep(1.0)
    before, began = await _answered(stage), time.monotonic()
    await asyncio.sleep(seconds)
    rate = (await _answered(stage) - before) / (time.monotonic() - began)
    await stage.stop_crowd("closed_loop")
    return rate


async def _answered(stage: Stage) -> int:
    statuses = (await stage.crowd_counts("closed_loop"))["statuses"]
    assert isinstance(statuses, dict)
    return int(statuses.get("200", 0))


def _in_time(one: Outcome) -> bool:
    return not one.failed and one.latency_ms <= IN_TIME_MS
