"""The command: `python -m loadtest.chaos [NAME…]`, which `make chaos` runs."""

import argparse
import asyncio
import signal
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from loadtest.bench.failure import BenchError
from loadtest.chaos.base import Base, base
from loadtest.chaos.reference import NGINX, find_reference, refer
from loadtest.chaos.report import append, as_row, broken_row, show, show_all
from loadtest.chaos.result import Result
from loadtest.chaos.scenarios import Scenario
from loadtest.chaos.scenarios.registry import BY_NAME, REFERENCED, SCENARIOS
from loadtest.chaos.settings import Settings, assign_cores
from loadtest.chaos.stage import staged
from loadtest.compiled import CompileError, compiled_packages

INTERRUPTED = 130
BROKEN, NOT_MET = 1, 3


def main(arguments: Sequence[str] | None = None) -> int:
    """Run scenarios; return 0 when every bar is met, 3 when one is not, 1 for a broken run, 130 for an interrupted."""
    console = Console(soft_wrap=True)
    settings = settings_from(arguments)
    try:
        packages = compiled_packages(Path("var/bench/compiled"), console.print) if settings.compiled else None
        results, broken = asyncio.run(_until_terminated(settings, packages, console))
    except (BenchError, CompileError, TimeoutError) as failure:
        console.print(f"The scenario could not be run. {failure}", style="red", markup=False, highlight=False)
        return BROKEN
    except (KeyboardInterrupt, asyncio.CancelledError):
        console.print("Interrupted: everything is stopped; what was finished before is written")
        return INTERRUPTED
    if len(results) > 1:
        show_all(results, console)
    console.print(f"Appended to {settings.var / 'latest.json'}")
    if broken:
        return BROKEN
    return 0 if all(result.met for result in results) else NOT_MET


def settings_from(arguments: Sequence[str] | None) -> Settings:
    """Read the command line."""
    usual = Settings()
    parser = argparse.ArgumentParser(prog="python -m loadtest.chaos", description="Harm the edge and see what is lost.")
    rows = sorted({scenario.row[0] for scenario in SCENARIOS})
    parser.add_argument(
        "only", nargs="*", metavar="NAME", choices=[[], *BY_NAME, *rows],
        help=f"scenarios ({', '.join(BY_NAME)}), or the letter of a group ({', '.join(rows)})",
    )  # fmt: skip
    length = parser.add_mutually_exclusive_group()
    length.add_argument(
        "--quick", dest="length", action="store_const", const="quick", help="short phases: does it run?"
    )
    length.add_argument("--full", dest="length", action="store_const", const="full", help="a minute of each fault")
    parser.add_argument("--rate", type=int, default=usual.rate, help="requests a second (%(default)s)")
    parser.add_argument("--seed", type=int, default=usual.seed, help="of everything that is random (%(default)s)")
    parser.add_argument("--workers", type=int, default=usual.workers, help="of the edge (%(default)s)")
    parser.add_argument("--compiled", action="store_true", help="run the edge with its hot modules compiled")
    parser.add_argument("--reference", choices=[NGINX], help="run on it, too, what it can be compared in")
    parser.add_argument("--config", type=Path, default=usual.config, help="the configuration (%(default)s)")
    parser.add_argument("--var", type=Path, default=usual.var, help="where latest.json goes (%(default)s)")
    read = vars(parser.parse_args(arguments))
    only = tuple(one.name for one in SCENARIOS if {one.name, one.row[0]} & set(read["only"]))
    return Settings(**{**read, "only": only, "length": read["length"] or usual.length})


async def _run(settings: Settings, packages: Path | None, console: Console) -> tuple[list[Result], int]:
    """Return the results, and how many scenarios came to none."""
    cores, reference = assign_cores(), find_reference(settings.reference)
    if settings.reference is not None and reference is None:
        console.print(f"{settings.reference} is not installed: there is nothing to compare with", style="yellow")
    phases = settings.phases
    console.print(
        f"{settings.rate} requests/s, open loop, 8 source addresses; {settings.workers} workers on core {cores.edge}, "
        f"everything else on core {cores.rest}; normal {phases.normal_s:g} s, fault {phases.fault_s:g} s, "
        f"recovery {phases.recovery_s:g} s, unless the scenario has devices",
        highlight=False,
    )
    chosen = [scenario for scenario in SCENARIOS if not settings.only or scenario.name in settings.only]
    results: list[Result] = []
    async with base(settings, cores, packages) as shared:
        for number, scenario in enumerate(chosen, 1):
            console.print(f"[{number}/{len(chosen)}] {scenario.name} ({scenario.row}): {scenario.fault}", markup=False)
            try:
                result = await _run_one(shared, scenario, reference)
            except Exception as error:  # noqa: BLE001 - whatever it is, it has its line, and the others are run
                console.print(f"    It could not be run. {error!r}", style="red", markup=False, highlight=False)
                row = broken_row(scenario, repr(error), settings, cores)
            else:
                show(result, console)
                row = as_row(result, settings, cores)
                results.append(result)
            append(settings.var / "latest.json", row)
    return results, len(chosen) - len(results)


async def _run_one(shared: Base, scenario: Scenario, reference: tuple[str, str] | None) -> Result:
    async with staged(shared, scenario.name, scenario.setup, scenario.make) as stage:
        result = await scenario.run(stage)
    compared = reference is not None and scenario.name in REFERENCED
    figures = await refer(shared, scenario, reference) if reference is not None and compared else None
    return replace(result, scenario=scenario.name, row=scenario.row, reference=figures)


async def _until_terminated(settings: Settings, packages: Path | None, console: Console) -> tuple[list[Result], int]:
    """Run; Ctrl-C and SIGTERM cancel, so that everything that was started is stopped."""
    task = asyncio.ensure_future(_run(settings, packages, console))
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, task.cancel)
    return await task


if __name__ == "__main__":
    sys.exit(main())
