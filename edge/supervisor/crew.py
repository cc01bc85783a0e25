"""Where worker processes come from. One waits with everything loaded, to take a dead worker's place at once."""

import asyncio
import socket
import time
from collections.abc import Callable, Sequence
from typing import Final

from edge.supervisor.backoff import CrashLoop
from edge.supervisor.config import Config
from edge.supervisor.dial_board import DialBoard
from edge.supervisor.process import WorkerCommand, WorkerProcess
from edge.telemetry.snapshot import WorkerValues

_BETWEEN_STARTS_S: Final = 2.0
_FRESH_S: Final = 2.0


class Crew:
    """Starts processes. `listening` are the sockets of all slots."""

    def __init__(
        self,
        command: WorkerCommand,
        listening: Sequence[socket.socket],
        values: WorkerValues,
        say: Callable[[str], None],
        dials: DialBoard | None = None,
    ) -> None:
        self.dials = DialBoard() if dials is None else dials
        self._command = command
        self._listening = listening
        self._values = values
        self._say = say
        self.waiting: WorkerProcess | None = None
        self._starting: asyncio.Task[None] | None = None
        self._not_before = 0.0
        self._crash_loop = CrashLoop()

    async def take(self, config: Config) -> WorkerProcess:
        """Return the process that waits, if it has loaded `config`, or a new one. Raises OSError."""
        waiting, self.waiting = self.waiting, None
        if waiting is not None:
            lives = waiting.silent_for(time.monotonic()) < _FRESH_S and not waiting.killed and not waiting.ended.done()
            if lives and waiting.loaded and waiting.config is config:
                return waiting
            waiting.kill()
        return await self._start(config)

    def refill(self, config: Config) -> None:
        """Start a process to wait with `config`, unless one does; not more often than every other second.

        After one that ended by itself the next waits, longer each time.
        """
        now = time.monotonic()
        waiting = self.waiting
        if waiting is not None and waiting.ended.done() and not waiting.killed:
            delay_s = self._crash_loop.delay_s(now - waiting.serving_since)
            self._not_before = max(self._not_before, now + delay_s)
        if waiting is not None and (waiting.killed or waiting.ended.done() or waiting.config is not config):
            waiting.kill()
            self.waiting = None
        if self.waiting is None and now >= self._not_before and (self._starting is None or self._starting.done()):
            self._not_before = now + _BETWEEN_STARTS_S
            self._starting = asyncio.create_task(self._add(config), name="standby")

    async def dismiss(self) -> None:
        """End the process that waits."""
        if self._starting is not None:
            await self._starting
        waiting, self.waiting = self.waiting, None
        if waiting is not None:
            waiting.kill()
            await waiting.ended

    async def _add(self, config: Config) -> None:
        try:
            self.waiting = await self._start(config)
        except OSError as error:
            self._say(f"no worker can be started to wait: {error.strerror}")

    async def _start(self, config: Config) -> WorkerProcess:
        process = WorkerProcess(config, self._values, self._say, self.dials.heard)
        await process.start(self._command, self._listening, lambda: self.dials.message)
        self.dials.add(process)
        return process
