"""Time per filter, from the counters that the edge exposes on its admin listener."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from prometheus_client.parser import text_string_to_metric_families

SECONDS = "edge_filter_seconds_total"
CALLS = "edge_filter_calls_total"


@dataclass(slots=True, frozen=True)
class FilterCounters:
    """Totals by filter id, as scraped at one moment."""

    seconds: Mapping[str, float] = field(default_factory=dict)
    calls: Mapping[str, float] = field(default_factory=dict)


def parse(exposition: str) -> FilterCounters:
    """Read a Prometheus exposition; counters of other names are passed over."""
    totals: dict[str, dict[str, float]] = {SECONDS: {}, CALLS: {}}
    for family in text_string_to_metric_families(exposition):
        for sample in family.samples:
            if sample.name in totals:
                by_filter = totals[sample.name]
                name = sample.labels.get("filter", "")
                by_filter[name] = by_filter.get(name, 0.0) + sample.value
    return FilterCounters(totals[SECONDS], totals[CALLS])


def microseconds(spans: Iterable[tuple[FilterCounters, FilterCounters]]) -> dict[str, float]:
    """Return the mean time of one call in µs by filter, over (before, after) pairs; filters not called are left out."""
    seconds: dict[str, float] = {}
    calls: dict[str, float] = {}
    for before, after in spans:
        for name, total in after.calls.items():
            calls[name] = calls.get(name, 0.0) + total - before.calls.get(name, 0.0)
            spent = after.seconds.get(name, 0.0) - before.seconds.get(name, 0.0)
            seconds[name] = seconds.get(name, 0.0) + spent
    return {name: round(seconds[name] / count * 1e6, 3) for name, count in calls.items() if count > 0}
