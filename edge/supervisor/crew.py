"""Where worker processes come from: one waits, started and idle, so that a dead worker's place is taken at once."""

import asyncio
import socket
import time
from collections.abc import Callable, Sequence
from typing import Final

from edge.supervisor.process import WorkerCommand, WorkerProcess
from edge.telemetry.snapshot import WorkerValues

_BETWEEN_STARTS_S: Final = 2.0


class Crew:
    """Starts processes. `listening` are the sockets of all slots."""

    def __init__(
        self,
        command: WorkerCommand,
        listening: Sequence[socket.socket],
        values: WorkerValues,
        say: Callable[[str], None],
    ) -> None:
        self._command = command
        self._listening = listening
        self._values = values
        self._say = say
        self.waiting: WorkerProcess | None = None
        self._starting: asyncio.Task[None] | None = None
        self._not_before = 0.0

    async def take(self) -> WorkerProcess:
        """Return the process that waits, or a new one. Raises OSError when none can be started."""
        waiting, self.waiting = self.waiting, None
        if waiting is not None:
            if waiting.awake:
                return waiting
            waiting.kill()
        return await self._start()

    def refill(self) -> None:
        """Start a process to wait, unless one does; not more often than every other second."""
        if self.waiting is not None and self.waiting.ended.done():
            self.waiting = None
        now = time.monotonic()
        if self.waiting is None and now >= self._not_before and (self._starting is None or self._starting.done()):
            self._not_before = now + _BETWEEN_STARTS_S
            self._starting = asyncio.create_task(self._add(), name="standby")

    async def renew(self) -> None:
        """End the process that waits; whatever starts from now on runs the code that is installed now."""
        if self._starting is not None:
            await self._starting
        waiting, self.waiting = self.waiting, None
        if waiting is not None:
            waiting.kill()
            await waiting.ended

    async def dismiss(self) -> None:
        """End the process that waits, for good."""
        self._not_before = float("inf")
        await self.renew()

    async def _add(self) -> None:
        try:
            self.waiting = await self._start()
        except OSError as error:
            self._say(f"no worker can be started to wait: {error.strerror}")

    async def _start(self) -> WorkerProcess:
        process = WorkerProcess(self._values, self._say)
        await process.start(self._command, self._listening)
        return process
