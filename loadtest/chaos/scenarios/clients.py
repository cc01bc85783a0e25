"""Clients that are slow, many, or greedy: M1 to M6."""

import asyncio
import time
from collections.abc import Sequence

from loadtest.chaos.faults import Fault, Kind
from loadtest.chaos.figures import Window
from loadtest.chaos.plan import Stream
from loadtest.chaos.result import Bar, Result, at_most
from loadtest.chaos.setup import CALM
from loadtest.chaos.stage import CrowdOf, Stage
from loadtest.chaos.trial import Seen, observe

SLOW_S = 3.0  # the timeouts of this scenario's edge
SLOW, IDLE, QUICK_IDLE, FEW_FDS = 500, 10_000, 1_000, 256
BOUND_MIB, LAG_MS = 64.0, 50.0
GREEDY = (
    CrowdOf("big_heads", 500), CrowdOf("many_headers", 50), CrowdOf("tiny_chunks", 50), CrowdOf("huge_bodies", 50)
)  # fmt: skip


async def slow_clients(stage: Stage) -> Result:
    """500 slow heads, 500 slow bodies and 500 slow readers at once."""
    sent = [CrowdOf("slow_heads", SLOW), CrowdOf("slow_bodies", SLOW), CrowdOf("slow_readers", SLOW)]
    seen, left = await _crowded(stage, sent, stay=True)
    at_the_end = stage.crowd_connections()
    return seen.result(
        extra={"crowd": left, "connected_at_end": at_the_end},
        bars=[at_most("connected_at_end", at_the_end, 0)],
    )  # fmt: skip


async def idle_connections(stage: Stage) -> Result:
    """Ten thousand connections that ask once and stay, on one worker."""
    count = QUICK_IDLE if stage.settings.quick else IDLE
    streams = _streams(stage, Stream("fresh", 20, "/calm", fresh=True))
    seen, left = await _crowded(stage, [CrowdOf("idle", count, 1000)], streams, settle=count)
    seen.fault = Window(seen.struck.end, seen.fault.end)  # once all of them are there
    kib = (stage.monitor.rss_mib(seen.recovery) - stage.monitor.rss_mib(seen.normal)) * 1024 / count
    accept_ms = seen.p99(seen.fault, "fresh")
    return seen.result(
        slower=1.2, extra={"crowd": left, "kib_per_connection": round(kib, 1), "accept_p99_ms": accept_ms},
        bars=[at_most("kib_per_connection", kib, 20), at_most("accept_p99_ms", accept_ms, 50)],
    )  # fmt: skip


async def big_heads(stage: Stage) -> Result:
    """Heads of 64 KiB, ten thousand fields, chunks of a byte, and gigabytes for an origin that is away."""
    await stage.fault(Fault(Kind.REFUSE))
    seen, left = await _crowded(stage, GREEDY)
    added = round(seen.p99(seen.fault, CALM) - seen.p99(seen.normal, CALM), 1)
    return _bounded(seen, left, Bar("p99_ms", f"<= normal + {LAG_MS:g} ms", added <= LAG_MS))


async def pipelining(stage: Stage) -> Result:
    """A hundred thousand requests on fifty connections that read no answer."""
    seen, left = await _crowded(stage, [CrowdOf("pipelining", 50)])
    return _bounded(seen, left)


async def fd_limit(stage: Stage) -> Result:
    """More connections than the edge may have file descriptors."""
    streams = (Stream(CALM, 50, "/calm"), Stream("fresh", 5, "/calm", fresh=True))
    seen, left = await _crowded(stage, [CrowdOf("idle", 2 * FEW_FDS, 500)], streams)
    cpu = stage.monitor.cpu(seen.fault)
    late = [one for one in seen.outcomes if one.stream == "fresh"]
    waited = [one.ended for one in late if one.due < seen.fault.end]
    recovery_s = round(max(0.0, max(waited, default=0.0) - seen.fault.end), 2)
    lost = [one for one in seen.outcomes if one.failed and one.stream == CALM]
    return seen.result(
        failed=len(lost), slower=None, extra={"crowd": left, "cpu_share": cpu, "accepting_again_s": recovery_s},
        bars=[at_most("cpu_share", cpu, 0.2), at_most("accepting_again_s", recovery_s, 1.0, " s")],
    )  # fmt: skip


async def _crowded(
    stage: Stage, sent: Sequence[CrowdOf], streams: tuple[Stream, ...] = (), *, stay: bool = False, settle: int = 0
) -> tuple[Seen, dict[str, dict[str, object]]]:
    """Let crowds come with the fault and leave with it, or stay; return what was seen and what became of them."""
    left: dict[str, dict[str, object]] = {}

    async def come() -> None:
        for one in sent:
            await stage.start_crowd(one)
        deadline = time.monotonic() + 60
        while settle and _number((await stage.crowd_counts(sent[0].kind))["opened"]) < settle:
            if time.monotonic() > deadline:
                break
            await asyncio.sleep(0.2)

    async def go() -> None:
        for one in sent:
            left[one.kind] = await stage.crowd_counts(one.kind)
            if not stay and not settle:
                await stage.stop_crowd(one.kind)

    seen = await observe(stage, come, go, *(streams or _streams(stage)))
    if stay:
        for one in sent:
            left[one.kind] = await stage.crowd_counts(one.kind)
    return seen, left


def _streams(stage: Stage, *more: Stream) -> tuple[Stream, ...]:
    return (Stream(CALM, stage.settings.rate, "/calm"), *more)


def _bounded(seen: Seen, left: dict[str, dict[str, object]], *bars: Bar) -> Result:
    monitor = seen.stage.monitor
    growth = round(monitor.peak_rss_mib(seen.fault) - monitor.rss_mib(seen.normal), 1)
    return seen.result(
        slower=None, extra={"crowd": left, "rss_growth_mb": growth},
        bars=[at_most("rss_growth_mb", growth, BOUND_MIB, " MiB"), *bars],
    )  # fmt: skip


def _number(value: object) -> int:
    return int(str(value))
