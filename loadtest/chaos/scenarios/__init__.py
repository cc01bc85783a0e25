"""The scenarios, in the order in which they run; each row of the table is one fault."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from loadtest.chaos.result import Result
from loadtest.chaos.setup import Setup
from loadtest.chaos.stage import Stage, StageMaker

DEFAULT = Setup()


@dataclass(slots=True, frozen=True)
class Scenario:
    """One fault. `row` groups it (B origins, W workers, M clients, L load, N names, T TLS, K keys, S services,
    C clocks, Z all), `fault` says it; `make` makes its stage."""

    name: str
    row: str
    fault: str
    run: Callable[[Stage], Awaitable[Result]]
    setup: Setup = DEFAULT
    make: StageMaker | None = None
