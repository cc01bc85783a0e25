"""When to look for addresses again. Pure: randomness is an argument."""

from dataclasses import dataclass
from typing import Final

SPREAD: Final = 0.2
"""A wait is up to this share longer, so that workers and edges do not all ask at once."""

_MOST_DOUBLINGS: Final = 32


@dataclass(slots=True, frozen=True)
class Refresh:
    """The shortest and the longest wait between two looks, in seconds."""

    min_s: float
    max_s: float

    def after_answer(self, ttl_s: float, random: float) -> float:
        """Return how long to wait after an answer that is good for `ttl_s`; `random` from 0 to 1."""
        return self._spread(min(max(ttl_s, self.min_s), self.max_s), random)

    def after_failures(self, failures: int, random: float) -> float:
        """Return how long to wait after so many failures in a row: twice as long with each."""
        return self._spread(min(self.min_s * 2 ** min(failures - 1, _MOST_DOUBLINGS), self.max_s), random)

    @staticmethod
    def _spread(wait_s: float, random: float) -> float:
        return wait_s * (1 + SPREAD * random)
