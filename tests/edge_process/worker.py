"""A worker as a real process, with the supervisor's end of its control channel in the test's hand.

    async with kms_running(directory) as kms, running_worker(kms, directory, origin) as worker:
        worker.port, worker.process.pid
        await worker.metrics()      # asked for over the control channel, at this moment

The listening socket is the test's own until the worker has inherited it. After that only the worker holds it, so that
a closed door is seen from outside.
"""

import itertools
import socket
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import psutil

from edge.telemetry.control_channel import ControlChannel, Message, open_channel
from edge.telemetry.snapshot import Merged
from edge.telemetry.snapshot_message import read_snapshot
from tests.nursery import Born, bear
from tests.processes import REPOSITORY, Process, all_api_at, eventually, free_port
from tests.services.kms_calls import Kms

CONFIG = REPOSITORY / "config"


class Control:
    """The supervisor's end of the channel. `messages` is all that the worker ever said on it."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.closed = False
        self._ids = itertools.count(1)
        self._channel: ControlChannel | None = None

    async def open(self, end: socket.socket) -> None:
        """Start on one end of the socket pair."""
        self._channel = await open_channel(end, self.messages.append, self._end)

    async def metrics(self) -> Message:
        """Ask for metrics and wait for the answer."""
        number = next(self._ids)
        self.send({"type": "report", "id": number})

        async def answered() -> bool:
            return any(message.get("id") == number for message in self.messages)

        await eventually(answered, "the worker reports")
        return next(message for message in self.messages if message.get("id") == number)

    def send(self, message: Message) -> None:
        """Send a message to the worker."""
        assert self._channel is not None
        self._channel.send(message)

    def close(self) -> None:
        """Close this end, as the death of a supervisor does."""
        if self._channel is not None:
            self._channel.close()

    @property
    def ready(self) -> bool:
        """Whether the worker has said that it serves."""
        return any(message["type"] == "ready" for message in self.messages)

    def _end(self) -> None:
        self.closed = True


@dataclass(slots=True)
class Worker:
    """A worker process, ready or not."""

    process: Process
    control: Control
    port: int

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens."""
        return "127.0.0.1", self.port

    @property
    def url(self) -> str:
        """Return the base URL, without a slash at its end."""
        return f"http://127.0.0.1:{self.port}"

    def rss(self) -> int:
        """Return the resident set, in bytes."""
        return int(psutil.Process(self.process.pid).memory_info().rss)

    async def metrics(self) -> Merged:
        """Return its metrics as of now."""
        merged = Merged()
        merged.add(read_snapshot((await self.control.metrics())["snapshot"]))
        return merged

    async def said_ready(self) -> None:
        """Wait until it serves; fail with what it wrote when it ends before."""

        async def decided() -> bool:
            return self.control.ready or self.control.closed

        await eventually(decided, "the worker is ready")
        assert self.control.ready, f"the worker ended before it was ready:\n{self.process.output()}"

    async def refuses_connections(self) -> bool:
        """Return whether its door is closed: as it closes, a handshake gets no answer for a moment."""
        with socket.socket() as probe:
            probe.settimeout(0.25)
            return probe.connect_ex(self.address) != 0


@asynccontextmanager
async def started_worker(
    kms_url: str, var: Path, *overrides: str, config: Path = CONFIG, stdout: int | None = None, redirect: str = ""
) -> AsyncIterator[Worker]:
    """Start a worker without waiting for readiness; `var` holds `secrets/edge.token`. Ends it with the block.

    `stdout` is a file descriptor of the test's for standard output, which then is no part of the process's output.
    `redirect` is what a shell is told of the standard streams, such as `>&-`.
    """
    control, (ours, theirs) = Control(), socket.socketpair()
    settings = (f"services.kms.url={kms_url}", "access_log.path=off", *overrides)
    arguments = ["--slot", "0", "--config", str(config), "--var", str(var)]
    arguments += [part for setting in settings for part in ("--set", setting)]
    with tempfile.TemporaryFile() as log:
        with socket.socket() as listening, theirs:
            listening.bind(("127.0.0.1", 0))
            listening.listen(1024)
            port = listening.getsockname()[1]
            popen = _spawn(arguments, listening, theirs, log, stdout=stdout, redirect=redirect)
        await control.open(ours)
        process = Process(popen, log)
        try:
            yield Worker(process, control, port)
        finally:
            control.close()
            if popen.poll() is None:
                await process.kill()


def _spawn(
    arguments: list[str],
    listening: socket.socket,
    control: socket.socket,
    log: BinaryIO,
    *,
    stdout: int | None,
    redirect: str,
) -> subprocess.Popen[bytes] | Born:
    fds = (listening.fileno(), control.fileno())
    arguments = ["--listen-fd", str(fds[0]), "--control-fd", str(fds[1]), *arguments]
    out = log.fileno() if stdout is None else stdout
    if not redirect:
        return bear("edge.worker", arguments, out, log.fileno(), fds)
    command = ["sh", "-c", f'exec "$@" {redirect}', "sh", sys.executable, "-m", "edge.worker", *arguments]
    return subprocess.Popen(command, stdout=out, stderr=log, pass_fds=fds, cwd=REPOSITORY)


@asynccontextmanager
async def running_worker(
    kms: Kms, origin: str, *overrides: str, stdout: int | None = None, redirect: str = ""
) -> AsyncIterator[Worker]:
    """Run a worker on the repository's config in front of `origin` (HOST:PORT) until the block ends.

    The cookie service is an address where nobody listens, unless an override says otherwise.
    """
    settings = (
        *all_api_at(origin),
        f"services.cookie.url=http://127.0.0.1:{free_port()}",
        *overrides,
    )
    async with started_worker(
        kms.process.url, kms.secrets.parent, *settings, stdout=stdout, redirect=redirect
    ) as worker:
        await worker.said_ready()
        yield worker
