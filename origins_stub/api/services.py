"""Calls other services with the Passport of the exchange, and goes on with the one they return. No call raises."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import aiohttp
import orjson
import structlog
from aiohttp import web

from passport.aiohttp import propagating

TIMEOUT_S = 3.0
_MAX_ANSWER_BYTES = 16 * 1024
_log = structlog.get_logger("origins_stub.api")


@dataclass(slots=True, frozen=True)
class Answer:
    """What a service said: a status, and its JSON object."""

    status: int
    document: dict[str, object] = field(repr=False)

    @property
    def reason(self) -> str:
        """The stable id of a problem, or the empty text."""
        reason = self.document.get("reason")
        return reason if isinstance(reason, str) else ""


class Services:
    """The services at `urls`, which may have the Passport; `timeout_s` is for one whole call."""

    def __init__(self, urls: list[str], timeout_s: float = TIMEOUT_S) -> None:
        self._urls = urls
        self._timeout = aiohttp.ClientTimeout(total=timeout_s)
        self._session: aiohttp.ClientSession | None = None

    async def running(self, _: web.Application) -> AsyncIterator[None]:
        """Hold a session while the application runs (for `Application.cleanup_ctx`)."""
        # A connection for each call: a login must not fail because a service closed an idle one.
        async with aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(force_close=True),
            middlewares=[propagating(self._urls)],
            timeout=self._timeout,
        ) as self._session:
            yield

    async def call(self, method: str, url: str, body: bytes = b"") -> Answer | None:
        """Call one of the services with a JSON body; None when there is no JSON object in answer."""
        if self._session is None:
            raise RuntimeError("the services are used before their application runs")
        headers = {"Content-Type": "application/json"}
        try:
            async with self._session.request(
                method, url, data=body or None, headers=headers, allow_redirects=False
            ) as answer:
                document: object = orjson.loads(await answer.content.read(_MAX_ANSWER_BYTES))
                if isinstance(document, dict):
                    return Answer(answer.status, document)
                _log.warning("service_unavailable", url=url, error="no JSON object")
        except (aiohttp.ClientError, TimeoutError, orjson.JSONDecodeError) as error:
            # The type only: the error's text may hold the request, and with it a Passport or a password.
            _log.warning("service_unavailable", url=url, error=type(error).__name__)
        return None
