"""What an experiment found: tables, plots, checks, and the figures behind them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from loadtest.experiments.spread import Spread


@dataclass(slots=True, frozen=True)
class Table:
    """`name` is that of its place in docs/performance.md. The first column of a row says what it is about."""

    name: str
    title: str
    headings: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(slots=True, frozen=True)
class Curve:
    """One line of a panel. Points in `doubtful` are drawn hollow. `low` and `high` are its quartiles."""

    label: str
    xs: Sequence[float]
    ys: Sequence[float]
    doubtful: Sequence[bool] = ()
    low: Sequence[float] = ()
    high: Sequence[float] = ()


@dataclass(slots=True, frozen=True)
class Panel:
    """One pair of axes, with units in their labels. With `names`, curves are bars: their `xs` are places in `names`."""

    title: str
    x_label: str
    y_label: str
    curves: Sequence[Curve]
    log_x: bool = False
    log_y: bool = False
    names: Sequence[str] = ()
    line_at: float | None = None
    line_label: str = ""


def bars(spreads: Sequence[Spread], label: str = "") -> Curve:
    """Return medians as bars with their quartiles, at the places 0, 1, 2…"""
    medians, low, high = ([getattr(one, name) for one in spreads] for name in ("median", "low", "high"))
    return Curve(label, range(len(spreads)), medians, low=low, high=high)


@dataclass(slots=True, frozen=True)
class Plot:
    """A picture, `performance_NAME.png`."""

    name: str
    title: str
    panels: Sequence[Panel]


@dataclass(slots=True, frozen=True)
class Check:
    """Something that must hold, and what was found. One that does not hold fails the run."""

    what: str
    good: bool
    found: str


@dataclass(slots=True, frozen=True)
class Result:
    """Everything of one experiment. `notes` are sentences on how to take it; `figures` go into latest.json."""

    name: str
    tables: Sequence[Table]
    plots: Sequence[Plot] = ()
    checks: Sequence[Check] = ()
    notes: Sequence[str] = ()
    figures: Mapping[str, object] = field(default_factory=dict)
