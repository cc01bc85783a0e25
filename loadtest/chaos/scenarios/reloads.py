"""A configuration that changes, well or badly, and workers that are replaced: W3, W4."""

import asyncio
import os
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

from loadtest.bench.failure import BenchError
from loadtest.chaos.result import Result, at_most, is_true
from loadtest.chaos.stage import Stage
from loadtest.chaos.trial import observe

RELOADS, QUICK_RELOADS, RESTARTS = 100, 5, 2
COMMAND_S = 60.0
SIDES = ("device", "origin")
BROKEN = {
    "syntax": ("routes.yaml", "routes: [\n"),
    "unknown_origin": (
        "routes.yaml",
        "routes:\n- {id: a, path: /, origin: nobody, auth: {user: none, device: none}}\n",
    ),
    "missing_key": ("origins.yaml", "origins: {faulty: {}}\n"),
    "unknown_filter": ("edge.yaml", "\nfilters: {no_such_filter: {deadline_s: 1}}\n"),
}


async def rolling_restart(stage: Stage) -> Result:
    """Replace all workers, twice, one after the other."""
    codes: list[int] = []
    before = set(await stage.worker_pids())

    async def restart() -> None:
        times = 1 if stage.settings.quick else RESTARTS
        codes.extend([(await _command(stage, "restart"))[0] for _ in range(times)])

    seen = await observe(stage, restart)
    replaced = before.isdisjoint(await stage.worker_pids())
    return seen.result(
        slower=None, extra={"exit_codes": codes, "restart_s": round(seen.struck.seconds, 2)},
        bars=[is_true("exit_codes", set(codes) == {0}, "0"), is_true("replaced", replaced, "all workers")],
    )  # fmt: skip


async def reloads_100(stage: Stage) -> Result:
    """Reload a hundred configurations, each different from the one before."""
    count = QUICK_RELOADS if stage.settings.quick else RELOADS
    held: list[Held] = []

    async def reload() -> None:
        for number in range(count):
            _change(stage.config / "routes.yaml", number)
            await _reload(stage)
            if number == count // 10:  # what is made at the first reload is kept for all
                held.append(await _held(stage))

    async def look() -> None:
        held.append(await _held(stage))

    before = await _changes(stage)
    seen = await observe(stage, reload, look)
    applied = await _changes(stage) - before
    rss, more_fds = round(held[1].rss / held[0].rss, 3), held[1].fds - held[0].fds
    return seen.result(
        slower=None, extra={"applied": applied, "rss_ratio": rss, "more_fds": more_fds},
        bars=[
            is_true("applied", applied == count, f"= {count}"), at_most("rss_ratio", rss, 1.02),
            at_most("more_fds", more_fds, 8),
        ],
    )  # fmt: skip


async def broken_reload(stage: Stage) -> Result:
    """Reload configurations that are wrong, each in a way of its own."""
    codes: dict[str, int] = {}
    silent: list[str] = []

    async def reload() -> None:
        for name, (file, text) in BROKEN.items():
            path = stage.config / file
            good = _read(path)
            _write(path, good + text if file == "edge.yaml" else text)
            codes[name], said = await _command(stage, "reload")
            if file not in said:
                silent.append(name)
            _write(path, good)

    seen = await observe(stage, reload)
    codes["mended"] = (await _command(stage, "reload"))[0]
    refused = all(code for name, code in codes.items() if name != "mended")
    return seen.result(
        slower=None, extra={"exit_codes": codes, "said_without_file": silent},
        bars=[
            is_true("refused", refused, "exit code != 0 for each"), is_true("said", not silent, "each names the file"),
            is_true("mended", not codes["mended"], "exit code 0"),
        ],
    )  # fmt: skip


@dataclass(slots=True, frozen=True)
class Held:
    """What the workers hold: resident bytes, and file descriptors that are no connection, which come and go."""

    rss: int
    fds: float


async def _held(stage: Stage) -> Held:
    workers = [psutil.Process(pid) for pid in await stage.worker_pids()]
    metrics = await stage.metrics()
    connections = sum(metrics[f'edge_connections{{side="{side}"}}'] for side in SIDES)
    return Held(sum(one.memory_info().rss for one in workers), sum(one.num_fds() for one in workers) - connections)


async def _command(stage: Stage, name: str) -> tuple[int, str]:
    """Run `edge reload` or `edge restart`; return the exit code and what it said."""
    edge = str(Path(sys.executable).parent / "edge")
    process = await asyncio.create_subprocess_exec(
        edge, name, "--var", str(stage.base.home),
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, stdin=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    try:
        said, _ = await asyncio.wait_for(process.communicate(), COMMAND_S)
    except TimeoutError:
        process.kill()
        await process.wait()
        raise BenchError(f"edge {name} did not end in {COMMAND_S:g} s") from None
    assert process.returncode is not None
    return process.returncode, said.decode("utf-8", "replace")


async def _reload(stage: Stage) -> None:
    """Send SIGHUP and wait until it has had its effect."""
    before = await _changes(stage)
    os.kill(stage.edge.process.pid, signal.SIGHUP)
    deadline = time.monotonic() + COMMAND_S
    while await _changes(stage) == before:
        if time.monotonic() > deadline:
            raise BenchError("A reload had no effect")
        await asyncio.sleep(0.01)


async def _changes(stage: Stage) -> int:
    metrics = await stage.metrics()
    return int(metrics.get('edge_config_changes_total{kind="reload",result="applied"}', 0))


def _change(routes: Path, number: int) -> None:
    _write(routes, _read(routes).partition("- id: extra")[0] + _extra(number))


def _extra(number: int) -> str:
    return f"- id: extra{number}\n  path: /extra{number}\n  origin: calm\n  auth: {{user: none, device: none}}\n"


def _read(file: Path) -> str:
    return file.read_text()


def _write(file: Path, text: str) -> None:
    """Replace a file as a whole."""
    scratch = file.with_suffix(".new")
    scratch.write_text(text)
    scratch.replace(file)
