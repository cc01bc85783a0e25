"""What happened in a run, counted in steps of time."""

from dataclasses import dataclass, field
from typing import Final

import numpy as np

from loadtest.simulation.population import Floats

STEP_S: Final = 10.0
COUNTS: Final = (
    "asked",  # requests that found their token due or expired
    "sent",  # calls that reached the cookie service
    "renewed",
    "held_back",  # by a breaker
    "overloaded",  # beyond a worker's limit
    "waited",  # requests with an expired token, which wait for the renewal
    "waited_s",
    "minted",  # rescheduled tokens
    "rescheduled_requests",  # requests made under a rescheduled token
    "low",  # requests at level LOW
    "ended",  # users signed out since the service said that they are no members
    "lost",  # users signed out without that: our failure
)


@dataclass(slots=True)
class Record:
    """Counts of each step between `begin` and `end`, and two levels at the end of each.

    `rescheduled` is the number of rescheduled tokens that are good, `remembered` that of tokens, due and not expired,
    whose next try an edge has to remember. `census` counts all tokens: full, rescheduled, gone.
    """

    begin: float
    end: float
    counts: dict[str, Floats] = field(init=False)
    rescheduled: Floats = field(init=False)
    remembered: Floats = field(init=False)
    census: tuple[int, int, int] = (0, 0, 0)
    openings: int = 0

    def __post_init__(self) -> None:
        """Begin with zeros."""
        steps = len(self)
        self.counts = {name: np.zeros(steps) for name in COUNTS}
        self.rescheduled, self.remembered = np.zeros(steps), np.zeros(steps)

    def __len__(self) -> int:
        return round((self.end - self.begin) / STEP_S)

    @property
    def times(self) -> Floats:
        """When each step begins."""
        times: Floats = self.begin + STEP_S * np.arange(len(self), dtype=np.float64)
        return times

    def add(self, name: str, times: Floats, weights: Floats | None = None) -> None:
        """Count something that happened at these times."""
        self._change(self.counts[name], times, 1.0, weights)

    def hold(self, level: Floats, begin: Floats, end: Floats) -> None:
        """Have `level` (one of the two) raised between these times; `close` makes it a level."""
        self._change(level, begin, 1.0)
        self._change(level, end, -1.0)

    def close(self) -> None:
        """Turn changes of the levels into the levels."""
        self.rescheduled, self.remembered = np.cumsum(self.rescheduled), np.cumsum(self.remembered)

    def rate(self, name: str, over_s: float = STEP_S) -> Floats:
        """Return a count per second, as a mean over `over_s` around each step."""
        width = max(1, round(over_s / STEP_S))
        sums = np.convolve(self.counts[name], np.ones(width), "same")
        steps = np.convolve(np.ones(len(self)), np.ones(width), "same")
        return np.asarray(sums / (steps * STEP_S), dtype=np.float64)

    def _change(self, series: Floats, times: Floats, by: float, weights: Floats | None = None) -> None:
        inside = (times >= self.begin) & (times < self.end)
        if not inside.any():
            return
        steps = ((times[inside] - self.begin) / STEP_S).astype(np.int64)
        first = steps.min()
        sums = np.bincount(steps - first, None if weights is None else weights[inside])
        series[first : first + len(sums)] += by * sums
