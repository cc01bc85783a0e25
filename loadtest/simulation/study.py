"""The outages that are looked at, each with and without what is meant to help, and the figures that come of them."""

import math
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from loadtest.simulation.calibration import Calibration
from loadtest.simulation.population import DAY_S, PEAK_HOUR, Flags, Population
from loadtest.simulation.product import Product
from loadtest.simulation.record import STEP_S, Record
from loadtest.simulation.run import Outage, Run, Staleness
from loadtest.simulation.service import Condition, Fleet, Service
from loadtest.simulation.tokens import Rules, Tokens

DEVICES: Final = 100e6
DEVICES_PER_WORKER: Final = 250_000  # 750 requests a second each, at the busiest hour: an assumption
BUSY_SHARE: Final = 0.3  # of the cookie service's processes, at the busiest hour
STRICT_SHARE: Final = 0.005  # of requests, to routes that take no stale user
RESCHEDULE_MAX_S: Final = 3000.0  # the most that the configuration takes
BEGIN: Final = DAY_S + PEAK_HOUR * 3600.0  # of every outage: the busiest time of the second day
BEFORE_S: Final = 600.0
COMPARED_S: Final = 1800.0  # after an outage: when variants are compared
AFTER_S: Final = 2.5 * 3600.0  # past the time when what was renewed together is due together again
MINUTES: Final = (1, 10, 60)
SPAN_S: Final = BEGIN + max(MINUTES) * 60.0 + AFTER_S + 600.0
WARM_UP_STRETCH_S: Final = 60.0


@dataclass(slots=True, frozen=True)
class Variant:
    """What is in force: all of it as built, or all but something, or something else.

    `renew_jitter` is of `renew_after`, for which the product has none; `limit`, a worker's of calls at a time, is the
    product's when None; `growth` is by how much the next rescheduled token lives longer; the service turns away what
    would wait for longer than `turns_away_s`, and is busy for `busy_share` of the busiest hour.
    """

    name: str
    jitter: bool = True
    ahead: bool = True
    breakers: bool = True
    spread: bool = True
    fallback: bool = True
    renew_jitter: float = 0.0
    limit: int | None = None
    growth: float = 1.0
    turns_away_s: float = math.inf
    busy_share: float = BUSY_SHARE

    def rules(self, product: Product) -> Rules:
        """Return the rules of tokens."""
        return Rules(
            life_s=product.life_s,
            renew_after_s=product.life_s * product.renew_after_share,
            renew_jitter=self.renew_jitter,
            reschedule_life_s=product.reschedule_life_s,
            reschedule_jitter=product.reschedule_jitter if self.jitter else 0.0,
            reschedule_growth=self.growth,
            reschedule_max_s=RESCHEDULE_MAX_S,
            ahead=self.ahead,
            spread=self.spread,
            fallback=self.fallback,
        )

    @property
    def normal(self) -> "Variant":
        """What of it makes a difference while nothing is the matter."""
        return Variant("normal", jitter=self.jitter, ahead=self.ahead, renew_jitter=self.renew_jitter)


AS_BUILT: Final = Variant("as built")
VARIANTS: Final = (
    AS_BUILT,
    Variant("no jitter", jitter=False),
    Variant("no renew-ahead", ahead=False),
    Variant("no breakers", breakers=False),
    Variant("no spread", spread=False),
    Variant("none of the four", jitter=False, ahead=False, breakers=False, spread=False),
    Variant("no rescheduled tokens", fallback=False),
)
REMEDIES: Final = (
    Variant("lives that double", growth=2.0),
    Variant("twice as many processes", busy_share=BUSY_SHARE / 2),
    Variant("a service that turns away", turns_away_s=0.1),
    Variant("64 calls a worker at a time", limit=64),
)


@dataclass(slots=True, frozen=True)
class Scenario:
    """One outage under one variant; `condition` WELL: no outage, to compare with."""

    condition: Condition
    minutes: int
    variant: Variant

    def outage(self, begin: float) -> Outage | None:
        """Return the outage, if there is one, given when it begins."""
        if self.condition is Condition.WELL:
            return None
        return Outage(self.condition, begin, begin + self.minutes * 60.0)


SCENARIOS: Final = (
    *(
        Scenario(condition, minutes, variant)
        for condition in (Condition.SILENT, Condition.NO_SUBSCRIBERS)
        for minutes in MINUTES
        for variant in VARIANTS
    ),
    *(Scenario(Condition.SILENT, max(MINUTES), variant) for variant in REMEDIES),
)


@dataclass(slots=True, frozen=True)
class Study:
    """What all runs share: who the devices are, what the product and the service are like, how chance falls.

    `begin` is when outages begin, `after_s` how long after their end a run goes on.
    """

    population: Population
    product: Product
    calibration: Calibration
    seed: int
    begin: float = BEGIN
    after_s: float = AFTER_S

    @property
    def scale(self) -> float:
        """How many devices one of the sample stands for."""
        return DEVICES / len(self.population)

    def warmed_up(self, normal: Variant) -> tuple[Tokens, float]:
        """Return the tokens shortly before the outages begin, and how many were renewed per second by then."""
        random = np.random.default_rng([self.seed, 1])
        tokens = Tokens(self.population, normal.rules(self.product), random)
        begin = self.begin - BEFORE_S
        record = Record(begin - BEFORE_S, begin)
        service = Service(Fleet(1, 1, 0.0), self.product, self.calibration, random, breakers=False, now=0.0)
        Run(tokens, service, record, self._staleness, long_s=WARM_UP_STRETCH_S).until(0.0, begin)
        return tokens, float(record.counts["renewed"].sum() / BEFORE_S)

    def fleet(self, renewals_per_s: float) -> Fleet:
        """Return what an operator would give so many devices that renew so often at the busiest hour."""
        processes = renewals_per_s * self.calibration.busy_s / BUSY_SHARE
        whole = max(1, round(processes))
        return Fleet(max(1, round(len(self.population) / DEVICES_PER_WORKER)), whole, whole / processes)

    def run(self, scenario: Scenario, tokens: Tokens, fleet: Fleet) -> Record:
        """Let a scenario happen to a copy of the tokens."""
        random = np.random.default_rng([self.seed, 2])
        variant, begin = scenario.variant, self.begin - BEFORE_S
        after_s = min(self.after_s, COMPARED_S) if variant in VARIANTS[1:] else self.after_s
        record = Record(begin, self.begin + scenario.minutes * 60.0 + after_s)
        mine = tokens.copy(variant.rules(self.product), random)
        product = replace(self.product, concurrency=variant.limit or self.product.concurrency)
        fleet = replace(fleet, slower=fleet.slower * variant.busy_share / BUSY_SHARE)
        service = Service(
            fleet,
            product,
            self.calibration,
            random,
            breakers=variant.breakers,
            now=begin,
            turns_away_s=variant.turns_away_s,
        )
        Run(mine, service, record, self._staleness).until(begin, record.end, scenario.outage(self.begin))
        record.close()
        return record

    @property
    def _staleness(self) -> Staleness:
        return Staleness(self.product.max_staleness_s, STRICT_SHARE)


@dataclass(slots=True, frozen=True)
class Figures:
    """What one run shows, for DEVICES.

    Rates are of calls that reach the cookie service, against the same hour without an outage. Times are in seconds from
    the end of the outage; what did not come within `seen_s` is infinite.

    Attributes:
        lost: users signed out by our failure.
        ended: users signed out since they are no members any more.
        low: requests at level LOW, until COMPARED_S after it.
        low_share: their share of all requests while the outage lasted.
        during: mean rate while it lasted.
        peak: greatest rate of 10 s within COMPARED_S after it.
        echo: greatest rate of a minute later than that.
        normal_after_s: until the rate of a minute stays below NORMAL_AGAIN.
        renewed_after_s: until but one in a hundred of the rescheduled tokens that were in use are replaced.
        rescheduled: the most rescheduled tokens that were good at a time.
        remembered: the most tokens whose next try one worker has to remember.
        waited: requests whose token had expired, while the outage lasted.
        wait_s: how long each of them waited, on average.
        failed: share of the calls in the ten minutes after it that came to nothing.
        seen_s: how long the run went on.
    """

    lost: float
    ended: float
    low: float
    low_share: float
    during: float
    peak: float
    echo: float
    normal_after_s: float
    renewed_after_s: float
    rescheduled: float
    remembered: float
    waited: float
    wait_s: float
    failed: float
    seen_s: float


NORMAL_AGAIN: Final = 1.25
QUIET_S: Final = 600.0


def figures(record: Record, normal: Record, scenario: Scenario, study: Study, fleet: Fleet) -> Figures:
    """Return the figures of a run, given the one without an outage by the same rules."""
    scale = study.scale
    begin, end = _step(record, study.begin), _step(record, study.begin + scenario.minutes * 60.0)
    compared = end + round(COMPARED_S / STEP_S)
    usual = normal.rate("sent", 600.0)[: len(record)]
    each, minute = record.rate("sent") / usual, record.rate("sent", 60.0) / usual
    counts = record.counts
    quiet = round(QUIET_S / STEP_S)
    held = record.rescheduled[end - 1]
    requests = study.population.request_rate(np.append(record.times, record.end)) * STEP_S
    sent, renewed = counts["sent"][end : end + quiet].sum(), counts["renewed"][end : end + quiet].sum()
    return Figures(
        lost=counts["lost"].sum() * scale,
        ended=counts["ended"].sum() * scale,
        low=counts["low"][begin:compared].sum() * scale,
        low_share=float(counts["low"][begin:end].sum() / requests[begin:end].sum()),
        during=float(each[begin:end].mean()),
        peak=float(each[end:compared].max()),
        echo=float(minute[compared:].max(initial=0.0)),
        normal_after_s=_over_after(minute[end:] > NORMAL_AGAIN),
        renewed_after_s=_over_after(record.rescheduled[end:] > held / 100),
        rescheduled=float(record.rescheduled.max()) * scale,
        remembered=float(record.remembered.max()) / fleet.workers,
        waited=float(counts["waited"][begin:end].sum()) * scale,
        wait_s=float(counts["waited_s"][begin:end].sum() / max(1.0, counts["waited"][begin:end].sum())),
        failed=float(max(0.0, 1 - renewed / sent)) if sent else 0.0,
        seen_s=float(len(record) - end) * STEP_S,
    )


def _over_after(lasts: Flags) -> float:
    """Return how long it is until something lasts no more, in seconds."""
    steps = np.flatnonzero(lasts)
    if not len(steps):
        return 0.0
    return math.inf if steps[-1] == len(lasts) - 1 else float(steps[-1] + 1) * STEP_S


def _step(record: Record, time: float) -> int:
    return round((time - record.begin) / STEP_S)
