"""The channel between supervisor and worker: a socket pair that carries length-prefixed JSON messages.

Supervisor to worker:

- `{"type": "load", "revision": N, "texts": {…}, "tokens": {…}}`: make everything ready to serve these config files, by
  name; and what their token files held, by path;
- `{"type": "serve", "slot": N}`: take this slot, once they are loaded;
- `{"type": "report", "id": N}`: send metrics now;
- `{"type": "prepare", "revision": N, "texts": {…}, "id": N}`: build what would serve these files beside what serves;
- `{"type": "commit", "revision": N, "dials": {…}, "id": N}`: put it in its place, and with it the dials of a message
  like the one below; `{"type": "discard", "revision": N}`: drop it;
- `{"type": "dials", "revision": N, "salts": {…}, "positions": […]}`: decide by these positions from the next request
  on; comes right after `load`, and with every change;
- `{"type": "drain", "handover": false}`: finish what is in flight and leave; with `handover`, another process has taken
  the slot over.

Worker to supervisor: `{"type": "loaded"}`, `{"type": "ready"}`; `{"type": "metrics", "snapshot": …, "id": N}` each
second, which is how the supervisor knows that the worker's loop turns, and when asked; `{"type": "done",
"problem": "…", "id": N}` to prepare and commit, the problem empty when there is none; `{"type": "dials", "revision":
N}` once these dials are in their place. The end of the channel means that the other side is gone.
"""

import asyncio
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol, cast

import orjson

from edge.contract.dials import Dials
from edge.telemetry.dials_message import read_dials
from edge.telemetry.metrics import WorkerMetrics

MAX_MESSAGE_BYTES: Final = 16 * 1024 * 1024
MAX_UNSENT_BYTES: Final = 4 * 1024 * 1024
_PREFIX_BYTES: Final = 4

Message = Mapping[str, object]


class BadMessage(Exception):  # noqa: N818 - named as the outcome it is
    """The other side sent what is not a message: a bug there, the channel cannot go on."""


def frame(message: Message) -> bytes:
    """Return the message as bytes: a 4-byte big-endian length and JSON."""
    body = orjson.dumps(message)
    return len(body).to_bytes(_PREFIX_BYTES, "big") + body


class Deframer:
    """Cuts received bytes, however they come, into messages."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, received: bytes) -> list[Message]:
        """Return the messages that are complete now. Raises BadMessage."""
        self._buffer += received
        messages: list[Message] = []
        while len(self._buffer) >= _PREFIX_BYTES:
            end = _PREFIX_BYTES + int.from_bytes(self._buffer[:_PREFIX_BYTES], "big")
            if end - _PREFIX_BYTES > MAX_MESSAGE_BYTES:
                raise BadMessage("a control message is too long")
            if len(self._buffer) < end:
                break
            messages.append(_decode(bytes(self._buffer[_PREFIX_BYTES:end])))
            del self._buffer[:end]
        return messages


def _decode(body: bytes) -> Message:
    try:
        message = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise BadMessage("a control message is not JSON") from error
    if not isinstance(message, dict) or not isinstance(message.get("type"), str):
        raise BadMessage("a control message has no type")
    return message


class ControlChannel(asyncio.Protocol):
    """One end of the channel on a running loop. Make it with `open_channel`."""

    def __init__(self, on_message: Callable[[Message], None], on_closed: Callable[[], None]) -> None:
        self._on_message = on_message
        self._on_closed = on_closed
        self._deframer = Deframer()
        self._transport: asyncio.Transport | None = None

    def send(self, message: Message) -> bool:
        """Send one message; False when the channel is closed or the other side has stopped reading."""
        transport = self._transport
        if transport is None or transport.is_closing() or transport.get_write_buffer_size() > MAX_UNSENT_BYTES:
            return False
        transport.write(frame(message))
        return True

    def close(self) -> None:
        """Send what is left and close; `on_closed` is called."""
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        # uvloop's transports have the methods of asyncio.Transport without being subclasses of it.
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Pass on every message that is complete; a bad one ends the channel."""
        try:
            messages = self._deframer.feed(data)
        except BadMessage:
            self.close()
            return
        for message in messages:
            self._on_message(message)

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the owner that the other side is gone."""
        del exc
        self._transport = None
        self._on_closed()


async def open_channel(
    end: socket.socket, on_message: Callable[[Message], None], on_closed: Callable[[], None]
) -> ControlChannel:
    """Start the channel on one end of a socket pair; takes the socket over."""
    end.setblocking(False)
    loop = asyncio.get_running_loop()
    _, channel = await loop.create_connection(lambda: ControlChannel(on_message, on_closed), sock=end)
    return channel


class Reloadable(Protocol):
    """What takes a new configuration in a worker that serves."""

    async def prepare(self, revision: int, texts: Mapping[str, str]) -> str:
        """Build it beside what serves; return why it cannot be served, or nothing."""
        ...

    def commit(self, revision: int) -> str:
        """Serve what was prepared; return why not, or nothing."""
        ...

    def discard(self, revision: int) -> None:
        """Drop what was prepared."""
        ...


@dataclass(slots=True, frozen=True)
class Files:
    """The config files that a worker is to serve, by name; `texts` None: those on disk. `tokens` by path."""

    revision: int
    texts: Mapping[str, str] | None
    tokens: Mapping[str, str] = field(default_factory=dict, repr=False)


class WorkerChannel:
    """The worker's end: is told what to serve, says when it does, reports metrics each second.

    `on_drain` is called once: when the supervisor says so, or when it is gone. `reloading` is set once there is
    something that a new configuration can be put into. `dials` has the table of the last message.
    """

    def __init__(
        self,
        metrics: WorkerMetrics,
        on_drain: Callable[[], None],
        *,
        interval_s: float = 1.0,
        dials: Dials | None = None,
    ) -> None:
        self.dials = Dials() if dials is None else dials
        self._metrics = metrics
        self._on_drain = on_drain
        self._interval_s = interval_s
        self._channel: ControlChannel | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._drained = False
        self._task: asyncio.Task[None] | None = None
        self.handover = False
        self.reloading: Reloadable | None = None
        self.files: asyncio.Future[Files] = asyncio.get_running_loop().create_future()
        self.slot: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def open(self, fd: int) -> None:
        """Start on the inherited `--control-fd`; metrics follow at every interval."""
        self._channel = await open_channel(socket.socket(fileno=fd), self._message, self._drain)
        self._say_dials()  # they may have come while this was being set
        self._timer = asyncio.get_running_loop().call_later(self._interval_s, self._tick)

    def loaded(self) -> None:
        """Say that this worker has all it needs to serve."""
        if self._channel is not None:
            self._channel.send({"type": "loaded"})

    def ready(self) -> None:
        """Say that this worker serves."""
        if self._channel is not None:
            self._channel.send({"type": "ready"})
        if self._timer is not None:
            self._timer.cancel()
        self._tick()

    def report(self, report_id: object = 0) -> None:
        """Send the metrics now; `report_id` is that of the question, if one was asked."""
        if self._channel is not None:
            snapshot = self._metrics.snapshot(time.time())
            self._channel.send({"type": "metrics", "snapshot": snapshot, "id": report_id})

    def close(self) -> None:
        """Send the last metrics and close."""
        self._drained = True
        if self._timer is not None:
            self._timer.cancel()
        self.report()
        if self._channel is not None:
            self._channel.close()

    def _tick(self) -> None:
        self.report()
        self._timer = asyncio.get_running_loop().call_later(self._interval_s, self._tick)

    def _message(self, message: Message) -> None:
        if message["type"] == "drain":
            self.handover = message.get("handover") is True
            self._drain()
        elif message["type"] == "report":
            self.report(message.get("id", 0))
        elif message["type"] == "load" and not self.files.done():
            revision, texts = _int(message, "revision"), _by_name(message, "texts")
            self.files.set_result(Files(revision, texts, _by_name(message, "tokens")))
        elif message["type"] == "serve" and not self.slot.done():
            self.slot.set_result(_int(message, "slot"))
        elif message["type"] == "prepare":
            self._task = asyncio.create_task(self._prepare(message), name="prepare")
        elif message["type"] == "commit" and self.reloading is not None:
            self._commit(message, self.reloading)
        elif message["type"] == "discard" and self.reloading is not None:
            self.reloading.discard(_int(message, "revision"))
        elif message["type"] == "dials":
            self._take_dials(message)

    def _commit(self, message: Message, reloading: Reloadable) -> None:
        problem, dials = reloading.commit(_int(message, "revision")), message.get("dials")
        if not problem and isinstance(dials, dict):
            self._take_dials(dials)
        self._answer(message, problem)

    def _take_dials(self, message: Message) -> None:
        table = read_dials(message)
        if table is not None:
            self.dials.table = table
            self._metrics.dial_revision = table.revision
            self._say_dials()

    def _say_dials(self) -> None:
        revision = self._metrics.dial_revision
        if self._channel is not None and revision is not None:
            self._channel.send({"type": "dials", "revision": revision})

    async def _prepare(self, message: Message) -> None:
        if self.reloading is None:
            self._answer(message, "it does not serve yet")
        else:
            self._answer(message, await self.reloading.prepare(_int(message, "revision"), _by_name(message, "texts")))

    def _answer(self, question: Message, problem: str) -> None:
        if self._channel is not None:
            self._channel.send({"type": "done", "problem": problem, "id": question.get("id", 0)})

    def _drain(self) -> None:
        if not self._drained:
            self._drained = True
            self._on_drain()


def _int(message: Message, key: str) -> int:
    value = message.get(key)
    return value if isinstance(value, int) else 0


def _by_name(message: Message, key: str) -> Mapping[str, str]:
    found = message.get(key)
    return found if isinstance(found, dict) else {}
