"""The client as a process: sends a plan's requests when they are due, however slow the answers are.

    python -m loadtest.chaos.client PLAN

Latency counts from the moment a request was due, so that a server that stalls cannot hide it by holding up the client
(coordinated omission). Everything is written to the plan's log at the end, SIGTERM is the end of sending.
"""

import asyncio
import random
import signal
import ssl
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from heapq import heapify, heappop, heappush
from pathlib import Path

import uvloop

from loadtest.chaos.connection import Connection, Request
from loadtest.chaos.jar import JARS, Jar, write_jars
from loadtest.chaos.outcomes import Ending, Outcome
from loadtest.chaos.plan import Plan, Stream, arrivals, read_plan

TICK_S = 0.001
SWEEP_S = 0.05
CONNECT_TIMEOUT_S = 5.0
MAX_CONNECTIONS = 4000


class Client:
    """Sends, and keeps what came of it. `late_ms` is how long after it was due each request left."""

    def __init__(self, plan: Plan) -> None:
        self.outcomes: list[Outcome] = []
        self.late_ms: list[float] = []
        self.open = 0
        self._plan = plan
        self._loop = asyncio.get_running_loop()
        self._idle: list[list[Connection]] = [[] for _ in plan.sources]
        self._pending: dict[str, Request] = {}
        self._turn = 0
        self._cookies = [line.encode() for line in Path(plan.cookies).read_text().splitlines()] or [b""]
        self.jars = [Jar(number, field) for number, field in enumerate(self._cookies)] if plan.jars else []
        self._tasks: set[asyncio.Task[None]] = set()
        self._stopping = asyncio.Event()
        self._tls = ssl.create_default_context(cafile=plan.ca) if plan.ca else None

    async def run(self) -> None:
        """Send everything, or until told to stop; then wait for the answers that are under way."""
        sweeper = asyncio.create_task(self._sweep())
        await self._open_kept()
        for number in (signal.SIGINT, signal.SIGTERM):
            self._loop.add_signal_handler(number, self._stopping.set)
        await self._send_all()
        while self._pending:  # noqa: ASYNC110 - every one of them has a timeout
            await asyncio.sleep(SWEEP_S)
        sweeper.cancel()

    def finish(self, request: Request, kind: Ending) -> None:
        """Keep what became of a request; only the first verdict counts."""
        if self._pending.pop(request.id, None) is None:
            return
        self.outcomes.append(request.outcome(kind, time.monotonic()))

    def take_back(self, connection: Connection) -> None:
        """Keep a connection for the next request."""
        self._idle[connection.source].append(connection)

    async def _send_all(self) -> None:
        plan = self._plan
        queue: list[tuple[float, int, Iterator[float]]] = []
        for number, stream in enumerate(plan.streams):
            times = arrivals(stream, plan.start_at, plan.duration_s, random.Random(plan.seed + number))  # noqa: S311
            with suppress(StopIteration):
                queue.append((next(times), number, times))
        heapify(queue)
        sent = [plan.first_id] * len(plan.streams)
        while queue and not self._stopping.is_set():
            now = time.monotonic()
            while queue and queue[0][0] <= now:
                due, number, times = heappop(queue)
                stream = plan.streams[number]
                self.late_ms.append((now - due) * 1000)
                self._send(stream, f"{stream.name}-{sent[number]}", due)
                sent[number] += 1
                with suppress(StopIteration):
                    heappush(queue, (next(times), number, times))
            if queue:
                await asyncio.sleep(max(TICK_S, queue[0][0] - time.monotonic()))

    def _send(self, stream: Stream, request_id: str, due: float) -> None:
        self._turn += 1
        number = self._turn % len(self._cookies)
        jar = self.jars[number] if self.jars and stream.signed_in else None
        cookie = jar.field if jar is not None else self._cookies[number] if stream.signed_in else b""
        request = Request(request_id, stream, due, cookie, jar)
        self._pending[request_id] = request
        source = self._turn % len(self._idle) if stream.source is None else stream.source
        idle = self._idle[source]
        while idle and not stream.fresh:
            connection = idle.pop()
            if connection.usable:
                connection.send(request)
                return
        if self.open >= MAX_CONNECTIONS:
            self.finish(request, Ending.UNCONNECTED)
            return
        task = self._loop.create_task(self._connect(request, source))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _open_kept(self) -> None:
        for number in range(self._plan.kept_connections):
            connection = await self._connected(number % len(self._idle))
            if connection is not None:
                self.take_back(connection)

    async def _connect(self, request: Request, source: int) -> None:
        connection = await self._connected(source)
        if connection is None:
            self.finish(request, Ending.UNCONNECTED)
        else:
            connection.send(request)

    async def _connected(self, source: int) -> Connection | None:
        plan = self._plan
        self.open += 1
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                _, connection = await self._loop.create_connection(
                    lambda: Connection(self, source), "127.0.0.1", plan.port,
                    local_addr=(plan.sources[source], 0), ssl=self._tls,
                    server_hostname=plan.server_name if self._tls else None,
                )  # fmt: skip
        except OSError:
            self.open -= 1
            return None
        return connection

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_S)
            now = time.monotonic()
            for request in [one for one in self._pending.values() if one.due + one.stream.timeout_s < now]:
                self.finish(request, Ending.TIMED_OUT)
                if request.connection is not None:
                    request.connection.abort()


def main() -> None:
    """Run the plan of the command line; write its log, and how late the client itself was beside it."""

    async def run() -> Client:
        client = Client(plan)
        await client.run()
        return client

    plan = read_plan(Path(sys.argv[1]))
    client = uvloop.run(run())
    Path(plan.log).write_text("".join(f"{outcome.line()}\n" for outcome in client.outcomes))
    write_jars(Path(plan.log + JARS), client.jars)
    late = sorted(client.late_ms) or [0.0]
    Path(plan.log + ".late").write_text(f"{late[int(len(late) * 0.99)]:.3f}\n")


if __name__ == "__main__":
    main()
