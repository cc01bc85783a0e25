"""Workers that die, stop and leave: W1, W2."""

import asyncio
import time
from contextlib import suppress

import psutil

from loadtest.chaos.figures import Window, failures, in_hand
from loadtest.chaos.outcomes import Ending
from loadtest.chaos.plan import Stream
from loadtest.chaos.result import Result, at_most
from loadtest.chaos.stage import Stage
from loadtest.chaos.trial import observe, usual_load

DRAIN_S = 6.0


async def worker_killed(stage: Stage) -> Result:
    """SIGKILL one worker."""
    await stage.until_settled()
    victim = (await stage.worker_pids())[0]
    away_s = 0.0

    async def kill() -> None:
        nonlocal away_s
        began = time.monotonic()
        psutil.Process(victim).kill()
        await _until_gone(victim)
        died = time.monotonic()
        await stage.until_ready(stage.settings.workers, without=victim)
        away_s = round(time.monotonic() - began, 2)
        gone.append(Window(began - 0.02, died + 0.02))

    gone: list[Window] = []
    seen = await observe(stage, kill)
    ideal = len(failures(in_hand(seen.outcomes, gone[0])))
    return seen.result(
        ideal_failed=ideal, slower=None, recovered_within_s=1.0,
        extra={"replaced_s": away_s, "in_hand": len(in_hand(seen.outcomes, gone[0]))},
        bars=[at_most("replaced_s", away_s, 1.0, " s")],
    )  # fmt: skip


async def worker_stopped(stage: Stage) -> Result:
    """SIGSTOP one worker for as long as the fault lasts."""
    await stage.until_settled()
    victim = psutil.Process((await stage.worker_pids())[0])

    async def stop() -> None:
        victim.suspend()

    async def go_on() -> None:
        with suppress(psutil.NoSuchProcess):
            victim.resume()

    seen = await observe(stage, stop, go_on)
    bad = [one.due for one in seen.fault.of(seen.outcomes) if one.failed or one.latency_ms > 1000]
    detected_s = round(max(bad) - seen.fault.start, 2) if bad else 0.0
    held = Window(seen.fault.start, seen.fault.start + detected_s)
    ideal = len(failures(in_hand(seen.outcomes, held)))
    return seen.result(
        ideal_failed=ideal, slower=None, extra={"detected_s": detected_s},
        bars=[at_most("detected_s", detected_s, 5.0, " s")],
    )  # fmt: skip


async def sigterm_drain(stage: Stage) -> Result:
    """SIGTERM the edge under load, long polls and uploads under way."""
    left: list[float] = []
    told: list[float] = []

    async def terminate() -> None:
        told.append(time.monotonic())
        stage.ask_to_leave()
        await asyncio.wait_for(stage.edge.process.wait(), DRAIN_S + 15.0)
        left.append(time.monotonic() - told[0])

    streams = (
        *usual_load(stage),
        Stream("poll", 10, "/faulty", wait_ms=2000),
        Stream("upload", 5, "/faulty", method="POST", body_bytes=2_000_000, timeout_s=20.0),
    )
    seen = await observe(stage, terminate, stage.start_edge, *streams)
    # Who comes when the door is closed finds nobody, with any proxy; until the edge is back.
    away = [one for one in seen.after_normal() if one.kind is Ending.UNCONNECTED and one.due > told[0] - 0.1]
    lost = [one for one in seen.outcomes if one.failed and one not in away]
    exit_s = round(left[0], 2)
    return seen.result(
        failed=len(lost), slower=None, extra={"exit_s": exit_s, "came_too_late": len(away)},
        bars=[at_most("exit_s", exit_s, DRAIN_S + 1.0, " s")],
    )  # fmt: skip


async def _until_gone(pid: int) -> None:
    while psutil.pid_exists(pid):
        try:
            if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                return
        except psutil.NoSuchProcess:
            return
        await asyncio.sleep(0.002)
