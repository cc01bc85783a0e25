"""Medians and quartiles of what rounds gave."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median, quantiles


@dataclass(slots=True, frozen=True)
class Spread:
    """A median between its quartiles."""

    low: float
    median: float
    high: float

    def text(self, digits: int = 2) -> str:
        """Return it as `0.95 (0.93 to 0.97)`."""
        return f"{self.median:,.{digits}f} ({self.low:,.{digits}f} to {self.high:,.{digits}f})"


def spread(values: Sequence[float]) -> Spread:
    """Return median and quartiles of at least one value."""
    if len(values) < 2:
        return Spread(values[0], values[0], values[0])
    low, _, high = quantiles(values, n=4, method="inclusive")
    return Spread(low, median(values), high)


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> Spread:
    """Return the spread of the ratios of pairs: ours of a round by theirs of the same round."""
    return spread([one / other for one, other in zip(ours, theirs, strict=True)])
