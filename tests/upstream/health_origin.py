"""A real origin, of aiohttp, with a path for health checks."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web

from edge.control.values import Address


@dataclass
class Origin:
    """An instance whose answer to checks a test may change; requests are answered with 200."""

    address: Address
    status: int = 200
    silent: bool = False
    asked: list[web.Request] = field(default_factory=list)
    peers: set[object] = field(default_factory=set)

    @staticmethod
    def is_check(request: web.Request) -> bool:
        """Tell a check from a request."""
        return request.path == "/health"

    @property
    def requests(self) -> int:
        """How many requests came that were no checks."""
        return sum(not self.is_check(each) for each in self.asked)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Answer as told."""
        self.asked.append(request)
        self.peers.add(request.transport.get_extra_info("peername") if request.transport is not None else None)
        if self.silent:
            await asyncio.Event().wait()
        return web.Response(
            status=self.status if self.is_check(request) else 200,
            text="x" * 100_000,
            headers={"Location": "/elsewhere", "Set-Cookie": "a=b"},
        )


@asynccontextmanager
async def origin(status: int = 200, *, silent: bool = False) -> AsyncIterator[Origin]:
    """Run one on a free port."""
    sock = socket.create_server(("127.0.0.1", 0))
    made = Origin(Address("127.0.0.1", sock.getsockname()[1]), status, silent)
    application = web.Application()
    application.router.add_route("*", "/{rest:.*}", made.answer)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    await web.SockSite(runner, sock).start()
    try:
        yield made
    finally:
        await runner.cleanup()
