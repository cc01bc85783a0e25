"""All worker slots, and the watch over their processes: one that is silent for too long is ended and replaced."""

import asyncio
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from edge.control.snapshot import Snapshot
from edge.supervisor.config import Config
from edge.supervisor.crew import Crew
from edge.supervisor.dial_board import DialBoard
from edge.supervisor.process import WorkerCommand, WorkerProcess
from edge.supervisor.slot import Slot, SlotState
from edge.telemetry.snapshot import WorkerValues

_WATCH_S: Final = 0.25
_HELD_UP_S: Final = 1.0


def sockets_of_a_slot(snapshot: Snapshot) -> int:
    """Return how many sockets each worker listens on."""
    return 1 if snapshot.listener.tls.address is None else 2


class Fleet:
    """A slot for each listening socket, or for two, plain and TLS: first all plain ones, then those for TLS.

    `config` is what was accepted last.
    """

    def __init__(
        self,
        snapshot: Snapshot,
        command: WorkerCommand,
        listening: Sequence[socket.socket],
        values: WorkerValues,
        *,
        say: Callable[[str], None],
        on_ready: Callable[[], None],
        dials: DialBoard | None = None,
    ) -> None:
        self.config = Config(snapshot, 1)
        self.silenced = 0
        self.crew = Crew(command, listening, values, say, dials)
        self._listening = listening
        self._say = say
        self._revisions = 1
        self._dismissing: asyncio.Future[None] | None = None
        count = len(listening) // sockets_of_a_slot(snapshot)
        self.slots = [Slot(index, self.crew, self.config, say=say, on_ready=on_ready) for index in range(count)]

    async def run(self) -> None:
        """Run until drained."""
        watching = asyncio.create_task(self._watch(), name="watch")
        try:
            await asyncio.gather(*(slot.run() for slot in self.slots))
        finally:
            watching.cancel()
            if self._dismissing is not None:
                await self._dismissing

    def drain(self) -> None:
        """Let every worker finish what is in flight and leave."""
        for slot in self.slots:
            slot.drain()
        for each in self._listening:
            each.close()
        self._dismissing = asyncio.ensure_future(self.crew.dismiss())  # it holds the sockets, too

    def kill(self) -> None:
        """End every process at once."""
        for slot in self.slots:
            slot.kill()

    def next_config(self, snapshot: Snapshot) -> Config:
        """Return `snapshot` under a revision that was never used."""
        self._revisions += 1
        return Config(snapshot, self._revisions)

    async def _watch(self) -> None:
        before = time.monotonic()
        while True:
            await asyncio.sleep(_WATCH_S)
            now = time.monotonic()
            held_up, before = now - before > _HELD_UP_S, now
            for name, process in self._processes():
                if held_up:  # this process itself: whatever they said has not been read yet
                    process.heard_at = now
                elif process.silent_for(now) > self.config.snapshot.edge.worker_silence_s:
                    self._end(name, process, now)
            self.crew.dials.repeat()
            if self.config.snapshot.edge.standby and all(slot.state is SlotState.READY for slot in self.slots):
                self.crew.refill(self.config)

    def _processes(self) -> Iterator[tuple[str, WorkerProcess]]:
        for slot in self.slots:
            yield from ((f"worker {slot.index}", process) for process in slot.processes)
        if self.crew.waiting is not None:
            yield "the worker that stands by", self.crew.waiting

    def _end(self, name: str, process: WorkerProcess, now: float) -> None:
        self._say(f"{name} was silent for {process.silent_for(now):.1f} s and is ended")
        self.silenced += 1
        process.kill()
