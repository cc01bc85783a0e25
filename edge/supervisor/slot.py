"""One worker slot: its socket, the process that serves it now, and the next one when that dies."""

import asyncio
import contextlib
import socket
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from pydantic import ValidationError

from edge.supervisor.backoff import CrashLoop
from edge.telemetry.control_channel import ControlChannel, Message, open_channel
from edge.telemetry.snapshot import WorkerValues, read_snapshot

_LAST_WORDS_S: Final = 1.0


class SlotState(StrEnum):
    """Where a slot's worker is in its life."""

    STARTING = "starting"
    READY = "ready"
    DRAINING = "draining"
    BACKING_OFF = "backing_off"
    STOPPED = "stopped"


@dataclass(slots=True, frozen=True)
class WorkerCommand:
    """How a worker is started: `python -m MODULE --slot N --listen-fd FD --control-fd FD ARGUMENTS`."""

    module: str
    arguments: tuple[str, ...] = ()

    def line(self, slot: int, listen_fd: int, control_fd: int) -> Sequence[str]:
        """Return the argument vector."""
        fds = ("--listen-fd", str(listen_fd), "--control-fd", str(control_fd))
        return (sys.executable, "-P", "-m", self.module, "--slot", str(slot), *fds, *self.arguments)


class Slot:
    """Keeps a worker running on one listening socket until it is told to drain.

    `say` gets one plain line for every death; `values` gets the worker's metrics; `on_ready` is called whenever a
    worker begins to serve.
    """

    def __init__(
        self,
        index: int,
        listening: socket.socket,
        command: WorkerCommand,
        values: WorkerValues,
        *,
        say: Callable[[str], None],
        on_ready: Callable[[], None],
    ) -> None:
        self.index = index
        self.state = SlotState.STARTING
        self.restarts = 0
        self.pid: int | None = None
        self._listening = listening
        self._command = command
        self._values = values
        self._say = say
        self._on_ready = on_ready
        self._crash_loop = CrashLoop()
        self._process: asyncio.subprocess.Process | None = None
        self._channel: ControlChannel | None = None
        self._drain = asyncio.Event()
        self._asked: dict[int, asyncio.Future[None]] = {}  # report id → done when the answer is in

    def __repr__(self) -> str:
        return f"Slot({self.index}, {self.state}, pid {self.pid})"

    async def run(self) -> None:
        """Run worker after worker until drained."""
        while not self._drain.is_set():
            started = time.monotonic()
            code = await self._run_worker()
            if self._drain.is_set():
                break
            delay_s = self._crash_loop.delay_s(time.monotonic() - started)
            self.restarts += 1
            self.state = SlotState.BACKING_OFF
            self._say(f"worker {self.index} {_ending(code)}; it is started again in {delay_s:g} s")
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._drain.wait(), delay_s)
        self.state = SlotState.STOPPED

    def drain(self) -> None:
        """Let the worker finish what is in flight and leave; start no other."""
        self._drain.set()
        self._listening.close()
        if self.state in {SlotState.READY, SlotState.STARTING}:
            self.state = SlotState.DRAINING
            if self._channel is not None:
                self._channel.send({"type": "drain"})

    def kill(self) -> None:
        """End the worker at once."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()

    async def report(self, report_id: int) -> None:
        """Ask for the metrics of now and wait until they are in; returns at once when there is no worker."""
        if self._channel is not None and self._channel.send({"type": "report", "id": report_id}):
            self._asked[report_id] = asyncio.get_running_loop().create_future()
            try:
                await self._asked[report_id]
            finally:
                del self._asked[report_id]

    async def _run_worker(self) -> int:
        self.state = SlotState.STARTING
        ours, theirs = socket.socketpair()
        closed = asyncio.Event()
        with theirs:
            self._channel = await open_channel(ours, self._message, closed.set)
            if self._drain.is_set():  # meanwhile; the listening socket is closed, too
                self._channel.close()
                return 0
            fds = (self._listening.fileno(), theirs.fileno())
            # A session of its own: Ctrl-C reaches the supervisor alone, which drains its workers in order.
            self._process = await asyncio.create_subprocess_exec(
                *self._command.line(self.index, *fds), pass_fds=fds, start_new_session=True
            )
        self.pid = self._process.pid
        if self._drain.is_set():  # while the process was being made
            self.state = SlotState.DRAINING
            self._channel.send({"type": "drain"})
        code = await self._process.wait()
        with contextlib.suppress(TimeoutError):  # read the last metrics, which may still be on their way
            await asyncio.wait_for(closed.wait(), _LAST_WORDS_S)
        self._channel.close()
        self._channel = self._process = self.pid = None
        self._values.retire(self.index)
        for asked in list(self._asked):
            self._answered(asked)
        return code

    def _message(self, message: Message) -> None:
        if message["type"] == "ready" and self.state is SlotState.STARTING:
            self.state = SlotState.READY
            self._on_ready()
        elif message["type"] == "metrics":
            try:
                self._values.update(self.index, read_snapshot(message.get("snapshot")))
            except ValidationError:
                self._say(f"worker {self.index} sent metrics that cannot be read")
            self._answered(message.get("id"))

    def _answered(self, report_id: object) -> None:
        asked = self._asked.get(report_id) if isinstance(report_id, int) else None
        if asked is not None and not asked.done():
            asked.set_result(None)


def _ending(code: int) -> str:
    return f"was ended by signal {-code}" if code < 0 else f"ended with exit code {code}"
