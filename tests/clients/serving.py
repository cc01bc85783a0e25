"""A service on loopback whose answers a test sets, over real sockets."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

import aiohttp
from aiohttp import web

from edge.telemetry.metrics import WorkerMetrics
from resilience.breaker import Breaker, BreakerSettings

BREAKER = BreakerSettings(
    window_s=60.0,
    min_calls=4,
    failure_rate=0.7,
    slow_call_s=10.0,
    slow_call_rate=1.0,
    half_open_permits=1,
    half_open_max_s=5.0,
    open_s=0.05,
    max_open_s=0.05,
)


def breaker(metrics: WorkerMetrics, *, open_s: float = 0.05) -> Breaker:
    """Return a breaker that opens on the fourth failure, `service:test` in the metrics."""
    settings = replace(BREAKER, open_s=open_s, max_open_s=open_s)
    return Breaker(settings, time.monotonic, random.random, metrics.breaker("service:test"))


Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Service:
    """Answers every POST with the `status` and `body` of when it came, or hangs until released; keeps requests."""

    def __init__(self) -> None:
        self.status = 200
        self.body = b""
        self.hang = False
        self.requests: list[tuple[str, str, bytes]] = []
        self.asked = asyncio.Event()
        self.released = asyncio.Event()
        self.url = ""

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.requests.append((request.path, request.headers.get("Authorization", ""), await request.read()))
        self.asked.set()
        status, body = self.status, self.body
        if self.hang:
            await self.released.wait()
        return web.Response(status=status, body=body)


@asynccontextmanager
async def serving() -> AsyncIterator[tuple[Service, aiohttp.ClientSession]]:
    """Run a Service; yield it with a session to reach it."""
    service = Service()
    app = web.Application()
    app.router.add_post("/{path:.*}", service.handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    service.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        async with aiohttp.ClientSession() as session:
            yield service, session
    finally:
        service.released.set()
        await runner.cleanup()
