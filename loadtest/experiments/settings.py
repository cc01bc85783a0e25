"""What one run of the experiments is asked to do, and how long each part of it takes."""

import os
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from loadtest.bench.settings import Cores

NAMES: Final = ("latency", "workers", "costs", "remote", "memory", "growth")


@dataclass(slots=True, frozen=True)
class Length:
    """How much is measured. Times are whole seconds; `fractions` are of the capacity, each a point of the curve.

    A slice is one run of wrk; a round has one of each variant. `idle` are the totals of idle connections.
    """

    capacity_s: int
    capacity_runs: int
    point_s: int
    fractions: tuple[float, ...]
    worker_rounds: int
    worker_s: int
    cost_rounds: int
    remote_rounds: int
    remote_s: int
    remote_point_s: int
    growth_rounds: int
    slice_s: int
    tokens: int
    idle: tuple[int, ...]
    idle_tls: tuple[int, ...]
    routes: tuple[int, ...]
    keys: tuple[int, ...]
    revocations: tuple[int, ...]


USUAL: Final = Length(
    capacity_s=4, capacity_runs=3, point_s=8,
    fractions=(0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1.05),
    worker_rounds=8, worker_s=3, cost_rounds=40, remote_rounds=6, remote_s=4, remote_point_s=10,
    growth_rounds=12, slice_s=1, tokens=10_000,
    idle=(1_000, 2_500, 5_000, 10_000), idle_tls=(500, 1_000, 2_000),
    routes=(10, 100, 1_000, 10_000), keys=(2, 20, 200), revocations=(0, 10_000, 1_000_000),
)  # fmt: skip
QUICK: Final = Length(
    capacity_s=1, capacity_runs=1, point_s=1, fractions=(0.2, 0.5, 0.8),
    worker_rounds=2, worker_s=1, cost_rounds=3, remote_rounds=1, remote_s=1, remote_point_s=1,
    growth_rounds=2, slice_s=1, tokens=1_000,
    idle=(200, 400), idle_tls=(100, 200),
    routes=(10, 1_000), keys=(2, 20), revocations=(0, 10_000),
)  # fmt: skip


@dataclass(slots=True, frozen=True)
class Settings:
    """One run. `only` names experiments, none means all. Without `compiled` the edge runs from its sources."""

    only: tuple[str, ...] = ()
    quick: bool = False
    compiled: bool = True
    connections: int = 32
    seed: int = 1
    config: Path = Path("config")
    var: Path = Path("var/experiments")
    compiled_in: Path = Path("var/bench/compiled")  # where `make bench` has them, too

    @property
    def length(self) -> Length:
        """How much is measured."""
        return QUICK if self.quick else USUAL

    @property
    def names(self) -> tuple[str, ...]:
        """The experiments to run, in their usual order."""
        return tuple(name for name in NAMES if not self.only or name in self.only)


def cores_of_two_workers(cores: Cores, allowed: Collection[int] | None = None) -> tuple[int, ...]:
    """Return the cores that two workers run on: not those of origin and load where there are others."""
    usable = set(os.sched_getaffinity(0) if allowed is None else allowed)
    free = sorted(usable - {cores.origin, cores.load, cores.proxy})
    return (cores.proxy, free[0] if free else cores.origin)
