"""Requests over real sockets, so many at a time, each on a connection that is kept."""

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Protocol

import grpc

from loadtest.bench.failure import BenchError
from loadtest.bench_origin.credentials import Request

METHOD = "/bench.Titles/Browse"
REFUSED = 401
_PAGE = "GET /browse HTTP/1.1\r\nHost: bench.test\r\nAccept: application/json\r\n%s\r\n\r\n"


class Caller(Protocol):
    """Sends one request at a time."""

    async def ask(self, request: Request) -> tuple[int, bytes]:
        """Return status, as HTTP has it, and body."""
        ...

    async def close(self) -> None:
        """Leave."""
        ...


Connect = Callable[[int], Awaitable[Caller]]
"""Takes a port on loopback."""


class HttpCaller:
    """One kept-alive connection of HTTP/1.1."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def connect(cls, port: int) -> "HttpCaller":
        """Connect."""
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    async def ask(self, request: Request) -> tuple[int, bytes]:
        """Send a GET; return status and body."""
        self._writer.write((_PAGE % request.line).encode())
        head = (await self._reader.readuntil(b"\r\n\r\n")).lower()
        _, found, rest = head.partition(b"content-length: ")
        if not found:
            raise BenchError("the app answers without a Content-Length")
        body = await self._reader.readexactly(int(rest.partition(b"\r\n")[0]))
        return int(head[9:12]), body

    async def close(self) -> None:
        """Close the connection."""
        self._writer.close()
        await asyncio.gather(self._writer.wait_closed(), return_exceptions=True)


class GrpcCaller:
    """One channel of gRPC; what is UNAUTHENTICATED counts as a 401."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._channel = channel
        self._browse: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(METHOD)

    @classmethod
    async def connect(cls, port: int) -> "GrpcCaller":
        """Connect."""
        # Channels with the same options share one connection.
        channel = grpc.aio.insecure_channel(f"127.0.0.1:{port}", [("grpc.use_local_subchannel_pool", 1)])
        await channel.channel_ready()
        return cls(channel)

    async def ask(self, request: Request) -> tuple[int, bytes]:
        """Make a unary call."""
        try:
            body: bytes = await self._browse(b"", metadata=(("passport-bin", request.passport),))
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.UNAUTHENTICATED:
                return REFUSED, b""
            raise BenchError(f"the app answers {error.code().name}") from None
        return 200, body

    async def close(self) -> None:
        """Close the channel."""
        await self._channel.close()


async def drive(callers: Sequence[Caller], requests: Sequence[Request], count: int) -> None:
    """Send `count` requests, these over and over; raise BenchError for an answer that is no 200."""
    due = itertools.islice(itertools.cycle(requests), count)
    await asyncio.gather(*(_drive(caller, due) for caller in callers))


async def _drive(caller: Caller, due: Iterator[Request]) -> None:
    for request in due:
        status, _ = await caller.ask(request)
        if status != 200:
            raise BenchError(f"the app answers {status} under load")
