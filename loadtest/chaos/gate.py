"""One door of the fault proxy: the port that the edge knows as an origin's address."""

import asyncio
import contextlib
import random
import socket

from loadtest.chaos.faults import Fault, Kind
from loadtest.chaos.pipe import Pipe

FILLERS = 4
SHUT = frozenset({Kind.REFUSE, Kind.BLACK_HOLE})


class Gate:
    """Listens on `port` and passes everything to `target`, as the fault of the moment has it."""

    def __init__(self, port: int, target: tuple[str, int], seed: int) -> None:
        self.port = port
        self.target = target
        self.fault = Fault()
        self.chance = random.Random(seed)  # noqa: S311 - repeatable, not secret
        self.pipes: set[Pipe] = set()
        self.accepted = 0
        self.struck = 0
        self._server: asyncio.Server | None = None
        self._hole: list[socket.socket] = []

    async def set(self, fault: Fault) -> None:
        """Let `fault` reign from now on; requests that the one before swallowed get a reset."""
        self.fault = fault
        await self._close_hole()
        if fault.kind in SHUT:
            await self._close_door()
        for pipe in list(self.pipes):
            if fault.kind in SHUT or pipe.hung:
                pipe.reset()
        if fault.kind is Kind.BLACK_HOLE:
            await self._open_hole()
        elif fault.kind is not Kind.REFUSE and self._server is None:
            loop = asyncio.get_running_loop()
            self._server = await loop.create_server(self._pipe, "127.0.0.1", self.port, backlog=1024)

    def counts(self) -> dict[str, object]:
        """Return what has happened here so far."""
        return {"accepted": self.accepted, "struck": self.struck, "open": len(self.pipes)}

    def _pipe(self) -> Pipe:
        self.accepted += 1
        return Pipe(self)

    async def _close_door(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
            await asyncio.sleep(0)  # the loop lets go of the socket on its next round

    async def _open_hole(self) -> None:
        """Listen with the shortest queue there is, and fill it: the kernel drops every connect that comes after."""
        door = socket.socket()
        door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        door.bind(("127.0.0.1", self.port))
        door.listen(0)
        self._hole = [door]
        for _ in range(FILLERS):
            filler = socket.socket()
            filler.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                filler.connect(("127.0.0.1", self.port))
            self._hole.append(filler)
        await asyncio.sleep(0.05)

    async def _close_hole(self) -> None:
        for one in self._hole:
            one.close()
        self._hole.clear()
