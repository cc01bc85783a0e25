"""A filter with a bug in one of the workers: W5, M5."""

import time
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import replace

import aiohttp

from loadtest.bench.failure import BenchError
from loadtest.chaos.faults import Fault, Kind
from loadtest.chaos.figures import Window, failures, in_hand, p99_ms
from loadtest.chaos.memory_limit import MemoryLimit, memory_limited
from loadtest.chaos.outcomes import Outcome
from loadtest.chaos.plan import Stream
from loadtest.chaos.result import Result, at_least, at_most, is_true, no_slower
from loadtest.chaos.scenarios.clients import GREEDY
from loadtest.chaos.setup import CALM, OPEN, route
from loadtest.chaos.stage import Stage
from loadtest.chaos.trial import observe

BLOCK, LEAK = "block", "leak"
ROUTES = tuple(route(name, CALM, {}, user="none") for name in (BLOCK, LEAK))
LIMIT_MIB = 300
LEAKS = 100
PATIENCE_S = 30.0


async def loop_blocked(stage: Stage) -> Result:
    """Let a filter block the event loop of one of the workers for 5 s."""
    blocked: list[str] = []

    async def block() -> None:
        async with aiohttp.ClientSession() as session:
            blocked.append(await _ask(stage, session, BLOCK))

    seen = await observe(stage, block)
    during = seen.struck.of(seen.outcomes)
    others = [one for one in during if one.worker != blocked[0]]
    others_ms, normal_ms = p99_ms(others), seen.p99(seen.normal)
    named = '"filter": "chaos_block"' in stage.edge.log.read_text()
    noticed = (await stage.metrics()).get('edge_loop_blocked_total{filter="chaos_block"}', 0)
    result = seen.result(
        slower=None,
        extra={
            "blocked_s": round(seen.struck.seconds, 1), "answered_by_others": len(others),
            "held": len(during) - len(others), "noticed": noticed, "log_names_the_filter": named,
        },
        bars=[
            no_slower(others_ms, normal_ms, 1.5), at_least("answered_by_others", len(others), len(during) / 2),
            at_least("noticed", noticed, 1), is_true("log_names_the_filter", named),
        ],
    )  # fmt: skip
    return replace(result, p99_ms=others_ms, p99_ms_normal=normal_ms)


async def memory_limit(stage: Stage) -> Result:
    """Limit one of the workers to 300 MiB under the load of `big_heads`; then let a filter in it leak."""
    await stage.until_settled()
    victim = (await stage.worker_pids())[0]
    limits: list[MemoryLimit] = []
    under_load: list[int | None] = []
    died: list[Window] = []
    replaced: list[float] = []

    async def limit() -> None:
        await stage.fault(Fault(Kind.REFUSE))
        limits.append(limited.enter_context(memory_limited(victim, LIMIT_MIB << 20)))
        for one in GREEDY:
            await stage.start_crowd(one)

    async def leak() -> None:
        under_load.append(limits[0].used_bytes())
        gone = await _leak(stage, victim)
        if gone is not None:
            await stage.until_ready(stage.settings.workers, without=victim)
            replaced.append(round(time.monotonic() - gone.end, 2))
            died.append(gone)
        for one in GREEDY:
            await stage.stop_crowd(one.kind)
        await stage.fault(Fault())

    with ExitStack() as limited:
        seen = await observe(stage, limit, leak, Stream(CALM, stage.settings.rate, "/calm"))
        kills = limits[0].kills()
    lost = failures(seen.outcomes)
    others = _not_of(lost, str(victim), died)
    return seen.result(
        ideal_failed=len(lost) - len(others), slower=None,
        extra={
            "limited_by": limits[0].kind, "limit_mb": LIMIT_MIB, "killed_by_the_kernel": kills,
            "replaced_s": replaced[0] if replaced else None, "others_failed": len(others),
            "taken_under_load_mb": None if under_load[0] is None else round(under_load[0] / 2**20, 1),
        },
        bars=[
            at_most("others_failed", len(others), 0),
            is_true("ended", len(died) == kills == limits[0].ends, "by the kernel where it does that"),
            at_most("replaced_s", replaced[0] if replaced else 0.0, 1.0, " s"),
        ],
    )  # fmt: skip


async def _leak(stage: Stage, victim: int) -> Window | None:
    """Let a worker leak until it is gone, and return when that was; None when it has outlived all of it."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=1)) as session:
            if await _ask(stage, session, OPEN) != str(victim):
                continue  # the kernel chooses a worker for each connection
            for _ in range(LEAKS):
                began = time.monotonic()
                try:
                    await _ask(stage, session, LEAK)
                except aiohttp.ClientConnectionError:
                    return Window(began - 0.02, time.monotonic() + 0.02)
            return None
    raise BenchError(f"No connection was taken by worker {victim}")


async def _ask(stage: Stage, session: aiohttp.ClientSession, name: str) -> str:
    """Ask for a route and return which worker has answered."""
    # POST: aiohttp would send a GET again, to another worker, when the first one dies.
    async with session.post(f"http://127.0.0.1:{stage.port}/{name}") as answer:
        await answer.read()
        return answer.headers.get("x-chaos-worker", "")


def _not_of(lost: Sequence[Outcome], victim: str, died: Iterable[Window]) -> list[Outcome]:
    """Return what was lost elsewhere: not on a worker's connections, nor on its way to one as it died."""
    on_their_way = {one.id for window in died for one in in_hand(lost, window)}
    return [one for one in lost if one.worker != victim and (one.worker or one.id not in on_their_way)]
