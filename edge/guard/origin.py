"""What stands between requests and one origin: its breaker, its concurrency limit and its retry budget.

A request is admitted once for each attempt and holds its permit until the origin's answer has a head, or until it is
clear that none comes. Whoever holds a permit ends it exactly once.
"""

from typing import Final

from edge.guard.breaker import Breaker
from edge.guard.concurrency_limit import ConcurrencyLimit
from edge.guard.retry_budget import RetryBudget

UNAVAILABLE: Final = 0
"""No permit: the breaker lets nothing through now."""

OVERLOADED: Final = -1
"""No permit: as many requests as the limit allows are waiting for the origin."""


class OriginGuard:
    """Guards one origin."""

    __slots__ = ("breaker", "budget", "limit")

    def __init__(self, breaker: Breaker, limit: ConcurrencyLimit, budget: RetryBudget) -> None:
        self.breaker = breaker
        self.limit = limit
        self.budget = budget

    def admit(self) -> int:
        """Return a permit, above 0, for one attempt, or UNAVAILABLE or OVERLOADED. Nobody waits."""
        permit = self.breaker.acquire()
        if permit and not self.limit.acquire():
            self.breaker.released(permit)
            return OVERLOADED
        return permit

    def answered(self, permit: int, seconds: float, *, working: bool) -> None:
        """Give a permit back: an answer began after so many seconds, one of a `working` origin or not."""
        self.limit.release(seconds, dropped=False)
        if working:
            self.breaker.succeeded(permit, seconds)
        else:
            self.breaker.failed(permit)

    def timed_out(self, permit: int, seconds: float) -> None:
        """Give a permit back: no answer came within so many seconds."""
        self.limit.release(seconds, dropped=True)
        self.breaker.failed(permit)

    def failed(self, permit: int) -> None:
        """Give a permit back: the origin could not be reached, or broke off before its answer."""
        self.limit.forget()
        self.breaker.failed(permit)

    def released(self, permit: int) -> None:
        """Give a permit back without a verdict: the attempt was given up for a reason that is not the origin's."""
        self.limit.forget()
        self.breaker.released(permit)

    def broke_off(self, permit: int) -> None:
        """Take back that an answer was one of a working origin: it broke off. The permit is not held any more."""
        self.breaker.broke_off(permit)

    def __repr__(self) -> str:
        return f"OriginGuard({self.breaker!r}, {self.limit!r}, {self.budget!r})"
