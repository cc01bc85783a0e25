"""A little DNS server on loopback, over UDP and TCP, that answers as it is told. Its bytes are made by hand."""

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import cast

NOERROR, SERVFAIL, NXDOMAIN, REFUSED = 0, 2, 3, 5
TYPES = {1: "A", 28: "AAAA"}
_TRUNCATED = 0x0200


@dataclass
class Reply:
    """What a name has, or why it has nothing; both types hold every address of their family."""

    addresses: tuple[str, ...] = ()
    ttl_s: int = 0
    rcode: int = NOERROR
    silent: bool = False
    truncated: bool = False  # over UDP
    garbage: bytes = b""


@dataclass
class DnsServer:
    """Replies by record type; `asked` is the record types in the order of the queries."""

    port: int
    replies: dict[str, Reply] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    over_tcp: int = 0

    @property
    def address(self) -> str:
        """Where it listens."""
        return f"127.0.0.1:{self.port}"

    def say(self, reply: Reply, *types: str) -> None:
        """Reply so from now on to queries of these types; of every type if none is named."""
        for each in types or ("A", "AAAA"):
            self.replies[each] = reply

    def reply(self, query: bytes, *, tcp: bool) -> bytes | None:
        """Return the bytes of the reply to one query, None for silence."""
        end = query.index(b"\0", 12) + 1
        question = query[12 : end + 4]
        record_type = TYPES[struct.unpack_from(">H", query, end)[0]]
        self.asked.append(record_type)
        self.names.append(_name(query))
        reply = self.replies.get(record_type, Reply())
        if reply.silent:
            return None
        if reply.garbage:
            return query[:2] + reply.garbage
        version = 4 if record_type == "A" else 6
        packed = [ip_address(each).packed for each in reply.addresses if ip_address(each).version == version]
        truncated = reply.truncated and not tcp
        flags = 0x8180 | reply.rcode | (_TRUNCATED if truncated else 0)
        records = [] if truncated else packed
        head = query[:2] + struct.pack(">HHHHH", flags, 1, len(records), 0, 0)
        number = 1 if record_type == "A" else 28
        return head + question + b"".join(_record(number, reply.ttl_s, data) for data in records)


def _record(number: int, ttl_s: int, data: bytes) -> bytes:
    return struct.pack(">HHHIH", 0xC00C, number, 1, ttl_s, len(data)) + data


def _name(query: bytes) -> str:
    labels, at = [], 12
    while query[at]:
        labels.append(query[at + 1 : at + 1 + query[at]].decode())
        at += 1 + query[at]
    return ".".join(labels)


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, reply: Callable[[bytes], bytes | None]) -> None:
        self._reply = reply

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        reply = self._reply(data)
        if reply is not None:
            self._transport.sendto(reply, addr)


@asynccontextmanager
async def dns_server(reply: Reply | None = None) -> AsyncIterator[DnsServer]:
    """Listen on one free port, UDP and TCP, until the block ends."""
    loop = asyncio.get_running_loop()
    stream = socket.create_server(("127.0.0.1", 0))
    server = DnsServer(stream.getsockname()[1])
    server.say(reply or Reply())

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                (size,) = struct.unpack(">H", await reader.readexactly(2))
                server.over_tcp += 1
                answer = server.reply(await reader.readexactly(size), tcp=True)
                if answer is not None:
                    writer.write(struct.pack(">H", len(answer)) + answer)
        writer.close()

    datagrams, _ = await loop.create_datagram_endpoint(
        lambda: _Datagrams(lambda query: server.reply(query, tcp=False)), ("127.0.0.1", server.port)
    )
    listening = await asyncio.start_server(serve, sock=stream)
    try:
        yield server
    finally:
        datagrams.close()
        listening.close()
        await listening.wait_closed()
