"""An origin whose answers a test may hold back."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

from tests.processes import eventually


class Origin:
    """An origin that counts requests and answers them once its gate is open."""

    def __init__(self) -> None:
        self.address = ""
        self.requests = 0
        self.gate = asyncio.Event()
        self.gate.set()

    async def answer(self, request: web.Request) -> web.Response:
        """Answer any request."""
        self.requests += 1
        await self.gate.wait()
        return web.Response(text="the origin's answer")

    async def has(self, requests: int) -> None:
        """Wait until so many requests have come."""

        async def came() -> bool:
            return self.requests >= requests

        await eventually(came, f"the origin has {requests} requests")


@asynccontextmanager
async def origin_running() -> AsyncIterator[Origin]:
    """Serve on port 0 until the block ends."""
    origin, application = Origin(), web.Application()
    application.router.add_route("*", "/{path:.*}", origin.answer)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
        origin.address = f"{host}:{port}"
        yield origin
    finally:
        origin.gate.set()
        await runner.cleanup()
