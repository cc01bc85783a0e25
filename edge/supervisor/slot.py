"""One worker slot: its place among the listening sockets, the process that serves it now, and the next one."""

import asyncio
import contextlib
import time
from collections.abc import Callable
from enum import StrEnum
from typing import Final

from edge.supervisor.backoff import CrashLoop
from edge.supervisor.config import Config
from edge.supervisor.crew import Crew
from edge.supervisor.process import WorkerProcess, ending

DRAIN_MARGIN_S: Final = 2.0
READY_MARGIN_S: Final = 30.0
_STOPPING: Final = "the edge stops"


class SlotState(StrEnum):
    """Where a slot's worker is in its life."""

    STARTING = "starting"
    READY = "ready"
    DRAINING = "draining"
    BACKING_OFF = "backing_off"
    STOPPED = "stopped"


class Slot:
    """Keeps a worker running until it is told to drain.

    `say` gets one plain line for every death; `on_ready` is called whenever a worker begins to serve.
    """

    def __init__(
        self, index: int, crew: Crew, config: Config, *, say: Callable[[str], None], on_ready: Callable[[], None]
    ) -> None:
        self.index = index
        self.config = config
        self.restarts = 0
        self.process: WorkerProcess | None = None
        self._crew = crew
        self._say = say
        self._on_ready = on_ready
        self._crash_loop = CrashLoop()
        self._leaving: dict[WorkerProcess, asyncio.Task[None]] = {}
        self._drain = asyncio.Event()
        self._hurry = asyncio.Event()
        self._swapped = asyncio.Event()
        self._resting = self._stopped = False

    def __repr__(self) -> str:
        return f"Slot({self.index}, {self.state}, pid {self.pid})"

    @property
    def state(self) -> SlotState:
        """Return where it is."""
        if self._stopped:
            return SlotState.STOPPED
        if self._resting:
            return SlotState.BACKING_OFF
        if self._drain.is_set():
            return SlotState.DRAINING
        ready = self.process is not None and self.process.ready.is_set()
        return SlotState.READY if ready else SlotState.STARTING

    @property
    def pid(self) -> int | None:
        """Return the process that serves."""
        return None if self.process is None else self.process.pid

    @property
    def revision(self) -> int:
        """Return the revision of the configuration that it serves, or is about to."""
        return (self.config if self.process is None else self.process.config).revision

    @property
    def processes(self) -> tuple[WorkerProcess, ...]:
        """Return every process of this slot: the one that serves, and those that leave."""
        return (*self._leaving, *(() if self.process is None else (self.process,)))

    async def run(self) -> None:
        """Run worker after worker until drained."""
        while not self._drain.is_set():
            began, died = await self._run_process()
            if self._drain.is_set():
                break
            if self._hurry.is_set():  # it was ended to start anew
                self._hurry.clear()
                continue
            delay_s = self._crash_loop.delay_s(time.monotonic() - began)
            self.restarts += 1
            self._say(f"worker {self.index} {died}; it is started again in {delay_s:g} s")
            self._resting = True
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._hurry.wait(), delay_s)
            self._hurry.clear()
            self._resting = False
        await asyncio.gather(*self._leaving.values())
        self._stopped = True

    def drain(self) -> None:
        """Let the worker finish what is in flight and leave; start no other."""
        self._drain.set()
        self._hurry.set()
        if self.process is not None:
            self.process.drain()

    def kill(self) -> None:
        """End its processes at once."""
        for process in self.processes:
            process.kill()

    def start_anew(self, config: Config) -> None:
        """Start a worker on `config` without delay, in the place of one that does not serve."""
        self.config = config
        self._hurry.set()
        if self.process is not None:
            self.process.kill()

    async def move_to(self, config: Config) -> str:
        """Serve `config` with a new process; return why the one that serves could not be replaced, or nothing."""
        while not self._drain.is_set() and self.state is SlotState.READY:
            before = self.process
            problem = await self._replace(config)
            if not problem or self.process is before:
                return problem  # else it has ended meanwhile, and who follows it serves what it did
        if self._drain.is_set():
            return f"worker {self.index}: {_STOPPING}"
        self.start_anew(config)
        return ""

    async def _replace(self, config: Config) -> str:
        """Start a worker on `config` beside the one that serves, and let that one leave once the new one is ready.

        Return why that did not work, or nothing; the old one then goes on.
        """
        before, patience_s = self.process, config.snapshot.services.kms.start_patience_s + READY_MARGIN_S
        try:
            process = await self._crew.take(config)
        except OSError as error:
            return f"worker {self.index}: no process can be started: {error.strerror}"
        process.serve(self.index, self._on_ready)
        decided = [asyncio.ensure_future(event.wait()) for event in (process.ready, self._drain)]
        await asyncio.wait({*decided, process.ended}, timeout=patience_s, return_when=asyncio.FIRST_COMPLETED)
        for each in decided:
            each.cancel()
        problem = ""
        if self._drain.is_set():
            problem = _STOPPING
        elif process.ended.done():
            problem = f"the new one {ending(process.ended.result())}; its lines say why"
        elif not process.ready.is_set():
            problem = f"the new one was not ready in {patience_s:g} s"
        elif before is None or self.process is not before:
            problem = "the old one has ended meanwhile"
        if problem:
            process.kill()
            await process.ended
            return f"worker {self.index}: {problem}"
        self.process, self.config = process, config
        self._swapped.set()
        if before is not None:
            self._leaving[before] = asyncio.create_task(self._see_off(before), name=f"leaving-{before.pid}")
        return ""

    async def _see_off(self, process: WorkerProcess) -> None:
        process.drain(handover=True)
        drain_s = self.config.snapshot.timeouts.drain_s + DRAIN_MARGIN_S
        await asyncio.wait({process.ended}, timeout=drain_s)
        process.kill()
        await process.ended
        del self._leaving[process]

    async def _run_process(self) -> tuple[float, str]:
        """Run one process, and those that replace it; return when the last was started and how it ended."""
        began = time.monotonic()
        try:
            process = await self._crew.take(self.config)
        except OSError as error:
            return began, f"cannot be started: {error.strerror}"
        if self._drain.is_set() or process.config is not self.config:  # meanwhile: another is started, if any
            process.kill()
            await process.ended
            self._hurry.set()
            return began, ""
        self._hurry.clear()
        self.process = process
        process.serve(self.index, self._on_ready)
        process = await self._last_to_serve()
        self.process = None
        return process.serving_since, ending(process.ended.result())

    async def _last_to_serve(self) -> WorkerProcess:
        """Wait for the end of the process that serves, whichever it is by then."""
        while True:
            process = self.process
            if process is None:
                raise AssertionError("a slot without a process")
            self._swapped.clear()
            swapped = asyncio.ensure_future(self._swapped.wait())
            await asyncio.wait({swapped, process.ended}, return_when=asyncio.FIRST_COMPLETED)
            swapped.cancel()
            if process is self.process:
                return process
