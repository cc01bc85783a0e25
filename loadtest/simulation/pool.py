"""Do all runs of a study, on as many cores as there are."""

import multiprocessing
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field
from typing import ClassVar, TypeAlias, TypeVar

import numpy as np

from loadtest.simulation.calibration import Calibration
from loadtest.simulation.population import populate
from loadtest.simulation.product import Product
from loadtest.simulation.record import Record
from loadtest.simulation.service import Condition, Fleet
from loadtest.simulation.study import (
    AFTER_S,
    AS_BUILT,
    BEGIN,
    SPAN_S,
    Figures,
    Scenario,
    Study,
    Variant,
    figures,
)
from loadtest.simulation.tokens import Tokens

Task = TypeVar("Task")
Result = TypeVar("Result")
Say: TypeAlias = Callable[[str], None]


@dataclass(slots=True)
class Found:
    """What all runs brought. `normals` are the records without an outage."""

    study: Study
    fleet: Fleet
    renewals_per_s: float
    normals: dict[Variant, Record] = field(default_factory=dict)
    records: dict[Scenario, Record] = field(default_factory=dict)

    def figures(self, scenario: Scenario) -> Figures:
        """Return the figures of one run."""
        normal = self.normals[scenario.variant.normal]
        return figures(self.records[scenario], normal, scenario, self.study, self.fleet)


@dataclass(slots=True, frozen=True)
class _Shared:
    """What the processes of a pool have from their start, since it is large."""

    study: Study
    warm: dict[Variant, Tokens]
    fleet: Fleet

    here: ClassVar["_Shared"]


def do_all(study: Study, scenarios: Sequence[Scenario], jobs: int, say: Say) -> Found:
    """Warm up, then let each scenario happen, and each kind of tokens without an outage."""
    normals = list({scenario.variant.normal: None for scenario in scenarios} | {AS_BUILT.normal: None})
    _Shared.here = _Shared(study, {}, Fleet(1, 1))
    warm: dict[Variant, Tokens] = {}
    rates: dict[Variant, float] = {}
    for normal, (tokens, rate) in _each(_warm_up, normals, jobs):
        say(f"warmed up: {'jitter' if normal.jitter else 'no jitter'}, {'' if normal.ahead else 'no '}renew-ahead")
        tokens.population = study.population
        warm[normal], rates[normal] = tokens, rate
    usual = rates[AS_BUILT.normal]
    found = Found(study, study.fleet(usual), usual * study.scale)
    _Shared.here = _Shared(study, warm, found.fleet)
    longest = max(scenario.minutes for scenario in scenarios)
    plain = [Scenario(Condition.WELL, longest, normal) for normal in normals]
    for scenario, record in _each(_happen, [*_longest_first(scenarios), *plain], jobs):
        if scenario.condition is Condition.WELL:
            found.normals[scenario.variant] = record
        else:
            found.records[scenario] = record
            say(f"{scenario.condition.value} for {scenario.minutes} min, {scenario.variant.name}")
    return found


def make_study(
    devices: int,
    product: Product,
    calibration: Calibration,
    seed: int,
    *,
    begin: float = BEGIN,
    after_s: float = AFTER_S,
) -> Study:
    """Return a study of so many devices, made by chance from the seed."""
    population = populate(devices, SPAN_S, np.random.default_rng([seed, 0]))
    return Study(population, product, calibration, seed, begin, after_s)


def _warm_up(normal: Variant) -> tuple[Tokens, float]:
    tokens, rate = _Shared.here.study.warmed_up(normal)
    made = tokens.copy(tokens.rules, tokens.random)
    if multiprocessing.parent_process() is not None:
        made.population = made.population.nobody()  # the parent has it
    return made, rate


def _happen(scenario: Scenario) -> Record:
    shared = _Shared.here
    return shared.study.run(scenario, shared.warm[scenario.variant.normal], shared.fleet)


def _longest_first(scenarios: Iterable[Scenario]) -> list[Scenario]:
    return sorted(scenarios, key=lambda one: (one.minutes, not one.variant.spread), reverse=True)


def _each(do: Callable[[Task], Result], tasks: Sequence[Task], jobs: int) -> Iterator[tuple[Task, Result]]:
    if jobs == 1:
        yield from ((task, do(task)) for task in tasks)
        return
    # Forked, so that what is shared need not be sent.
    with ProcessPoolExecutor(jobs, multiprocessing.get_context("fork")) as pool:
        waiting = {pool.submit(do, task): task for task in tasks}
        for ended in as_completed(waiting):
            yield waiting[ended], ended.result()
