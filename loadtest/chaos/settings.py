"""What a run is asked to do, and how long its phases are."""

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(slots=True, frozen=True)
class Phases:
    """Seconds of warm-up, of the normal state, of the fault, and of watching the recovery."""

    warm_up_s: float
    normal_s: float
    fault_s: float
    recovery_s: float


QUICK = Phases(0.5, 1.5, 2.0, 2.5)
USUAL = Phases(2.0, 5.0, 8.0, 8.0)
FULL = Phases(3.0, 15.0, 60.0, 75.0)
LENGTHS = {"quick": QUICK, "usual": USUAL, "full": FULL}


@dataclass(slots=True, frozen=True)
class Cores:
    """Where the edge runs, and where everything else does; the same core if there is only one."""

    edge: int
    rest: int


@dataclass(slots=True, frozen=True)
class Settings:
    """One run. `rate` is the requests a second of the usual load; `only` names scenarios, none means all.

    `reference` is a proxy to run the same scenarios on.
    """

    length: str = "usual"
    rate: int = 400
    seed: int = 1
    workers: int = 2
    only: tuple[str, ...] = ()
    compiled: bool = False
    reference: str | None = None
    config: Path = Path("config")
    var: Path = Path("var/chaos")

    @property
    def phases(self) -> Phases:
        """How long the phases are."""
        return LENGTHS[self.length]

    @property
    def quick(self) -> bool:
        """Whether this is the short form."""
        return self.length == "quick"


def assign_cores(allowed: set[int] | None = None) -> Cores:
    """Return the cores to use out of `allowed`, by default those this process may run on."""
    cores = sorted(os.sched_getaffinity(0) if allowed is None else allowed)
    return Cores(cores[0], cores[-1])
