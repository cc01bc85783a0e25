"""What a worker measures of itself for load shedding, once per sweep."""

import time
from collections.abc import Callable
from pathlib import Path
from random import random
from typing import Final

from edge.control.edge_file import Shedding as Settings
from edge.guard.shedding import NOTHING_SHED, Shedding

_SCHEDSTAT: Final = Path("/proc/thread-self/schedstat")


def busy_s() -> float:
    """Return the seconds that this thread has run or waited for a processor that others had.

    On a shared core a worker is saturated long before it has run all the time. Where Linux does not say how long it
    waited, what the process has run must do.
    """
    try:
        ran_ns, waited_ns, _ = _SCHEDSTAT.read_bytes().split()
    except (OSError, ValueError):
        return time.process_time()
    return (int(ran_ns) + int(waited_ns)) / 1e9


class Load:
    """Measures the lateness of sweeps and how busy it was between them. `clock` tells monotonic seconds."""

    def __init__(self, interval_s: float, clock: Callable[[], float]) -> None:
        self._interval_s = interval_s
        self._clock = clock
        self._enabled = True
        self.swept_at = self._due = self._busy_s = 0.0
        self.shedding = Shedding(random)

    def limit(self, settings: Settings) -> None:
        """Measure against these limits from now on."""
        self._enabled = settings.enabled
        self.shedding.limit(settings.max_loop_lag_s, settings.max_in_flight, settings.max_cpu_share)

    def start(self) -> None:
        """Begin: the first sweep is an interval away."""
        self.swept_at, self._busy_s = self._clock(), busy_s()
        self._due = self.swept_at + self._interval_s

    def measure(self, now: float, in_flight: int) -> int:
        """Take what a sweep that began at `now` has seen; return the most important priority to shed from."""
        busy = busy_s()
        elapsed_s = max(now - self.swept_at, self._interval_s)
        self.shedding.sample(elapsed_s, max(now - self._due, 0.0), in_flight, (busy - self._busy_s) / elapsed_s)
        self.swept_at, self._busy_s = now, busy
        self._due = self._clock() + self._interval_s
        return self.shedding.shed_from if self._enabled else NOTHING_SHED
