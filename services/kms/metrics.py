"""What the key management service says of itself in Prometheus's text format: docs/keys.md, Metrics."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector, CollectorRegistry

from services.kms.states import State

CONTENT_TYPE: Final = CONTENT_TYPE_LATEST


@dataclass(slots=True, frozen=True)
class Standings:
    """What the store holds: versions by key set and state, age in seconds of each primary, holders that are alive."""

    versions: Mapping[tuple[str, State], int]
    primary_age_s: Mapping[str, float]
    holders: int


@dataclass(slots=True, frozen=True)
class Counts:
    """What became of the calls since the start: rows of the audit log by action and outcome, and calls that failed."""

    accesses: Mapping[tuple[str, str], int]
    failed: int


def exposition(counts: Counts, standings: Standings | None, key_sets: Iterable[str]) -> bytes:
    """Return all metrics; without those of the store while it cannot be read."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collected([*_of_calls(counts), *(() if standings is None else _of_keys(standings, key_sets))]))
    return generate_latest(registry)


class _Collected(Collector):
    def __init__(self, families: list[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families


def _of_calls(counts: Counts) -> Iterable[Metric]:
    accesses = CounterMetricFamily("kms_accesses_total", "Rows written to the audit log.", labels=("action", "outcome"))
    for labels, count in counts.accesses.items():
        accesses.add_metric(labels, count)
    yield accesses
    yield CounterMetricFamily("kms_failed_calls_total", "Calls of the store that failed.", counts.failed)


def _of_keys(standings: Standings, key_sets: Iterable[str]) -> Iterable[Metric]:
    versions = GaugeMetricFamily("kms_key_versions", "Key versions by state.", labels=("key_set", "state"))
    for key_set in key_sets:
        for state in State:
            versions.add_metric((key_set, state.value), standings.versions.get((key_set, state), 0))
    yield versions
    age = GaugeMetricFamily(
        "kms_primary_age_seconds", "How long the key that protects has been active.", labels=("key_set",)
    )
    for key_set, age_s in standings.primary_age_s.items():
        age.add_metric((key_set,), age_s)
    yield age
    yield GaugeMetricFamily("kms_holders", "Processes that hold keys and are alive.", standings.holders)
