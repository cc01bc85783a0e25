"""`edge run` as a real process: supervisor and workers on the repository's config, or a copy that a test may spoil.

    async with running_edge(kms, directory, origin) as edge:
        edge.address, edge.process.pid, (await edge.health())["workers"]

`Load` keeps requests on their way while something happens to it, and says which of them failed, and how.
"""

import asyncio
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import psutil

from edge.supervisor.config import Outcome
from edge.supervisor.control_socket import ask
from tests.nursery import bear
from tests.processes import REPOSITORY, Process, all_api_at, dialled, eventually, free_port, ran
from tests.services.kms_calls import Kms

_START_S = 40.0
ALONE = "edge.standby=false"
"""No process stands by: who takes a dead worker's place has to start first. For tests that need none, it is quicker."""
_HELD_UP_S = 1.0
"""A client that the machine holds up for so long may find its idle connection closed by an edge that drains."""


@dataclass(slots=True)
class Edge:
    """A supervisor with its workers."""

    process: Process
    address: tuple[str, int]
    admin: tuple[str, int]
    config: Path
    var: Path
    log: Path
    tls: tuple[str, int] | None = None

    async def health(self) -> dict[str, Any]:
        """Return what /health says."""
        async with aiohttp.ClientSession() as session, session.get(self._admin("/health")) as answer:
            health: dict[str, Any] = await answer.json()
            return health

    async def metric(self, series: str) -> float | None:
        """Return the value of one series, written as in the exposition; None when it is not there."""
        async with aiohttp.ClientSession() as session, session.get(self._admin("/metrics")) as answer:
            lines = (await answer.text()).splitlines()
        return next((float(line.rpartition(" ")[2]) for line in lines if line.startswith(f"{series} ")), None)

    async def pids(self) -> list[int]:
        """Return the worker processes in the order of their slots, once all of them serve."""
        found: list[int] = []

        async def all_serve() -> bool:
            workers = (await self.health())["workers"]
            found[:] = [worker["pid"] for worker in workers]
            return bool(workers) and all(worker["state"] == "ready" for worker in workers)

        await eventually(all_serve, "all workers serve")
        return found

    async def standby(self) -> None:
        """Wait until a process stands by."""

        async def stands_by() -> bool:
            return await self.metric('edge_workers{state="standby"}') == 1.0

        await eventually(stands_by, "a process stands by")

    async def command(self, name: str) -> tuple[int, str]:
        """Run `edge reload` or `edge restart`; return the exit code and what it printed."""
        return await ran("edge.cli", name, "--var", str(self.var))

    async def reload(self) -> Outcome:
        """Reload as the command does, without the time that a process takes to start."""
        outcome = await asyncio.to_thread(ask, self.var, "reload")
        assert outcome is not None
        return outcome

    def edit(self, name: str, old: str, new: str) -> None:
        """Replace a text in a config file."""
        text = (self.config / name).read_text()
        assert old in text
        (self.config / name).write_text(text.replace(old, new))

    def _admin(self, path: str) -> str:
        return f"http://{self.admin[0]}:{self.admin[1]}{path}"


@asynccontextmanager
async def running_edge(
    kms: Kms, home: Path, origin: str, *overrides: str, workers: int = 2, var: Path | None = None
) -> AsyncIterator[Edge]:
    """Run `edge run` in `home` in front of `origin` (HOST:PORT), with a config directory of its own.

    Its state is in a directory of its own too, or in the `var` of an edge that has ended.
    """
    config = Path(tempfile.mkdtemp(dir=home)) / "config"
    shutil.copytree(REPOSITORY / "config", config)
    if var is None:
        var = Path(tempfile.mkdtemp(dir=home))
        (var / "secrets").symlink_to(kms.secrets)
    settings = (
        f"services.kms.url={kms.process.url}",
        f"services.cookie.url=http://127.0.0.1:{free_port()}",
        *all_api_at(origin),
        "listener.address=127.0.0.1:0",
        "admin.address=127.0.0.1:0",
        "access_log.path=off",
        f"edge.workers={workers}",
        *overrides,
    )
    readable, writable = os.pipe()
    line = ["run", "--config", str(config), "--var", str(var), "--ready-fd", str(writable)]
    line += [word for setting in settings for word in ("--set", setting)]
    with (var / "log").open("w+b") as log:
        try:
            popen = bear("edge.cli", line, log.fileno(), log.fileno(), [writable])
        finally:
            os.close(writable)
        process = Process(popen, log)
        try:
            with os.fdopen(readable) as ready:
                lines = await asyncio.wait_for(asyncio.to_thread(ready.read), _START_S)
            assert lines, process.output()
            addresses = [_address(text) for text in lines.split()]
            yield Edge(process, addresses[0], addresses[1], config, var, var / "log", *addresses[2:])
        finally:
            if popen.poll() is None:
                await _end(process)


async def _end(process: Process) -> None:
    workers = psutil.Process(process.pid).children()
    try:
        await process.stop()
    except subprocess.TimeoutExpired:
        for worker in workers:
            worker.kill()
        await process.kill()
        raise AssertionError(f"the edge ignored SIGTERM:\n{process.output()}") from None


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    return host, int(port)


@dataclass(slots=True)
class Load:
    """So many clients with a connection each, which ask one request after the other and open a new one when told to."""

    address: tuple[str, int]
    answered: int = 0
    closed_politely: int = 0
    failures: list[str] = field(default_factory=list)
    refused: int = 0
    connections: set[tuple[str, int]] = field(default_factory=set)
    _stop: asyncio.Event = field(default_factory=asyncio.Event)
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)
    pause_s: float = 0.002

    @asynccontextmanager
    async def of(self, clients: int) -> AsyncIterator["Load"]:
        """Keep the load on until the block ends, and every request of it has its answer."""
        self._tasks = [asyncio.create_task(self._client()) for _ in range(clients)]
        try:
            await self.more(clients)
            yield self
            await self.stop()
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def stop(self) -> None:
        """Ask nothing more and wait for the last answers."""
        self._stop.set()
        await asyncio.gather(*self._tasks)

    async def more(self, answers: int) -> None:
        """Wait until so many more requests were answered."""
        until = self.answered + answers

        async def came() -> bool:
            return self.answered >= until

        await eventually(came, f"{answers} more answers come; failures: {self.failures[:5]}")

    async def _client(self) -> None:
        while not self._stop.is_set():
            try:
                async with dialled(self.address) as (reader, writer):
                    await self._ask_on(reader, writer)
            except OSError:
                self.refused += 1
                await asyncio.sleep(0.01)

    async def _ask_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Send request after request on one connection until told to close it."""
        self.connections.add(writer.get_extra_info("sockname"))
        idle_s, goes_on = 0.0, True
        try:
            while goes_on and not self._stop.is_set():
                goes_on = await self._ask(reader, writer)
                answered_at = time.monotonic()
                await asyncio.sleep(self.pause_s)
                idle_s = time.monotonic() - answered_at
        except (OSError, EOFError) as error:
            if idle_s < _HELD_UP_S:
                self.failures.append(repr(error))

    async def _ask(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Send one request, read its answer; return whether the connection goes on."""
        writer.write(b"GET /echo HTTP/1.1\r\nHost: edge.test\r\n\r\n")
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        length = int(head.partition(b"content-length:")[2].partition(b"\r\n")[0])
        await reader.readexactly(length)
        if not head.startswith(b"http/1.1 200 "):
            self.failures.append(head.partition(b"\r\n")[0].decode())
        self.answered += 1
        politely = b"connection: close" in head
        self.closed_politely += politely
        return not politely


async def asked(address: tuple[str, int], path: bytes = b"/echo", *, close: bool = True) -> bytes:
    """Ask once on a connection of its own; return all that comes until the edge closes it."""
    line = b"Connection: close\r\n" if close else b""
    async with dialled(address) as (reader, writer):
        writer.write(b"GET %s HTTP/1.1\r\nHost: edge.test\r\n%s\r\n" % (path, line))
        return await reader.read()
