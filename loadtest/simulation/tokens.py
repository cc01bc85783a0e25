"""The token of every device, and what becomes of it: which state it is in, and when it is shown next.

A device has one token. It is *full*, *rescheduled* (minted by the edge while the full one has expired and cannot be
renewed), or *gone*: the user is signed out. Only the event that matters next is kept for each device: the first
request that asks for a renewal.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from loadtest.simulation.population import DAY_S, NEVER, Flags, Floats, Indexes, Population

FULL, RESCHEDULED, GONE = range(3)
CANCELLED_PER_DAY: Final = 0.02 / 30  # of all members: two in a hundred a month


@dataclass(slots=True, frozen=True)
class Rules:
    """How tokens are made and renewed. Times in seconds, shares of 1; a jitter is the share it goes up and down by.

    A rescheduled token lives `reschedule_growth` times as long as the one before it, `reschedule_max_s` at most.
    Without `ahead`, a token is renewed once it has expired, and the jitter is its life's. Without `spread`, a renewal
    that failed is tried again with the next request. Without `fallback`, a token that has expired and cannot be renewed
    is taken for the end of the session.
    """

    life_s: float
    renew_after_s: float
    renew_jitter: float
    reschedule_life_s: float
    reschedule_jitter: float
    reschedule_growth: float
    reschedule_max_s: float
    ahead: bool
    spread: bool
    fallback: bool


@dataclass(slots=True)
class Failed:
    """What failed renewals led to, for each: token minted, good until when, requests until it is tried again."""

    devices: Indexes
    expired: Flags
    until: Floats
    tried: Floats
    requests: Floats


class Tokens:
    """Of a whole population. Arrays are by device."""

    def __init__(self, population: Population, rules: Rules, random: np.random.Generator) -> None:
        """Give every device a token that is between just made and a life past its end."""
        count = len(population)
        self.population = population
        self.rules = rules
        self.random = random
        self.state = np.zeros(count, dtype=np.int8)
        self.times_rescheduled = np.zeros(count, dtype=np.int16)
        self.cursor = population.first.copy()
        self.cancelled_at = random.exponential(DAY_S / CANCELLED_PER_DAY, count)
        self.full_expires = random.uniform(-rules.life_s, rules.life_s, count)
        self.expires = self.full_expires.copy()
        ahead = rules.life_s - rules.renew_after_s if rules.ahead else 0.0
        everyone = np.arange(count)
        self.next = population.next_requests(self.cursor, everyone, np.maximum(self.expires - ahead, 0.0), random)

    def copy(self, rules: Rules, random: np.random.Generator) -> "Tokens":
        """Return the same tokens, to go on by other rules and other chances."""
        made = object.__new__(Tokens)
        made.population, made.rules, made.random = self.population, rules, random
        for name in ("state", "times_rescheduled", "cursor", "cancelled_at", "full_expires", "expires", "next"):
            setattr(made, name, getattr(self, name).copy())
        return made

    def renewed(self, devices: Indexes, now: Floats) -> Indexes:
        """Have the service's answer for `devices` at `now`, and return those of them that it ended."""
        ended = self.cancelled_at[devices] <= now
        gone, kept, made = devices[ended], devices[~ended], now[~ended]
        self._end(gone)
        rules = self.rules
        share = self.random.uniform(1 - rules.renew_jitter, 1 + rules.renew_jitter, len(kept))
        self.state[kept] = FULL
        self.times_rescheduled[kept] = 0
        self.full_expires[kept] = self.expires[kept] = made + rules.life_s * (1.0 if rules.ahead else share)
        self._ask_after(kept, made + rules.renew_after_s * share if rules.ahead else self.expires[kept])
        return gone

    def failed(self, devices: Indexes, begun: Floats, now: Floats) -> Failed:
        """Have no answer at `now` for requests `begun` a moment ago."""
        rules = self.rules
        expired = self.expires[devices] <= begun
        late, at = devices[expired], now[expired]
        if rules.fallback:
            jitter = self.random.uniform(1 - rules.reschedule_jitter, 1 + rules.reschedule_jitter, len(late))
            life_s = rules.reschedule_life_s * rules.reschedule_growth ** self.times_rescheduled[late]
            self.state[late] = RESCHEDULED
            self.times_rescheduled[late] += 1
            self.expires[late] = at + np.minimum(life_s, rules.reschedule_max_s) * jitter
        left = np.maximum(self.expires[devices] - now, 0.0)
        over = np.where(expired, left, np.maximum(left, rules.reschedule_life_s)) if rules.spread else 0.0
        tried = now + np.minimum(self.random.random(len(devices)) * over, left)
        requests = self.population.requests_between(self.cursor, devices, now, tried)
        self._ask_after(devices, tried)
        if not rules.fallback:
            self._end(late)
        return Failed(devices, expired, np.minimum(self.expires[devices], self.next[devices]), tried, requests)

    def stale(self, devices: Indexes, now: Floats, max_staleness_s: float) -> Flags:
        """Tell whose last full token ended so long ago that the user counts as LOW."""
        flags: Flags = now - self.full_expires[devices] > max_staleness_s
        return flags

    def census(self) -> tuple[int, int, int]:
        """Return how many tokens are full, rescheduled, gone."""
        full, rescheduled, gone = np.bincount(self.state, minlength=3)
        return int(full), int(rescheduled), int(gone)

    def _ask_after(self, devices: Indexes, times: Floats) -> None:
        self.next[devices] = self.population.next_requests(self.cursor, devices, times, self.random)

    def _end(self, devices: Indexes) -> None:
        self.state[devices] = GONE
        self.next[devices] = NEVER
