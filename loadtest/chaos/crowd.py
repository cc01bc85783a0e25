"""Clients that mean no good, as a process: many connections that do one thing each.

    python -m loadtest.chaos.crowd CONTROL_PORT PORT KIND COUNT RATE

Opens COUNT connections, RATE a second, from a hundred loopback addresses that the client does not use. Any command on
the control port answers with what has become of them.
"""

import asyncio
import resource
import socket
import sys
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Final, cast

import uvloop

from loadtest.chaos.control import Command, serve_control

ADDRESSES: Final = 100
BEAT_S: Final = 0.5
TICK_S: Final = 0.02
BIG: Final = 10_000_000
GET: Final = b"GET /open?id=crowd-1&size=%d HTTP/1.1\r\nhost: chaos.test\r\n"
POST: Final = b"POST /%b HTTP/1.1\r\nhost: chaos.test\r\n"


class Visitor(asyncio.Protocol):
    """One connection: `first` is sent at once, then `more` at every beat."""

    first = b""
    more = b""
    reads = True

    def __init__(self, crowd: "Crowd") -> None:
        self.crowd = crowd
        self.transport: asyncio.Transport | None = None
        self.full = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Say the first thing."""
        self.transport = cast(asyncio.Transport, transport)
        self.crowd.visitors.add(self)
        self.transport.write(self.first)
        if not self.reads:  # not before the loop has begun to read, which it does after this call
            asyncio.get_running_loop().call_soon(self._stop_reading)

    def _stop_reading(self) -> None:
        if self.transport is not None and not self.transport.is_closing():
            self.transport.pause_reading()

    def beat(self) -> None:
        """Say a little more."""
        if self.more and self.transport is not None and not self.transport.is_closing() and not self.full:
            self.transport.write(self.more)

    def pause_writing(self) -> None:
        """Say nothing while nobody listens."""
        self.full = True

    def resume_writing(self) -> None:
        """Go on."""
        self.full = False

    def data_received(self, data: bytes) -> None:
        """Count the status lines that begin a piece."""
        if data.startswith(b"HTTP/1.1 "):
            self.crowd.statuses[data[9:12].decode("ascii", "replace")] += 1

    def connection_lost(self, _: Exception | None) -> None:
        """Count who was sent away."""
        self.crowd.visitors.discard(self)
        self.crowd.ended += 1


class SlowHead(Visitor):
    """Begins a head and never ends it."""

    first = GET % 64
    more = b"x-slow: 1\r\n"


class SlowBody(Visitor):
    """Announces a megabyte and sends a byte at a time."""

    first = POST % b"open" + b"content-length: 1000000\r\n\r\n"
    more = b"b"


class SlowReader(Visitor):
    """Asks for ten megabytes and reads none of them."""

    first = GET % BIG + b"\r\n"
    reads = False


class Idle(Visitor):
    """Asks once, politely, and stays."""

    first = GET % 64 + b"\r\n"


class BigHead(Visitor):
    """Sends a head of 64 KiB."""

    first = GET % 64 + b"x-big: %b\r\n\r\n" % (b"a" * 65_536)


class ManyHeaders(Visitor):
    """Sends ten thousand fields."""

    first = GET % 64 + b"".join(b"x-%d: 1\r\n" % number for number in range(10_000)) + b"\r\n"


class TinyChunks(Visitor):
    """Sends a body in chunks of one byte."""

    first = POST % b"open" + b"transfer-encoding: chunked\r\n\r\n"
    more = b"1\r\nx\r\n" * 200


class HugeBody(Visitor):
    """Sends a gigabyte to an origin that is away."""

    first = POST % b"open_faulty" + b"content-length: 1000000000\r\n\r\n"
    more = b"b" * 65_536


class Pipelining(Visitor):
    """Sends two thousand requests and reads no answer."""

    first = (GET % 512 + b"\r\n") * 2000
    reads = False


class ClosedLoop(Visitor):
    """Asks again as soon as it has an answer: what the edge can do at most."""

    first = b"GET /critical?id=crowd-1&size=64 HTTP/1.1\r\nhost: chaos.test\r\n\r\n"

    def data_received(self, data: bytes) -> None:
        """Ask again; an answer of this size comes in one piece."""
        super().data_received(data)
        if self.transport is not None:
            self.transport.write(self.first)


class Working(ClosedLoop):
    """The same with work for the origin: what that can do at most."""

    first = ClosedLoop.first.replace(b"size=64", b"size=64&work_ms=10")


KINDS: Final[Mapping[str, Callable[["Crowd"], Visitor]]] = {
    "slow_heads": SlowHead,
    "slow_bodies": SlowBody,
    "slow_readers": SlowReader,
    "idle": Idle,
    "big_heads": BigHead,
    "many_headers": ManyHeaders,
    "tiny_chunks": TinyChunks,
    "huge_bodies": HugeBody,
    "pipelining": Pipelining,
    "closed_loop": ClosedLoop,
    "working": Working,
}


class Crowd:
    """All of them."""

    def __init__(self, port: int, kind: str, count: int, rate: float) -> None:
        self.visitors: set[Visitor] = set()
        self.statuses: Counter[str] = Counter()
        self.ended = 0
        self.failed = 0
        self._port = port
        self._make = KINDS[kind]
        self._count = count
        self._rate = rate
        self._opened = 0

    async def run(self) -> None:
        """Open them, then keep them busy."""
        loop = asyncio.get_running_loop()
        beaten = started = loop.time()
        tasks: set[asyncio.Task[None]] = set()
        while True:
            now = loop.time()
            while self._opened < min(self._count, int((now - started) * self._rate) + 1):
                task = loop.create_task(self._open(self._opened))
                tasks.add(task)
                task.add_done_callback(tasks.discard)
                self._opened += 1
            if now - beaten > BEAT_S:
                beaten = now
                for visitor in list(self.visitors):
                    visitor.beat()
            await asyncio.sleep(TICK_S)

    async def handle(self, _: Command) -> Mapping[str, object]:
        """Say what has become of them."""
        counts = {"opened": self._opened, "open": len(self.visitors), "ended": self.ended, "failed": self.failed}
        return {**counts, "statuses": dict(self.statuses)}

    async def _open(self, number: int) -> None:
        door = socket.socket()
        door.setblocking(False)
        if self._make is SlowReader or self._make is Pipelining:
            door.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        door.bind((f"127.0.1.{1 + number % ADDRESSES}", 0))
        loop = asyncio.get_running_loop()
        try:
            await loop.sock_connect(door, ("127.0.0.1", self._port))
            await loop.create_connection(lambda: self._make(self), sock=door)
        except OSError:
            self.failed += 1
            door.close()


def main() -> None:
    """Run as the command line says."""

    async def run() -> None:
        crowd = Crowd(int(port), kind, int(count), float(rate))
        control = await serve_control(int(control_port), crowd.handle)
        async with control:
            await crowd.run()

    control_port, port, kind, count, rate = sys.argv[1:]
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    uvloop.run(run())


if __name__ == "__main__":
    main()
