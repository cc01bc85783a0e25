"""The command: `python -m loadtest.simulate`, which `make simulate` runs. docs/renewal.md says what it shows."""

import argparse
import asyncio
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from loadtest.bench.failure import BenchError
from loadtest.simulation import tables
from loadtest.simulation.calibrate import calibrate
from loadtest.simulation.calibration import load, save
from loadtest.simulation.plots import draw
from loadtest.simulation.pool import do_all, make_study
from loadtest.simulation.product import product
from loadtest.simulation.study import SCENARIOS

EXTRA_STEPS = 4  # warm-ups
PAGE = Path("docs/renewal.md")


def main(arguments: Sequence[str] | None = None) -> int:
    """Simulate, or calibrate; return 0 when it did, 1 when it could not."""
    options = _options(arguments)
    console = Console()
    if options.calibrate:
        try:
            save(asyncio.run(calibrate(options.config, console.print)))
        except BenchError as failure:
            console.print(f"The cookie service could not be measured. {failure}", style="red", markup=False)
            return 1
        return 0
    _simulate(options, console)
    return 0


def _simulate(options: argparse.Namespace, console: Console) -> None:
    calibration = load()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("sampling", total=len(SCENARIOS) + EXTRA_STEPS)

        def say(what: str) -> None:
            progress.update(task, advance=1, description=what)
            if not console.is_terminal:
                print(what, flush=True)

        study = make_study(options.devices, product(options.config), calibration, options.seed)
        found = do_all(study, SCENARIOS, options.jobs, say)
    made = {
        "outages": tables.outages(found),
        **tables.without(found),
        "remedies": tables.remedies(found),
        "measured": tables.measured(calibration),
        "impatient": tables.impatient(calibration),
    }
    for name, table in made.items():
        console.print(f"\n{name}\n{table}", markup=False, highlight=False, soft_wrap=True)
    console.print(f"\n{found.renewals_per_s:,.0f} renewals per second at the busiest hour", highlight=False)
    if options.write:
        tables.place(PAGE, made)
        for file in draw(found, options.images):
            console.print(f"Written to {file}")


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m loadtest.simulate", description="Simulate renewal in an outage.")
    parser.add_argument("--calibrate", action="store_true", help="measure the real cookie service instead: a minute")
    parser.add_argument("--devices", type=int, default=500_000, help="how many stand for all (%(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of all chance (%(default)s)")
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)), help="processes (%(default)s)")
    parser.add_argument("--config", type=Path, default=Path("config"), help="the product's configuration (%(default)s)")
    parser.add_argument("--images", type=Path, default=Path("docs/images"), help="where plots go (%(default)s)")
    parser.add_argument("--no-write", dest="write", action="store_false", help="show the figures, write no file")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
