"""A service on loopback whose answers a test sets, over real sockets."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import aiohttp
from aiohttp import web

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
