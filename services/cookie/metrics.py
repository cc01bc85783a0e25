"""What the cookie service says of itself in Prometheus's text format: docs/services.md, Metrics."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Final

from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector, CollectorRegistry

from resilience.breaker import State

CONTENT_TYPE: Final = CONTENT_TYPE_LATEST
_STATES: Final = (State.CLOSED.value, State.HALF_OPEN.value, State.OPEN.value)
_FIRST: Final = (
    *(("create", outcome) for outcome in ("created", "keys_unavailable")),
    *(("renew", outcome) for outcome in ("renewed", "not_a_member", "revoked", "unavailable", "refused")),
    *(("update", outcome) for outcome in ("updated", "revoked", "unavailable", "refused")),
    *(("revoke", outcome) for outcome in ("revoked", "database_unavailable")),
)
"""Told as 0 from the start, so that the first one shows as a growth."""


class Calls:
    """What became of the calls since the start."""

    __slots__ = ("_counts",)

    def __init__(self) -> None:
        self._counts = Counter(dict.fromkeys(_FIRST, 0))

    def count(self, call: str, outcome: str) -> None:
        """Count one call: `create`, `renew`, `update` or `revoke`."""
        self._counts[call, outcome] += 1

    def family(self) -> Metric:
        """Return the counts as they are."""
        calls = CounterMetricFamily("cookie_calls_total", "Calls by what came of them.", labels=("call", "outcome"))
        for labels, count in self._counts.items():
            calls.add_metric(labels, count)
        return calls


def exposition(calls: Calls, breakers: Mapping[str, str], keys: Mapping[str, str | float]) -> bytes:
    """Return all metrics: `breakers` by name, and what the service's keys say of their health."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collected([calls.family(), _of_breakers(breakers), *_of_keys(keys)]))
    return generate_latest(registry)


class _Collected(Collector):
    def __init__(self, families: list[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families


def _of_breakers(breakers: Mapping[str, str]) -> Metric:
    states = GaugeMetricFamily(
        "cookie_breaker_state", "State of each circuit breaker: 0 closed, 1 half-open, 2 open.", labels=("breaker",)
    )
    for name, state in breakers.items():
        states.add_metric((name,), _STATES.index(state))
    return states


def _of_keys(keys: Mapping[str, str | float]) -> Iterable[Metric]:
    age = GaugeMetricFamily(
        "cookie_key_ring_age_seconds", "Time since the KMS gave the key ring in use.", labels=("source",)
    )
    age.add_metric((str(keys["source"]),), float(keys["age_s"]))
    yield age
    lost = GaugeMetricFamily("cookie_key_store_lost", "1 while the KMS answers as if it had lost its store; or 0.")
    lost.add_metric((), float(keys["store_lost"]))
    yield lost
