"""The command: `python -m loadtest.experiments`, which `make experiments` runs. docs/performance.md has the results."""

import argparse
import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Final, TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from loadtest.bench import tools
from loadtest.bench.failure import BenchError
from loadtest.bench.report import write
from loadtest.bench.settings import Cores, assign_cores
from loadtest.compiled import CompileError, compiled_packages
from loadtest.experiments import costs, growth, latency, memory, remote, workers
from loadtest.experiments.facts import facts, left_out, missing_programs
from loadtest.experiments.ground import Ground, Programs, ground
from loadtest.experiments.plots import draw
from loadtest.experiments.result import Result
from loadtest.experiments.settings import NAMES, Settings
from loadtest.experiments.tables import blocks, place, show
from loadtest.experiments.unmetered import unmetered_tree

T = TypeVar("T")
INTERRUPTED: Final = 130
WIDTH: Final = 140  # of what is read later
PAGE: Final = Path("docs/performance.md")
IMAGES: Final = Path("docs/images")
EXPERIMENTS: Final[Mapping[str, Callable[[Ground], Awaitable[Result]]]] = {
    "latency": latency.run, "workers": workers.run, "costs": costs.run,
    "remote": remote.run, "memory": memory.run, "growth": growth.run,
}  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and report; 0 when all checks held, 1 when one did not or something failed, 130 when interrupted."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=WIDTH)
    options = options_from(arguments)
    settings = settings_from(options)
    out: dict[str, str] = {}
    try:
        out = left_out(settings.names, missing_programs(settings, console.print), len(os.sched_getaffinity(0)))
        for name, why in out.items():
            console.print(f"Left out: {name}, {why}", style="yellow", markup=False, highlight=False)
        names = [name for name in settings.names if name not in out]
        if not names:
            return 1
        programs = programs_for(settings, names, console.print)
        if options.prepare:
            return 0
        cores = assign_cores()
        machine = facts(settings, cores, programs)  # before this process keeps to a core
        results, failed = asyncio.run(_until_terminated(measure(settings, names, programs, cores, console)))
    except (BenchError, CompileError) as failure:
        console.print(f"The experiments could not be made. {failure}", style="red", markup=False, highlight=False)
        return 1
    except (KeyboardInterrupt, asyncio.CancelledError):
        console.print("Interrupted: everything is stopped, nothing was written")
        return INTERRUPTED
    for result in results:
        show(result, console)
    context = {**machine, "left_out": {**out, **failed}}
    report(results, context, options, console)
    for name, why in failed.items():
        console.print(f"Failed: {name}. {why}", style="red", markup=False, highlight=False)
    return 1 if failed or not all(check.good for result in results for check in result.checks) else 0


async def measure(
    settings: Settings, names: Sequence[str], programs: Programs, cores: Cores, console: Console
) -> tuple[list[Result], dict[str, str]]:
    """Make the experiments, one after the other; one that fails does not keep the others from being made."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    os.sched_setaffinity(0, {cores.load})
    results: list[Result] = []
    failed: dict[str, str] = {}
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("starting", total=len(names))
        began = time.monotonic()

        def say(text: str) -> None:
            elapsed = int(time.monotonic() - began)
            console.print(f"{elapsed // 60}:{elapsed % 60:02} {text}", markup=False, highlight=False)

        async with ground(settings, programs, cores, say) as shared:
            for name in names:
                progress.update(task, description=name)
                say(f"Experiment: {name}")
                try:
                    results.append(await EXPERIMENTS[name](shared))
                except BenchError as failure:
                    failed[name] = str(failure)
                    say(f"{name} failed: {failure}")
                progress.advance(task)
    return results, failed


def report(
    results: Sequence[Result], context: Mapping[str, object], options: argparse.Namespace, console: Console
) -> None:
    """Write latest.json, the plots, and the tables into their places in the page."""
    found = {
        one.name: {"checks": [asdict(check) for check in one.checks], "notes": list(one.notes), **one.figures}
        for one in results
    }
    file = options.var / "latest.json"
    write(file, json.dumps({**context, "experiments": found}, indent=2, default=list) + "\n")
    console.print(f"Written to {file}")
    into_docs = options.write and not options.quick
    for plot in draw((plot for one in results for plot in one.plots), IMAGES if into_docs else options.var):
        console.print(f"Written to {plot}")
    if into_docs:
        texts = {**blocks(results), **({"machine": machine_line(context)} if results else {})}
        for name in place(PAGE, texts):
            console.print(f"{PAGE} has no place for {name}", style="yellow")
        console.print(f"Written to {PAGE}")


def machine_line(context: Mapping[str, object]) -> str:
    """Return in one sentence what was measured on and when."""
    machine, versions = context["machine"], context["versions"]
    assert isinstance(machine, dict)
    assert isinstance(versions, dict)
    return (
        f"Last measured {str(context['measured_at'])[:10]} on {machine['cpu']}, {machine['cpus']} cores, "
        f"{machine['memory_gb']:.0f} GB, Linux {machine['kernel']}, Python {versions['python']}, "
        f"uvloop {versions['uvloop']}, {versions['nginx'].removeprefix('nginx version: ')}."
    )


def programs_for(settings: Settings, names: Sequence[str], say: Callable[[str], None]) -> Programs:
    """Return what is run; compiles what is not compiled yet, which takes two minutes each time."""
    packages = compiled_packages(settings.compiled_in, say) if settings.compiled else None
    unmetered = None
    if "costs" in names:
        unmetered = unmetered_tree(settings.var / "unmetered", say)
        if settings.compiled:
            say("The same for the edge without metrics:")
            unmetered = compiled_packages(settings.var / "unmetered-compiled", say, unmetered)
    return Programs(tools.find("wrk") or "", tools.find("nginx") or "", packages, unmetered)


def options_from(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    usual = Settings()
    parser = argparse.ArgumentParser(prog="python -m loadtest.experiments", description="Measure what the edge costs.")
    parser.add_argument("only", nargs="*", metavar="NAME", help=f"of {', '.join(NAMES)}; usually all")
    parser.add_argument("--quick", action="store_true", help="short: shows that it works, not how fast it is")
    parser.add_argument("--prepare", action="store_true", help="compile what is needed, measure nothing")
    parser.add_argument("--interpreted", action="store_true", help="measure the sources; needs no compiler")
    parser.add_argument("--seed", type=int, default=usual.seed, help="of arrivals and orders (%(default)s)")
    parser.add_argument("--config", type=Path, default=usual.config, help="the edge's configuration (%(default)s)")
    parser.add_argument("--var", type=Path, default=usual.var, help="where latest.json goes (%(default)s)")
    parser.add_argument("--no-write", dest="write", action="store_false", help="leave docs/performance.md as it is")
    options = parser.parse_args(arguments)
    unknown = set(options.only) - set(NAMES)
    if unknown:
        parser.error(f"there is no experiment {', '.join(sorted(unknown))}; there are {', '.join(NAMES)}")
    return options


def settings_from(options: argparse.Namespace) -> Settings:
    """Return the settings of a run."""
    return Settings(
        only=tuple(options.only), quick=options.quick, compiled=not options.interpreted, seed=options.seed,
        config=options.config, var=options.var,
    )  # fmt: skip


async def _until_terminated(work: Coroutine[object, object, T]) -> T:
    """Run `work`; Ctrl-C and SIGTERM cancel it, so that everything it started is stopped."""
    task = asyncio.ensure_future(work)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, task.cancel)
    return await task


if __name__ == "__main__":
    sys.exit(main())
