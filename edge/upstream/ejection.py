"""When an address is taken out of rotation for its errors, and for how long. Pure: told what happened and the time.

An address is ejected after `consecutive_errors` in a row, or when its share of errors reaches `error_rate`, or at once
when it cannot be connected to. The first ejection lasts `base_s`; each that follows twice as long, up to `max_s`; as
much time again without another takes one doubling back.
"""

from enum import StrEnum
from typing import Final

from edge.control.origins_file import Ejection

_PRIOR_ANSWERS: Final = 5.0  # the scores of an address that is not asked go to zero with its counts
_PENALTY: Final = 10.0
_SLOWER_THAN_OTHERS: Final = 3.0
_SLOW_S: Final = 0.05  # below it, differences are noise
_LONG_S: Final = 1.0  # a long poll must not outweigh a thousand other answers
_WORSE_THAN_OTHERS: Final = 0.3
_JITTER: Final = 0.2
_FORGOTTEN: Final = 64.0  # half-lives


class Standing(StrEnum):
    """Where an address stands with the balancer."""

    ACTIVE = "active"
    EJECTED = "ejected"
    RETURNING = "returning"  # its time is over; one probe at a time decides


class Record:
    """What one address has answered lately, in counts that halve every `half_life_s`."""

    __slots__ = ("answers", "consecutive", "errors", "level", "seconds")

    def __init__(self) -> None:
        self.answers = 0.0
        self.errors = 0.0
        self.seconds = 0.0
        self.consecutive = 0
        self.level = 0  # doublings of the next ejection's time, plus one

    def succeeded(self, seconds: float) -> None:
        """Count a good answer that took `seconds`."""
        self.answers += 1.0
        self.seconds += min(seconds, _LONG_S)
        self.consecutive = 0

    def failed(self) -> None:
        """Count an error."""
        self.answers += 1.0
        self.errors += 1.0
        self.consecutive += 1

    def decay(self, seconds: float, half_life_s: float) -> None:
        """Let `seconds` pass."""
        factor = 0.5 ** min(seconds / half_life_s, _FORGOTTEN)  # compiled, a power that underflows raises
        self.answers *= factor
        self.errors *= factor
        self.seconds *= factor

    def forget(self) -> None:
        """Start the counts anew; how often it was ejected stays."""
        self.answers = self.errors = self.seconds = 0.0
        self.consecutive = 0

    @property
    def error_rate(self) -> float:
        """The share of errors among the answers, 0 to 1."""
        return self.errors / self.answers if self.answers > 0.0 else 0.0

    @property
    def mean_s(self) -> float:
        """The time of an answer, in seconds, drawn towards zero while there are few."""
        return self.seconds / (self.answers + _PRIOR_ANSWERS)

    def share(self, others_mean_s: float) -> float:
        """Return which part of its turns it should take, up to 1: less for errors, and for being much slower."""
        share = 1.0 / (1.0 + _PENALTY * self.errors / (self.answers + _PRIOR_ANSWERS))
        slow = self.mean_s / max(others_mean_s, _SLOW_S)
        return share / (slow * slow) if slow > _SLOWER_THAN_OTHERS else share

    def is_outlier(self, ejection: Ejection, others_error_rate: float) -> bool:
        """Say whether its errors warrant ejection: many, and more than the others of the same origin have.

        When all of them fail alike, what they are asked is bad, or what they all depend on.
        """
        many = self.consecutive >= ejection.consecutive_errors or (
            self.answers >= ejection.min_requests and self.error_rate >= ejection.error_rate
        )
        return many and self.error_rate >= others_error_rate + _WORSE_THAN_OTHERS

    def ejected_for(self, ejection: Ejection, draw: float) -> float:
        """Note one more ejection and return its seconds; `draw` (0 to 1) spreads workers and addresses."""
        if self._term(ejection) < ejection.max_s:
            self.level += 1
        return self._term(ejection) * (1.0 - _JITTER * draw)

    def excused_after(self, ejection: Ejection) -> float:
        """Return how many seconds of good standing take one doubling back."""
        return self._term(ejection)

    def _term(self, ejection: Ejection) -> float:
        if self.level == 0:
            return 0.0
        return float(min(ejection.base_s * 2.0 ** (self.level - 1), ejection.max_s))


def may_eject(addresses: int, active: int, max_share: float) -> bool:
    """Say whether one more of `active` addresses may go, of `addresses` in all: never the last, and at least one."""
    return active > 1 and addresses - active + 1 <= max(1, int(addresses * max_share))
