"""An adaptive limit of calls at a time: it falls when calls begin to take longer than they do in the long run.

After Gradient2 of Netflix's concurrency-limits. The median latency of a short window is compared with the long-term
average of such medians; their ratio, at most 1, is the gradient by which the limit shrinks. A square root of the limit
is added as room for a queue, and by that the limit grows while latencies stay as they are. The new limit is smoothed,
less so when it falls: a queue hurts now.

The less important a call, the less of the limit it may use: what is critical is turned away last.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil, sqrt
from typing import Final

from edge.contract.route import Priority

_WINDOW_S: Final = 0.1
_AT_LEAST: Final = 10  # calls in a window; the clock is read once for so many
_MAX_SAMPLES: Final = 100
_LONG_WINDOWS: Final = 3000  # what the long-term average remembers: five minutes
_DROPPED: Final = 0.9  # what is left of the limit after a window in which a call came to nothing
_LOWEST_GRADIENT: Final = 0.5
_FALLING: Final = 2.5  # times the smoothing
SHARES: Final[Sequence[float]] = (1.0, 0.9, 0.7, 0.5)
"""By priority: how much of the limit may be in use for one more call to be let through."""


@dataclass(slots=True, frozen=True)
class ConcurrencySettings:
    """The bounds of the limit. `smoothing` is the weight of a new estimate, a share of 1; a latency of up to
    `tolerance` times the long-term average does not lower the limit."""

    initial: int
    minimum: int
    maximum: int
    smoothing: float
    tolerance: float


class ConcurrencyLimit:
    """Limits calls at a time to one thing. For one thread; `clock` tells monotonic seconds.

    Whoever is given a place gives it back exactly once: with `release` or with `forget`.
    """

    __slots__ = (
        "_clock",
        "_dropped",
        "_ends",
        "_estimate",
        "_long_s",
        "_most",
        "_released",
        "_room",
        "_samples",
        "_settings",
        "in_flight",
        "limit",
    )

    def __init__(self, settings: ConcurrencySettings, clock: Callable[[], float]) -> None:
        self._settings = settings
        self._clock = clock
        self._estimate = float(settings.initial)
        self._long_s = 0.0
        self._set(settings.initial)
        self.in_flight = self._most = 0  # now, and in this window
        self._released = 0  # since the clock was read
        self._samples: list[float] = []
        self._dropped = False
        self._ends = clock() + _WINDOW_S

    def has_room(self, priority: int) -> bool:
        """Whether a call of this priority may have a place."""
        return self.in_flight < self._room[priority]

    def acquire(self, priority: int = Priority.CRITICAL) -> bool:
        """Take a place for a call of this priority; False: there is none."""
        if self.in_flight >= self._room[priority]:
            return False
        self.occupy()
        return True

    def occupy(self) -> None:
        """Take a place whether there is one or not, for a call that was let through before."""
        self.in_flight += 1
        self._most = max(self._most, self.in_flight)

    def release(self, seconds: float, *, dropped: bool) -> None:
        """Give a place back: the call took so long, or was `dropped` because that was too long."""
        self.in_flight -= 1
        self._released += 1
        if dropped:
            self._dropped = True
        elif len(self._samples) < _MAX_SAMPLES:
            self._samples.append(seconds)
        if dropped or self._released >= _AT_LEAST:
            self._released = 0
            now = self._clock()
            if now >= self._ends and (dropped or len(self._samples) >= _AT_LEAST):
                self._adapt()
                self._begin_window(now)

    def forget(self) -> None:
        """Give a place back whose call says nothing about the called."""
        self.in_flight -= 1

    def _begin_window(self, now: float) -> None:
        self._ends = now + _WINDOW_S
        self._samples.clear()
        self._most = self.in_flight
        self._dropped = False

    def _adapt(self) -> None:
        samples, settings, estimate = self._samples, self._settings, self._estimate
        short_s = 0.0
        if samples:
            samples.sort()
            short_s = samples[len(samples) // 2]
            self._remember(short_s)
        if 2 * self._most < self.limit:
            return  # a limit that nobody reaches says nothing, and must not grow without end
        if self._dropped:
            wanted = estimate * _DROPPED
        else:
            gradient = settings.tolerance * self._long_s / short_s if short_s > 0 else 1.0
            wanted = estimate * max(_LOWEST_GRADIENT, min(1.0, gradient)) + sqrt(estimate)
        weight = settings.smoothing if wanted >= estimate else min(_FALLING * settings.smoothing, 1.0)
        estimate += weight * (wanted - estimate)
        self._estimate = max(float(settings.minimum), min(float(settings.maximum), estimate))
        self._set(int(self._estimate))

    def _set(self, limit: int) -> None:
        self.limit = limit
        self._room = [ceil(share * limit) for share in SHARES]

    def _remember(self, short_s: float) -> None:
        if not self._long_s:
            self._long_s = short_s
        elif self._long_s > 2 * short_s:
            self._long_s *= 0.95  # after an overload: come down faster than an average does
        else:
            self._long_s += (short_s - self._long_s) / _LONG_WINDOWS

    def __repr__(self) -> str:
        return f"ConcurrencyLimit({self.in_flight} of {self.limit})"
