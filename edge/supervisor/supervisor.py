"""The supervisor process: worker slots, admin listener, signals. It relays nothing itself."""

import asyncio
import os
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from edge.admin.dials import DialApi
from edge.admin.health import Health
from edge.admin.server import AdminServer
from edge.control.dial_answer import Agreement
from edge.control.errors import ConfigErrors
from edge.control.snapshot import Snapshot as Configuration
from edge.control.values import Address
from edge.supervisor import rollout
from edge.supervisor.config import Outcome, Result, invalid
from edge.supervisor.control_socket import ControlSocket
from edge.supervisor.cores import usable_cores
from edge.supervisor.dial_board import DialBoard
from edge.supervisor.dial_commands import dial_command
from edge.supervisor.dial_desk import DialDesk
from edge.supervisor.fleet import Fleet
from edge.supervisor.process import WorkerCommand
from edge.supervisor.report import Report
from edge.supervisor.slot import DRAIN_MARGIN_S, SlotState
from edge.supervisor.sockets import CannotListen, cannot_listen, listening_sockets
from edge.supervisor.systemd import READY, STOPPING, Notify, notifier, reloading
from edge.supervisor.terminal import hung_up
from edge.telemetry.events import event_stream
from edge.telemetry.snapshot import Merged, WorkerValues

_STOP: Final = (signal.SIGTERM, signal.SIGINT)
_CHANGES: Final = {"reload": rollout.reload, "restart": rollout.restart}
_NOT_NOW: Final = Outcome(Result.WORKER_REFUSED, "the edge cannot do that, or not now")
_BY_SIGNAL: Final = {signal.SIGHUP: "reload", signal.SIGUSR2: "restart"}

EXIT_STOPPED: Final = 0
EXIT_CANNOT_LISTEN: Final = 2
EXIT_BAD_STATE: Final = 2


@dataclass(slots=True, frozen=True, weakref_slot=True, eq=False)
class Plan:
    """What to supervise. `load` reads the configuration as it is on disk by now, as `snapshot` was read.

    `ready_fd`: once a worker serves, the listener's and the admin listener's HOST:PORT are written there, a line each,
    and that of the TLS listener if it has an address of its own.
    """

    snapshot: Configuration
    load: Callable[[], Configuration | ConfigErrors]
    command: WorkerCommand
    ready_fd: int | None = None


class Supervisor:
    """Runs one plan. `say` gets plain lines for the operator, `notify` states for systemd."""

    def __init__(self, plan: Plan, say: Callable[[str], None] | None = None, notify: Notify | None = None) -> None:
        self._plan = plan
        self._say = say or _to_stderr
        self._notify = notify or notifier({})
        self._fleet: Fleet | None = None
        self._values = WorkerValues()
        self._report = Report(self._values, _CHANGES)
        self._board = DialBoard()
        self._dials = DialDesk(plan.snapshot, self._board, self._agreement, self._say)
        self._admin = AdminServer(self.merged, self.health, DialApi(self._dials, self._dials.operators).routes())
        self._control = ControlSocket(plan.snapshot.var, self._command)
        self._changing = asyncio.Lock()
        self._tasks: set[asyncio.Task[Outcome]] = set()
        self._stopping = asyncio.Event()
        self._announced = False
        self.listening = _pair(plan.snapshot.listener.address)
        beside = plan.snapshot.listener.tls.address
        self.tls_listening = None if beside is None else _pair(beside)
        self.admin_listening = _pair(plan.snapshot.admin.address)
        if plan.ready_fd is not None:
            os.set_inheritable(plan.ready_fd, False)  # a worker that held it would keep it open

    async def run(self) -> int:
        """Serve until a signal or `stop`; return the exit code."""
        problem = await self._dials.open()
        if problem:
            self._say(f"the edge cannot start: {problem}")
            return EXIT_BAD_STATE
        opened = await self._open()
        if isinstance(opened, CannotListen):
            self._say(f"the edge cannot start: {opened.text}")
            return EXIT_CANNOT_LISTEN
        self._fleet = self._report.fleet = fleet = Fleet(
            self._plan.snapshot,
            self._plan.command,
            opened,
            self._values,
            say=self._say,
            on_ready=self._announce,
            dials=self._board,
        )
        running = asyncio.create_task(fleet.run(), name="fleet")
        loop = asyncio.get_running_loop()
        for number in _STOP:
            loop.add_signal_handler(number, self._signalled)
        for number, kind in _BY_SIGNAL.items():
            loop.add_signal_handler(number, self._change_soon, kind)
        try:
            stopping = asyncio.create_task(self._stopping.wait())
            await asyncio.wait({stopping, running}, return_when=asyncio.FIRST_COMPLETED)
            await self._drain(fleet, running)
        finally:
            for number in (*_STOP, *_BY_SIGNAL):
                loop.remove_signal_handler(number)
            self._control.close()
            await self._admin.close()
        return EXIT_STOPPED

    def stop(self) -> None:
        """Drain and leave, as on SIGTERM."""
        self._stopping.set()

    async def change(self, kind: str) -> Outcome:
        """Carry out `reload` or `restart` with the configuration as it is on disk; one at a time."""
        roll_out, fleet = _CHANGES.get(kind), self._fleet
        if roll_out is None or fleet is None or self._stopping.is_set():
            return _NOT_NOW
        async with self._changing:
            with self._saying_that_it_reloads():
                loaded = await asyncio.to_thread(self._plan.load)
                if self._stopping.is_set():  # meanwhile: workers that finish what they have are left alone
                    return _NOT_NOW
                if isinstance(loaded, ConfigErrors):
                    outcome = invalid(loaded)
                else:
                    outcome = await roll_out(fleet, loaded, self._dials)
        self._report.changed(kind, outcome.result)
        for line in outcome.text.splitlines():
            self._say(f"{kind}: {line}")
        return outcome

    def health(self) -> Health:
        """Return the state of every slot and of the whole."""
        return self._report.health(stopping=self._stopping.is_set())

    async def merged(self) -> Merged:
        """Return the metrics of all workers as of now; of one that does not answer, its last ones."""
        return await self._report.merged(self._dials.values())

    async def _open(self) -> list[socket.socket] | CannotListen:
        snapshot, (host, port) = self._plan.snapshot, self.listening
        workers = snapshot.edge.workers or usable_cores()
        opened = listening_sockets(host, port, backlog=snapshot.listener.backlog, count=workers)
        if isinstance(opened, CannotListen):
            return opened
        self.listening = opened[0].getsockname()[:2]
        if self.tls_listening is not None:
            beside = listening_sockets(*self.tls_listening, backlog=snapshot.listener.backlog, count=workers)
            if isinstance(beside, CannotListen):
                for one in opened:
                    one.close()
                return beside
            self.tls_listening = beside[0].getsockname()[:2]
            opened += beside
        try:
            self.admin_listening = await self._admin.start(*self.admin_listening)
        except OSError as error:
            for one in opened:
                one.close()
            return cannot_listen(*self.admin_listening, error)
        self._say(f"edge listening on {_text(self.listening)} with {workers} workers")
        if self.tls_listening is not None:
            self._say(f"TLS listening on {_text(self.tls_listening)}")
        self._say(f"admin listening on {_text(self.admin_listening)}")
        problem = await self._control.open()
        if problem:
            self._say(problem)
        return opened

    async def _drain(self, fleet: Fleet, running: asyncio.Task[None]) -> None:
        self._stopping.set()
        self._notify(STOPPING)
        self._dials.close()
        fleet.drain()
        drain_s = fleet.config.snapshot.timeouts.drain_s
        await asyncio.wait({running}, timeout=drain_s + DRAIN_MARGIN_S)
        late = sum(slot.state is not SlotState.STOPPED for slot in fleet.slots)
        if late:
            self._say(f"{late} workers did not leave in {drain_s:g} s and are ended")
        fleet.kill()
        await running
        async with self._changing:  # one that was broken off ends the process that it started
            pass

    async def _command(self, command: str, who: str) -> Outcome:
        """Carry out what came over the control socket."""
        if command.startswith("{"):
            return await dial_command(self._dials, command, who)
        return await self.change(command)

    def _agreement(self, revision: int) -> Agreement:
        """Count the slots whose worker decides by `revision` of the dials, or a later one."""
        slots = [] if self._fleet is None else self._fleet.slots
        processes = [slot.process for slot in slots if slot.process is not None and slot.state is SlotState.READY]
        return Agreement(revision, sum(process.dials_served >= revision for process in processes), len(slots))

    def _change_soon(self, kind: str) -> None:
        if kind == "reload" and hung_up():
            self.stop()
            return
        task = asyncio.ensure_future(self.change(kind))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _signalled(self) -> None:
        if self._stopping.is_set():
            self._say("second signal: workers are ended at once")
            if self._fleet is not None:
                self._fleet.kill()
        self.stop()

    def _announce(self) -> None:
        if self._announced:
            return
        self._announced = True
        self._notify_while_serving(READY)
        if self._plan.ready_fd is None:
            return
        with os.fdopen(self._plan.ready_fd, "w", encoding="ascii") as ready:
            ready.write(f"{_text(self.listening)}\n{_text(self.admin_listening)}\n")
            if self.tls_listening is not None:
                ready.write(f"{_text(self.tls_listening)}\n")

    @contextmanager
    def _saying_that_it_reloads(self) -> Iterator[None]:
        self._notify_while_serving(reloading())
        try:
            yield
        finally:
            self._notify_while_serving(READY)

    def _notify_while_serving(self, state: str) -> None:
        if self._announced and not self._stopping.is_set():
            self._notify(state)


def _pair(address: Address) -> tuple[str, int]:
    return address.host, address.port


def _text(address: tuple[str, int]) -> str:
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _to_stderr(line: str) -> None:
    stream = event_stream()
    stream.write(line + "\n")
    stream.flush()
