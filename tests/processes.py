"""Starts our own services as real processes for a test, on port 0, and ends them with it.

    async with process("services.kms", "--secrets", str(secrets), "--var", str(var)) as kms:
        kms.url      # "http://127.0.0.1:40123"

What a process wrote is in `output()`; it is part of the error when the process does not become ready.
"""

import asyncio
import base64
import contextlib
import os
import secrets as random
import signal
import socket
import subprocess
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import BinaryIO, TypeVar

from tests.nursery import Born, bear

REPOSITORY = Path(__file__).resolve().parent.parent
T = TypeVar("T")
IDENTITIES = ("edge", "cookie", "auth", "api", "legacy", "ui", "subscriber", "operator")
_START_S = 30.0
_STOP_S = 15.0


def all_api_at(origin: str) -> tuple[str, str]:
    """Return overrides of the shipped config that put the API, which is two origins, at `origin` (HOST:PORT)."""
    return f'origins.api.addresses=["{origin}"]', f'origins.sign_in.addresses=["{origin}"]'


class Process:
    """A running service. `address` is `HOST:PORT` as the process reported it."""

    def __init__(self, popen: subprocess.Popen[bytes] | Born, log: BinaryIO) -> None:
        self._popen = popen
        self._log = log
        self.address = ""

    @property
    def url(self) -> str:
        """Return the base URL, without a slash at its end."""
        return f"http://{self.address}"

    @property
    def pid(self) -> int:
        """Return the process id."""
        return self._popen.pid

    def output(self) -> str:
        """Return all that the process has written to stdout and stderr so far."""
        return os.pread(self._log.fileno(), 1 << 24, 0).decode("utf-8", "replace")

    async def said(self, text: str) -> str:
        """Wait until `output` contains `text`; return all of it."""

        async def contains() -> bool:
            return text in self.output()

        await eventually(contains, f"the process says {text!r}")
        return self.output()

    async def wait(self, timeout_s: float = _STOP_S) -> int:
        """Wait for the process to end by itself; return its exit code (negative: the signal that killed it)."""
        return await asyncio.to_thread(self._popen.wait, timeout_s)

    def send(self, number: signal.Signals) -> None:
        """Send a signal."""
        self._popen.send_signal(number)

    async def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal that asks the process to end; return the exit code."""
        self._popen.send_signal(how)
        return await self.wait()

    async def kill(self) -> None:
        """Send SIGKILL and wait for the end."""
        self._popen.kill()
        await self.wait()


@asynccontextmanager
async def process(module: str, *arguments: str, listen: str = "127.0.0.1:0") -> AsyncIterator[Process]:
    """Run `python -m module --listen … --ready-fd … arguments` until the block ends; wait until it is ready.

    A nursery starts it, which has loaded the module for all tests of this pytest worker.
    """
    async with started(module, *arguments, listen=listen) as (running, ready):
        running.address = await _address(running, ready, module)
        yield running


@asynccontextmanager
async def started(module: str, *arguments: str, listen: str = "127.0.0.1:0") -> AsyncIterator[tuple[Process, int]]:
    """Run a service without waiting for readiness: for those that are meant not to start.

    Yields the process and the reading end of its ready pipe, which is closed with the block.
    """
    readable, writable = os.pipe()
    with tempfile.TemporaryFile() as log:
        line = ["--listen", listen, "--ready-fd", str(writable), *arguments]
        try:
            popen = bear(module, line, log.fileno(), log.fileno(), [writable])
        finally:
            os.close(writable)
        running = Process(popen, log)
        try:
            yield running, readable
        finally:
            os.close(readable)
            await _end(running, popen)


async def ran(module: str, *arguments: str, timeout_s: float = 60.0) -> tuple[int, str]:
    """Run `python -m module arguments` to its end; return its exit code and all that it said."""
    with tempfile.TemporaryFile() as log:
        running = Process(bear(module, arguments, log.fileno(), log.fileno()), log)
        try:
            return await running.wait(timeout_s), running.output()
        except subprocess.TimeoutExpired:
            await running.kill()
            raise AssertionError(f"{module} did not end in {timeout_s} s:\n{running.output()}") from None


@asynccontextmanager
async def beside(work: Coroutine[object, object, T]) -> AsyncIterator[asyncio.Task[T]]:
    """Run `work` beside the block; it ends with the block, however that ends."""
    task = asyncio.create_task(work)
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@asynccontextmanager
async def dialled(address: tuple[str, int]) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """Connect; the socket is closed with the block, however that ends."""
    reader, writer = await asyncio.open_connection(*address)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def eventually(condition: Callable[[], Awaitable[bool]], what: str, timeout_s: float = 20.0) -> None:
    """Wait until `condition` holds; fail saying `what` was waited for."""
    try:
        async with asyncio.timeout(timeout_s):
            while not await condition():  # noqa: ASYNC110 - what happens in another process sets no event here
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise AssertionError(f"waited {timeout_s} s in vain until {what}") from None


def make_secrets(directory: Path, identities: Iterable[str] = IDENTITIES) -> Path:
    """Make a master key and a token for each identity, as `edge up` does on its first run; return `directory`."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_secret(directory / "master.key", base64.b64encode(random.token_bytes(32)).decode())
    for identity in identities:
        write_secret(directory / f"{identity}.token", random.token_urlsafe(32))
    return directory


def write_secret(path: Path, text: str) -> None:
    """Write one line to a file that only its owner may read."""
    path.touch(mode=0o600)
    path.write_text(text + "\n", encoding="ascii")


def free_port() -> int:
    """Return a port that was free a moment ago: for a service that a test starts later, or never."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        assert isinstance(port, int)
        return port


async def _address(running: Process, ready: int, module: str) -> str:
    try:
        line = await asyncio.wait_for(asyncio.to_thread(os.read, ready, 256), _START_S)
    except TimeoutError:
        # The thread above reads until the process is gone.
        await running.kill()
        raise AssertionError(f"{module} was not ready after {_START_S} s:\n{running.output()}") from None
    if not line.endswith(b"\n"):
        code = await running.wait()
        raise AssertionError(f"{module} ended with {code} before it was ready:\n{running.output()}")
    return line.decode("ascii").strip()


async def _end(running: Process, popen: Born) -> None:
    if popen.poll() is not None:
        return
    try:
        await running.stop()
    except subprocess.TimeoutExpired:
        await running.kill()
        raise AssertionError(f"the process ignored SIGTERM for {_STOP_S} s:\n{running.output()}") from None
