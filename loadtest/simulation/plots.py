"""The plots of docs/renewal.md, as small PNGs."""

from pathlib import Path
from typing import Final

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from loadtest.simulation.pool import Found
from loadtest.simulation.record import STEP_S, Record
from loadtest.simulation.service import Condition
from loadtest.simulation.study import (
    AS_BUILT,
    BEFORE_S,
    BUSY_SHARE,
    COMPARED_S,
    MINUTES,
    REMEDIES,
    VARIANTS,
    Scenario,
    Variant,
)

OUTAGES: Final = {Condition.SILENT: "cookie service", Condition.NO_SUBSCRIBERS: "subscriber database"}
COLOURS: Final = {
    "as built": "#0b6e4f",
    "no jitter": "#3a86c8",
    "no renew-ahead": "#c77dff",
    "no breakers": "#e07a00",
    "no spread": "#d1495b",
    "none of the four": "#222222",
    "no rescheduled tokens": "#8d6e63",
}
DPI: Final = 90


def draw(found: Found, directory: Path) -> list[Path]:
    """Write all plots; return their files."""
    directory.mkdir(parents=True, exist_ok=True)
    made = {
        "renewal-load.png": _load(found),
        "renewal-without.png": _without(found),
        "renewal-tokens.png": _tokens(found),
        "renewal-signed-out.png": _signed_out(found),
        "renewal-remedies.png": _remedies(found),
    }
    for name, figure in made.items():
        figure.savefig(directory / name, dpi=DPI, metadata={"Software": None})
    return [directory / name for name in made]


def _load(found: Found) -> Figure:
    """Calls to the cookie service against normal: each outage, as built."""
    title = "Renewals asked of the cookie service, in times of the same hour without an outage"
    figure, rows = _panels(2, len(MINUTES), title)
    for row, (condition, outage) in zip(rows, OUTAGES.items(), strict=True):
        for axes, minutes in zip(row, MINUTES, strict=True):
            record = found.records[Scenario(condition, minutes, AS_BUILT)]
            sent = _against_normal(found, record, AS_BUILT, "sent", 30.0)
            axes.plot(_minutes(record), sent, color=COLOURS["as built"], lw=1.3, label="asked")
            renewed = _against_normal(found, record, AS_BUILT, "renewed", 30.0)
            axes.plot(_minutes(record), renewed, color=COLOURS["no jitter"], lw=0.9, label="renewed")
            _outage(axes, minutes)
            axes.axhline(1 / BUSY_SHARE, color="#999999", lw=0.8, ls="--", label="all the service can do")
            axes.set_title(f"{outage}, {minutes} min", fontsize=9)
            axes.set_xlim(-10, minutes + 120)
            axes.set_ylim(0, 4)
        row[0].set_ylabel("times normal", fontsize=8)
    rows[0][-1].legend(fontsize=7, loc="upper right")
    return figure


def _without(found: Found) -> Figure:
    """Renewals done, with everything and without each part."""
    figure, rows = _panels(2, len(MINUTES), "Users renewed, as built and without each part, in times of normal")
    for row, (condition, outage) in zip(rows, OUTAGES.items(), strict=True):
        for axes, minutes in zip(row, MINUTES, strict=True):
            for variant in VARIANTS:
                if variant.fallback:
                    record = found.records[Scenario(condition, minutes, variant)]
                    done = _against_normal(found, record, variant, "renewed", 120.0)
                    width = 1.8 if variant is AS_BUILT else 0.9
                    axes.plot(_minutes(record), done, color=COLOURS[variant.name], lw=width, label=variant.name)
            _outage(axes, minutes)
            axes.set_title(f"{outage}, {minutes} min", fontsize=9)
            axes.set_xlim(-10, minutes + COMPARED_S / 60)
            axes.set_ylim(0, 4)
        row[0].set_ylabel("times normal", fontsize=8)
    rows[0][0].legend(fontsize=7, loc="upper right")
    return figure


def _tokens(found: Found) -> Figure:
    """Rescheduled tokens that are good, and requests at level LOW."""
    figure, rows = _panels(1, 2, "Cookie service down, as built")
    tokens, low = rows[0]
    for minutes, colour in zip(MINUTES, (COLOURS["no jitter"], COLOURS["as built"], COLOURS["no spread"]), strict=True):
        record = found.records[Scenario(Condition.SILENT, minutes, AS_BUILT)]
        scale = found.study.scale
        tokens.plot(_minutes(record), record.rescheduled * scale / 1e6, color=colour, lw=1.3, label=f"{minutes} min")
        edges = np.append(record.times, record.end)
        share = record.rate("low", 60.0) / found.study.population.request_rate(edges) * 100
        low.plot(_minutes(record), share, color=colour, lw=1.3, label=f"{minutes} min")
    tokens.set_title("rescheduled tokens that are good, millions", fontsize=9)
    low.set_title("requests at level LOW, percent", fontsize=9)
    for axes in (tokens, low):
        axes.set_xlim(-10, 150)
        axes.set_ylim(bottom=0)
        axes.legend(fontsize=8)
    return figure


def _signed_out(found: Found) -> Figure:
    """People signed out by our failure."""
    figure, rows = _panels(1, 2, "Users signed out by our failure, counted, thousands (log scale above 1)")
    without = next(variant for variant in VARIANTS if not variant.fallback)
    for axes, (condition, outage) in zip(rows[0], OUTAGES.items(), strict=True):
        for variant in (AS_BUILT, without):
            for minutes, line in zip(MINUTES, (":", "--", "-"), strict=True):
                record = found.records[Scenario(condition, minutes, variant)]
                lost = np.cumsum(record.counts["lost"]) * found.study.scale / 1e3
                label = f"{variant.name}, {minutes} min"
                axes.plot(_minutes(record), lost, line, color=COLOURS[variant.name], lw=1.4, label=label)
        axes.set_yscale("symlog", linthresh=1)
        axes.set_ylim(-0.3, 3e4)
        axes.set_xlim(-10, 100)
        axes.set_title(outage, fontsize=9)
        axes.legend(fontsize=7, loc="center right")
    return figure


def _remedies(found: Found) -> Figure:
    """What would help after the longest outage."""
    figure, rows = _panels(1, 2, f"After {max(MINUTES)} minutes without the cookie service")
    tokens, renewed = rows[0]
    for variant in (AS_BUILT, *REMEDIES):
        record = found.records[Scenario(Condition.SILENT, max(MINUTES), variant)]
        width = 1.8 if variant is AS_BUILT else 1.0
        scale = found.study.scale / 1e6
        tokens.plot(_minutes(record), record.rescheduled * scale, lw=width, label=variant.name)
        done = _against_normal(found, record, variant, "renewed", 120.0)
        renewed.plot(_minutes(record), done, lw=width, label=variant.name)
    tokens.set_title("rescheduled tokens that are good, millions", fontsize=9)
    renewed.set_title("users renewed, times normal", fontsize=9)
    for axes in (tokens, renewed):
        _outage(axes, max(MINUTES))
        axes.set_xlim(-10, max(MINUTES) + 120)
        axes.set_ylim(bottom=0)
    renewed.legend(fontsize=7)
    return figure


def _panels(rows: int, columns: int, title: str) -> tuple[Figure, list[list[Axes]]]:
    with mpl.rc_context({"font.size": 8}):
        figure = Figure(figsize=(10.5, 1.0 + 2.6 * rows), layout="constrained")
        panels = figure.subplots(rows, columns, squeeze=False)
    figure.suptitle(title, fontsize=11)
    found: list[list[Axes]] = [list(row) for row in panels]
    for row in found:
        for axes in row:
            axes.grid(visible=True, lw=0.3)
            axes.tick_params(labelsize=7)
            axes.set_xlabel("minutes since it began", fontsize=8)
    return figure, found


def _outage(axes: Axes, minutes: int) -> None:
    axes.axvspan(0, minutes, color="#d1495b", alpha=0.12, lw=0)


def _minutes(record: Record) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    return np.asarray((record.times + STEP_S / 2 - record.times[0] - BEFORE_S) / 60.0)


def _against_normal(
    found: Found, record: Record, variant: Variant, name: str, over_s: float
) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    normal = found.normals[variant.normal].rate("sent", 600.0)[: len(record)]
    return np.asarray(record.rate(name, over_s) / normal)
