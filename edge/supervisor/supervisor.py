"""The supervisor process: worker slots, admin listener, signals. It relays nothing itself."""

import asyncio
import os
import signal
import socket
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from edge.admin.health import Health, Status, WorkerHealth
from edge.admin.server import AdminServer
from edge.supervisor.slot import Slot, SlotState, WorkerCommand
from edge.supervisor.sockets import CannotListen, cannot_listen, listening_sockets
from edge.telemetry.snapshot import Labels, Merged, Snapshot, WorkerValues

_REPORT_TIMEOUT_S: Final = 0.5
_DRAIN_MARGIN_S: Final = 2.0
_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)

EXIT_STOPPED: Final = 0
EXIT_CANNOT_LISTEN: Final = 2


@dataclass(slots=True, frozen=True)
class Plan:
    """What to supervise. Addresses are (IP, port), port 0 asks for any; `workers` 0 means one per usable core.

    `ready_fd`: once a worker serves, the listener's and the admin listener's HOST:PORT are written there, a line each.
    """

    listen: tuple[str, int]
    admin: tuple[str, int]
    backlog: int
    workers: int
    drain_s: float
    command: WorkerCommand
    ready_fd: int | None = None


class Supervisor:
    """Runs one plan. `say` gets plain lines for the operator."""

    def __init__(self, plan: Plan, say: Callable[[str], None] | None = None) -> None:
        self._plan = plan
        self._say = say or _to_stderr
        self._slots: list[Slot] = []
        self._values = WorkerValues()
        self._admin = AdminServer(self.merged, self.health)
        self._stopping = asyncio.Event()
        self._announced = False
        self._reports = 0
        self.listening: tuple[str, int] = plan.listen
        self.admin_listening: tuple[str, int] = plan.admin
        if plan.ready_fd is not None:
            os.set_inheritable(plan.ready_fd, False)  # a worker that held it would keep it open

    async def run(self) -> int:
        """Serve until a signal or `stop`; return the exit code."""
        opened = await self._open()
        if isinstance(opened, CannotListen):
            self._say(f"the edge cannot start: {opened.text}")
            return EXIT_CANNOT_LISTEN
        for index, one in enumerate(opened):
            slot = Slot(index, one, self._plan.command, self._values, say=self._say, on_ready=self._announce)
            self._slots.append(slot)
        running = [asyncio.create_task(slot.run(), name=f"slot-{slot.index}") for slot in self._slots]
        loop = asyncio.get_running_loop()
        for number in _SIGNALS:
            loop.add_signal_handler(number, self._signalled)
        try:
            stopping = asyncio.create_task(self._stopping.wait())
            await asyncio.wait({stopping, *running}, return_when=asyncio.FIRST_COMPLETED)
            await self._drain(running)
        finally:
            for number in _SIGNALS:
                loop.remove_signal_handler(number)
            await self._admin.close()
        return EXIT_STOPPED

    def stop(self) -> None:
        """Drain and leave, as on SIGTERM."""
        self._stopping.set()

    def health(self) -> Health:
        """Return the state of every slot and of the whole."""
        workers = tuple(WorkerHealth(slot.index, slot.state, slot.pid, slot.restarts) for slot in self._slots)
        if self._stopping.is_set():
            status = Status.DRAINING
        else:
            ready = any(slot.state is SlotState.READY for slot in self._slots)
            status = Status.READY if ready else Status.STARTING
        return Health(status, workers)

    async def merged(self) -> Merged:
        """Return the metrics of all workers as of now; of one that does not answer, its last ones."""
        self._reports += 1
        asked = [asyncio.ensure_future(slot.report(self._reports)) for slot in self._slots]
        if asked:
            _, late = await asyncio.wait(asked, timeout=_REPORT_TIMEOUT_S)
            for one in late:
                one.cancel()
        return self._values.merged([self._own_values()])

    async def _open(self) -> list[socket.socket] | CannotListen:
        host, port = self._plan.listen
        workers = self._plan.workers or len(os.sched_getaffinity(0))
        opened = listening_sockets(host, port, backlog=self._plan.backlog, count=workers)
        if isinstance(opened, CannotListen):
            return opened
        self.listening = opened[0].getsockname()[:2]
        try:
            self.admin_listening = await self._admin.start(*self._plan.admin)
        except OSError as error:
            for one in opened:
                one.close()
            return cannot_listen(*self._plan.admin, error)
        self._say(f"edge listening on {_text(self.listening)} with {workers} workers")
        self._say(f"admin listening on {_text(self.admin_listening)}")
        return opened

    async def _drain(self, running: list[asyncio.Task[None]]) -> None:
        self._stopping.set()
        for slot in self._slots:
            slot.drain()
        _, late = await asyncio.wait(running, timeout=self._plan.drain_s + _DRAIN_MARGIN_S)
        if late:
            self._say(f"{len(late)} workers did not leave in {self._plan.drain_s:g} s and are ended")
        self._kill()
        await asyncio.gather(*running)

    def _signalled(self) -> None:
        if self._stopping.is_set():
            self._say("second signal: workers are ended at once")
            self._kill()
        self.stop()

    def _kill(self) -> None:
        for slot in self._slots:
            slot.kill()

    def _announce(self) -> None:
        if self._announced or self._plan.ready_fd is None:
            return
        self._announced = True
        with os.fdopen(self._plan.ready_fd, "w", encoding="ascii") as ready:
            ready.write(f"{_text(self.listening)}\n{_text(self.admin_listening)}\n")

    def _own_values(self) -> Snapshot:
        states: Counter[SlotState] = Counter(slot.state for slot in self._slots)
        workers: list[tuple[Labels, float]] = [((state.value,), states[state]) for state in SlotState]
        restarts = sum(slot.restarts for slot in self._slots)
        return Snapshot(values={"edge_workers": workers, "edge_worker_restarts_total": [((), restarts)]}, histograms={})


def _text(address: tuple[str, int]) -> str:
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _to_stderr(line: str) -> None:
    sys.stderr.write(line + "\n")
    sys.stderr.flush()
