"""Who uses the devices, and when: sessions over the day, requests in them, and wake-ups of idle devices.

Sessions begin as a Poisson process whose rate follows the daily curve, and last a log-normal time. A session begins
with a request; within it, and for idle devices that wake up by themselves, requests come as a Poisson process. That is
memoryless: the next request after any time can be drawn when it is needed, whatever came before, so that the millions
of requests that find their token good and change nothing are never made one by one.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

DAY_S: Final = 86_400.0
NEVER: Final = float("inf")
PEAK_HOUR: Final = 20.5
_EVENING: Final = 0.8  # busiest to quietest hour as exp(2 * this): 5 to 1

Floats = NDArray[np.float64]
Indexes = NDArray[np.int64]
Flags = NDArray[np.bool_]


@dataclass(slots=True, frozen=True)
class Kind:
    """One kind of device. `sessions_per_day` is a mean: some devices are used much more than others (gamma, `shape`).

    `wakes_every_s` is the mean time between requests of a device that nobody uses; NEVER: it sleeps.
    """

    name: str
    share: float
    sessions_per_day: float
    shape: float
    session_median_s: float
    session_sigma: float
    request_every_s: float
    wakes_every_s: float


KINDS: Final = (
    Kind("television that sleeps", 0.40, 1.3, 0.8, 45 * 60.0, 0.9, 30.0, NEVER),
    Kind("box or stick, never off", 0.20, 1.3, 0.8, 45 * 60.0, 0.9, 30.0, 3600.0),
    Kind("phone or tablet", 0.25, 2.0, 0.7, 12 * 60.0, 1.0, 20.0, 4 * 3600.0),
    Kind("browser", 0.15, 0.6, 0.5, 25 * 60.0, 1.0, 15.0, NEVER),
)


@dataclass(slots=True, frozen=True)
class Population:
    """The sessions of every device, one after the other, each device's ended by one that begins NEVER.

    `first` is the index of a device's first session. A device's `request_every_s` holds in sessions, its
    `wakes_every_s` always.
    """

    first: Indexes
    starts: Floats
    ends: Floats
    request_every_s: Floats
    wakes_every_s: Floats

    def __len__(self) -> int:
        return len(self.first)

    def nobody(self) -> "Population":
        """Return a population without devices."""
        none = np.empty(0)
        return Population(np.empty(0, dtype=np.int64), none, none, none, none)

    def next_requests(self, cursor: Indexes, devices: Indexes, after: Floats, random: np.random.Generator) -> Floats:
        """Return when each of `devices` makes its first request later than `after`.

        `cursor` holds the next session of every device, and is moved on.
        """
        at = self._moved(cursor, devices, after)
        within = after + random.exponential(size=len(devices)) * self.request_every_s[devices]
        woken = after + random.exponential(size=len(devices)) * self.wakes_every_s[devices]
        # Before a device's first session stands the end mark of the device before it, which ends at no time at all.
        found = np.where(within < self.ends[at - 1], within, self.starts[at])
        return np.minimum(found, woken)

    def requests_between(self, cursor: Indexes, devices: Indexes, begin: Floats, end: Floats) -> Floats:
        """Return how many requests each of `devices` is to be expected to make; `cursor` is moved on to `begin`.

        Of the sessions that begin in between, the first alone is counted: meant for minutes.
        """
        at = self._moved(cursor, devices, begin)
        every, span = self.request_every_s[devices], np.maximum(end - begin, 0.0)
        rest = np.clip(self.ends[at - 1] - begin, 0.0, span)
        begun = self.starts[at] < end
        new = np.where(begun, np.minimum(self.ends[at], end) - np.where(begun, self.starts[at], 0.0), 0.0)
        return span / self.wakes_every_s[devices] + (rest + new) / every + begun

    def _moved(self, cursor: Indexes, devices: Indexes, after: Floats) -> Indexes:
        at = cursor[devices]
        while (passed := self.starts[at] <= after).any():
            at += passed
        cursor[devices] = at
        return at

    def request_rate(self, edges: Floats) -> Floats:
        """Return the expected requests per second between each two `edges`, which are evenly spaced."""
        real = np.isfinite(self.starts)
        starts, ends = self.starts[real], self.ends[real]
        weight = 1 / np.repeat(self.request_every_s, np.diff(self.first, append=len(self.starts)))[real]
        begun, _ = np.histogram(starts, edges)
        entered, _ = np.histogram(starts, edges, weights=weight)
        left, _ = np.histogram(ends, edges, weights=weight)
        before = weight[starts < edges[0]].sum() - weight[ends < edges[0]].sum()
        active = before + np.cumsum(entered - left)
        rate: Floats = active + begun / (edges[1] - edges[0]) + (1 / self.wakes_every_s).sum()
        return rate


def daily(hours: Floats) -> Floats:
    """Return how much more often than on average sessions begin at these hours of the day."""
    curve: Floats = np.exp(_EVENING * np.cos((hours - PEAK_HOUR) * (2 * np.pi / 24))) / np.i0(_EVENING)
    return curve


def populate(count: int, span_s: float, random: np.random.Generator) -> Population:
    """Return `count` devices in the shares of KINDS, with their sessions from midnight on for `span_s`."""
    kind = random.choice(len(KINDS), size=count, p=[one.share for one in KINDS])
    per_day = _of(kind, "sessions_per_day") * random.gamma(_of(kind, "shape")) / _of(kind, "shape")
    counts = random.poisson(per_day * (span_s / DAY_S))
    owner = np.repeat(np.arange(count), counts)
    minutes = np.arange(0.0, span_s + 60.0, 60.0)
    share = np.cumsum(daily(minutes / 3600.0))
    begins = np.interp(random.random(len(owner)), (share - share[0]) / (share[-1] - share[0]), minutes)
    begins = begins[np.argsort(owner + begins / (minutes[-1] + 60.0), kind="stable")]
    owners = kind[owner]
    lasts = _of(owners, "session_median_s") * np.exp(_of(owners, "session_sigma") * random.normal(size=len(owner)))
    first = np.concatenate(([0], np.cumsum(counts + 1)[:-1]))
    starts = np.full(len(owner) + count, NEVER)
    place = np.arange(len(owner)) + owner
    starts[place] = begins
    ends = np.full(len(starts), -NEVER)
    ends[place] = np.minimum(begins + lasts, starts[place + 1])
    return Population(first, starts, ends, _of(kind, "request_every_s"), _of(kind, "wakes_every_s"))


def steady(count: int, request_every_s: float) -> Population:
    """Return devices that are used all the time, for which the rate of renewals is known without simulating."""
    first = np.arange(0, 2 * count, 2)
    starts, ends = np.full(2 * count, NEVER), np.full(2 * count, -NEVER)
    starts[first], ends[first] = -1.0, NEVER
    return Population(first, starts, ends, np.full(count, request_every_s), np.full(count, NEVER))


def _of(kind: Indexes, name: str) -> Floats:
    values: Floats = np.array([getattr(one, name) for one in KINDS], dtype=np.float64)
    return values[kind]
