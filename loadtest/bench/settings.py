"""What one run of the bench is asked to do."""

import os
from dataclasses import dataclass
from pathlib import Path

from loadtest.bench.failure import BenchError


@dataclass(slots=True, frozen=True)
class Settings:
    """Rounds, their length in whole seconds, the load, and where things are."""

    rounds: int = 5
    round_s: int = 5
    warm_up_s: int = 3
    connections: int = 32
    tokens: int = 10_000
    only: frozenset[str] = frozenset()  # ids of contenders; empty: all
    config: Path = Path("config")
    var: Path = Path("var/bench")

    def wants(self, contender: str) -> bool:
        """Return whether this contender is to run."""
        return not self.only or contender in self.only


@dataclass(slots=True, frozen=True)
class Cores:
    """Who runs where. The proxy under test has a core of its own; origin and load share the other, or have one each."""

    proxy: int
    origin: int
    load: int


def assign_cores(allowed: set[int] | None = None) -> Cores:
    """Return the cores to use out of `allowed`, by default those this process may run on, of which it needs two."""
    cores = sorted(os.sched_getaffinity(0) if allowed is None else allowed)
    if len(cores) < 2:
        raise BenchError("The bench needs two cores: one for the proxy under test, one for origin and load")
    return Cores(proxy=cores[0], origin=cores[1], load=cores[2] if len(cores) > 2 else cores[1])
