"""The figures as the Markdown tables of docs/renewal.md, and their place in that page."""

import math
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Final

from loadtest.simulation.calibration import Calibration
from loadtest.simulation.closed_loop import closed_loop
from loadtest.simulation.pool import Found
from loadtest.simulation.service import Condition
from loadtest.simulation.study import AS_BUILT, MINUTES, REMEDIES, VARIANTS, Figures, Scenario, Variant

OUTAGES: Final = tuple(
    (condition, minutes) for condition in (Condition.SILENT, Condition.NO_SUBSCRIBERS) for minutes in MINUTES
)
NAMES: Final = {Condition.SILENT: "cookie service", Condition.NO_SUBSCRIBERS: "subscriber database"}


def place(page: Path, tables: dict[str, str]) -> None:
    """Put each table between the lines `<!-- NAME -->` and `<!-- end -->` of a page."""
    text = page.read_text()
    for name, table in tables.items():
        begin = text.index(f"<!-- {name} -->\n") + len(f"<!-- {name} -->\n")
        end = text.index("<!-- end -->", begin)
        text = f"{text[:begin]}{table}\n{text[end:]}"
    page.write_text(text)


def outages(found: Found) -> str:
    """Return what each outage does, as built."""
    rows: dict[str, Callable[[Figures], str]] = {
        "users signed out by our failure": lambda one: f"{one.lost:,.0f}",
        "users signed out since they are no members any more": lambda one: f"{one.ended:,.0f}",
        "calls to the cookie service while it lasts, times normal": lambda one: f"{one.during:.2f}",
        "the most calls afterwards, 10 s, times normal": lambda one: f"{one.peak:.2f}",
        "of the calls in the ten minutes after it, came to nothing": lambda one: _percent(one.failed),
        "calls normal again (below 1.25) after": lambda one: _minutes(one.normal_after_s, one),
        "rescheduled tokens in use replaced (99 %) after": lambda one: _minutes(one.renewed_after_s, one),
        "the most calls later on, 1 min, times normal": lambda one: f"{one.echo:.2f}",
        "rescheduled tokens in use at a time, at most": lambda one: _millions(one.rescheduled),
        "tokens whose next try a worker remembers, at most": lambda one: f"{one.remembered:,.0f}",
        "requests with an expired token while it lasts": lambda one: _millions(one.waited),
        "how long each of them waits, mean": lambda one: f"{one.wait_s * 1e3:.1f} ms",
        "requests at level `LOW`": lambda one: _millions(one.low),
        "of all requests while it lasts": lambda one: _percent(one.low_share),
    }
    figures = [found.figures(Scenario(condition, minutes, AS_BUILT)) for condition, minutes in OUTAGES]
    return _table(_headings(), ([name, *map(show, figures)] for name, show in rows.items()))


def without(found: Found) -> dict[str, str]:
    """Return a table of some figures each: rows are the variants, columns the outages."""
    shows: dict[str, Callable[[Figures], str]] = {
        "peak": lambda one: f"{one.peak:.2f}",
        "failed": lambda one: _percent(one.failed),
        "replaced": lambda one: _minutes(one.renewed_after_s, one),
        "low": lambda one: _millions(one.low),
        "wait": lambda one: f"{one.wait_s * 1e3:.0f} ms",
        "lost": lambda one: f"{one.lost:,.0f}",
    }
    variants: dict[str, tuple[Variant, ...]] = dict.fromkeys(shows, VARIANTS)
    # A token that is not rescheduled cannot be replaced, and none of its requests is LOW.
    variants["replaced"] = variants["low"] = tuple(one for one in VARIANTS if one.fallback)
    return {name: _by_variant(found, variants[name], show) for name, show in shows.items()}


def remedies(found: Found) -> str:
    """Return what would help after the longest outage."""
    rows = []
    for variant in (AS_BUILT, *REMEDIES):
        one = found.figures(Scenario(Condition.SILENT, max(MINUTES), variant))
        replaced, normal = _minutes(one.renewed_after_s, one), _minutes(one.normal_after_s, one)
        shown = [f"{one.peak:.2f}", _percent(one.failed), replaced, normal, f"{one.echo:.2f}"]
        rows.append([variant.name, *shown])
    return _table(["", "peak", "came to nothing", "replaced after", "normal after", "the most later on"], rows)


def measured(calibration: Calibration) -> str:
    """Return the measured cookie service beside the simulated one."""
    rows = []
    for one in calibration.levels:
        rate, median_s = closed_loop(one.callers, calibration)
        times = [f"{one.p50_s * 1e3:.1f}", f"{one.p99_s * 1e3:.1f}", f"{median_s * 1e3:.1f}"]
        rows.append([str(one.callers), f"{one.renewals_per_s:,.0f}", f"{rate:,.0f}", *times, _percent(one.unavailable)])
    headings = ["callers", "renewals/s", "simulated", "p50 ms", "p99 ms", "p50 simulated", "unavailable"]
    return _table(headings, rows)


def impatient(calibration: Calibration) -> str:
    """Return what the real service, and the simulated one, do for callers that do not wait."""
    rows = []
    for one in calibration.impatient:
        rate, _ = closed_loop(one.callers, calibration, one.patience_s)
        rows.append([str(one.callers), f"{one.asked_per_s:,.0f}", f"{one.renewed_per_s:,.0f}", f"{rate:,.0f}"])
    return _table(["callers", "asked/s", "renewed/s", "simulated"], rows)


def _by_variant(found: Found, variants: Iterable[Variant], show: Callable[[Figures], str]) -> str:
    rows = []
    for variant in variants:
        figures = [found.figures(Scenario(condition, minutes, variant)) for condition, minutes in OUTAGES]
        rows.append([variant.name, *map(show, figures)])
    return _table(_headings(), rows)


def _headings() -> list[str]:
    return ["", *(f"{NAMES[condition]}, {minutes} min" for condition, minutes in OUTAGES)]


def _table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [headings, ["---", *("---:" for _ in headings[1:])], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _minutes(seconds: float, one: Figures) -> str:
    if seconds == math.inf:
        return f"> {one.seen_s / 60:.0f} min"
    return f"{seconds / 60:.1f} min" if seconds else "at once"


def _millions(number: float) -> str:
    return f"{number / 1e6:.2f} M" if number < 10e6 else f"{number / 1e6:.0f} M"


def _percent(share: float) -> str:
    return f"{share * 100:.1f} %"
