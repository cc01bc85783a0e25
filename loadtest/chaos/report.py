"""Results for a reader at a terminal, and for whoever compares runs."""

import json
import platform
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table

from loadtest.bench.machine import cpu_name
from loadtest.chaos.result import Result
from loadtest.chaos.scenarios import Scenario
from loadtest.chaos.settings import Cores, Settings

FIGURES = (
    "requests", "failed", "ideal_failed", "wrong", "dup", "signed_out", "p99_ms", "p99_ms_normal", "recovery_s",
    "rss_mb",
)  # fmt: skip


def as_row(result: Result, settings: Settings, cores: Cores) -> dict[str, object]:
    """Return a result as it is kept: with when, on what and how it was found."""
    return {**asdict(result), "met": result.met, **_circumstances(settings, cores)}


def broken_row(scenario: Scenario, error: str, settings: Settings, cores: Cores) -> dict[str, object]:
    """Return what is kept of a scenario that could not be run to its end: no figure, and no bar met."""
    known = {"scenario": scenario.name, "row": scenario.row, "error": error, "met": False}
    return {**dict.fromkeys(FIGURES), **known, **_circumstances(settings, cores)}


def _circumstances(settings: Settings, cores: Cores) -> dict[str, object]:
    return {
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "length": settings.length,
        "rate": settings.rate,
        "seed": settings.seed,
        "compiled": settings.compiled,
        "machine": {"cpu": cpu_name(), "kernel": platform.release(), "cores": len({cores.edge, cores.rest})},
    }


def append(file: Path, row: Mapping[str, object]) -> None:
    """Add a row to a JSON list in a file, which is replaced as a whole."""
    file.parent.mkdir(parents=True, exist_ok=True)
    rows = json.loads(file.read_text()) if file.exists() else []
    scratch = file.with_suffix(".new")
    scratch.write_text(json.dumps([*rows, row], indent=1) + "\n")
    scratch.replace(file)


def show(result: Result, console: Console) -> None:
    """Print the figures of one scenario and its bars."""
    console.print(f"    {_line(asdict(result))}", highlight=False, soft_wrap=True)
    if result.reference is not None:
        software, line = result.reference["software"], result.reference.get("error") or _line(result.reference)
        console.print(f"    {software}: {line}", markup=False, highlight=False, soft_wrap=True)
    for name, value in result.extra.items():
        console.print(f"    {name}: {value}", markup=False, highlight=False, soft_wrap=True)
    for bar in result.bars:
        console.print(
            f"    {'met    ' if bar.met else 'NOT MET'} {bar.figure} {bar.bar}",
            style=None if bar.met else "red", markup=False, highlight=False,
        )  # fmt: skip


def show_all(results: list[Result], console: Console) -> None:
    """Print one line for each scenario."""
    table = Table(title="Scenarios", title_justify="left")
    table.add_column("scenario")
    table.add_column("row")
    for heading in FIGURES:
        table.add_column(heading.replace("_", " "), justify="right")
    table.add_column("bars met", justify="right")
    for result in results:
        values = asdict(result)
        cells = (_text(values[heading]) for heading in FIGURES)
        met = sum(bar.met for bar in result.bars)
        table.add_row(result.scenario, result.row, *cells, f"{met}/{len(result.bars)}")
    Console(file=console.file, width=max(console.width, 130)).print(table)


def _line(values: Mapping[str, object]) -> str:
    return "  ".join(f"{name} {_text(values.get(name))}" for name in FIGURES)


def _text(value: object) -> str:
    return f"{value:,}" if isinstance(value, int | float) else "-"
