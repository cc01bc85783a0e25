"""More requests than the edge or its origin can answer, and one client that wants it all: L1, L2."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import psutil

from loadtest.chaos.figures import Window, failures, p99_ms
from loadtest.chaos.load import together
from loadtest.chaos.outcomes import Outcome
from loadtest.chaos.plan import Stream
from loadtest.chaos.result import Bar, Result, at_least, at_most, no_slower
from loadtest.chaos.setup import CALM, route
from loadtest.chaos.stage import CrowdOf, Stage
from loadtest.chaos.trial import Seen

CRITICAL, DEGRADED, BEST_EFFORT, BULK = PRIORITIES = ("critical", "degraded", "best_effort", "bulk")
ROUTES = tuple(route(name, CALM, {"priority": name}, user="none") for name in PRIORITIES)
IN_TIME_MS = 500.0
STEADY, SURGE = 200, 1000  # connections that devices have open already: what is in question is not their opening
BUSY = 3  # programs that take their share of the edge's core, so that one client can ask for three times the rest
CRITICAL_SHARE = 0.3  # of the capacity
PLACES, WORK_MS = 20, 10  # of the origin that is what is short


async def overload(stage: Stage) -> Result:
    """Ask for three times what one worker can do, then for half of it again."""
    for _ in range(BUSY):
        await stage.start_busy()
    capacity, usual = await _capacity(stage, CrowdOf("closed_loop", 64))
    steady = (_stream(CRITICAL, capacity * CRITICAL_SHARE), _stream(BEST_EFFORT, capacity * 0.2))
    surge = (replace(steady[1], name="more", rate=capacity * (3 - CRITICAL_SHARE - 0.2)),)
    seen, used = await _surge(stage, steady, surge)
    return _overload_result(seen, capacity, {"busy_neighbours": BUSY, **_costs(usual, used)})


async def overload_origin(stage: Stage) -> Result:
    """Ask for three times what an origin can do that works on so much at once, then for half of it again."""
    await stage.mood(stage.calm_origin, places=PLACES)
    capacity, _ = await _capacity(stage, CrowdOf("working", PLACES + 2))
    shares = {CRITICAL: CRITICAL_SHARE, DEGRADED: 0.1, BEST_EFFORT: 0.1}
    steady = [_stream(name, capacity * share, WORK_MS) for name, share in shares.items()]
    surge = [
        replace(_stream(name, capacity * share, WORK_MS), name=f"more-{name}")
        for name, share in {BEST_EFFORT: 1.5, BULK: 1.0}.items()
    ]
    seen, _ = await _surge(stage, steady, surge)
    fault = _settled(seen.fault)
    refused = {name: _refused(fault.of(seen.outcomes, name, f"more-{name}")) for name in PRIORITIES}
    bars = [
        at_least("best_effort_shed", refused[BEST_EFFORT], 0.5), at_least("bulk_shed", refused[BULK], 0.9),
    ]  # fmt: skip
    return _overload_result(seen, capacity, {f"{name}_shed": share for name, share in refused.items()}, bars)


@dataclass(slots=True, frozen=True)
class Used:
    """What the workers have done so far: seconds of processor time, their own and the kernel's, and requests."""

    user_s: float
    kernel_s: float
    served: int
    shed: int

    def since(self, before: "Used") -> "Used":
        """Return what was done since."""
        return Used(
            self.user_s - before.user_s, self.kernel_s - before.kernel_s,
            self.served - before.served, self.shed - before.shed,
        )  # fmt: skip


async def _used(stage: Stage) -> Used:
    requests = await stage.counts("edge_requests_total")
    times = [psutil.Process(pid).cpu_times() for pid in await stage.worker_pids()]
    served, shed = (
        sum(count for labels, count in requests.items() if f'outcome="{outcome}"' in labels)
        for outcome in ("ok", "shed")
    )
    return Used(sum(each.user for each in times), sum(each.system for each in times), served, shed)


def _costs(usual: Used, overloaded: Used) -> dict[str, float]:
    """Return what a served request costs where none is shed, and a rejection beside such: in microseconds, the kernel's
    among them, and as a share of what the workers did. What is opened and swept meanwhile counts as rejections."""
    user_us = usual.user_s * 1e6 / max(1, usual.served)
    kernel_us = usual.kernel_s * 1e6 / max(1, usual.served)
    shed_kernel_s = overloaded.kernel_s - overloaded.served * kernel_us / 1e6
    shed_s = overloaded.user_s - overloaded.served * user_us / 1e6 + shed_kernel_s
    return {
        "served_us": round(user_us + kernel_us, 1), "served_kernel_us": round(kernel_us, 1),
        "shed_us": round(shed_s * 1e6 / max(1, overloaded.shed), 1),
        "shed_kernel_us": round(shed_kernel_s * 1e6 / max(1, overloaded.shed), 1),
        "shed_share_of_cpu": round(shed_s / max(0.01, overloaded.user_s + overloaded.kernel_s), 3),
    }  # fmt: skip


def _stream(priority: str, rate: float, work_ms: int = 0) -> Stream:
    return Stream(priority, rate, f"/{priority}", size=64, signed_in=False, timeout_s=2.0, work_ms=work_ms)


async def _surge(stage: Stage, calm: Sequence[Stream], more: Sequence[Stream]) -> tuple[Seen, Used]:
    phases = stage.phases
    async with stage.load(*calm, kept=STEADY) as steady:
        await steady.phase(phases.warm_up_s)
        normal = await steady.phase(phases.normal_s)
        began = time.monotonic()
        async with stage.load(*more, kept=SURGE) as surge:
            began = max(began, surge.started)
            before = await _used(stage)
            await surge.phase(phases.fault_s)
            used = (await _used(stage)).since(before)
            fault = Window(began, time.monotonic())
        recovery = await steady.phase(phases.recovery_s)
    outcomes = together([steady, surge])
    late_ms = max(steady.late_ms, surge.late_ms)
    return Seen(stage, outcomes, stage.sightings_of(outcomes), normal, fault, fault, recovery, late_ms), used


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


def _settled(fault: Window) -> Window:
    return Window(fault.start + 1.0, fault.end)  # the score is smoothed over a second


def _overload_result(seen: Seen, capacity: float, extra: Mapping[str, object], more_bars: Sequence[Bar] = ()) -> Result:
    normal_ms = p99_ms(seen.normal.of(seen.outcomes, CRITICAL))
    fault = _settled(seen.fault)
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
            "capacity_rps": round(capacity), "offered_rps": round(offered), "good_rps": round(good_rate),
            "critical_good": round(critical_good, 4), "critical_p99_ms": critical_ms,
            "critical_p99_ms_normal": normal_ms, **extra,
        },
        bars=[
            at_most("failed", len(kept), 0.01 * len(critical)), at_least("critical_good", critical_good, 0.99),
            no_slower(critical_ms, normal_ms, 2.0, "critical_p99_ms"),
            at_least("good_rps", good_rate, 0.9 * capacity), at_least("offered_rps", offered, 2.7 * capacity),
            *more_bars,
        ],
    )  # fmt: skip


async def _capacity(stage: Stage, crowd: CrowdOf) -> tuple[float, Used]:
    """Return how many requests a second a crowd gets answered that asks one after the other, and what that took."""
    await stage.start_crowd(crowd)
    seconds = max(2.0, stage.phases.normal_s)
    await asyncio.sleep(1.0)
    used, before, began = await _used(stage), await _answered(stage, crowd), time.monotonic()
    await asyncio.sleep(seconds)
    rate = (await _answered(stage, crowd) - before) / (time.monotonic() - began)
    used = (await _used(stage)).since(used)
    await stage.stop_crowd(crowd.kind)
    return rate, used


async def _answered(stage: Stage, crowd: CrowdOf) -> int:
    statuses = (await stage.crowd_counts(crowd.kind))["statuses"]
    assert isinstance(statuses, dict)
    return int(statuses.get("200", 0))


def _refused(outcomes: Sequence[Outcome]) -> float:
    return round(sum(one.failed for one in outcomes) / max(1, len(outcomes)), 3)


def _in_time(one: Outcome) -> bool:
    return not one.failed and one.latency_ms <= IN_TIME_MS
