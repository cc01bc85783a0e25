"""A raw client and a raw origin: exact bytes out, exact bytes recorded, h11 as the parser that is not ours."""

import asyncio
import contextlib
import itertools
import os
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import h11

WAIT_S = 8.0
_RESET = struct.pack("ii", 1, 0)
_MAX_EVENT_BYTES = 1 << 20


async def until(condition: Callable[[], object]) -> None:
    """Wait for a condition, for as long as a slow machine may need."""
    async with asyncio.timeout(WAIT_S):
        while not condition():  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.002)


def reset(writer: asyncio.StreamWriter) -> None:
    """Close with a TCP reset."""
    sock = None if writer.transport.is_closing() else writer.get_extra_info("socket")
    if sock is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    writer.transport.abort()


class Delivery:
    """How both ends send what a test does not cut itself: whole, or in pieces of these sizes, again and again."""

    longest = 4096  # what is longer goes whole: it is about something else
    sizes: tuple[int, ...] = ()

    def pieces(self, data: bytes, size: int | None) -> list[bytes]:
        """Cut `data` into pieces of `size` bytes, or as a test is told to."""
        sizes = (size,) if size is not None else self.sizes if len(data) <= self.longest else ()
        if not sizes:
            return [data]
        cut, turns = [], itertools.cycle(sizes)
        while data:
            turn = next(turns)
            cut.append(data[:turn])
            data = data[turn:]
        return cut


DELIVERY = Delivery()


@dataclass
class RawMessage:
    """A message as h11 reads it; names in lower case."""

    headers: list[tuple[bytes, bytes]]
    body: bytes = b""
    trailers: list[tuple[bytes, bytes]] = field(default_factory=list)

    def all(self, name: bytes) -> list[bytes]:
        """Return every value of a field."""
        return [value for each, value in self.headers if each == name]

    def get(self, name: bytes) -> bytes | None:
        """Return the first value of a field."""
        return next(iter(self.all(name)), None)


@dataclass
class RawResponse(RawMessage):
    """A response, and the interim ones before it."""

    status: int = 0
    interim: list[tuple[int, list[tuple[bytes, bytes]]]] = field(default_factory=list)


@dataclass
class RawRequest(RawMessage):
    """A request, and its bytes as they arrived."""

    method: bytes = b""
    target: bytes = b""


def _fields(headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    return [(bytes(name), bytes(value)) for name, value in headers]


class RawClient:
    """One connection to the edge."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self.writer = writer
        self.left = b""

    async def send(self, data: bytes, *, size: int | None = None) -> None:
        """Send bytes: in one write, or in pieces of `size` that arrive one after the other."""
        for turn, piece in enumerate(DELIVERY.pieces(data, size)):
            if turn:
                await asyncio.sleep(0)
                if self.writer.transport.is_closing():
                    return
            self.writer.write(piece)
        await self.writer.drain()

    async def response(self, method: bytes = b"GET") -> RawResponse:
        """Read the next response, to a request of that method. h11 raises for whatever is not one."""
        async with asyncio.timeout(WAIT_S):
            return await self._response(method)

    async def _response(self, method: bytes) -> RawResponse:
        parser = h11.Connection(h11.CLIENT, max_incomplete_event_size=_MAX_EVENT_BYTES)
        parser.send(h11.Request(method=method, target=b"/", headers=[(b"host", b"x")]))
        parser.send(h11.EndOfMessage())
        if self.left:
            parser.receive_data(self.left)
        response = RawResponse([])
        body: list[bytes] = []
        while True:
            event = parser.next_event()
            if event is h11.NEED_DATA:
                parser.receive_data(await self._reader.read(65536))
            elif isinstance(event, h11.InformationalResponse):
                response.interim.append((event.status_code, _fields(event.headers)))
            elif isinstance(event, h11.Response):
                response.status, response.headers = event.status_code, _fields(event.headers)
            elif isinstance(event, h11.Data):
                body.append(bytes(event.data))
            elif isinstance(event, h11.EndOfMessage):
                response.trailers = _fields(event.headers)
                response.body = b"".join(body)
                self.left = parser.trailing_data[0]
                return response
            else:
                raise AssertionError(f"no response: {event!r}")

    async def ask(self, data: bytes, *, method: bytes | None = None, size: int | None = None) -> RawResponse:
        """Send one request's bytes and read its response."""
        await self.send(data, size=size)
        return await self.response(method or data.split(b" ", 1)[0])

    async def receive(self, size: int) -> bytes:
        """Read exactly `size` bytes."""
        async with asyncio.timeout(WAIT_S):
            taken, self.left = self.left[:size], self.left[size:]
            return taken + await self._reader.readexactly(size - len(taken))

    async def receive_until(self, mark: bytes) -> bytes:
        """Read up to and including `mark`."""
        async with asyncio.timeout(WAIT_S):
            while mark not in self.left:
                more = await self._reader.read(65536)
                if not more:
                    raise AssertionError(f"the connection ended before {mark!r}: {self.left!r}")
                self.left += more
            end = self.left.index(mark) + len(mark)
            taken, self.left = self.left[:end], self.left[end:]
            return taken

    async def rest(self) -> bytes:
        """Read to the end of the connection; raises ConnectionResetError when it does not end cleanly."""
        pieces = [self.left]
        while True:
            async with asyncio.timeout(WAIT_S):  # for each, since all of a long answer may take longer
                piece = await self._reader.read(65536)
            if not piece:
                return b"".join(pieces)
            pieces.append(piece)

    @property
    def gone(self) -> bool:
        """Whether the edge has closed the connection, as far as is known."""
        return self.writer.transport.is_closing() or self._reader.at_eof()

    def half_close(self) -> None:
        """Say that nothing more will be sent."""
        self.writer.write_eof()

    def reset(self) -> None:
        """Break the connection off."""
        reset(self.writer)

    def close(self) -> None:
        """Close the connection."""
        self.writer.close()


@asynccontextmanager
async def connected(
    port: int,
    *,
    receive_buffer: int | None = None,
    tls: ssl.SSLContext | None = None,
    server_name: str = "localhost",
    preamble: bytes = b"",
    source: str = "",
) -> AsyncIterator[RawClient]:
    """Connect to 127.0.0.1; a small `receive_buffer` makes a device that holds little, `tls` a handshake.

    `preamble` is sent before all else; `source` is the address to connect from.
    """
    sock = socket.socket()
    if source:
        sock.bind((source, 0))
    sock.setblocking(False)
    if receive_buffer is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    try:
        await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))
        if preamble:
            await asyncio.get_running_loop().sock_sendall(sock, preamble)
        reader, writer = await asyncio.open_connection(
            sock=sock, ssl=tls, server_hostname=server_name if tls is not None else None
        )
    except OSError:  # refused, or the handshake failed
        sock.close()
        raise
    client = RawClient(reader, writer)
    try:
        yield client
    finally:
        writer.transport.abort()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


class OriginConnection:
    """One connection that the edge opened; `received` holds every byte that came on it."""

    def __init__(self, number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.number = number
        self.received = bytearray()
        self.requests: list[RawRequest] = []
        self.sent = 0
        self.ended = False
        self._reader = reader
        self._writer = writer
        self._left = b""

    async def read(self) -> bytes:
        """Read what there is; b"" at the end, however it ended."""
        try:
            data = await self._reader.read(65536)
        except ConnectionError:
            data = b""
        self.received += data
        self.ended = self.ended or not data
        return data

    async def request(self, *, head_only: bool = False) -> RawRequest | None:
        """Read the next request, or only its head; None when the connection ends first."""
        parser = h11.Connection(h11.SERVER, max_incomplete_event_size=_MAX_EVENT_BYTES)
        if self._left:
            parser.receive_data(self._left)
        request: RawRequest | None = None
        body: list[bytes] = []
        while True:
            event = parser.next_event()
            if event is h11.NEED_DATA:
                data = await self.read()
                if not data:
                    return None
                parser.receive_data(data)
            elif isinstance(event, h11.Request):
                request = RawRequest(_fields(event.headers), method=event.method, target=event.target)
                self.requests.append(request)
                if head_only:
                    self._left = parser.trailing_data[0]
                    return request
            elif isinstance(event, h11.Data):
                body.append(bytes(event.data))
            elif isinstance(event, h11.EndOfMessage) and request is not None:
                request.body = b"".join(body)
                request.trailers = _fields(event.headers)
                self._left = parser.trailing_data[0]
                return request
            else:
                raise AssertionError(f"no request: {event!r}")

    async def send(self, data: bytes, *, size: int | None = None) -> None:
        """Send bytes whole, or in pieces of `size`; a peer that is gone is no error."""
        with contextlib.suppress(ConnectionError):
            for turn, piece in enumerate(DELIVERY.pieces(data, size)):
                if turn:
                    await asyncio.sleep(0)
                if self.gone:
                    return
                self._writer.write(piece)
                await self._writer.drain()
                self.sent += len(piece)

    async def end(self) -> None:
        """Read until the edge closes the connection."""
        while await self.read():
            pass

    @property
    def session(self) -> ssl.SSLObject:
        """The TLS session."""
        session = self._writer.get_extra_info("ssl_object")
        assert isinstance(session, ssl.SSLObject)
        return session

    def cut(self) -> None:
        """End the connection below TLS: without its goodbye."""
        with socket.socket(fileno=os.dup(self._writer.get_extra_info("socket").fileno())) as below:
            below.shutdown(socket.SHUT_WR)

    @property
    def gone(self) -> bool:
        """Whether the connection is lost, as writing to it tells."""
        return self._writer.transport.is_closing()

    def half_close(self) -> None:
        """Say that nothing more will be sent."""
        self._writer.write_eof()

    def reset(self) -> None:
        """Break the connection off."""
        reset(self._writer)

    def close(self) -> None:
        """Close the connection once what was written has left."""
        self._writer.close()


Script = Callable[[OriginConnection], Awaitable[None]]


class RawOrigin:
    """A listening origin; what every connection does is the script's."""

    def __init__(self, script: Script, limit: int) -> None:
        self._script = script
        self._limit = limit
        self._tasks: set[asyncio.Task[None]] = set()
        self._failures: list[BaseException] = []
        self.connections: list[OriginConnection] = []
        self.address = ""

    @property
    def requests(self) -> list[RawRequest]:
        """Every request, in the order of connections."""
        return [request for connection in self.connections for request in connection.requests]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        connection = OriginConnection(len(self.connections), reader, writer)
        self.connections.append(connection)
        try:
            await self._script(connection)
        except asyncio.CancelledError:
            pass
        except Exception as error:  # noqa: BLE001 - raised again by the test that runs the origin
            self._failures.append(error)
        finally:
            self._tasks.discard(task)
            writer.close()

    @asynccontextmanager
    async def listening(self, receive_buffer: int | None, tls: ssl.SSLContext | None) -> AsyncIterator["RawOrigin"]:
        """Listen on a free port until the block ends; a script that failed fails the block."""
        sock = socket.socket()
        if receive_buffer is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        sock.bind(("127.0.0.1", 0))
        server = await asyncio.start_server(self._serve, sock=sock, limit=self._limit, ssl=tls)
        self.address = f"127.0.0.1:{sock.getsockname()[1]}"
        try:
            yield self
        finally:
            server.close()
            for connection in self.connections:
                connection.reset()
            for task in tuple(self._tasks):
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            await server.wait_closed()
        if self._failures:
            raise self._failures[0]


@asynccontextmanager
async def raw_origin(
    script: Script, *, receive_buffer: int | None = None, limit: int = 65536, tls: ssl.SSLContext | None = None
) -> AsyncIterator[RawOrigin]:
    """Run an origin; `receive_buffer` and `limit` bound what it holds unread; `tls` makes it speak that."""
    async with RawOrigin(script, limit).listening(receive_buffer, tls) as origin:
        yield origin


def ok(body: bytes = b"hello", *lines: bytes) -> bytes:
    """Return a 200 with that body and more header lines."""
    return response(b"200 OK", b"Content-Length: %d" % len(body), *lines) + body


def response(status: bytes, *lines: bytes) -> bytes:
    """Return a response head."""
    return b"\r\n".join([b"HTTP/1.1 " + status, *lines, b"", b""])


def get(target: bytes = b"/", *lines: bytes, host: bytes = b"edge.test") -> bytes:
    """Return a GET."""
    return request(b"GET", target, *lines, host=host)


def request(method: bytes, target: bytes, *lines: bytes, host: bytes = b"edge.test", body: bytes = b"") -> bytes:
    """Return a request's bytes; the body's framing is the caller's."""
    return b"\r\n".join([method + b" " + target + b" HTTP/1.1", b"Host: " + host, *lines, b"", b""]) + body


def answering(*answers: bytes) -> Script:
    """Return a script that answers the n-th request of a connection with the n-th answer, the last one for ever."""

    async def script(connection: OriginConnection) -> None:
        turn = 0
        while await connection.request() is not None:
            await connection.send(answers[min(turn, len(answers) - 1)])
            turn += 1

    return script
