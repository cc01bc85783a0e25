"""Origins that die, vanish, hang, and slow down: B1 to B6, B14."""

import asyncio
import time

from loadtest.chaos.faults import Fault, Kind
from loadtest.chaos.figures import Window, failures, in_hand, lost_with_origin, percentile
from loadtest.chaos.outcomes import Ending, Outcome
from loadtest.chaos.plan import Stream
from loadtest.chaos.result import Result, at_least, at_most, is_true
from loadtest.chaos.setup import CALM, FAULTY
from loadtest.chaos.stage import Stage
from loadtest.chaos.trial import POST, Seen, observe

CONNECT_TIMEOUT_S = 0.5
HEAD_TIMEOUT_S = 2.0
RECOVERY_S = 2.0
DEADLINE_MS = 1000.0


async def origin_killed(stage: Stage) -> Result:
    """SIGKILL one of four; bring it back."""
    seen = await observe(stage, lambda: stage.kill_origin(0), lambda: stage.start_origin(0))
    ideal = lost_with_origin(seen.outcomes, seen.sightings, _around(seen.struck), 0)
    back = [one.at for one in seen.sightings if one.origin == 0 and one.at > seen.fault.end]
    returned_s = round(min(back) - seen.fault.end, 2) if back else None
    return seen.result(
        ideal_failed=ideal, unaffected=(CALM, FAULTY, POST), recovered_within_s=5.0, extra={"returned_s": returned_s},
        bars=[at_most("returned_s", returned_s, 5.0, " s")],
    )  # fmt: skip


async def origins_down(stage: Stage) -> Result:
    """Refuse connections at all four."""
    seen = await observe(stage, lambda: stage.fault(Fault(Kind.REFUSE)), lambda: stage.fault(Fault()))
    ideal, refused = _doomed(seen), _refused(seen)
    p99 = round(percentile((one.latency_ms for one in refused), 0.99), 1)
    later = all(one.retry_after and one.status == 503 for one in refused)
    growth = _growth(seen)
    failed = len(failures(seen.outcomes))
    return seen.result(
        ideal_failed=ideal, recovered_within_s=RECOVERY_S,
        extra={"p99_503_ms": p99, "retry_after": later, "rss_growth_mb": growth},
        bars=[
            at_most("failed", failed, ideal + _while_recovering(seen)),
            at_most("p99_503_ms", p99, 20.0),
            is_true("retry_after", later, "503 with Retry-After, every one"),
            at_most("rss_growth_mb", growth, 16.0),
        ],
    )  # fmt: skip


async def black_hole(stage: Stage) -> Result:
    """Let connects to one of four hang: the listener's queue is full, the kernel drops what comes."""
    seen = await observe(stage, lambda: stage.fault(Fault(Kind.BLACK_HOLE), 0), lambda: stage.fault(Fault()))
    ideal = lost_with_origin(seen.outcomes, seen.sightings, _around(seen.struck), 0)
    delayed = [one for one in seen.fault.of(seen.outcomes) if one.latency_ms > CONNECT_TIMEOUT_S * 800]
    most = 5 * stage.settings.workers
    return seen.result(
        ideal_failed=ideal, recovered_within_s=5.0,
        extra={"delayed": len(delayed), "delayed_max_ms": _slowest(delayed)},
        bars=[
            at_most("delayed", len(delayed), most),
            at_most("delayed_max_ms", _slowest(delayed), CONNECT_TIMEOUT_S * 1000 + 100),
        ],
    )  # fmt: skip


async def accept_hang(stage: Stage) -> Result:
    """Accept everything at all four, answer nothing."""
    seen = await observe(stage, lambda: stage.fault(Fault(Kind.ACCEPT_HANG)), lambda: stage.fault(Fault()))
    hanging = _most_at_a_time(seen.fault.of(seen.outcomes, FAULTY, POST))
    bound = 2 * (64 + 32) * stage.settings.workers
    slowest = _slowest(seen.fault.of(seen.outcomes, FAULTY, POST))
    ideal, failed = _doomed(seen), len(failures(seen.outcomes))
    return seen.result(
        ideal_failed=ideal, slower=1.2, extra={"in_flight_max": hanging, "refused_max_ms": slowest},
        bars=[
            at_most("failed", failed, ideal + _while_recovering(seen)),
            at_most("in_flight_max", hanging, bound),
            at_most("refused_max_ms", slowest, HEAD_TIMEOUT_S * 1000 + 1500),
            at_most("calm_failed", _failed(seen, CALM), 0),
        ],
    )  # fmt: skip


async def slow_origin(stage: Stage) -> Result:
    """Add 2 s to every answer of one of four."""
    fault = Fault(Kind.LATENCY, delay_s=2.0)
    seen = await observe(stage, lambda: stage.fault(fault, 0), lambda: stage.fault(Fault()))
    asked = seen.fault.of(seen.outcomes, FAULTY, POST)
    good = sum(not one.failed and one.latency_ms < DEADLINE_MS for one in asked) / max(1, len(asked))
    return seen.result(
        slower=1.5, extra={"good_share": round(good, 3), "in_flight_max": _most_at_a_time(asked)},
        bars=[at_least("good_share", good, 0.9)],
    )  # fmt: skip


async def slow_drip(stage: Stage) -> Result:
    """Let all four answer a byte every 20 ms."""
    fault = Fault(Kind.SLICE, slice_bytes=1, delay_s=0.02)
    streams = (Stream(FAULTY, 20, "/faulty", size=64), Stream(CALM, stage.settings.rate, "/calm"))
    seen = await observe(stage, lambda: stage.fault(fault), lambda: stage.fault(Fault()), *streams)
    return seen.result(extra={"drip_max_ms": _slowest(seen.fault.of(seen.outcomes, FAULTY))})


async def flapping(stage: Stage) -> Result:
    """Let one of four be away every other second."""
    flips: list[Window] = []

    async def flap() -> None:
        while True:
            began = time.monotonic()
            await stage.fault(Fault(Kind.REFUSE), 0)
            flips.append(_around(Window(began, time.monotonic())))
            await asyncio.sleep(1.0)
            await stage.fault(Fault(), 0)
            await asyncio.sleep(1.0)

    tasks: list[asyncio.Task[None]] = []

    async def start() -> None:
        tasks.append(asyncio.create_task(flap()))

    async def end() -> None:
        tasks[0].cancel()
        await stage.fault(Fault())

    seen = await observe(stage, start, end)
    ideal = sum(lost_with_origin(seen.outcomes, seen.sightings, flip, 0) for flip in flips)
    failed = sum(one.failed for one in seen.outcomes)
    return seen.result(
        ideal_failed=ideal, recovered_within_s=5.0, extra={"flips": len(flips)},
        bars=[at_most("failed", failed, 1.2 * ideal)],
    )  # fmt: skip


def _around(window: Window) -> Window:
    """Return the window with what a machine under load needs to notice."""
    return Window(window.start - 0.01, window.end + 0.05)


def _doomed(seen: Seen) -> int:
    """Count the requests to `faulty` that came, or were under way, while all of it was away, and failed."""
    theirs = [one for one in seen.outcomes if one.stream in {FAULTY, POST}]
    return sum(one.failed for one in in_hand(theirs, _around(seen.fault)))


def _while_recovering(seen: Seen) -> int:
    """Count the failures in the time that the edge has to notice that an origin is back."""
    return len(failures(Window(seen.fault.end, seen.fault.end + RECOVERY_S).of(seen.outcomes, FAULTY, POST)))


def _refused(seen: Seen) -> list[Outcome]:
    """Return what the edge answered itself, from when the fault was complete."""
    answered = [one for one in seen.fault.of(seen.outcomes, FAULTY, POST) if one.kind is Ending.REFUSED]
    return [one for one in answered if one.due > seen.struck.end]


def _failed(seen: Seen, stream: str) -> int:
    return sum(one.failed for one in seen.outcomes if one.stream == stream)


def _slowest(outcomes: list[Outcome]) -> float:
    return round(max((one.latency_ms for one in outcomes), default=0.0), 1)


def _most_at_a_time(outcomes: list[Outcome]) -> int:
    """Return how many were under way at most."""
    steps = sorted([(one.due, 1) for one in outcomes] + [(one.ended, -1) for one in outcomes])
    most = now = 0
    for _, step in steps:
        now += step
        most = max(most, now)
    return most


def _growth(seen: Seen) -> float:
    monitor = seen.stage.monitor
    return round(monitor.peak_rss_mib(seen.fault) - monitor.rss_mib(seen.normal), 1)
