"""A DNS server that answers one name, well or in a bad way of its choice: RFC 1035, UDP only."""

import asyncio
import socket
import struct
from collections.abc import Sequence
from enum import StrEnum
from typing import Final, cast

A, IN, NXDOMAIN, SERVFAIL = 1, 1, 3, 2
_ANSWER: Final = 0x8180  # a response, recursion desired and available


class Mood(StrEnum):
    """How questions are answered."""

    WELL = "well"
    NXDOMAIN = "nxdomain"
    SERVFAIL = "servfail"
    SILENT = "silent"
    EMPTY = "empty"
    GARBAGE = "garbage"


class NameServer(asyncio.DatagramProtocol):
    """Answers every A question with `addresses`, to be kept for `ttl_s`."""

    def __init__(self, addresses: Sequence[str], ttl_s: int = 0) -> None:
        self.addresses: Sequence[str] = addresses
        self.ttl_s = ttl_s
        self.mood = Mood.WELL
        self.asked = 0
        self._transport: asyncio.DatagramTransport | None = None

    async def start(self, port: int) -> None:
        """Listen on a loopback port."""
        await asyncio.get_running_loop().create_datagram_endpoint(lambda: self, ("127.0.0.1", port))

    def close(self) -> None:
        """Stop listening."""
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        """Answer a question."""
        self.asked += 1
        if self._transport is not None and self.mood is not Mood.SILENT:
            self._transport.sendto(self.answer(data), addr)

    def answer(self, question: bytes) -> bytes:
        """Return the response to a query of one question."""
        if self.mood is Mood.GARBAGE:
            return question[:2] + b"\xff" * 40
        end = question.index(b"\0", 12) + 5
        wanted = struct.unpack("!H", question[end - 4 : end - 2])[0]
        code = {Mood.NXDOMAIN: NXDOMAIN, Mood.SERVFAIL: SERVFAIL}.get(self.mood, 0)
        good = self.mood is Mood.WELL and wanted == A
        records = [self._record(address) for address in self.addresses] if good else []
        head = question[:2] + struct.pack("!HHHHH", _ANSWER | code, 1, len(records), 0, 0)
        return head + question[12:end] + b"".join(records)

    def _record(self, address: str) -> bytes:
        name = b"\xc0\x0c"  # a pointer to the question's
        return name + struct.pack("!HHIH", A, IN, self.ttl_s, 4) + socket.inet_aton(address)
