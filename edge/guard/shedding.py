"""Load shedding by priority. Pure: measurements in, decisions out.

Theory of operation: a score from 0 to 1 says how loaded the worker is: the worst of three parts (lateness of the event
loop, requests in flight, processor time), smoothed so that one long call sheds little. Each priority has a band of
the score in which the rejected share of its requests rises with the cube, from none at its beginning to all at its
end, so that shedding sets in gently and a less important class is all but gone when the next one begins. After
"Keeping Netflix Reliable Using Prioritized Load Shedding".

A score that is smoothed comes too late for what piles up within one turn of the loop. So a decision also looks at how
late the loop is at that moment: that alone sheds what is best-effort or less, at once, and nothing that is more. Where
the processor is busy all the time, lateness is a queue, and a little of it is enough.
"""

from collections.abc import Callable, Sequence
from typing import Final

from edge.contract.route import Priority

NOTHING_SHED: Final = len(Priority)
BANDS: Final[Sequence[tuple[float, float]]] = ((0.9, 1.1), (0.8, 0.95), (0.6, 0.8), (0.5, 0.7))
"""By priority. The last of critical's band is out of reach: seven in eight are served whatever the load."""
CPU_CEILING: Final = 0.8
"""The score of a worker that is busy all the time but late with nothing: short of what sheds degraded requests."""
PARTS: Final = ("loop_lag", "in_flight", "cpu")
_HALF_LIFE_S: Final = 0.35
_MOST_AT_ONCE: Final = 0.7
"""What one measurement counts at most, however long it took: one long call sheds no degraded request."""
_MOST_BY_LATENESS: Final = 0.8
"""The score that a moment's lateness comes to at most: it sheds no degraded request either."""
_BUSY: Final = 0.5
"""The part of the processor from which on lateness counts `_BUSY_FACTOR` times: busy for 85 % of the time."""
_BUSY_FACTOR: Final = 5.0


def rejected_share(score: float, priority: int) -> float:
    """Return the share of a priority's requests, 0 to 1, that is rejected at a score."""
    begin, end = BANDS[priority]
    return min(max((score - begin) / (end - begin), 0.0), 1.0) ** 3


class Shedding:
    """Decides for one worker. `random` returns 0 to 1. Nothing is shed before the first sample."""

    __slots__ = ("_limits", "_random", "_shares", "parts", "score", "shed_from")

    def __init__(self, random: Callable[[], float]) -> None:
        self._limits = (1.0, 1.0, 1.0)
        self._random = random
        self._shares = [0.0] * len(Priority)
        self.parts = [0.0] * len(PARTS)
        self.score = 0.0
        self.shed_from: int = NOTHING_SHED
        """The most important priority of which anything is shed; what is more important needs no further question."""

    def limit(self, max_lag_s: float, max_in_flight: int, max_cpu_share: float) -> None:
        """Say at which lateness in seconds, requests in flight and share of a core a part counts as full."""
        self._limits = (max_lag_s, float(max_in_flight), max_cpu_share)

    def sample(self, elapsed_s: float, in_flight: int, cpu_share: float) -> None:
        """Take the measurements of `elapsed_s`; call it a few times a second."""
        _, max_in_flight, max_cpu_share = self._limits
        busy = min(cpu_share / max_cpu_share, 1.0)
        self._take(1, elapsed_s, min(in_flight / max_in_flight, 1.0))
        self._take(2, elapsed_s, busy**3 * CPU_CEILING)
        self._decide()

    def sample_lag(self, elapsed_s: float, lag_s: float) -> None:
        """Take how late the event loop was after `elapsed_s`; call it more often."""
        self._take(0, elapsed_s, min(lag_s / self._limits[0], 1.0))
        self._decide()

    def _take(self, part: int, elapsed_s: float, value: float) -> None:
        weight = min(1.0 - 0.5 ** (elapsed_s / _HALF_LIFE_S), _MOST_AT_ONCE)
        self.parts[part] += (value - self.parts[part]) * weight

    def _decide(self) -> None:
        self.score = max(self.parts)
        self._shares = [rejected_share(self.score, priority) for priority in range(len(Priority))]
        self.shed_from = next((index for index, share in enumerate(self._shares) if share), NOTHING_SHED)

    def rejects(self, priority: int, late_s: float = 0.0) -> bool:
        """Decide for one request; the loop is late by so many seconds now."""
        share = self._shares[priority]
        if late_s > 0.0:
            late = late_s / self._limits[0] * (_BUSY_FACTOR if self.parts[2] >= _BUSY else 1.0)
            share = max(share, rejected_share(min(late, 1.0) * _MOST_BY_LATENESS, priority))
        return share > 0.0 and self._random() < share

    def __repr__(self) -> str:
        return f"Shedding(score {self.score:.2f}, shed from {self.shed_from})"
