"""One worker process: started, told what to serve, asked, drained, watched until it ends."""

import asyncio
import contextlib
import errno
import itertools
import socket
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final

from pydantic import ValidationError

from edge.supervisor.config import Config
from edge.telemetry.control_channel import ControlChannel, Message, open_channel
from edge.telemetry.dials_message import NO_REVISION
from edge.telemetry.snapshot import WorkerValues
from edge.telemetry.snapshot_message import read_snapshot

LOADING_S: Final = 30.0
"""Between two words of a process that starts: its loop stands still while it loads. Then it is heard each second."""
_LAST_WORDS_S: Final = 1.0
_BEATS: Final = 4096  # read at a time


@dataclass(slots=True, frozen=True)
class WorkerCommand:
    """How a worker is started: `python -m MODULE --control-fd FD --beat-fd FD --listen-fd FD... ARGUMENTS`.

    There is a socket to listen on for each slot.
    """

    module: str
    arguments: tuple[str, ...] = ()

    def line(self, listen_fds: Sequence[int], control_fd: int, beat_fd: int) -> Sequence[str]:
        """Return the argument vector."""
        fds = [word for fd in listen_fds for word in ("--listen-fd", str(fd))]
        channels = ("--control-fd", str(control_fd), "--beat-fd", str(beat_fd))
        return (sys.executable, "-P", "-m", self.module, *channels, *fds, *self.arguments)


class WorkerProcess:
    """A running process: it loads one configuration, and waits until `serve` tells it its slot.

    `ended` has its exit code when it is gone.
    """

    ended: "asyncio.Task[int]"

    def __init__(
        self,
        config: Config,
        values: WorkerValues,
        say: Callable[[str], None],
        on_dials: Callable[[], None] = lambda: None,
    ) -> None:
        self.config = config
        self.on_dials = on_dials
        self.pid = 0
        self.heard_at = self.serving_since = time.monotonic()
        self.loaded = False
        self.dials_served = NO_REVISION
        self.ready = asyncio.Event()
        self.killed = False
        self._values = values
        self._say = say
        self._on_ready: Callable[[], None] | None = None
        self._ids = itertools.count(1)
        self._asked: dict[int, asyncio.Future[Message | None]] = {}
        self._closed = asyncio.Event()

    def __repr__(self) -> str:
        return f"WorkerProcess(pid {self.pid}, {'ready' if self.ready.is_set() else 'not ready'})"

    async def start(
        self, command: WorkerCommand, listening: Sequence[socket.socket], dials: Callable[[], Message] | None = None
    ) -> None:
        """Start it; it inherits every listening socket and keeps that of its slot. Raises OSError.

        `dials` says where they stand, asked once the process is there; who calls this sees to all later changes.
        """
        ours, theirs = socket.socketpair()
        self._beats, beat = socket.socketpair()
        self._beats.setblocking(False)
        with contextlib.ExitStack() as undo, theirs, beat:
            undo.callback(self._beats.close)
            self._channel: ControlChannel = await open_channel(ours, self._message, self._closed.set)
            fds = tuple(each.fileno() for each in listening)
            if min(fds) < 0:  # a drain has begun meanwhile
                self._channel.close()
                raise OSError(errno.EBADF, "the listening sockets are closed")
            try:
                # A session of its own: Ctrl-C reaches the supervisor alone, which drains its workers in order.
                self._process = await asyncio.create_subprocess_exec(
                    *command.line(fds, theirs.fileno(), beat.fileno()),
                    pass_fds=(*fds, theirs.fileno(), beat.fileno()),
                    start_new_session=True,
                )
            except BaseException:
                self._channel.close()
                raise
            undo.pop_all()
        self.pid = self._process.pid
        asyncio.get_running_loop().add_reader(self._beats, self._beat)
        self._channel.send(self.config.first_message())
        if dials is not None:
            self._channel.send(dials())
        self.ended = asyncio.create_task(self._watch(), name=f"worker-{self.pid}")

    def silent_for(self, now: float) -> float:
        """Return for how many seconds nothing was heard; 0 while it may still be loading, and once it is ended."""
        silent = now - self.heard_at
        return silent if (self.loaded or silent > LOADING_S) and not self.killed else 0.0

    def serve(self, slot: int, on_ready: Callable[[], None]) -> None:
        """Let it serve a slot; `on_ready` is called when it does."""
        self.serving_since = time.monotonic()
        self._on_ready = on_ready
        self._channel.send({"type": "serve", "slot": slot})

    def ask(self, message: Message, timeout_s: float) -> Awaitable[Message | None]:
        """Send a question, at once, and return what waits for the answer: None when there is none in time."""
        number = next(self._ids)
        answer = self._asked[number] = asyncio.get_running_loop().create_future()
        if not self._channel.send({**message, "id": number}):
            answer.set_result(None)
        return self._answer(number, timeout_s)

    def send(self, message: Message) -> None:
        """Send what needs no answer."""
        self._channel.send(message)

    def drain(self, *, handover: bool = False) -> None:
        """Let it finish what is in flight and leave; `handover`: another process serves its socket by now."""
        self._channel.send({"type": "drain", "handover": handover})

    def kill(self) -> None:
        """End it at once."""
        self.killed = True
        if self._process.returncode is None:
            self._process.kill()

    async def _answer(self, number: int, timeout_s: float) -> Message | None:
        try:
            return await asyncio.wait_for(self._asked[number], timeout_s)
        except TimeoutError:
            return None
        finally:
            del self._asked[number]

    def _beat(self) -> None:
        """Take beats: a loop that is too busy to send messages turns all the same, as a thread beside it has seen."""
        try:
            if self._beats.recv(_BEATS):
                self.heard_at = time.monotonic()
                return
        except BlockingIOError:
            return
        except OSError:
            pass
        asyncio.get_running_loop().remove_reader(self._beats)

    async def _watch(self) -> int:
        code = await self._process.wait()
        asyncio.get_running_loop().remove_reader(self._beats)
        self._beats.close()
        with contextlib.suppress(TimeoutError):  # read the last metrics, which may still be on their way
            await asyncio.wait_for(self._closed.wait(), _LAST_WORDS_S)
        self._channel.close()
        self._values.retire(self.pid)
        for answer in self._asked.values():
            if not answer.done():
                answer.set_result(None)
        return code

    def _message(self, message: Message) -> None:
        self.heard_at = time.monotonic()
        if message["type"] == "loaded":
            self.loaded = True
        elif message["type"] == "ready":
            self.ready.set()
            if self._on_ready is not None:
                self._on_ready()
        elif message["type"] == "dials" and isinstance(revision := message.get("revision"), int):
            self.dials_served = revision
            self.on_dials()
        elif message["type"] == "metrics":
            try:
                self._values.update(self.pid, read_snapshot(message.get("snapshot")))
            except ValidationError:
                self._say(f"the worker with pid {self.pid} sent metrics that cannot be read")
        number = message.get("id")
        answer = self._asked.get(number) if isinstance(number, int) else None
        if answer is not None and not answer.done():
            answer.set_result(message)


def ending(code: int) -> str:
    """Return how a process ended, in words."""
    return f"was ended by signal {-code}" if code < 0 else f"ended with exit code {code}"
