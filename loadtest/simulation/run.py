"""One run: time goes on in stretches, and in each the devices that ask for a renewal meet the service."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from loadtest.simulation.population import NEVER, Floats, Indexes
from loadtest.simulation.record import Record
from loadtest.simulation.service import HELD_BACK, OVERLOADED, RENEWED, Asked, Calls, Condition, Service
from loadtest.simulation.tokens import GONE, RESCHEDULED, Tokens

SHORT_S: Final = 2.0
SOON_S: Final = 120.0
SETTLED: Final = 30  # short stretches in which all went well, before long ones are enough


@dataclass(slots=True, frozen=True)
class Outage:
    """From when to when the service is in a condition other than well."""

    condition: Condition
    begin: float
    end: float


@dataclass(slots=True, frozen=True)
class Staleness:
    """When the user of a rescheduled token counts as LOW: on a strict route always, on others after a time.

    `strict_share` is the share of requests to routes that take no stale user (`max_staleness_s` 0: payment).
    """

    max_staleness_s: float
    strict_share: float


class Run:
    """Lets time pass for some tokens and a service. What happens after the record's begin is in it."""

    def __init__(
        self, tokens: Tokens, service: Service, record: Record, staleness: Staleness, *, long_s: float = 10.0
    ) -> None:
        """Take all of it; while nothing is the matter, time passes in stretches of `long_s`."""
        self._long_s = long_s
        self._tokens = tokens
        self._service = service
        self._record = record
        self._staleness = staleness
        self._soon: Indexes = np.empty(0, dtype=np.int64)
        self._soon_until = -NEVER

    def until(self, begin: float, end: float, outage: Outage | None = None) -> None:
        """Let time pass."""
        well_for = SETTLED
        bounds = (end,) if outage is None else (outage.begin, outage.end, end)
        time = begin
        while time < end:
            condition = outage.condition if outage and outage.begin <= time < outage.end else Condition.WELL
            if condition is not self._service.condition:
                self._service.become(condition, time)
                well_for = 0
            then = time + (self._long_s if well_for >= SETTLED else SHORT_S)
            then = min(then, *(bound for bound in bounds if bound > time), end)
            well_for = well_for + 1 if self._stretch(time, then) else 0
            time = then
        self._record.census = self._tokens.census()
        self._record.openings = self._service.openings

    def _stretch(self, begin: float, end: float) -> bool:
        """Let one stretch pass, and tell whether the service was well and nothing stood in anyone's way."""
        tokens, service = self._tokens, self._service
        devices = self._due(begin, end)
        # What has become due within the last stretch is served in this one.
        times = np.maximum(tokens.next[devices], begin)
        order = np.argsort(times, kind="stable")
        devices = devices[order]
        tokens.next[devices] = NEVER
        asked = Asked(devices, times[order], tokens.state[devices] == RESCHEDULED)
        calls = service.at_once(asked)
        if calls is None:
            for each in service.one_by_one(asked, end):
                self._happened(each)
            return False
        self._happened(service.rest())
        self._happened(calls)
        return service.condition is Condition.WELL

    def _due(self, begin: float, end: float) -> Indexes:
        following = self._tokens.next
        if end > self._soon_until:
            self._soon_until = begin + SOON_S
            self._soon = np.flatnonzero(following < self._soon_until)
        due = following[self._soon] < end
        devices = self._soon[due]
        self._soon = self._soon[~due]
        return devices

    def _happened(self, calls: Calls) -> None:
        if not len(calls.devices):
            return
        tokens, record = self._tokens, self._record
        devices, begun, ended, outcomes = calls.devices, calls.begun, calls.ended, calls.outcomes
        record.add("asked", begun)
        record.add("held_back", begun[outcomes == HELD_BACK])
        record.add("overloaded", begun[outcomes == OVERLOADED])
        record.add("sent", begun[outcomes < HELD_BACK])
        expired = tokens.expires[devices] <= begun
        record.add("waited", begun[expired])
        record.add("waited_s", begun[expired], (ended - begun)[expired])
        well = outcomes == RENEWED
        record.add("renewed", ended[well])
        tokens.renewed(devices[well], ended[well])
        self._failed(devices[~well], begun[~well], ended[~well])
        gone = tokens.state[devices] == GONE
        rightly = well[gone] & (tokens.cancelled_at[devices[gone]] <= ended[gone])
        record.add("ended", ended[gone][rightly])
        record.add("lost", ended[gone][~rightly])
        self._soon = np.concatenate((self._soon, devices[tokens.next[devices] < self._soon_until]))

    def _failed(self, devices: Indexes, begun: Floats, ended: Floats) -> None:
        if not len(devices):
            return
        tokens, record = self._tokens, self._record
        failed = tokens.failed(devices, begun, ended)
        rescheduled = tokens.state[devices] == RESCHEDULED
        if tokens.rules.fallback:
            record.add("minted", ended[failed.expired])
        record.hold(record.rescheduled, ended[rescheduled], failed.until[rescheduled])
        remembered = ~failed.expired
        record.hold(record.remembered, ended[remembered], failed.until[remembered])
        requests = (failed.requests + 1)[rescheduled]
        stale = tokens.stale(devices, ended, self._staleness.max_staleness_s)[rescheduled]
        record.add("rescheduled_requests", ended[rescheduled], requests)
        record.add("low", ended[rescheduled], requests * np.where(stale, 1.0, self._staleness.strict_share))
