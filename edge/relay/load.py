"""What a worker measures of itself for load shedding."""

import time
from collections.abc import Callable
from pathlib import Path
from random import random
from typing import Final

from edge.control.edge_file import Shedding as Settings
from edge.guard.shedding import NOTHING_SHED, Shedding

_SCHEDSTAT: Final = Path("/proc/thread-self/schedstat")
MIN_SWEEP_S: Final = 0.1


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
    """Measures how late the loop is, at every pulse, and how busy it was, at every sweep."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._enabled = True
        self.swept_at = self._pulsed_at = self._busy_s = 0.0
        self.shedding = Shedding(random)

    def limit(self, settings: Settings) -> None:
        """Measure against these limits from now on."""
        self._enabled = settings.enabled
        self.shedding.limit(settings.max_loop_lag_s, settings.max_in_flight, settings.max_cpu_share)

    def start(self) -> None:
        """Begin."""
        self.swept_at = self._pulsed_at = self._clock()
        self._busy_s = busy_s()

    def pulse(self, now: float, due: float) -> None:
        """Take how late a pulse is that was `due` then."""
        self.shedding.sample_lag(max(now - self._pulsed_at, 0.0), max(now - due, 0.0))
        self._pulsed_at = now

    def sweep(self, now: float, in_flight: int) -> None:
        """Take what a sweep that began at `now` has seen."""
        busy = busy_s()
        elapsed_s = max(now - self.swept_at, MIN_SWEEP_S)
        self.shedding.sample(elapsed_s, in_flight, (busy - self._busy_s) / elapsed_s)
        self.swept_at, self._busy_s = now, busy

    @property
    def shed_from(self) -> int:
        """The most important priority of which anything is shed now."""
        return self.shedding.shed_from if self._enabled else NOTHING_SHED

    @property
    def overloaded(self) -> bool:
        """Whether anything is shed now."""
        return self.shed_from < NOTHING_SHED
