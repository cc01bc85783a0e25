"""Everything at random: Z1."""

import asyncio
import random
from contextlib import suppress

import psutil

from loadtest.chaos.faults import Fault, Kind
from loadtest.chaos.result import Result, at_most
from loadtest.chaos.stage import Stage
from loadtest.chaos.trial import observe

FAULTS = (
    Fault(Kind.REFUSE), Fault(Kind.BLACK_HOLE), Fault(Kind.ACCEPT_HANG), Fault(Kind.LATENCY, 0.5, delay_s=0.5),
    Fault(Kind.SLICE, 0.3, slice_bytes=16, delay_s=0.01), Fault(Kind.RATE, 0.3, bytes_per_s=20_000),
    Fault(Kind.CUT, 0.2, 300), Fault(Kind.RESET, 0.2, 300), Fault(Kind.HALF_CLOSE, 0.2, 300),
    Fault(Kind.RESET, 0.2, 0), Fault(Kind.GARBAGE, 0.2, text="\x00\x01no answer\r\n\r\n"), Fault(),
)  # fmt: skip
STEP_S = (0.3, 1.5)


async def random_mix(stage: Stage) -> Result:
    """Deal faults to gates, moods to origins and SIGKILL to workers, as the seed has it."""
    chance = random.Random(stage.settings.seed)  # noqa: S311 - repeatable, not secret
    steps: list[str] = []
    tasks: list[asyncio.Task[None]] = []

    async def start() -> None:
        tasks.append(asyncio.create_task(_steps(stage, chance, steps)))

    async def end() -> None:
        tasks[0].cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await stage.fault(Fault())
        await stage.mood(errors=0, leave=0)

    seen = await observe(stage, start, end)
    failed = sum(one.failed for one in seen.outcomes)
    monitor = stage.monitor
    growth = round(monitor.rss_mib(seen.recovery) - monitor.rss_mib(seen.normal), 1)
    return seen.result(
        ideal_failed=failed, slower=None, recovered_within_s=15.0, extra={"steps": len(steps), "rss_growth_mb": growth},
        bars=[at_most("rss_growth_mb", growth, 16.0, " MiB")],
    )  # fmt: skip


async def _steps(stage: Stage, chance: random.Random, steps: list[str]) -> None:
    while True:
        dice = chance.random()
        if dice < 0.75:
            fault, gate = chance.choice(FAULTS), chance.randrange(len(stage.gate_ports))
            await stage.fault(fault, gate)
            steps.append(f"{fault.kind} {gate}")
        elif dice < 0.9:
            errors, leave = chance.choice([0.0, 0.3]), chance.choice([0.0, 0.3])
            await stage.mood(chance.randrange(len(stage.gate_ports)), errors=errors, leave=leave, leave_ms=5)
            steps.append("mood")
        else:
            pids = await stage.worker_pids()
            with suppress(psutil.NoSuchProcess):
                if len(pids) > 1:
                    psutil.Process(chance.choice(pids)).kill()
                    steps.append("worker")
        await asyncio.sleep(chance.uniform(*STEP_S))
