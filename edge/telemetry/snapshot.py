"""Metric values on their way from the workers to the supervisor, and their merge. Pure: no clock, no sockets."""

from collections.abc import Iterable
from dataclasses import dataclass

from edge.telemetry.catalogue import BY_NAME, Kind, Merge

Labels = tuple[str, ...]


@dataclass(slots=True, frozen=True)
class Snapshot:
    """The values of one worker at one moment, by metric name and label values in the catalogue's order.

    A histogram's row holds the count of every bucket (not cumulative, the last is +Inf) and then the sum in seconds.
    """

    values: dict[str, list[tuple[Labels, float]]]
    histograms: dict[str, list[tuple[Labels, list[float]]]]


class Merged:
    """Values of several workers as one: series by metric name."""

    __slots__ = ("histograms", "values")

    def __init__(self) -> None:
        self.values: dict[str, dict[Labels, float]] = {}
        self.histograms: dict[str, dict[Labels, list[float]]] = {}

    def add(self, snapshot: Snapshot, *, gauges: bool = True) -> None:
        """Merge one worker's values in; without gauges for a worker that is gone."""
        for name, rows in snapshot.values.items():
            metric = BY_NAME[name]
            if metric.kind is Kind.COUNTER or gauges:
                series = self.values.setdefault(name, {})
                for labels, value in rows:
                    series[labels] = _join(metric.merge, series.get(labels), value)
        for name, histogram_rows in snapshot.histograms.items():
            histograms = self.histograms.setdefault(name, {})
            for labels, row in histogram_rows:
                before = histograms.get(labels)
                histograms[labels] = list(row) if before is None else [a + b for a, b in zip(before, row, strict=True)]

    def snapshot(self) -> Snapshot:
        """Return the same values as a snapshot."""
        return Snapshot(
            values={name: list(series.items()) for name, series in self.values.items()},
            histograms={name: list(series.items()) for name, series in self.histograms.items()},
        )


def _join(merge: Merge, before: float | None, value: float) -> float:
    if before is None:
        return value
    if merge is Merge.SUM:
        return before + value
    return min(before, value) if merge is Merge.MIN else max(before, value)


class WorkerValues:
    """What the supervisor knows of its workers' metrics: living ones by slot, and the sum of the dead.

    The counters of a dead worker are kept, so that no counter ever goes backward while the supervisor lives.
    """

    def __init__(self) -> None:
        self._living: dict[int, Snapshot] = {}
        self._dead = Merged()

    def update(self, slot: int, snapshot: Snapshot) -> None:
        """Replace what is known of the worker in `slot`."""
        self._living[slot] = snapshot

    def retire(self, slot: int) -> None:
        """Note that the worker in `slot` is gone: keep its counters, drop its gauges."""
        snapshot = self._living.pop(slot, None)
        if snapshot is not None:
            self._dead.add(snapshot, gauges=False)

    def merged(self, own: Iterable[Snapshot] = ()) -> Merged:
        """Return all values as one, with the supervisor's own beside them."""
        merged = Merged()
        for snapshot in (self._dead.snapshot(), *self._living.values(), *own):
            merged.add(snapshot)
        return merged
