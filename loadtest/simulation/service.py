"""The cookie service as the edge's workers see it: their limits and breakers, its queue, and its outages.

A process of the service is one event loop: renewals keep it busy one after the other (`busy_s`), and wait beside each
other for the subscriber service, which each process leaves alone behind a breaker while it does not answer. A device is
with one worker, and a call goes to any process.

Calls of a stretch of time are first worked out all at once, as if no limit, timeout or breaker stood in their way. If
none would have, that is what happened: Lindley's recursion is exact for a queue that nothing leaves. Otherwise they
are followed one by one.
"""

import heapq
import math
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Final

import numpy as np
from numpy.typing import NDArray

from loadtest.simulation.breaker import CLOSED, Breaker
from loadtest.simulation.calibration import Calibration
from loadtest.simulation.population import Flags, Floats, Indexes
from loadtest.simulation.product import Product

RENEWED, UNAVAILABLE, TIMED_OUT, TURNED_AWAY, HELD_BACK, OVERLOADED = range(6)
TURNING_AWAY: Final = 0.3  # of the time that a renewal keeps the process busy: an assumption
FEW: Final = 4  # calls under way that may be let end by themselves


class Condition(Enum):
    """How the service is: well, not answering at all, or without an answer of its subscriber service."""

    WELL = "well"
    SILENT = "silent"
    NO_SUBSCRIBERS = "no subscribers"


@dataclass(slots=True, frozen=True)
class Fleet:
    """How many there are for the sampled devices; a process of which only a part is theirs is that much slower."""

    workers: int
    processes: int
    slower: float = 1.0


@dataclass(slots=True)
class Asked:
    """Requests for a renewal in order of time: by device, when, and whether of a rescheduled token."""

    devices: Indexes
    times: Floats
    rescheduled: Flags


@dataclass(slots=True)
class Calls:
    """Requests for a renewal, and how they ended: by device, when begun, when ended, and the outcome."""

    devices: Indexes
    begun: Floats
    ended: Floats
    outcomes: NDArray[np.int8]


@dataclass(slots=True, frozen=True, order=True)
class _Called:
    """One call: when it ends for the worker, how, and the permit of its process to ask the subscriber service, if any.

    `answered` tells whether the subscriber service answers in time.
    """

    end: float
    outcome: int
    process: int = 0
    asks: int = 0
    answered: bool = False


class Service:
    """Of one simulated fleet. Times given to it never go back."""

    def __init__(
        self,
        fleet: Fleet,
        product: Product,
        calibration: Calibration,
        random: np.random.Generator,
        *,
        breakers: bool,
        now: float,
        turns_away_s: float = math.inf,
    ) -> None:
        """Make it, well and idle at `now`. It turns away at once what would wait for longer than `turns_away_s`."""
        self.condition = Condition.WELL
        self._fleet = fleet
        self._product = product
        self._random = random
        silent_busy_s = calibration.silent_busy_s
        self._busy = {  # with a full token, with a rescheduled one
            Condition.WELL: (calibration.busy_s * fleet.slower, calibration.rescheduled_busy_s * fleet.slower),
            Condition.NO_SUBSCRIBERS: (silent_busy_s * fleet.slower, silent_busy_s * fleet.slower),
            Condition.SILENT: (0.0, 0.0),
        }
        self._alone = {
            Condition.WELL: np.array(calibration.alone_s),
            Condition.NO_SUBSCRIBERS: np.array(calibration.silent_alone_s),
        }
        self._turns_away_s = turns_away_s
        self._wait_sigma = calibration.wait_sigma
        # The service gives its subscriber service so long, whether it is silent or the process too busy to hear it.
        self._patience_s = calibration.silent_alone_s[len(calibration.silent_alone_s) // 2]
        self._free_at = [now] * fleet.processes
        self._room = [product.concurrency] * fleet.workers
        workers = fleet.workers if breakers else 0
        self._breakers = [Breaker(product.breaker, now, random.random) for _ in range(workers)]
        processes = fleet.processes if breakers else 0
        self._subscriber_breakers = [Breaker(product.subscriber_breaker, now, random.random) for _ in range(processes)]
        self._under_way: list[tuple[float, int, int, _Called, int, float]] = []
        self._lately: Calls | None = None

    @property
    def openings(self) -> int:
        """How often breakers have opened."""
        return sum(breaker.openings for breaker in self._breakers)

    @property
    def calm(self) -> bool:
        """Whether calls can be worked out all at once for as long as there are not too many."""
        breakers = (*self._breakers, *self._subscriber_breakers)
        return len(self._under_way) < FEW and all(breaker.state == CLOSED for breaker in breakers)

    def become(self, condition: Condition, now: float) -> None:
        """Change the condition. What comes back from silence begins with an empty queue."""
        if self.condition is Condition.SILENT:
            self._free_at = [now] * self._fleet.processes
        self.condition = condition

    def at_once(self, asked: Asked) -> Calls | None:
        """Return how these calls end, or None when they have to be followed one by one."""
        times = asked.times
        silent = self.condition is Condition.SILENT
        if silent or not self.calm or (self.condition is not Condition.WELL and self._subscriber_breakers):
            return None
        alone, stretch = self._drawn(len(times))
        process = self._random.integers(self._fleet.processes, size=len(times))
        busy, takes = self._busy_s(asked.rescheduled), np.empty(len(times))
        free_at = list(self._free_at)
        for number in range(self._fleet.processes):
            mine = np.flatnonzero(process == number)
            if len(mine):
                before = np.cumsum(busy[mine]) - busy[mine]
                begins = before + np.maximum(np.maximum.accumulate(times[mine] - before), free_at[number])
                takes[mine] = (begins - times[mine]) * stretch[mine] + alone[mine]
                free_at[number] = float(begins[-1] + busy[mine[-1]])
        well = self.condition is Condition.WELL
        longest_s = min(self._patience_s if well else self._product.call_timeout_s, self._turns_away_s)
        if takes.max(initial=0.0) >= longest_s:
            return None
        ended = times + takes
        if not self._has_room(asked.devices, times, ended):
            return None
        self._free_at = free_at
        calls = Calls(asked.devices, times, ended, np.full(len(times), RENEWED if well else UNAVAILABLE, dtype=np.int8))
        self._lately = calls
        return calls

    def one_by_one(self, asked: Asked, until: float) -> list[Calls]:
        """Return how those calls end that end before `until`, which is after the last; the others are under way."""
        devices, times = asked.devices, asked.times
        self._recall(float(times[0]) if len(times) else until)
        held = np.array([breaker.refuses_until(until) for breaker in self._breakers] or [False])
        back = held[devices % len(held)]
        ended = self._followed(Asked(devices[~back], times[~back], asked.rescheduled[~back]))
        ended += self._finished(until)
        refused = np.full(int(back.sum()), HELD_BACK, dtype=np.int8)
        return [Calls(devices[back], times[back], times[back], refused), _calls(ended)]

    def _followed(self, asked: Asked) -> list[tuple[int, float, float, int]]:
        ended: list[tuple[int, float, float, int]] = []
        under_way, room, breakers = self._under_way, self._room, self._breakers
        alone, stretch = (drawn.tolist() for drawn in self._drawn(len(asked.times)))
        process = self._random.integers(self._fleet.processes, size=len(asked.times)).tolist()
        busy = self._busy_s(asked.rescheduled).tolist()
        workers = (asked.devices % self._fleet.workers).tolist()
        for device, worker, time, *chance in zip(
            asked.devices.tolist(), workers, asked.times.tolist(), process, busy, alone, stretch, strict=True
        ):
            if under_way and under_way[0][0] <= time:
                ended += self._finished(time)
            if not room[worker]:
                ended.append((device, time, time, OVERLOADED))
                continue
            permit = breakers[worker].acquire(time) if breakers else 1
            if not permit:
                ended.append((device, time, time, HELD_BACK))
                continue
            room[worker] -= 1
            called = self._called(time, *chance)
            heapq.heappush(under_way, (called.end, worker, permit, called, device, time))
        return ended

    def rest(self) -> Calls:
        """Return how the calls under way end."""
        return _calls(self._finished(float("inf")))

    def _called(self, time: float, process: int, busy_s: float, alone_s: float, stretch: float) -> "_Called":
        timeout_s = self._product.call_timeout_s
        if self.condition is Condition.SILENT:
            return _Called(time + timeout_s, TIMED_OUT)
        begins = max(time, self._free_at[process])
        if begins - time > self._turns_away_s:
            self._free_at[process] += TURNING_AWAY * busy_s
            return _Called(time + alone_s, TURNED_AWAY)
        # A call that nobody waits for any more keeps the process busy all the same.
        self._free_at[process] = begins + busy_s
        asks = self._subscriber_breakers[process].acquire(time) if self._subscriber_breakers else 1
        takes = (begins - time) * stretch + (alone_s if asks else max(alone_s - self._patience_s, 0.0))
        well = self.condition is Condition.WELL and takes < self._patience_s
        if takes > timeout_s:
            return _Called(time + timeout_s, TIMED_OUT, process, asks, answered=well)
        return _Called(time + takes, RENEWED if well and asks else UNAVAILABLE, process, asks, answered=well)

    def _finished(self, until: float) -> Iterable[tuple[int, float, float, int]]:
        under_way = self._under_way
        while under_way and under_way[0][0] <= until:
            end, worker, permit, called, device, begun = heapq.heappop(under_way)
            self._room[worker] += 1
            if self._breakers:
                breaker = self._breakers[worker]
                if called.outcome in {TIMED_OUT, TURNED_AWAY}:
                    breaker.failed(permit, end)
                else:
                    breaker.succeeded(permit, end - begun, end)
            if called.asks and self._subscriber_breakers:
                asked = self._subscriber_breakers[called.process]
                if called.answered:
                    asked.succeeded(called.asks, 0.0, end)
                else:
                    asked.failed(called.asks, end)
            yield device, begun, end, called.outcome

    def _has_room(self, devices: Indexes, times: Floats, ended: Floats) -> bool:
        limit = self._product.concurrency - FEW
        if _most_under_way(times, ended) <= limit:
            return True
        workers = devices % self._fleet.workers
        return all(
            _most_under_way(times[workers == one], ended[workers == one]) <= limit for one in range(self._fleet.workers)
        )

    def _recall(self, now: float) -> None:
        """Tell the breakers of the calls that were worked out all at once and are still in their windows."""
        calls, self._lately = self._lately, None
        if calls is None or not self._breakers:
            return
        lately = calls.devices[calls.ended > now - self._product.breaker.window_s]
        for worker, count in enumerate(np.bincount(lately % self._fleet.workers, minlength=self._fleet.workers)):
            self._breakers[worker].counted(int(count), now)
        window_s = self._product.subscriber_breaker.window_s
        asked = int((calls.ended > now - window_s).sum()) // self._fleet.processes
        for breaker in self._subscriber_breakers:
            breaker.counted(asked, now)

    def _busy_s(self, rescheduled: Flags) -> Floats:
        full_s, rescheduled_s = self._busy[self.condition]
        return np.where(rescheduled, rescheduled_s, full_s)

    def _drawn(self, count: int) -> tuple[Floats, Floats]:
        """Return for each call how long it would take alone, and by how much its wait differs from the usual one."""
        if self.condition is Condition.SILENT:
            return np.zeros(count), np.ones(count)
        quantiles = self._alone[self.condition]
        last = len(quantiles) - 1
        alone: Floats = np.interp(self._random.random(count) * last, np.arange(last + 1), quantiles)
        return alone, np.exp(self._wait_sigma * self._random.normal(size=count))


def _most_under_way(times: Floats, ended: Floats) -> int:
    """Return the most calls that were under way at a time, seen as each begins."""
    over = np.searchsorted(np.sort(ended), times, side="right")
    return int((np.arange(1, len(times) + 1) - over).max(initial=0))


def _calls(ended: Iterable[tuple[int, float, float, int]]) -> Calls:
    rows = list(ended)
    devices, begun, ends, outcomes = zip(*rows, strict=True) if rows else ((), (), (), ())
    return Calls(
        np.array(devices, dtype=np.int64), np.array(begun, dtype=np.float64),
        np.array(ends, dtype=np.float64), np.array(outcomes, dtype=np.int8),
    )  # fmt: skip
