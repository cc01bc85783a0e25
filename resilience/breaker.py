"""A circuit breaker: refuses calls to what keeps failing, and lets few probes find out when it works again.

Theory of operation. *Closed*, calls run and are counted in a window of sliding buckets. When enough have run and the
share of failed or of slow ones is too high, the breaker *opens*: nothing runs until a time that is jittered and
doubles with every opening, up to a cap. Then it is *half-open*: at most `half_open_permits` calls run at a time. The
first that fails or is slow opens it again; as many successes as there are permits close it.

Every change of state begins a new generation. A permit is the number of its generation, and a result counts for its
own generation only: what was begun before the breaker opened neither closes nor opens it later.

*Long* calls, such as long polls, take their time when all is well. They are never slow; half-open, they have as many
permits of their own, for as long as they take.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from types import TracebackType
from typing import Final

_BUCKETS: Final = 10
_SURELY_IN_WINDOW: Final = 1.0 - 1.0 / _BUCKETS

LONG: Final = 1 << 41
"""Added to the permit of a long call."""


class State(StrEnum):
    """What a breaker lets through: all, nothing, or probes."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


_CLOSED: Final = State.CLOSED
_OPEN: Final = State.OPEN
_HALF_OPEN: Final = State.HALF_OPEN


@dataclass(slots=True, frozen=True)
class BreakerSettings:
    """When a breaker opens, and for how long. Times in seconds, rates as shares of 1."""

    window_s: float
    min_calls: int
    failure_rate: float
    slow_call_s: float
    slow_call_rate: float
    half_open_permits: int
    half_open_max_s: float
    open_s: float
    max_open_s: float


class _Window:
    """Counts of the calls that ended within the last `span_s` seconds, give or take a bucket."""

    __slots__ = ("_begun", "_bucket_s", "_buckets", "_current", "calls", "failed", "slow")

    def __init__(self, span_s: float, now: float) -> None:
        self._bucket_s = span_s / _BUCKETS
        self.clear(now)

    def clear(self, now: float) -> None:
        """Forget every call."""
        self.calls = self.failed = self.slow = 0
        self._buckets = [[0, 0, 0] for _ in range(_BUCKETS)]  # calls, failed, slow
        self._current = self._buckets[-1]
        self._begun = now

    def roll(self, now: float) -> None:
        """Forget the calls that are too old; to be called before a call is counted."""
        if now - self._begun < self._bucket_s:
            return
        passed = int((now - self._begun) / self._bucket_s)
        if passed >= _BUCKETS:
            self.clear(now)
            return
        self._begun += passed * self._bucket_s
        for _ in range(passed):
            oldest = self._buckets.pop(0)
            self.calls -= oldest[0]
            self.failed -= oldest[1]
            self.slow -= oldest[2]
            self._buckets.append([0, 0, 0])
        self._current = self._buckets[-1]

    def call(self) -> None:
        """Count a call that ended."""
        self.calls += 1
        self._current[0] += 1

    def failure(self) -> None:
        """Count a call that was counted as failed too."""
        self.failed += 1
        self._current[1] += 1

    def slowness(self) -> None:
        """Count a call that was counted as slow too."""
        self.slow += 1
        self._current[2] += 1


class Breaker:
    """Guards one thing that is called. For one thread; no timer and no task of its own.

    `clock` tells monotonic seconds, `random` a number from 0 up to 1; `on_change` is told the old and the new state.
    Whoever is given a permit tells exactly once how it ended: `succeeded`, `failed` or `released`.
    """

    __slots__ = (
        "_clock",
        "_closed_at",
        "_generation",
        "_long_out",
        "_on_change",
        "_out",
        "_proven",
        "_random",
        "_settings",
        "_span_s",
        "_until",
        "_window",
        "state",
    )

    def __init__(
        self,
        settings: BreakerSettings,
        clock: Callable[[], float],
        random: Callable[[], float],
        on_change: Callable[[State, State], None],
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._random = random
        self._on_change = on_change
        self._closed_at = clock()
        self._window = _Window(settings.window_s, self._closed_at)
        self._generation = 1
        self._span_s = settings.open_s  # of the next opening, before jitter
        self._until = 0.0  # open: when probes may run; half-open: when the probes that are out count as failed
        self._out = self._long_out = self._proven = 0  # half-open: probes running, long ones, probes that succeeded
        self.state = State.CLOSED

    def acquire(self) -> int:
        """Return a permit to call, or 0: not now. A permit is a generation, 1 or more."""
        if self.state is _CLOSED:
            return self._generation
        now = self._clock()
        if not self._probes(now) or self._out >= self._settings.half_open_permits:
            return 0
        if not self._out:
            self._until = now + self._settings.half_open_max_s
        self._out += 1
        return self._generation

    def acquire_long(self) -> int:
        """Return a permit for a long call, or 0: not now."""
        if self.state is not _CLOSED:
            if not self._probes(self._clock()) or self._long_out >= self._settings.half_open_permits:
                return 0
            self._long_out += 1
        return self._generation | LONG

    def succeeded(self, generation: int, seconds: float) -> None:
        """Give a permit back: the call worked and took so long. Too slow a probe counts as failed."""
        if generation != self._generation:
            if generation == self._generation | LONG:
                self._long_succeeded()
            return
        slow = seconds >= self._settings.slow_call_s
        if self.state is _CLOSED:
            now = self._clock()
            window = self._window
            window.roll(now)
            window.call()
            if slow:
                window.slowness()
                self._judge(now)
        elif slow:
            self._open(self._clock())
        else:
            self._out -= 1
            self._prove()

    def failed(self, generation: int) -> None:
        """Give a permit back: the call failed."""
        if generation & ~LONG == self._generation:
            now = self._clock()
            if self.state is _CLOSED:
                self._window.roll(now)
                self._window.call()
            self._fail(now)

    def broke_off(self, generation: int, seconds: float, *, stream: bool) -> None:
        """Take a success of so many seconds ago back: the call has failed after all. Its permit is not held any more.

        That a `stream` ends which began before the window says nothing of the calls in it: an instance that goes ends
        hundreds at once.
        """
        in_window = seconds < self._settings.window_s * _SURELY_IN_WINDOW
        if generation & ~LONG == self._generation and (in_window or not stream):
            now = self._clock()
            self._window.roll(now)
            if not in_window:
                self._window.call()
            self._fail(now)

    def released(self, generation: int) -> None:
        """Give a permit back without a verdict: the caller gave up, and that says nothing about the called."""
        if self.state is _HALF_OPEN:
            if generation == self._generation:
                self._out -= 1
            elif generation == self._generation | LONG:
                self._long_out -= 1

    def permit(self) -> "Permit | None":
        """Return a permit as a context manager, or None: not now."""
        generation = self.acquire()
        return Permit(self, generation, self._clock) if generation else None

    @property
    def retry_after_s(self) -> float:
        """Seconds until a call may be let through; 0 unless open."""
        return max(0.0, self._until - self._clock()) if self.state is _OPEN else 0.0

    def _probes(self, now: float) -> bool:
        """Whether it is half-open: it becomes so when its time is over, and opens again when probes are overdue."""
        if self.state is _OPEN:
            if now < self._until:
                return False
            self._enter(_HALF_OPEN)
        elif self._out and now >= self._until:
            self._open(now)
            return False
        return True

    def _long_succeeded(self) -> None:
        if self.state is _CLOSED:
            self._window.roll(self._clock())
            self._window.call()
        else:
            self._long_out -= 1
            self._prove()

    def _prove(self) -> None:
        """Count a probe that succeeded."""
        self._proven += 1
        if self._proven >= self._settings.half_open_permits:
            self._close()

    def _fail(self, now: float) -> None:
        if self.state is _CLOSED:
            self._window.failure()
            self._judge(now)
        else:
            self._open(now)

    def _judge(self, now: float) -> None:
        window, settings = self._window, self._settings
        if window.calls >= settings.min_calls and (
            window.failed >= settings.failure_rate * window.calls
            or window.slow >= settings.slow_call_rate * window.calls
        ):
            self._open(now)

    def _open(self, now: float) -> None:
        settings = self._settings
        if self.state is _CLOSED and now - self._closed_at > settings.window_s:
            self._span_s = settings.open_s  # it has worked for a while: not the trouble of before
        span_s = min(self._span_s, settings.max_open_s)
        self._span_s = 2 * span_s
        self._until = now + span_s / 2 * (1 + self._random())
        self._enter(_OPEN)

    def _close(self) -> None:
        self._closed_at = self._clock()
        self._window.clear(self._closed_at)
        self._enter(_CLOSED)

    def _enter(self, state: State) -> None:
        old, self.state = self.state, state
        self._generation += 1
        self._out = self._long_out = self._proven = 0
        self._on_change(old, state)

    def __repr__(self) -> str:
        return f"Breaker({self.state}, generation {self._generation}, {self._out} probes out)"


class Permit:
    """One call that may run, for a `with` block: its end is the verdict.

    An `Exception` is a failure; anything else that is raised, such as a cancellation, says nothing. `worked` says
    early that the call worked, whatever is raised after it.
    """

    __slots__ = ("_begun", "_breaker", "_clock", "_generation")

    def __init__(self, breaker: Breaker, generation: int, clock: Callable[[], float]) -> None:
        self._breaker = breaker
        self._generation = generation
        self._clock = clock
        self._begun = clock()

    def worked(self) -> None:
        """Say that the call worked."""
        generation, self._generation = self._generation, 0
        if generation:
            self._breaker.succeeded(generation, self._clock() - self._begun)

    def __enter__(self) -> "Permit":
        """Begin the call."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Tell how it ended."""
        if error is None:
            self.worked()
            return
        generation, self._generation = self._generation, 0
        if not generation:
            return
        if isinstance(error, Exception):
            self._breaker.failed(generation)
        else:
            self._breaker.released(generation)
