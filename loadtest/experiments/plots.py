"""The plots of docs/performance.md, as small PNGs."""

from collections.abc import Iterable
from pathlib import Path
from typing import Final

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator

from loadtest.experiments.result import Curve, Panel, Plot

COLOURS: Final = ("#0b6e4f", "#3a86c8", "#e07a00", "#d1495b", "#7b5ea7", "#222222")
DPI: Final = 90
PANEL_SIZE: Final = (4.6, 3.4)
BAR_SPACE: Final = 0.8  # of the distance between two names
MANY: Final = 5  # names that stand beside each other
HEADROOM: Final = 1.1


def draw(plots: Iterable[Plot], directory: Path) -> list[Path]:
    """Write all plots; return their files."""
    directory.mkdir(parents=True, exist_ok=True)
    files = []
    for plot in plots:
        file = directory / f"performance_{plot.name}.png"
        _figure(plot).savefig(file, dpi=DPI, metadata={"Software": None})
        files.append(file)
    return files


def _figure(plot: Plot) -> Figure:
    with mpl.rc_context({"font.size": 8}):
        width, height = PANEL_SIZE
        figure = Figure(figsize=(width * len(plot.panels), height), layout="constrained", facecolor="white")
        for axes, panel in zip(figure.subplots(1, len(plot.panels), squeeze=False)[0], plot.panels, strict=True):
            _panel(axes, panel)
    figure.suptitle(plot.title, fontsize=10)
    return figure


def _panel(axes: Axes, panel: Panel) -> None:
    axes.set_title(panel.title, fontsize=9)
    axes.set_xlabel(panel.x_label)
    axes.set_ylabel(panel.y_label)
    axes.grid(visible=True, lw=0.3)
    axes.set_axisbelow(True)
    for number, curve in enumerate(panel.curves):
        if panel.names:
            _bars(axes, curve, number, len(panel.curves))
        else:
            _line(axes, curve, COLOURS[number % len(COLOURS)])
    if panel.log_x:
        axes.set_xscale("symlog", linthresh=1)
    if panel.log_y:
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.yaxis.set_minor_formatter(NullFormatter())
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    if panel.line_at is not None:
        axes.axhline(panel.line_at, color="#999999", lw=0.9, ls="--", label=panel.line_label or None)
    if not panel.log_y:
        axes.set_ylim(0, axes.get_ylim()[1] * HEADROOM)
    if panel.names:
        axes.set_xticks(range(len(panel.names)), panel.names)
        axes.tick_params(axis="x", labelrotation=30 if len(panel.names) > MANY else 0)
    else:
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    if panel.log_x:
        axes.set_xticks(sorted({x for curve in panel.curves for x in curve.xs}))
        axes.xaxis.set_minor_locator(NullLocator())
    if len(panel.curves) > 1 or panel.line_label:
        axes.legend(fontsize=7)


def _line(axes: Axes, curve: Curve, colour: str) -> None:
    axes.plot(curve.xs, curve.ys, color=colour, lw=1.3, marker="o", ms=3.5, label=curve.label)
    if curve.low:
        axes.fill_between(curve.xs, curve.low, curve.high, color=colour, alpha=0.15, lw=0)
    doubtful = [(x, y) for x, y, bad in zip(curve.xs, curve.ys, curve.doubtful, strict=False) if bad]
    if doubtful:
        xs, ys = zip(*doubtful, strict=True)
        axes.plot(xs, ys, ls="", marker="o", ms=4.5, mfc="white", mec=colour)


def _bars(axes: Axes, curve: Curve, number: int, of: int) -> None:
    width = BAR_SPACE / of
    places = [x + (number - (of - 1) / 2) * width for x in curve.xs]
    errors = None
    if curve.low and list(curve.low) != list(curve.high):
        below = [y - low for y, low in zip(curve.ys, curve.low, strict=True)]
        above = [high - y for y, high in zip(curve.ys, curve.high, strict=True)]
        errors = [below, above]
    axes.bar(
        places, curve.ys, width, yerr=errors, color=COLOURS[number], label=curve.label, ecolor="#444444", capsize=2
    )
