"""Start programs on their core, wait until they serve, read what they use, stop them."""

import asyncio
import os
import socket
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import psutil

from loadtest.bench.failure import BenchError

START_TIMEOUT_S = 20.0
STOP_TIMEOUT_S = 10.0
TAIL_LINES = 15


@dataclass(slots=True, frozen=True)
class Program:
    """A running program: its process, what it is called, where its output goes."""

    name: str
    process: Process
    log: Path

    def tree(self) -> list[psutil.Process]:
        """Return the process and all its descendants."""
        return _family(self.process.pid)

    def rss_mib(self) -> float:
        """Return the resident memory of the whole tree in MiB."""
        return sum(_each(self.tree(), lambda process: process.memory_info().rss)) / 2**20

    def cpu_s(self) -> float:
        """Return the processor time that the living tree has used, in seconds."""
        return sum(_each(self.tree(), lambda process: sum(process.cpu_times()[:2])))

    def cores(self) -> set[int]:
        """Return every core that some process of the tree may run on."""
        return {core for process in self.tree() for core in process.cpu_affinity() or []}

    def tail(self) -> str:
        """Return the last lines of its output."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-TAIL_LINES:])


@dataclass(slots=True, frozen=True)
class Seat:
    """Where a program runs: its core, its loopback port, its directory."""

    core: int
    port: int
    home: Path

    def write(self, name: str, text: str) -> Path:
        """Write a file that only this user can read, since it may hold a key, into the directory; return its path."""
        self.home.mkdir(parents=True, exist_ok=True)
        file = self.home / name
        file.touch(mode=0o600)
        file.write_text(text)
        return file


def core_idle_s(core: int) -> float:
    """Return how long a core has had nothing to do since the machine started, in seconds."""
    return psutil.cpu_times(percpu=True)[core].idle


def free_port() -> int:
    """Return a loopback port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@asynccontextmanager
async def running(
    name: str, core: int | Sequence[int], command: Sequence[str], logs: Path, env: Mapping[str, str] | None = None
) -> AsyncIterator[Program]:
    """Run `command` pinned to `core`, its output in a file under `logs`; stop it and its children on leaving.

    `core` may be several.
    """
    log = logs / f"{name.replace(' ', '_')}.log"
    with _opened(log) as output:
        process = await spawn(core, command, output, env)
    try:
        yield Program(name, process, log)
    finally:
        await stop(process)


async def spawn(
    core: int | Sequence[int], command: Sequence[str], output: IO[bytes] | int, env: Mapping[str, str] | None = None
) -> Process:
    """Start `command` pinned to a core or some, in a session of its own, so that Ctrl-C reaches the bench alone."""
    cores = str(core) if isinstance(core, int) else ",".join(map(str, core))
    pinned = (sys.executable, "-m", "loadtest.bench.pinned", cores, *command)
    environment = {**os.environ, **(env or {})}
    return await asyncio.create_subprocess_exec(
        *pinned, stdin=asyncio.subprocess.DEVNULL, stdout=output, stderr=asyncio.subprocess.STDOUT,
        start_new_session=True, env=environment,
    )  # fmt: skip


async def stop(process: Process) -> None:
    """End a process politely, then all that is left of it and of its descendants, for certain."""
    family = _family(process.pid)
    try:
        with suppress(ProcessLookupError):
            process.terminate()
        with suppress(TimeoutError):
            await asyncio.wait_for(asyncio.shield(process.wait()), STOP_TIMEOUT_S)
    finally:
        for member in family:
            with suppress(psutil.NoSuchProcess):
                member.kill()
    await process.wait()


async def wait_until_listening(program: Program, port: int, timeout_s: float = START_TIMEOUT_S) -> None:
    """Return once `port` on loopback accepts; a program that ended or stays silent is a `BenchError`."""
    deadline = asyncio.get_running_loop().time() + timeout_s
    while not await _accepts(port):
        if program.process.returncode is not None:
            raise BenchError(f"{program.name} ended at once:\n{program.tail()}")
        if asyncio.get_running_loop().time() > deadline:
            raise BenchError(
                f"{program.name} does not listen on port {port} after {timeout_s:.0f} s:\n{program.tail()}"
            )
        await asyncio.sleep(0.05)


async def _accepts(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()
    return True


def _family(pid: int) -> list[psutil.Process]:
    try:
        top = psutil.Process(pid)
        return [top, *top.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def _opened(log: Path) -> IO[bytes]:
    return log.open("wb")


def _each(processes: Sequence[psutil.Process], read: Callable[[psutil.Process], float]) -> list[float]:
    values = []
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            values.append(float(read(process)))
    return values
