"""The origin that looks: it stands where nginx will stand, and keeps the heads that the proxies send."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web
from multidict import CIMultiDictProxy


class Seen:
    """The heads that arrived, in order."""

    def __init__(self) -> None:
        self.heads: list[CIMultiDictProxy[str]] = []

    async def answer(self, request: web.Request) -> web.Response:
        """Keep the head, answer 200."""
        self.heads.append(request.headers)
        return web.json_response({"seen": len(self.heads)})


@asynccontextmanager
async def check_origin(port: int) -> AsyncIterator[Seen]:
    """Serve on `port` of loopback until left."""
    seen = Seen()
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", seen.answer)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", port).start()
        yield seen
    finally:
        await runner.cleanup()
