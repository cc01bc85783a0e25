"""A budget for retries: a share of the live requests, and a floor for when there are few.

The credit fades with the time constant `window_s`, so that a quiet hour does not pay for a storm. Requests are only
counted; what they are worth is worked out when a retry is asked for.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import exp
from typing import Final

_WINDOW_S: Final = 10.0


@dataclass(slots=True, frozen=True)
class RetryBudgetSettings:
    """Retries allowed: `share` of the requests, and `floor_per_s` beside them."""

    share: float
    floor_per_s: float


class RetryBudget:
    """The retries of one origin. For one thread; `clock` tells monotonic seconds."""

    __slots__ = ("_asked_at", "_clock", "_credit", "_requests", "_settings")

    def __init__(self, settings: RetryBudgetSettings, clock: Callable[[], float]) -> None:
        self._settings = settings
        self._clock = clock
        self._asked_at = clock()
        self._requests = 0  # since `_asked_at`
        self._credit = settings.floor_per_s * _WINDOW_S

    def request(self) -> None:
        """Count a request that is no retry."""
        self._requests += 1

    def allows(self) -> bool:
        """Take one retry out of the budget; False: there is none left."""
        now = self._clock()
        passed = now - self._asked_at
        earned = self._settings.share * self._requests
        if passed > 0:
            # What came in evenly over the time passed, faded like the credit.
            kept = exp(-passed / _WINDOW_S)
            rate = earned / passed + self._settings.floor_per_s
            self._credit = self._credit * kept + rate * _WINDOW_S * (1.0 - kept)
        else:
            self._credit += earned
        self._asked_at, self._requests = now, 0
        if self._credit < 1.0:
            return False
        self._credit -= 1.0
        return True

    def __repr__(self) -> str:
        return f"RetryBudget({self._credit:.1f} left)"
