"""Figures from the joined logs: pure functions over outcomes and sightings."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from loadtest.chaos.outcomes import WRONG, Outcome, Sighting

BUCKET_S = 0.5
IDEMPOTENT = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE"})
LATE_MS = 10.0  # a bucket is late beyond twice the normal p99 and this: what two shared cores do by themselves


@dataclass(slots=True, frozen=True)
class Window:
    """A stretch of time, in monotonic seconds."""

    start: float
    end: float

    def of(self, outcomes: Iterable[Outcome], *streams: str) -> list[Outcome]:
        """Return the requests that were due in it, of these streams or of all."""
        return [one for one in outcomes if self.start <= one.due < self.end and (not streams or one.stream in streams)]

    @property
    def seconds(self) -> float:
        """Its length."""
        return self.end - self.start


def percentile(values: Iterable[float], share: float) -> float:
    """Return the smallest value that at least `share` (0 to 1) of all do not exceed; 0.0 for none."""
    ordered = sorted(values)
    return ordered[max(0, -int(-len(ordered) * share // 1) - 1)] if ordered else 0.0


def p99_ms(outcomes: Iterable[Outcome]) -> float:
    """Return the 99th percentile of the latencies of what was answered, failed or not."""
    return round(percentile((one.latency_ms for one in outcomes), 0.99), 1)


def failures(outcomes: Iterable[Outcome]) -> list[Outcome]:
    """Return those that failed."""
    return [one for one in outcomes if one.failed]


def kinds(outcomes: Iterable[Outcome]) -> dict[str, int]:
    """Count what was not good, by kind and, where the edge answered, by its status and reason."""
    return dict(Counter(f"{one.kind} {one.status or ''} {one.reason}".strip() for one in outcomes if one.failed))


def wrong(outcomes: Iterable[Outcome]) -> int:
    """Count the answers that are somebody else's, or truncated but look complete."""
    return sum(one.kind in WRONG for one in outcomes)


def duplicates(sightings: Iterable[Sighting]) -> int:
    """Count the requests that must not be repeated and that origins saw twice or more."""
    seen = Counter(one.id for one in sightings if one.method not in IDEMPOTENT)
    return sum(times > 1 for times in seen.values())


def amplification(outcomes: Sequence[Outcome], sightings: Sequence[Sighting]) -> float:
    """Return how often the average request that reached an origin reached one."""
    asked = {one.id for one in outcomes}
    times = Counter(one.id for one in sightings if one.id in asked)
    return round(sum(times.values()) / len(times), 3) if times else 0.0


def in_hand(outcomes: Iterable[Outcome], window: Window) -> list[Outcome]:
    """Return the requests that were under way at some time of `window`."""
    return [one for one in outcomes if one.due <= window.end and one.ended >= window.start]


def lost_with_origin(outcomes: Iterable[Outcome], sightings: Iterable[Sighting], window: Window, origin: int) -> int:
    """Count what even a perfect proxy loses when `origin` dies in `window`.

    That is what was under way then, may not be repeated, and no other origin saw.
    """
    elsewhere = {one.id for one in sightings if one.origin != origin}
    answered = {one.id for one in outcomes if not one.failed}
    return sum(
        one.method not in IDEMPOTENT and one.id not in elsewhere and one.id not in answered
        for one in in_hand(outcomes, window)
    )


def recovery_s(outcomes: Sequence[Outcome], healed_at: float, until: float, normal_p99_ms: float) -> float | None:
    """Return how long after `healed_at` the last bad half second ended; None when the end was bad, too.

    A half second is bad when one of the requests due in it failed, or a tenth of them took longer than twice the
    normal p99 and 10 ms.
    """
    limit_ms = 2 * normal_p99_ms + LATE_MS
    recovered = healed_at
    start = healed_at
    while start + BUCKET_S <= until:
        bucket = Window(start, start + BUCKET_S).of(outcomes)
        late = sum(one.latency_ms > limit_ms for one in bucket)
        bad = [one for one in bucket if one.failed]
        if late > len(bucket) / 10:
            recovered = start + BUCKET_S
        elif bad:
            recovered = max(recovered, *(one.ended for one in bad))
        start += BUCKET_S
    return round(recovered - healed_at, 2) if recovered + BUCKET_S <= until else None
