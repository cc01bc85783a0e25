"""One connection of the edge to an origin, through the proxy that may harm it."""

import asyncio
import random
import socket
import struct
from collections import deque
from typing import Protocol, cast

from loadtest.chaos.faults import Fault, Kind, corrupted, paced

RESET = struct.pack("ii", 1, 0)
MAX_WAITING = 1 << 16


class Owner(Protocol):
    """Where a pipe asks which fault reigns now, and where it counts."""

    fault: Fault
    target: tuple[str, int]
    chance: random.Random
    pipes: "set[Pipe]"
    struck: int


class Pipe(asyncio.Protocol):
    """The edge's side of a connection; `_Back` is the origin's side."""

    def __init__(self, owner: Owner) -> None:
        self._owner = owner
        self._loop = asyncio.get_running_loop()
        self._front: asyncio.Transport | None = None
        self._back: asyncio.Transport | None = None
        self._early: list[bytes] = []  # requests that came before the origin was connected
        self._fault = Fault()  # the one that the answer under way was dealt
        self._answered = 0  # bytes of it
        self._asking = False
        self._hung = False
        self._ended = False
        self._out: deque[tuple[float, bytes]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._connecting: asyncio.Task[None] | None = None

    # From the edge.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Connect to the origin, unless nothing is to be answered."""
        self._front = cast(asyncio.Transport, transport)
        self._owner.pipes.add(self)
        if self._owner.fault.kind is not Kind.ACCEPT_HANG:
            self._connecting = self._loop.create_task(self._connect())
        else:
            self._hung = True

    def data_received(self, data: bytes) -> None:
        """Pass a request on; a fault is dealt to each answer when its request comes."""
        if not self._asking:
            self._asking, self._answered = True, 0
            self._deal()
        if self._hung or self._fault.kind is Kind.ACCEPT_HANG:
            self._hung = True
        elif self._back is None:
            self._early.append(data)
        else:
            self._back.write(data)

    def eof_received(self) -> bool:
        """Pass the end of the edge's side on."""
        if self._back is not None and not self._back.is_closing():
            self._back.write_eof()
        return True

    def connection_lost(self, _: Exception | None) -> None:
        """End the origin's side, too."""
        self._owner.pipes.discard(self)
        self._stop_timer()
        if self._back is not None:
            self._back.abort()

    def pause_writing(self) -> None:
        """Read no faster from the origin than the edge takes."""
        if self._back is not None:
            self._back.pause_reading()

    def resume_writing(self) -> None:
        """Read from the origin again."""
        if self._back is not None and not self._back.is_closing():
            self._back.resume_reading()

    @property
    def hung(self) -> bool:
        """Whether a request was swallowed here."""
        return self._hung

    def reset(self) -> None:
        """End both sides with a reset."""
        for side in (self._front, self._back):
            if side is not None and not side.is_closing():
                raw = side.get_extra_info("socket")
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                side.abort()

    def _deal(self) -> None:
        fault = self._owner.fault
        struck = fault.kind is not Kind.NONE and self._owner.chance.random() < fault.share
        self._fault = fault if struck else Fault()
        self._owner.struck += struck

    async def _connect(self) -> None:
        try:
            transport, _ = await self._loop.create_connection(lambda: _Back(self), *self._owner.target)
        except OSError:
            self.reset()
            return
        self._back = transport
        if self._front is None or self._front.is_closing():
            transport.abort()
            return
        for data in self._early:
            transport.write(data)
        self._early.clear()

    # From the origin.

    def answer(self, data: bytes) -> None:
        """Pass a piece of an answer on, or do to it what was dealt."""
        fault, before = self._fault, self._answered
        self._asking = False
        self._answered += len(data)
        if fault.kind in {Kind.CUT, Kind.RESET, Kind.HALF_CLOSE}:
            self._end_early(data, fault, before)
        elif fault.kind is Kind.CORRUPT and before == 0:
            self._write(corrupted(data, self._owner.chance))
        elif fault.kind is Kind.GARBAGE:
            self._write(fault.text.encode("latin-1") if before == 0 else b"")
        elif fault.kind is Kind.EXTRA and before == 0:
            self._write(data + fault.text.encode("latin-1"))
        else:
            self._write(data)

    def origin_ended(self) -> None:
        """The origin closed its side: so does this proxy, after what is still to be sent."""
        self._ended = True
        if not self._out and self._front is not None:
            self._front.close()

    def _end_early(self, data: bytes, fault: Fault, before: int) -> None:
        left = fault.after_bytes - before
        if left < 0 or self._front is None:
            return
        self._front.write(data[:left])
        if len(data) < left:
            return
        self._answered = fault.after_bytes + 1
        if fault.kind is Kind.CUT:
            self._front.close()
        elif fault.kind is Kind.RESET:
            self.reset()
        elif not self._front.is_closing():
            self._front.write_eof()

    def _write(self, data: bytes) -> None:
        if self._front is None or not data:
            return
        now = self._loop.time()
        start = max(now, self._out[-1][0]) if self._out and self._fault.kind is not Kind.LATENCY else now
        pieces = paced(self._fault, data, start)
        if not self._out and pieces[0][0] <= now:
            self._front.write(data)
            return
        self._out.extend(pieces)
        if self._back is not None and sum(len(piece) for _, piece in self._out) > MAX_WAITING:
            self._back.pause_reading()
        self._pump()

    def _pump(self) -> None:
        self._timer = None
        now = self._loop.time()
        while self._out and self._out[0][0] <= now and self._front is not None:
            self._front.write(self._out.popleft()[1])
        if self._out:
            self._timer = self._loop.call_at(self._out[0][0], self._pump)
        elif self._ended and self._front is not None:
            self._front.close()
        elif self._back is not None and not self._back.is_closing():
            self._back.resume_reading()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._out.clear()


class _Back(asyncio.Protocol):
    """The origin's side."""

    def __init__(self, pipe: Pipe) -> None:
        self._pipe = pipe

    def data_received(self, data: bytes) -> None:
        self._pipe.answer(data)

    def connection_lost(self, exc: Exception | None) -> None:
        if exc is None:
            self._pipe.origin_ended()
        else:
            self._pipe.reset()
