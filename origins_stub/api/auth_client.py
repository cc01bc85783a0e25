"""Calls the auth service with the caller's own Passport. Each call ends in an outcome; none raises."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from enum import Enum

import aiohttp
import orjson
import structlog
from aiohttp import web

from passport.aiohttp import HEADER

TIMEOUT_S = 3.0
_MAX_ANSWER_BYTES = 16 * 1024
_log = structlog.get_logger("origins_stub.api")


@dataclass(slots=True, frozen=True)
class Changed:
    """The identity changed: `passport` is the X-Passport value to answer with."""

    passport: str = field(repr=False)


class Unchanged(Enum):
    """Why the identity did not change."""

    WRONG_CREDENTIALS = "wrong_credentials"
    BAD_BODY = "bad_body"
    UNAVAILABLE = "auth_unavailable"


class AuthClient:
    """Asks the auth service at `url`; `timeout_s` is for one whole call."""

    def __init__(self, url: str, timeout_s: float = TIMEOUT_S) -> None:
        self._url = url.rstrip("/")
        self._timeout = aiohttp.ClientTimeout(total=timeout_s)
        self._session: aiohttp.ClientSession | None = None

    async def running(self, _: web.Application) -> AsyncIterator[None]:
        """Hold a session while the application runs (for `Application.cleanup_ctx`)."""
        # A connection for each call: a login must not fail because the auth service closed an idle one.
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)) as self._session:
            yield

    async def login(self, passport: str, body: bytes) -> Changed | Unchanged:
        """Pass the device's JSON body on as it came."""
        return await self._call("/v1/login", passport, body)

    async def logout(self, passport: str) -> Changed | Unchanged:
        """End the session of the Passport's user."""
        return await self._call("/v1/logout", passport, b"")

    async def _call(self, path: str, passport: str, body: bytes) -> Changed | Unchanged:
        if self._session is None:
            raise RuntimeError("the client is used before its application runs")
        headers = {HEADER: passport, "Content-Type": "application/json"}
        try:
            async with self._session.post(
                self._url + path, data=body, headers=headers, timeout=self._timeout, allow_redirects=False
            ) as answer:
                return _outcome(answer, await _reason(answer))
        except (aiohttp.ClientError, TimeoutError) as error:
            # The type only: the error's text may hold the request, and with it a Passport or a password.
            _log.warning("auth_unavailable", error=type(error).__name__)
            return Unchanged.UNAVAILABLE


def _outcome(answer: aiohttp.ClientResponse, reason: str) -> Changed | Unchanged:
    passports = answer.headers.getall(HEADER, [])
    if answer.status == 200 and len(passports) == 1:
        return Changed(passports[0])
    if answer.status == 401 and reason == Unchanged.WRONG_CREDENTIALS.value:
        return Unchanged.WRONG_CREDENTIALS
    if answer.status == 400 and reason == Unchanged.BAD_BODY.value:
        return Unchanged.BAD_BODY
    _log.warning("auth_unavailable", status=answer.status, reason=reason, passports=len(passports))
    return Unchanged.UNAVAILABLE


async def _reason(answer: aiohttp.ClientResponse) -> str:
    if answer.status == 200:
        return ""
    try:
        document = orjson.loads(await answer.content.read(_MAX_ANSWER_BYTES))
    except orjson.JSONDecodeError:
        return ""
    reason = document.get("reason") if isinstance(document, dict) else None
    return reason if isinstance(reason, str) else ""
