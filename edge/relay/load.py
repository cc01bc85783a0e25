"""What a worker measures of itself for load shedding, once per sweep."""

import time
from collections.abc import Callable
from random import random

from edge.control.edge_file import Shedding as Settings
from edge.guard.shedding import NOTHING_SHED, Shedding


class Load:
    """Measures the lateness of sweeps and the processor time between them. `clock` tells monotonic seconds."""

    def __init__(self, interval_s: float, clock: Callable[[], float]) -> None:
        self._interval_s = interval_s
        self._clock = clock
        self._enabled = True
        self.swept_at = self._due = self._cpu_s = 0.0
        self.shedding = Shedding(random)

    def limit(self, settings: Settings) -> None:
        """Measure against these limits from now on."""
        self._enabled = settings.enabled
        self.shedding.limit(settings.max_loop_lag_s, settings.max_in_flight, settings.max_cpu_share)

    def start(self) -> None:
        """Begin: the first sweep is an interval away."""
        self.swept_at, self._cpu_s = self._clock(), time.process_time()
        self._due = self.swept_at + self._interval_s

    def measure(self, now: float, in_flight: int) -> int:
        """Take what a sweep that began at `now` has seen; return the most important priority to shed from."""
        cpu_s = time.process_time()
        cpu_share = (cpu_s - self._cpu_s) / max(now - self.swept_at, self._interval_s)
        self.shedding.sample(max(now - self._due, 0.0), in_flight, cpu_share)
        self.swept_at, self._cpu_s = now, cpu_s
        self._due = self._clock() + self._interval_s
        return self.shedding.shed_from if self._enabled else NOTHING_SHED
