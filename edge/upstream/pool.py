"""The connections of one worker to one origin: reused last-in-first-out, bounded, with a bounded and timed queue.

A request first tries `acquire`, which never waits. If no idle connection is there, it queues with `request`; each
waiter that may have a connection of its own starts a connect, and whichever comes first, that one or another
request's released connection, serves it. Callbacks, not futures: a waiter is told on the same stack.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from itertools import count
from typing import Protocol

from edge.contract.reasons import Reason
from edge.http1.limits import HeadLimits
from edge.net.upstream import State, Upstream


class Waiter(Protocol):
    """A request that wants a connection."""

    def connection_ready(self, connection: Upstream) -> None:
        """Use this connection, reserved for you."""
        ...

    def connection_failed(self, reason: Reason) -> None:
        """There is none to be had."""
        ...


@dataclass(slots=True, frozen=True)
class PoolSettings:
    """One row of config/origins.yaml."""

    addresses: tuple[tuple[str, int], ...]
    max_connections: int
    max_waiting: int
    wait_timeout_s: float
    idle_timeout_s: float
    connect_timeout_s: float
    write_buffer_bytes: int = 65536


class OriginPool:
    """Connections to one origin."""

    def __init__(
        self,
        settings: PoolSettings,
        limits: HeadLimits,
        loop: asyncio.AbstractEventLoop,
        spawn: Callable[[Coroutine[None, None, None]], object],
    ) -> None:
        self._settings = settings
        self._limits = limits
        self._loop = loop
        self._spawn = spawn
        self._idle: list[Upstream] = []
        self._waiting: deque[tuple[Waiter, float]] = deque()
        self._all: set[Upstream] = set()
        self._connecting = 0
        self._turn = count()

    def acquire(self) -> Upstream | None:
        """Return the idle connection used last, reserved, or None."""
        idle = self._idle
        while idle:
            connection = idle.pop()
            if connection.state is State.IDLE:
                connection.state = State.RESERVED
                return connection
        return None

    def request(self, waiter: Waiter) -> None:
        """Queue for a connection; a full queue fails the waiter at once."""
        if len(self._waiting) >= self._settings.max_waiting:
            waiter.connection_failed(Reason.ORIGIN_POOL_EXHAUSTED)
            return
        self._waiting.append((waiter, self._loop.time() + self._settings.wait_timeout_s))
        self._connect_if_wanted()

    def cancel(self, waiter: Waiter) -> None:
        """Forget a waiter that needs no connection any more."""
        self._waiting = deque(entry for entry in self._waiting if entry[0] is not waiter)

    def release(self, connection: Upstream, now: float) -> None:
        """Take a connection back whose response is complete and which may carry another request."""
        if connection.state is State.CLOSED:
            return
        if self._waiting:
            self._hand_over(connection)
        else:
            connection.state = State.IDLE
            connection.idle_since = now
            self._idle.append(connection)

    def connection_closed(self, connection: Upstream) -> None:
        """Forget a connection; whoever waits may get a new one in its place."""
        self._all.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)
        self._connect_if_wanted()

    def sweep(self, now: float) -> None:
        """Fail waiters whose time is up and close connections that have idled too long."""
        while self._waiting and self._waiting[0][1] <= now:
            waiter, _ = self._waiting.popleft()
            waiter.connection_failed(Reason.ORIGIN_POOL_EXHAUSTED)
        oldest = now - self._settings.idle_timeout_s
        for connection in [c for c in self._idle if c.idle_since < oldest]:
            self._idle.remove(connection)
            connection.close()

    def close(self) -> None:
        """Close every idle connection; those in use close with their response."""
        for connection in self._idle:
            connection.close()
        self._idle.clear()

    @property
    def open_connections(self) -> int:
        """How many connections are open or being opened."""
        return len(self._all) + self._connecting

    def _connect_if_wanted(self) -> None:
        while self._connecting < len(self._waiting) and self.open_connections < self._settings.max_connections:
            self._connecting += 1
            self._spawn(self._connect())

    async def _connect(self) -> None:
        addresses = self._settings.addresses
        first = next(self._turn)
        reason = Reason.ORIGIN_CONNECT_FAILED
        connection: Upstream | None = None
        try:
            for offset in range(len(addresses)):
                address = addresses[(first + offset) % len(addresses)]
                try:
                    connection = await self._open(address)
                    break
                except TimeoutError:
                    reason = Reason.ORIGIN_CONNECT_TIMEOUT
                except OSError:
                    reason = Reason.ORIGIN_CONNECT_FAILED
        finally:
            self._connecting -= 1
        # It may have been closed as soon as it was accepted.
        if connection is not None and connection.state is not State.CLOSED:
            self._all.add(connection)
            self.release(connection, self._loop.time())
        elif self._waiting:
            self._waiting.popleft()[0].connection_failed(reason)
        self._connect_if_wanted()

    async def _open(self, address: tuple[str, int]) -> Upstream:
        async with asyncio.timeout(self._settings.connect_timeout_s):
            transport, connection = await self._loop.create_connection(
                lambda: Upstream(self, address, self._limits), address[0], address[1]
            )
        transport.set_write_buffer_limits(high=self._settings.write_buffer_bytes)
        return connection

    def _hand_over(self, connection: Upstream) -> None:
        connection.state = State.RESERVED
        waiter, _ = self._waiting.popleft()
        waiter.connection_ready(connection)

    def __repr__(self) -> str:
        return (
            f"OriginPool({len(self._idle)} idle, {self.open_connections} open of {self._settings.max_connections}, "
            f"{len(self._waiting)} waiting)"
        )
