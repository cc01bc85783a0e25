"""The circuit breaker of edge and services, decision for decision, for simulated time.

A test drives both with the same calls and compares. What is said in resilience/breaker.py about how it works holds
here; time comes in as an argument, and results always count for the state the call began in.
"""

from collections.abc import Callable
from typing import Final

from loadtest.simulation.product import BreakerSettings

BUCKETS: Final = 10
CLOSED, OPEN, HALF_OPEN = range(3)


class Breaker:
    """Of one worker, or of one process of the cookie service. `random` gives a number from 0 up to 1."""

    def __init__(self, settings: BreakerSettings, now: float, random: Callable[[], float]) -> None:
        self.state = CLOSED
        self.openings = 0
        self._settings = settings
        self._random = random
        self._closed_at = now
        self._generation = 1
        self._span_s = settings.open_s
        self._until = 0.0
        self._out = self._proven = 0
        self._clear(now)

    def acquire(self, now: float) -> int:
        """Return a permit to call, or 0: not now."""
        if self.state == CLOSED:
            return self._generation
        if self.state == OPEN:
            if now < self._until:
                return 0
            self._enter(HALF_OPEN)
        elif self._out and now >= self._until:
            self._open(now)
            return 0
        if self._out >= self._settings.half_open_permits:
            return 0
        if not self._out:
            self._until = now + self._settings.half_open_max_s
        self._out += 1
        return self._generation

    def refuses_until(self, time: float) -> bool:
        """Tell whether no call before that time can be let through."""
        return self.state == OPEN and self._until >= time

    def succeeded(self, permit: int, seconds: float, now: float) -> None:
        """Give a permit back: the call worked and took so long."""
        if permit != self._generation:
            return
        slow = seconds >= self._settings.slow_call_s
        if self.state == CLOSED:
            self._count(now, failed=0, slow=int(slow))
            if slow:
                self._judge(now)
        elif slow:
            self._open(now)
        else:
            self._out -= 1
            self._proven += 1
            if self._proven >= self._settings.half_open_permits:
                self._closed_at = now
                self._clear(now)
                self._enter(CLOSED)

    def failed(self, permit: int, now: float) -> None:
        """Give a permit back: the call failed."""
        if permit != self._generation:
            return
        if self.state == CLOSED:
            self._count(now, failed=1, slow=0)
            self._judge(now)
        else:
            self._open(now)

    def counted(self, calls: int, now: float) -> None:
        """Note calls that have worked lately, and were not followed one by one."""
        self._roll(now)
        self._buckets[-1][0] += calls

    def _clear(self, now: float) -> None:
        self._buckets = [[0, 0, 0] for _ in range(BUCKETS)]  # calls, failed, slow
        self._begun = now

    def _roll(self, now: float) -> None:
        bucket_s = self._settings.window_s / BUCKETS
        if now - self._begun < bucket_s:
            return
        passed = int((now - self._begun) / bucket_s)
        if passed >= BUCKETS:
            self._clear(now)
            return
        self._begun += passed * bucket_s
        self._buckets = self._buckets[passed:] + [[0, 0, 0] for _ in range(passed)]

    def _count(self, now: float, *, failed: int, slow: int) -> None:
        self._roll(now)
        bucket = self._buckets[-1]
        bucket[0] += 1
        bucket[1] += failed
        bucket[2] += slow

    def _judge(self, now: float) -> None:
        calls, failed, slow = (sum(bucket[which] for bucket in self._buckets) for which in range(3))
        settings = self._settings
        if calls >= settings.min_calls and (
            failed >= settings.failure_rate * calls or slow >= settings.slow_call_rate * calls
        ):
            self._open(now)

    def _open(self, now: float) -> None:
        settings = self._settings
        if self.state == CLOSED and now - self._closed_at > settings.window_s:
            self._span_s = settings.open_s
        span_s = min(self._span_s, settings.max_open_s)
        self._span_s = 2 * span_s
        self._until = now + span_s / 2 * (1 + self._random())
        self.openings += 1
        self._enter(OPEN)

    def _enter(self, state: int) -> None:
        self.state = state
        self._generation += 1
        self._out = self._proven = 0
