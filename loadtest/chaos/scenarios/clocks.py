"""Steps of the edge's own wall clock: C1."""

import asyncio
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import aiohttp

from loadtest.bench.failure import BenchError
from loadtest.chaos.faults import Fault, Kind
from loadtest.chaos.figures import Window, failures, p99_ms
from loadtest.chaos.outcomes import Ending, Outcome
from loadtest.chaos.result import Result, at_most, no_slower
from loadtest.chaos.scenarios.renewals import observe_devices
from loadtest.chaos.setup import OPEN_FAULTY
from loadtest.chaos.token_stage import COOKIE, ClockStage, TokenStage
from tokens.cookie import SKEW_S

MINUTE_S, HOUR_S, DAY_S = 60, 3600, 86_400
SMALL = (MINUTE_S, -MINUTE_S)
STEPS = (*SMALL, 10 * MINUTE_S, -10 * MINUTE_S, -HOUR_S, DAY_S, 0)
HEAD_TIMEOUT_S = 2.0
TIMER_GRACE_S = 1.0
BREAKER_OPEN_S = 10.0  # an open breaker tries again after 5 s at most, and then somebody must ask
ROUNDING_S = 1.0
PEOPLE, AT_ONCE, PAUSE_S = 48, 4, 0.25  # whose cookies have expired: each has every worker renew once
BREAKER = 'breaker="service:cookie"'


@dataclass(slots=True, frozen=True)
class Reign:
    """How far the edge's clock was ahead, and when."""

    skew_s: int
    window: Window


def not_yet_valid(
    one: Outcome, jars: Mapping[tuple[int, int], int], reigns: Iterable[Reign], to_epoch_s: float
) -> bool:
    """Tell whether a request showed cookies that were made in what the edge took for the future.

    `jars` has when the cookies of each device and version were issued. `to_epoch_s` is added to monotonic time.
    """
    issued_at = jars.get((one.device, one.shown))
    if issued_at is None:
        return False
    then = [reign.skew_s for reign in reigns if reign.window.start <= one.ended and one.due < reign.window.end]
    return any(issued_at - SKEW_S > one.due + to_epoch_s + skew_s - ROUNDING_S for skew_s in then)


def in_force(reigns: Sequence[Reign]) -> list[Reign]:
    """Return how far the clock was ahead, and when: each reign lasts until the next."""
    ends = [*(reign.window.start for reign in reigns[1:]), float("inf")]
    return [Reign(one.skew_s, Window(one.window.start, end)) for one, end in zip(reigns, ends, strict=True)]


async def edge_clock(stage: TokenStage) -> Result:
    """Let the edge's wall clock jump; as it goes back an hour, a breaker is open and a request waits for its origin."""
    assert isinstance(stage, ClockStage)
    reigns: list[Reign] = []
    timers: dict[str, float] = {}

    async def steps() -> None:
        for skew_s in STEPS:
            began = time.monotonic()
            if skew_s == -HOUR_S:
                began, measured = await _timers(stage, skew_s)
                timers.update(measured)
            else:
                stage.set_edge_clock(skew_s)
            await asyncio.sleep(stage.phases.fault_s / 4)
            reigns.append(Reign(skew_s, Window(began, time.monotonic())))

    seen = await observe_devices(stage, steps)
    outcomes, jars = seen.seen.outcomes, seen.jars
    issued_at = {(one.device, one.version): one.claims.issued_at for one in jars}
    early = [one for one in outcomes if not_yet_valid(one, issued_at, in_force(reigns), seen.to_epoch_s)]
    early_ids = {one.id for one in early if one.status == 401}
    out = [one for one in outcomes if one.signed_out and one.id not in early_ids]
    small = [one for reign in reigns if reign.skew_s in SMALL for one in reign.window.of(outcomes)]
    after = [one for one in outcomes if one.due >= reigns[-1].window.start]
    small_ms, normal_ms = p99_ms(small), seen.seen.p99(seen.seen.normal)
    hung = sum(one.kind is Ending.TIMED_OUT for one in outcomes)
    result = seen.result(
        healing=False,
        slower=None,
        extra={
            "not_yet_valid": len(early_ids), **timers,
            "failed_by_step": {reign.skew_s: len(failures(reign.window.of(outcomes))) for reign in reigns},
        },
        bars=[
            at_most("failed", len(failures(outcomes)), len(early_ids)),
            at_most("signed_out", len(out), 0),
            at_most("failed_60_s", len(failures(small)), 0),
            at_most("cleared", sum(one.cleared for one in outcomes), 0),
            at_most("failed_after", len(failures(after)), 0),
            no_slower(small_ms, normal_ms, 1.5),
            at_most("hung", hung, 0),
            at_most("head_timeout_s", timers["head_timeout_s"], HEAD_TIMEOUT_S + TIMER_GRACE_S, " s"),
            at_most("breaker_open_s", timers["breaker_open_s"], BREAKER_OPEN_S, " s"),
            at_most("left_rescheduled", seen.left(), 0),
        ],
    )  # fmt: skip
    return replace(result, ideal_failed=len(early_ids), signed_out=len(out), p99_ms=small_ms, p99_ms_normal=normal_ms)


async def _timers(stage: ClockStage, skew_s: int) -> tuple[float, dict[str, float]]:
    """Step while a breaker is open and a request waits for its origin; return when, and how long each took to end."""
    strangers = iter(stage.people(*[stage.course.lives.life_s + 2 * HOUR_S] * PEOPLE))
    await stage.service_fault(COOKIE, Fault(Kind.REFUSE))
    while await _opened(stage) < stage.workers:
        await next(strangers).asks_at_once(AT_ONCE)
    waiting = asyncio.create_task(_head_timeout_s(stage))
    await asyncio.sleep(HEAD_TIMEOUT_S / 4)
    began = time.monotonic()
    stage.set_edge_clock(skew_s)
    await stage.service_fault(COOKIE, Fault())
    healed = time.monotonic()
    while (await stage.metrics())[f"edge_breaker_state{{{BREAKER}}}"]:
        await next(strangers).asks_at_once(AT_ONCE)
        await asyncio.sleep(PAUSE_S)
    open_s = round(time.monotonic() - healed, 2)
    return began, {"head_timeout_s": await waiting, "breaker_open_s": open_s}


async def _opened(stage: ClockStage) -> int:
    return (await stage.counts("edge_breaker_transitions_total")).get(f'{{{BREAKER},state="open"}}', 0)


async def _head_timeout_s(stage: ClockStage) -> float:
    """Ask an origin that takes its time; return how long it took to be told so."""
    began = time.monotonic()
    url = f"http://127.0.0.1:{stage.port}/{OPEN_FAULTY}?id=clock-1&wait_ms=30000"
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        if answer.status != 504:
            raise BenchError(f"A request that its origin lets wait got {answer.status}")
    return round(time.monotonic() - began, 2)
