"""Tells the subscriber service of new members."""

from collections.abc import AsyncIterator

import aiohttp
import structlog
from aiohttp import web

TIMEOUT_S = 2.0
_log = structlog.get_logger("origins_stub.auth")


class Members:
    """Calls the subscriber service at `url` with this service's own bearer token."""

    def __init__(self, url: str, token: str) -> None:
        self._url = url.rstrip("/")
        self._headers = {"Authorization": f"Bearer {token}"}
        self._session: aiohttp.ClientSession | None = None

    async def running(self, _: web.Application) -> AsyncIterator[None]:
        """Hold a session while the application runs (for `Application.cleanup_ctx`)."""
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
        connector = aiohttp.TCPConnector(force_close=True)
        async with aiohttp.ClientSession(connector=connector, timeout=timeout) as self._session:
            yield

    async def add(self, customer_id: int, account_owner_id: int) -> bool:
        """Let somebody be a member, again if need be; False when the service did not take it. Never raises for that."""
        if self._session is None:
            raise RuntimeError("the client is used before its application runs")
        url = f"{self._url}/v1/subscribers/{customer_id}"
        membership = {"account_owner_id": account_owner_id, "member": True}
        try:
            async with self._session.put(url, json=membership, headers=self._headers, allow_redirects=False) as answer:
                if answer.status == 200:
                    return True
                _log.warning("subscriber_unavailable", status=answer.status)
        except (aiohttp.ClientError, TimeoutError) as error:
            _log.warning("subscriber_unavailable", error=type(error).__name__)
        return False

    def __repr__(self) -> str:
        return f"Members({self._url})"
