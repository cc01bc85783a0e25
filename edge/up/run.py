"""Starts the parts wave by wave, keeps them alive, stops them in reverse order."""

import asyncio
import contextlib
import os
import signal
import socket
import time
from collections.abc import Callable, Iterable
from typing import Any, Final

from edge.control.values import Address, parse_address
from edge.supervisor.backoff import CrashLoop
from edge.supervisor.sockets import cannot_listen
from edge.supervisor.terminal import hung_up
from edge.up.child import Child, Ended, start
from edge.up.stack import Part, Settings

READY_TIMEOUT_S: Final = 40.0
STOP_TIMEOUT_S: Final = 8.0

_STOP: Final = (signal.SIGINT, signal.SIGTERM)
_PASSED_ON: Final = (signal.SIGHUP, signal.SIGUSR2)

EXIT_STOPPED: Final = 0
EXIT_FAILED: Final = 1
EXIT_CANNOT_LISTEN: Final = 2

Say = Callable[[str, str], None]
"""Gets a part's name and one line; the name is empty for what `edge up` says itself."""


class Running:
    """One part: its child now, its real address, and how often it was restarted."""

    def __init__(self, part: Part) -> None:
        self.part = part
        self.child: Child | None = None
        self.ready = self.stopping = False
        self.crash_loop = CrashLoop()

    def __repr__(self) -> str:
        return f"Running({self.part.name}, {self.child!r})"


class Up:
    """The whole system. `on_ready` is called once, when everything serves, with the addresses by name.

    `tls` says whether devices speak TLS to the edge's address; `dev_ca` is where `edge dev-certs` puts its CA.
    """

    def __init__(self, settings: Settings, parts: Iterable[Part], say: Say, on_ready: Callable[["Up"], None]) -> None:
        self._settings = settings
        self._say = say
        self._on_ready = on_ready
        self.parts = [Running(part) for part in parts]
        self.addresses: dict[str, Address] = {}
        listener = settings.snapshot.listener
        self.tls = bool(listener.tls.certificates) and listener.tls.address is None
        self.dev_ca = settings.var / "certs" / "ca.crt"
        self._stop = asyncio.Event()
        self._kill = asyncio.Event()

    async def run(self) -> int:
        """Run until a signal; return the exit code."""
        if self._taken_ports():
            return EXIT_CANNOT_LISTEN
        loop = asyncio.get_running_loop()
        for number in _STOP:
            loop.add_signal_handler(number, self._signalled)
        for number in _PASSED_ON:
            loop.add_signal_handler(number, self._pass_on, number)
        watching: list[asyncio.Task[None]] = []
        try:
            for wave in sorted({running.part.wave for running in self.parts}):
                of_wave = [running for running in self.parts if running.part.wave == wave]
                if not all(await asyncio.gather(*(self._start_first(running, watching) for running in of_wave))):
                    return EXIT_STOPPED if self._stop.is_set() else EXIT_FAILED
            self._on_ready(self)
            await self._stop.wait()
            return EXIT_STOPPED
        finally:
            await self._stop_all()
            await asyncio.gather(*watching)
            for number in (*_STOP, *_PASSED_ON):
                loop.remove_signal_handler(number)

    def _signalled(self) -> None:
        if self._stop.is_set():
            self._kill.set()
        else:
            self._say("", "stopping")
        self._stop.set()

    def _pass_on(self, number: signal.Signals) -> None:
        """Hand a signal that changes the edge to it, once it serves; a terminal that was closed stops everything."""
        if number is signal.SIGHUP and hung_up():
            self._signalled()
            return
        for running in self.parts:
            if running.part.name == "edge" and running.ready and running.child is not None:
                running.child.signal(number)

    def _taken_ports(self) -> bool:
        """Say which ports are taken, all at once, before anything is started."""
        wanted = [(running.part.name, running.part.listen) for running in self.parts]
        if not self._settings.ephemeral:
            wanted.append(("admin", self._settings.snapshot.admin.address))
        problems = [(name, problem) for name, address in wanted if (problem := _taken(address))]
        for name, problem in problems:
            self._say("", f"{name} cannot start: {problem}")
        if problems:
            self._say("", "nothing was started; `edge up --ephemeral` takes free ports")
        return bool(problems)

    async def _start_first(self, running: Running, watching: list[asyncio.Task[None]]) -> bool:
        """Start a part for the first time; False when it does not come up, which is said, or on a signal."""
        self.addresses[running.part.name] = running.part.listen
        ready = await self._start(running)
        stopped = asyncio.ensure_future(self._stop.wait())
        first: set[asyncio.Future[Any]] = {ready, stopped}
        await asyncio.wait(first, timeout=READY_TIMEOUT_S, return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        watching.append(asyncio.create_task(self._watch(running), name=running.part.name))
        if not ready.done():
            ready.cancel()
            if not self._stop.is_set():
                self._say("", f"{running.part.name} is not ready after {READY_TIMEOUT_S:g} s; giving up")
            return False
        lines = ready.result()
        if not lines:
            running.stopping = True  # it is gone: its last lines, above, say why
            self._say("", f"{running.part.name} could not start; see its lines above")
            return False
        running.ready = True
        self.addresses[running.part.name] = parse_address(lines[0])
        if len(lines) > 1:
            self.addresses["admin"] = parse_address(lines[1])
        return True

    async def _start(self, running: Running) -> "asyncio.Future[list[str]]":
        name = running.part.name
        command = running.part.command(self._settings, self.addresses)
        running.child, ready = await start(command, lambda line: self._say(name, line))
        return ready

    async def _watch(self, running: Running) -> None:
        """Start a part again whenever it dies, on the address it had."""
        while running.child is not None:
            started = time.monotonic()
            ended = await running.child.ended()
            if running.stopping or self._stop.is_set():
                return
            await self._after_death(running, ended, time.monotonic() - started)
            if self._stop.is_set():
                return
            await self._start(running)

    async def _after_death(self, running: Running, ended: Ended, lived_s: float) -> None:
        delay_s = running.crash_loop.delay_s(lived_s)
        self._say("", f"{running.part.name} {ended}; it is started again in {delay_s:g} s")
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stop.wait(), delay_s)

    async def _stop_all(self) -> None:
        """Stop the edge first, so that it drains while what it needs is there, then the others, last one first."""
        self._stop.set()
        drain_s = self._settings.snapshot.timeouts.drain_s
        for running in reversed(self.parts):
            running.stopping = True
            if running.child is not None:
                margin_s = drain_s if running.part.name == "edge" else 0.0
                await self._stop_one(running.child, running.part.name, STOP_TIMEOUT_S + margin_s)

    async def _stop_one(self, child: Child, name: str, timeout_s: float) -> None:
        child.signal(signal.SIGTERM)
        ended = asyncio.ensure_future(child.ended())
        killed = asyncio.ensure_future(self._kill.wait())
        first: set[asyncio.Future[Any]] = {ended, killed}
        await asyncio.wait(first, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        killed.cancel()
        if not ended.done():
            self._say("", f"{name} does not stop and is ended")
            child.signal(signal.SIGKILL)
            await ended


def _taken(address: Address) -> str:
    """Return why `address` cannot be listened on, or nothing."""
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((address.host, address.port))
    except OSError as error:
        return cannot_listen(address.host, address.port, error).text
    return ""


def write_ready(up: Up, fd: int) -> None:
    """Write one line per part to `fd`, `NAME HOST:PORT PID`, and close it."""
    pids = {running.part.name: running.child.pid for running in up.parts if running.child is not None}
    pids["admin"] = pids["edge"]
    with os.fdopen(fd, "w", encoding="ascii") as ready:
        ready.writelines(f"{name} {address} {pids[name]}\n" for name, address in up.addresses.items())
