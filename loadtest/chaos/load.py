"""One client's work during a scenario, the phases that are marked in it, and what came of it."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from loadtest.bench.processes import Program
from loadtest.chaos.figures import Window
from loadtest.chaos.outcomes import Outcome, read_outcomes

STOP_S = 40.0


@dataclass(slots=True)
class Load:
    """`outcomes` and `late_ms` (p99 of how late the client itself was) are there once the client has stopped."""

    log: Path
    program: Program
    started: float
    outcomes: list[Outcome] = field(default_factory=list)
    late_ms: float = 0.0
    _phases: list[Window] = field(default_factory=list)

    async def phase(self, seconds: float) -> Window:
        """Let time pass; return the window."""
        start = max(time.monotonic(), self.started)
        await asyncio.sleep(start + seconds - time.monotonic())
        self._phases.append(Window(start, time.monotonic()))
        return self._phases[-1]

    async def stop(self) -> None:
        """Let no more requests be sent, wait for the answers under way, and read the client's log."""
        if self.program.process.returncode is None:
            self.program.process.terminate()
            await asyncio.wait_for(self.program.process.wait(), STOP_S)
        self._read()

    def _read(self) -> None:
        self.outcomes = read_outcomes(self.log.read_text().splitlines())
        self.late_ms = float(Path(f"{self.log}.late").read_text())


@asynccontextmanager
async def stopped_afterwards(load: Load) -> AsyncIterator[Load]:
    """Yield the load; stop it when the block ends well. What fails stops the process anyway."""
    yield load
    await load.stop()


def together(loads: Sequence[Load]) -> list[Outcome]:
    """Return the outcomes of several clients in the order in which they were due."""
    return sorted((one for load in loads for one in load.outcomes), key=lambda one: one.due)
