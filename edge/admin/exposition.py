"""Merged values in Prometheus's text format, by way of a custom collector of prometheus-client."""

from collections.abc import Iterable, Iterator
from itertools import accumulate
from typing import Final

from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector, CollectorRegistry

from edge.telemetry.catalogue import BUCKET_BOUNDS_S, METRICS, Kind, Metric
from edge.telemetry.snapshot import Labels, Merged

CONTENT_TYPE: Final = CONTENT_TYPE_LATEST
_BOUNDS: Final = (*(str(bound) for bound in BUCKET_BOUNDS_S), "+Inf")


def exposition(merged: Merged) -> bytes:
    """Return every metric of the catalogue, also those without a series yet."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Merged(merged))
    return generate_latest(registry)


class _Merged(Collector):
    def __init__(self, merged: Merged) -> None:
        self._merged = merged

    def collect(self) -> Iterable[Family]:
        for metric in METRICS:
            if metric.kind is Kind.HISTOGRAM:
                yield _histogram(metric, self._merged.histograms.get(metric.name, {}))
            else:
                yield _plain(metric, self._merged.values.get(metric.name, {}))


def _plain(metric: Metric, series: dict[Labels, float]) -> Family:
    family: CounterMetricFamily | GaugeMetricFamily
    if metric.kind is Kind.COUNTER:
        family = CounterMetricFamily(metric.name, metric.help, labels=metric.labels)
    else:
        family = GaugeMetricFamily(metric.name, metric.help, labels=metric.labels)
    for label in metric.known:
        if (label,) not in series:
            family.add_metric((label,), 0)
    for labels, value in series.items():
        family.add_metric(labels, value)
    return family


def _histogram(metric: Metric, series: dict[Labels, list[float]]) -> Family:
    family = HistogramMetricFamily(metric.name, metric.help, labels=metric.labels)
    for labels, row in series.items():
        family.add_metric(labels, buckets=list(_cumulative(row[:-1])), sum_value=row[-1])
    return family


def _cumulative(counts: list[float]) -> Iterator[tuple[str, float]]:
    return zip(_BOUNDS, accumulate(counts), strict=True)
