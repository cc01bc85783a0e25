"""What stands between requests and one origin: its breaker, its concurrency limit and its retry budget.

A request is admitted once for each attempt and holds its permit until the origin's answer has a head, or until it is
clear that none comes. Whoever holds a permit ends it exactly once. A request whose body is still to come holds a permit
without a place in the concurrency limit: the origin cannot answer yet, and a device that sends slowly must not keep
others out. `sent` gives it its place. A long poll never has one: the origin works on none while it waits.
"""

from typing import Final

from edge.guard.concurrency_limit import ConcurrencyLimit
from edge.guard.retry_budget import RetryBudget
from resilience.breaker import LONG, Breaker

UNAVAILABLE: Final = 0
"""No permit: the breaker lets nothing through now."""

_NO_PLACE: Final = 1 << 40  # added to the permit of a request that is still being sent, or is a long poll

OVERLOADED: Final = -1
"""No permit: as many requests as the limit allows are waiting for the origin."""


class OriginGuard:
    """Guards one origin."""

    __slots__ = ("breaker", "budget", "limit")

    def __init__(self, breaker: Breaker, limit: ConcurrencyLimit, budget: RetryBudget) -> None:
        self.breaker = breaker
        self.limit = limit
        self.budget = budget

    def admit(self, priority: int) -> int:
        """Return a permit, above 0, for one attempt, or UNAVAILABLE or OVERLOADED. Nobody waits."""
        permit = self.breaker.acquire()
        if permit and not self.limit.acquire(priority):
            self.breaker.released(permit)
            return OVERLOADED
        return permit

    def admit_sending(self, priority: int) -> int:
        """The same for a request whose body is still to come: it has no place before it is `sent`."""
        return self._admit_without_place(self.breaker.acquire(), priority)

    def admit_long_poll(self, priority: int) -> int:
        """The same for a long poll, with a body or without: it has no place, and how long it takes says nothing."""
        return self._admit_without_place(self.breaker.acquire_long(), priority)

    def _admit_without_place(self, permit: int, priority: int) -> int:
        if not permit:
            return UNAVAILABLE
        if not self.limit.has_room(priority):
            self.breaker.released(permit)
            return OVERLOADED
        return permit | _NO_PLACE

    def sent(self, permit: int) -> int:
        """Return the permit to go on with once all of a request is sent."""
        if permit & _NO_PLACE and not permit & LONG:
            self.limit.occupy()
            permit ^= _NO_PLACE
        return permit

    def answered(self, permit: int, seconds: float, *, working: bool, telling: bool = True) -> None:
        """Give a permit back: an answer began after so many seconds, one of a `working` origin or not.

        Without `telling`, they say nothing about how many requests the origin can do with.
        """
        if permit & _NO_PLACE:  # the origin has not waited for the end, or had nothing to say: the time says nothing
            permit, seconds = permit ^ _NO_PLACE, 0.0
        elif telling:
            self.limit.release(seconds, dropped=False)
        else:
            self.limit.forget()
        if working:
            self.breaker.succeeded(permit, seconds)
        else:
            self.breaker.failed(permit)

    def timed_out(self, permit: int, seconds: float) -> None:
        """Give a permit back: no answer came within so many seconds."""
        if permit & _NO_PLACE:
            permit ^= _NO_PLACE
        else:
            self.limit.release(seconds, dropped=True)
        self.breaker.failed(permit)

    def failed(self, permit: int) -> None:
        """Give a permit back: the origin could not be reached, or broke off before its answer."""
        self.breaker.failed(self._forget(permit))

    def released(self, permit: int) -> None:
        """Give a permit back without a verdict: the attempt was given up for a reason that is not the origin's."""
        self.breaker.released(self._forget(permit))

    def broke_off(self, permit: int, seconds: float, *, stream: bool) -> None:
        """Take back that an answer of so many seconds ago was a good one: it broke off. The permit is not held.

        A `stream` is an answer of no known length.
        """
        self.breaker.broke_off(permit & ~_NO_PLACE, seconds, stream=stream)

    def _forget(self, permit: int) -> int:
        if permit & _NO_PLACE:
            return permit ^ _NO_PLACE
        self.limit.forget()
        return permit

    def __repr__(self) -> str:
        return f"OriginGuard({self.breaker!r}, {self.limit!r}, {self.budget!r})"
