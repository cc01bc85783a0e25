"""Where all worker processes look for the dials: told at their start and at every change, until they have it."""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Final

from edge.contract.dials import DialTable, Feature
from edge.supervisor.process import WorkerProcess
from edge.telemetry.control_channel import Message
from edge.telemetry.dials_message import dials_message

AGREEMENT_S: Final = 1.0


class DialBoard:
    """What is shown to the workers now. Before the first `show` dials stand where they are shipped, at revision 0."""

    def __init__(self) -> None:
        self.table = DialTable()
        self.message: Message = dials_message(self.table, {})
        self._processes: set[WorkerProcess] = set()
        self._heard = asyncio.Event()

    def show(
        self, table: DialTable, salts: Mapping[Feature, str], before_all: Callable[[], None] = lambda: None
    ) -> None:
        """Tell every process, at once; but first `before_all`, which may have told some of them with something else."""
        self.table = table
        self.message = dials_message(table, salts)
        before_all()
        for process in self._processes:
            process.send(self.message)

    def add(self, process: WorkerProcess) -> None:
        """Keep a process told that has just been started, until it ends."""
        self._processes.add(process)
        process.ended.add_done_callback(lambda _: self._gone(process))

    def repeat(self) -> None:
        """Tell those that have not said that they decide by it: they could not take it when it was sent."""
        for process in self._processes:
            if process.dials_served != self.table.revision:
                process.send(self.message)

    def heard(self) -> None:
        """Note that a process has said what it decides by."""
        self._heard.set()

    @property
    def behind(self) -> int:
        """How many processes that serve do not decide by what is shown now."""
        serving = (process for process in self._processes if process.ready.is_set() and not process.killed)
        return sum(process.dials_served != self.table.revision for process in serving)

    async def agreed(self, revision: int) -> None:
        """Wait until every process that serves decides by `revision` or a later one, for a second at most."""
        with suppress(TimeoutError):
            async with asyncio.timeout(AGREEMENT_S):
                while any(self._serving_before(revision)):
                    self._heard.clear()
                    await self._heard.wait()

    def _serving_before(self, revision: int) -> Iterator[bool]:
        for process in self._processes:
            yield process.ready.is_set() and not process.killed and process.dials_served < revision

    def _gone(self, process: WorkerProcess) -> None:
        self._processes.discard(process)
        self._heard.set()
