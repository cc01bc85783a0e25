"""An origin as a process: answers with the id it was asked with, and keeps a log of every request.

    python -m loadtest.chaos.origin HOST:PORT CONTROL_PORT SEED LOG [CERTIFICATE KEY [old]]

The query of a request says how it is answered: `id`, `size` (bytes of the body), `wait_ms`, `chunked=1`, and `work_ms`,
which is time in one of `places`; while all are taken, requests wait for their turn. A command on the control port sets
`places` (0: as many as wanted) and the moods: `errors`, the share of answers that are 500; `early`, the share of
requests with a body that are answered 413 at once; `leave`, the share of answers after which the connection is closed
within `leave_ms`, though nothing announced it.
"""

import asyncio
import os
import random
import signal
import socket
import ssl
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import cast
from urllib.parse import parse_qsl

import httptools
import uvloop

from loadtest.chaos.control import Command, serve_control

PIECE = b"." * 65536  # of a body that is longer: what nobody reads yet is not made yet
LINGER_S = 2.0  # what is still read after an early answer, so that no reset overtakes it
MOODS = ("errors", "early", "leave", "leave_ms", "places")


class Origin:
    """What all connections share."""

    def __init__(self, log: Path, seed: int) -> None:
        self.moods = dict.fromkeys(MOODS, 0.0)
        self.chance = random.Random(seed)  # noqa: S311 - repeatable, not secret
        self.served = 0
        self.open = 0
        self._working = 0
        self._queue: deque[tuple[float, Callable[[], None]]] = deque()
        self._log = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def note(self, what: str, request_id: str, method: str) -> None:
        """Write a line at once: it must survive a SIGKILL."""
        os.write(self._log, f"{what}\t{request_id}\t{method}\t{time.monotonic():.6f}\n".encode())

    def work(self, seconds: float, done: Callable[[], None]) -> None:
        """Call `done` after so many seconds in a place, once there is one."""
        if 0 < self.moods["places"] <= self._working:
            self._queue.append((seconds, done))
            return
        self._working += 1
        asyncio.get_running_loop().call_later(seconds, self._worked, done)

    def _worked(self, done: Callable[[], None]) -> None:
        self._working -= 1
        if self._queue:
            self.work(*self._queue.popleft())
        done()

    def strikes(self, mood: str) -> bool:
        """Return whether a mood strikes this time."""
        share = self.moods[mood]
        return share > 0 and self.chance.random() < share

    async def handle(self, command: Command) -> Mapping[str, object]:
        """Set the moods that a command names."""
        for name, value in command.items():
            if name not in self.moods:
                raise KeyError(name)
            self.moods[name] = float(str(value))
        return {"served": self.served, "open": self.open}


class Connection(asyncio.Protocol):
    """One connection; the edge sends one request after the other."""

    def __init__(self, origin: Origin) -> None:
        self._origin = origin
        self._loop = asyncio.get_running_loop()
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None
        self._url = b""
        self._query: dict[str, str] = {}
        self._method = ""
        self._answered = False
        self._left = 0  # of a long body
        self._full = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._origin.open += 1
        self._transport = cast(asyncio.Transport, transport)
        # Another machine's kernel would hold what the edge does not read, and not the one that the edge runs on.
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, len(PIECE))

    def connection_lost(self, _: Exception | None) -> None:
        """End."""
        self._origin.open -= 1

    def pause_writing(self) -> None:
        """Make no more of a long body for now."""
        self._full = True

    def resume_writing(self) -> None:
        """Go on with it."""
        self._full = False
        self._write_on()

    def data_received(self, data: bytes) -> None:
        """Parse; what cannot be parsed ends the connection."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            if self._transport is not None:
                self._transport.close()

    def on_message_begin(self) -> None:
        """Start a request."""
        self._url, self._answered = b"", False

    def on_url(self, url: bytes) -> None:
        """Collect the target."""
        self._url += url

    def on_headers_complete(self) -> None:
        """Note the request; answer early if the mood is so."""
        self._method = self._parser.get_method().decode()
        self._query = dict(parse_qsl(self._url.partition(b"?")[2].decode()))
        self._origin.note("b", self._id, self._method)
        if self._method == "POST" and self._origin.strikes("early"):
            self._answered = True
            self._answer(413, self._id, self._method, {}, close=True)
            self._loop.call_later(LINGER_S, self._close)

    def on_message_complete(self) -> None:
        """Answer, after the time that the request asks for."""
        if self._answered:
            self._close()
            return
        self._origin.served += 1
        status = 500 if self._origin.strikes("errors") else 200
        arguments = (status, self._id, self._method, self._query)
        wait_s = float(self._query.get("wait_ms", 0)) / 1000
        work_s = float(self._query.get("work_ms", 0)) / 1000
        if work_s:
            self._origin.work(work_s, partial(self._answer, *arguments))
        elif wait_s:
            self._loop.call_later(wait_s, self._answer, *arguments)
        else:
            self._answer(*arguments)

    @property
    def _id(self) -> str:
        return self._query.get("id", "-")

    def _answer(
        self, status: int, request_id: str, method: str, query: Mapping[str, str], *, close: bool = False
    ) -> None:
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        head = f"HTTP/1.1 {status} Chaos\r\nx-chaos-id: {request_id}\r\n"
        head += "connection: close\r\n" if close else ""
        size = int(query.get("size", 64))
        body = (request_id + "\n").encode().ljust(min(size, len(PIECE)), b".")
        if query.get("chunked"):
            half = len(body) // 2
            framed = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (body[:half], body[half:]))
            transport.write(head.encode() + b"transfer-encoding: chunked\r\n\r\n" + framed + b"0\r\n\r\n")
        else:
            transport.write(head.encode() + b"content-length: %d\r\n\r\n" % max(size, len(body)) + body)
            self._left = size - len(body)
            self._write_on()
        self._origin.note("e", request_id, method)
        if not close and self._origin.strikes("leave"):
            delay_s = self._origin.chance.random() * self._origin.moods["leave_ms"] / 1000
            self._loop.call_later(delay_s, transport.close)

    def _write_on(self) -> None:
        while self._left > 0 and not self._full and self._transport is not None and not self._transport.is_closing():
            self._transport.write(PIECE[: self._left])
            self._left -= len(PIECE)

    def _close(self) -> None:
        if self._transport is not None:
            self._transport.close()


async def serve(address: str, control_port: int, origin: Origin, context: ssl.SSLContext | None) -> None:
    """Serve until SIGTERM; the control port opens last."""
    loop, done = asyncio.get_running_loop(), asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, done.set)
    host, _, port = address.partition(":")
    await loop.create_server(lambda: Connection(origin), host, int(port), backlog=1024, ssl=context)
    await serve_control(control_port, origin.handle)
    await done.wait()


def tls_context(certificate: str, key: str, *, old: bool) -> ssl.SSLContext:
    """Return a server's context; an old one speaks nothing newer than TLS 1.0."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    if old:
        context.set_ciphers("ALL:@SECLEVEL=0")
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1
    return context


def main() -> None:
    """Run as the command line says."""
    address, control_port, seed, log, *tls = sys.argv[1:]
    context = tls_context(tls[0], tls[1], old="old" in tls) if tls else None
    uvloop.run(serve(address, int(control_port), Origin(Path(log), int(seed)), context))


if __name__ == "__main__":
    main()
