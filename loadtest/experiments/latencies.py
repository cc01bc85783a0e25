"""What became of an open-loop load: percentiles that count from when each request was due."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

LATE_SHARE = 0.1
LATE_MS = 0.2  # less than this disturbs no point
SENT_SHARE = 0.99


def percentile(ordered: Sequence[float], percent: float) -> float:
    """Return the smallest of `ordered`, ascending, that so many percent of all do not exceed; 0.0 of nothing."""
    if not ordered:
        return 0.0
    return ordered[max(0, min(len(ordered), ceil(len(ordered) * percent / 100)) - 1)]


@dataclass(slots=True, frozen=True)
class Point:
    """One offered load. Latencies are those of good answers and of requests that were never answered: of these, the
    time until they were given up, so that nobody looks quick by not answering.

    `offered` and `answered` are requests a second, `answered` of good answers within the run's time. `late_p99_ms` is
    how long after a request was due the generator came to it: that is its own fault, and counts as latency all the
    same. `refused` are answers of 400 and above, `broken` requests whose connection ended, `unanswered` the rest.
    """

    offered: float
    answered: float
    p50_ms: float
    p99_ms: float
    p999_ms: float
    late_p99_ms: float
    requests: int
    refused: int
    broken: int
    unanswered: int
    unsent: int

    @property
    def behind(self) -> bool:
        """Whether the generator itself was so late that the point says little of the server."""
        late = self.late_p99_ms > max(LATE_MS, LATE_SHARE * self.p99_ms)
        return late or self.unsent > (1 - SENT_SHARE) * self.requests


@dataclass(slots=True, frozen=True)
class Outcomes:
    """What a generator kept, in seconds: `latencies` of good answers, `given_up` of requests without an answer."""

    latencies: Sequence[float]
    given_up: Sequence[float]
    late: Sequence[float]
    in_time: int
    refused: int
    broken: int
    unsent: int


def point(offered: float, duration_s: float, found: Outcomes) -> Point:
    """Return the figures of one load; `unsent` are requests that the generator never came to."""
    ordered = sorted([*found.latencies, *found.given_up])
    requests = len(ordered) + found.refused + found.broken + found.unsent
    return Point(
        offered=round(offered, 1),
        answered=round(found.in_time / duration_s, 1),
        p50_ms=round(percentile(ordered, 50) * 1e3, 3),
        p99_ms=round(percentile(ordered, 99) * 1e3, 3),
        p999_ms=round(percentile(ordered, 99.9) * 1e3, 3),
        late_p99_ms=round(percentile(sorted(found.late), 99) * 1e3, 3),
        requests=requests,
        refused=found.refused,
        broken=found.broken,
        unanswered=len(found.given_up),
        unsent=found.unsent,
    )
