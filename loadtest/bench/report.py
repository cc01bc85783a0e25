"""Rows, ratios and what they mean: the table for a reader, the JSON for a machine."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

from rich.console import Console
from rich.table import Table

from loadtest.bench.contenders import NAMES
from loadtest.bench.filter_costs import microseconds
from loadtest.bench.rounds import Measured

RATIOS = {
    "edge_vs_envoy_jwt_hs256_cached": "envoy_jwt_hs256_cached",
    "edge_vs_envoy_jwt_es256": "envoy_jwt_es256",
    "edge_vs_nginx": "nginx",
}
MUCH = 0.1  # of a core: idle, a proxy waited for the load; used by others, they slowed it down


@dataclass(slots=True, frozen=True)
class Goal:
    """What a ratio should reach, and what it must not fall below."""

    ratio: str
    goal: float
    floor: float


GOALS = (Goal("edge_vs_envoy_jwt_hs256_cached", 1.3, 1.0), Goal("edge_vs_nginx", 0.45, 1 / 3))


@dataclass(slots=True, frozen=True)
class Row:
    """One contender's medians over the rounds; `rss_mib` is the highest seen, `broken` the sum of socket errors."""

    name: str
    rps: float
    p50_ms: float
    p99_ms: float
    rss_mib: float
    cpu: float
    idle: float
    rps_min: float
    rps_max: float
    broken: int


@dataclass(slots=True, frozen=True)
class Report:
    """Everything a run found, rows by contender id."""

    rows: Mapping[str, Row]
    ratios: Mapping[str, float]
    ratio_ranges: Mapping[str, tuple[float, float]]
    filters_us: Mapping[str, float]


def row(measured: Measured) -> Row:
    """Return the medians of one contender's rounds."""
    rates = [sample.rps for sample in measured.samples]
    return Row(
        name=NAMES[measured.id],
        rps=round(median(rates), 1),
        p50_ms=round(median(sample.p50_ms for sample in measured.samples), 3),
        p99_ms=round(median(sample.p99_ms for sample in measured.samples), 3),
        rss_mib=round(measured.rss_mib, 1),
        cpu=round(median(measured.cpu), 2),
        idle=round(median(measured.idle), 2),
        rps_min=round(min(rates), 1),
        rps_max=round(max(rates), 1),
        broken=sum(sample.broken for sample in measured.samples),
    )


def report(results: Sequence[Measured]) -> Report:
    """Return rows, ratios of the medians with their range over the rounds, and the time per filter."""
    by_id = {measured.id: measured for measured in results}
    rows = {name: row(measured) for name, measured in by_id.items()}
    pairs = {name: peer for name, peer in RATIOS.items() if "edge" in rows and peer in rows}
    return Report(
        rows=rows,
        ratios={name: round(rows["edge"].rps / rows[peer].rps, 3) for name, peer in pairs.items()},
        ratio_ranges={name: _range(by_id["edge"], by_id[peer]) for name, peer in pairs.items()},
        filters_us=microseconds(by_id["edge"].filters) if "edge" in by_id else {},
    )


def _range(ours: Measured, theirs: Measured) -> tuple[float, float]:
    ratios = [our.rps / their.rps for our, their in zip(ours.samples, theirs.samples, strict=True)]
    return round(min(ratios), 3), round(max(ratios), 3)


def verdicts(found: Report) -> list[str]:
    """Return a sentence for each goal that this run can speak of, and one for each figure to be careful with."""
    return [*_goal_sentences(found), *_latency_sentence(found), *_doubts(found)]


def _goal_sentences(found: Report) -> list[str]:
    sentences = []
    for goal in GOALS:
        if goal.ratio in found.ratios:
            ratio = found.ratios[goal.ratio]
            sentences.append(f"{goal.ratio} is {ratio:.2f}: {_compare(ratio, goal)}")
    return sentences


def _compare(ratio: float, goal: Goal) -> str:
    if ratio >= goal.goal:
        return f"the goal of {goal.goal:.2f} is met"
    if ratio >= goal.floor:
        return f"the floor of {goal.floor:.2f} is met, the goal of {goal.goal:.2f} is not"
    return f"neither the floor of {goal.floor:.2f} nor the goal of {goal.goal:.2f} is met"


def _latency_sentence(found: Report) -> list[str]:
    if "edge" not in found.rows or "envoy_jwt_hs256_cached" not in found.rows:
        return []
    ours, theirs = found.rows["edge"].p99_ms, found.rows["envoy_jwt_hs256_cached"].p99_ms
    met = "no worse than" if ours <= theirs else "worse than"
    return [f"The edge's p99 is {ours:.2f} ms, {met} that of Envoy with a warm JWT cache, {theirs:.2f} ms"]


def _doubts(found: Report) -> list[str]:
    rows = found.rows.values()
    doubts = {
        "Waited for wrk or the origin, so faster than shown": [one.name for one in rows if one.idle > MUCH],
        "Shared its core with other programs": [one.name for one in rows if 1 - one.cpu - one.idle > MUCH],
        "Had broken connections or timeouts": [one.name for one in rows if one.broken],
    }
    return [f"{doubt}: {'; '.join(names)}" for doubt, names in doubts.items() if names]


def as_json(found: Report, context: Mapping[str, object]) -> str:
    """Return the report as JSON, with `context` (machine, versions, settings) beside it."""
    body = {
        "rows": [asdict(one) for one in found.rows.values()],
        "ratios": dict(found.ratios),
        "ratio_ranges": dict(found.ratio_ranges),
        "filters_us": dict(found.filters_us),
        "verdicts": verdicts(found),
        **context,
    }
    return json.dumps(body, indent=2) + "\n"


def write(file: Path, text: str) -> None:
    """Replace `file` by `text` in one step."""
    file.parent.mkdir(parents=True, exist_ok=True)
    fresh = file.with_suffix(".new")
    fresh.write_text(text)
    fresh.replace(file)


def show(found: Report, console: Console) -> None:
    """Print the table, the ratios, the filters and the verdicts."""
    console.print(_rows_table(found))
    if found.ratios:
        console.print(_ratios_table(found))
    if found.filters_us:
        costs = ", ".join(f"{name} {cost:.2f}" for name, cost in found.filters_us.items())
        console.print(
            f"µs per filter: {costs}; together {sum(found.filters_us.values()):.2f}", highlight=False, soft_wrap=True
        )
    for sentence in verdicts(found):
        console.print(f"• {sentence}", highlight=False, soft_wrap=True)


def _rows_table(found: Report) -> Table:
    table = Table(title="One worker on one core, medians over the rounds", title_justify="left")
    table.add_column("", no_wrap=True)
    for heading in ("req/s", "p50 ms", "p99 ms", "MiB", "core"):
        table.add_column(heading, justify="right")
    for one in found.rows.values():
        table.add_row(
            one.name, f"{one.rps:,.0f}", f"{one.p50_ms:.2f}",
            f"{one.p99_ms:.2f}", f"{one.rss_mib:.0f}", f"{one.cpu:.0%}",
        )  # fmt: skip
    return table


def _ratios_table(found: Report) -> Table:
    table = Table(title="Requests/s, the edge against its peers", title_justify="left")
    table.add_column("ratio")
    table.add_column("of medians", justify="right")
    table.add_column("over the rounds", justify="right")
    for name, ratio in found.ratios.items():
        low, high = found.ratio_ranges[name]
        table.add_row(name, f"{ratio:.2f}", f"{low:.2f} to {high:.2f}")
    return table
