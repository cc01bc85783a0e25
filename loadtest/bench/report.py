"""What a run found: rows, ratios and the time per filter, and their JSON."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

from loadtest.bench.contenders import NAMES
from loadtest.bench.filter_costs import microseconds
from loadtest.bench.rounds import Measured

RATIOS = {
    "edge_vs_envoy_jwt_hs256_cached": "envoy_jwt_hs256_cached",
    "edge_vs_envoy_jwt_es256": "envoy_jwt_es256",
    "edge_vs_nginx": "nginx",
}


@dataclass(slots=True, frozen=True)
class Row:
    """One contender's medians over the rounds; `rss_mib` is the highest seen, `broken` the sum of socket errors.

    `cpu_us` is processor time per request: it changes least when other programs share the core.
    """

    name: str
    rps: float
    p50_ms: float
    p99_ms: float
    rss_mib: float
    cpu_us: float
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
        cpu_us=round(median(cpu / rate * 1e6 for cpu, rate in zip(measured.cpu, rates, strict=True)), 1),
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


def as_json(found: Report, context: Mapping[str, object]) -> str:
    """Return the report as JSON, with `context` (verdicts, machine, versions, settings) beside it."""
    body = {
        "rows": [asdict(one) for one in found.rows.values()],
        "ratios": dict(found.ratios),
        "ratio_ranges": dict(found.ratio_ranges),
        "filters_us": dict(found.filters_us),
        **context,
    }
    return json.dumps(body, indent=2) + "\n"


def write(file: Path, text: str) -> None:
    """Replace `file` by `text` in one step."""
    file.parent.mkdir(parents=True, exist_ok=True)
    fresh = file.with_suffix(".new")
    fresh.write_text(text)
    fresh.replace(file)
