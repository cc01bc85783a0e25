"""The admin listener: GET /metrics, /health and /live, which read and change nothing, and what else it is given."""

from collections.abc import Awaitable, Callable, Iterable
from typing import Final

import orjson
from aiohttp import web

from edge.admin.exposition import CONTENT_TYPE, exposition
from edge.admin.health import Health, Status
from edge.telemetry.snapshot import Merged

MAX_BODY_BYTES: Final = 8192
_NO_STORE = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}


class AdminServer:
    """Serves what `merged` and `health` return, each asked anew for every request, and `more` routes."""

    def __init__(
        self,
        merged: Callable[[], Awaitable[Merged]],
        health: Callable[[], Health],
        more: Iterable[web.RouteDef] = (),
    ) -> None:
        self._more = tuple(more)
        self._merged = merged
        self._health = health
        self._runner: web.AppRunner | None = None

    async def start(self, host: str, port: int) -> tuple[str, int]:
        """Listen; return the address with the real port. Raises OSError when it cannot."""
        app = web.Application(client_max_size=MAX_BODY_BYTES)
        app.router.add_routes(self._more)
        app.router.add_get("/metrics", self._get_metrics)
        app.router.add_get("/health", self._get_health)
        app.router.add_get("/live", self._get_live)
        self._runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=0.5)
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, host, port).start()
        except OSError:
            await self.close()
            raise
        bound = self._runner.addresses[0]
        return str(bound[0]), int(bound[1])

    async def close(self) -> None:
        """Stop listening."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _get_metrics(self, _: web.Request) -> web.Response:
        body = exposition(await self._merged())
        return web.Response(body=body, headers={**_NO_STORE, "Content-Type": CONTENT_TYPE})

    async def _get_health(self, _: web.Request) -> web.Response:
        health = self._health()
        return web.Response(
            status=200 if health.status is Status.READY else 503,
            body=orjson.dumps(health) + b"\n",
            content_type="application/json",
            headers=_NO_STORE,
        )

    async def _get_live(self, _: web.Request) -> web.Response:
        """Answer as long as the supervisor turns, whatever its workers do: starting it anew helps with nothing else."""
        return web.Response(text="live\n", headers=_NO_STORE)
