"""What the supervisor tells of itself and its workers: `/health` and `/metrics`."""

import asyncio
import time
from collections import Counter
from collections.abc import Iterable
from typing import Final, TypeAlias

from edge.admin.health import Health, KeysHealth, Status, WorkerHealth
from edge.supervisor.config import Result
from edge.supervisor.fleet import Fleet
from edge.supervisor.slot import SlotState
from edge.telemetry.snapshot import Labels, Merged, Snapshot, WorkerValues

_REPORT_TIMEOUT_S: Final = 0.5
_STALEST_FIRST: Final = ("snapshot", "kms")

Values: TypeAlias = dict[str, list[tuple[Labels, float]]]
"""Metrics by their name: each series by its labels."""


class Report:
    """Puts together what is asked for. `values` are those that workers sent, `kinds` the changes that are counted.

    `fleet` is None until there is one.
    """

    def __init__(self, values: WorkerValues, kinds: Iterable[str]) -> None:
        self.fleet: Fleet | None = None
        self._values = values
        self._changes = {(kind, result): 0 for kind in kinds for result in Result}
        self._last_change = (1.0, time.time())  # whether it was applied, and when

    def changed(self, kind: str, result: Result) -> None:
        """Note how a reload or a restart ended."""
        self._changes[kind, result] += 1
        self._last_change = (float(result is Result.APPLIED), time.time())

    def health(self, *, stopping: bool) -> Health:
        """Return the state of every slot and of the whole."""
        slots = () if self.fleet is None else self.fleet.slots
        workers = tuple(WorkerHealth(slot.index, slot.state, slot.pid, slot.restarts, slot.revision) for slot in slots)
        ready = any(slot.state is SlotState.READY for slot in slots)
        serving = Status.READY if ready else Status.STARTING
        return Health(Status.DRAINING if stopping else serving, workers, self._keys())

    async def merged(self, beside: Values) -> Merged:
        """Return the metrics of all workers as of now, of one that does not answer the last; and those `beside`."""
        if self.fleet is not None:
            processes = [each for slot in self.fleet.slots for each in slot.processes]
            waiting = self.fleet.crew.waiting
            if waiting is not None and waiting.loaded:
                processes.append(waiting)
            await asyncio.gather(*(process.ask({"type": "report"}, _REPORT_TIMEOUT_S) for process in processes))
        return self._values.merged([Snapshot(values={**self._own_values(), **beside}, histograms={})])

    def _keys(self) -> KeysHealth | None:
        """Return what the workers said last of their keys."""
        values = self._values.merged().values
        ages = values.get("edge_key_ring_age_seconds", {})
        for source in _STALEST_FIRST:
            if (source,) in ages:
                store_lost = values.get("edge_key_store_lost", {}).get((), 0) > 0
                return KeysHealth(source, round(ages[source,], 1), store_lost)
        return None

    def _own_values(self) -> Values:
        slots = [] if self.fleet is None else self.fleet.slots
        states: Counter[SlotState] = Counter(slot.state for slot in slots)
        workers: list[tuple[Labels, float]] = [((state.value,), states[state]) for state in SlotState]
        waiting = None if self.fleet is None else self.fleet.crew.waiting
        workers.append((("standby",), int(waiting is not None and waiting.loaded)))
        return {
            "edge_workers": workers,
            "edge_worker_restarts_total": [((), sum(slot.restarts for slot in slots))],
            "edge_worker_silences_total": [((), 0 if self.fleet is None else self.fleet.silenced)],
            "edge_config_changes_total": [
                ((kind, result.name.lower()), count) for (kind, result), count in self._changes.items()
            ],
            "edge_config_last_change_successful": [((), self._last_change[0])],
            "edge_config_last_change_timestamp_seconds": [((), self._last_change[1])],
        }
