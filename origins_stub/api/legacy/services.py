"""Whom a legacy origin asks itself: the cookie service for pairs, the auth service for passwords. No call raises."""

from collections.abc import AsyncIterator
from typing import TypeVar

import aiohttp
import orjson
import structlog
from aiohttp import web
from edgepb.cookie.v1 import cookie_service_pb2 as pb
from google.protobuf.message import DecodeError, Message

_TIMEOUT_S = 3.0
_MAX_ANSWER_BYTES = 16 * 1024
Answer = TypeVar("Answer", bound=Message)
_log = structlog.get_logger("origins_stub.api")


class LegacyServices:
    """The cookie service at `cookie_url` and the auth service at `auth_url`, asked under `token`."""

    def __init__(self, cookie_url: str, auth_url: str, token: str) -> None:
        self._cookie_url = cookie_url.rstrip("/")
        self._auth_url = auth_url.rstrip("/")
        self._headers = {"Authorization": f"Bearer {token}"}
        self._session: aiohttp.ClientSession | None = None

    async def running(self, _: web.Application) -> AsyncIterator[None]:
        """Hold a session while the application runs (for `Application.cleanup_ctx`)."""
        timeout = aiohttp.ClientTimeout(total=_TIMEOUT_S)
        async with aiohttp.ClientSession(headers=self._headers, timeout=timeout) as self._session:
            yield

    async def check(self, body: bytes) -> tuple[int, dict[str, object]] | None:
        """Return status and answer to a body with e-mail address and password; None when there is none."""
        answer = await self._post(self._auth_url + "/v1/check", body, "application/json")
        try:
            document: object = None if answer is None else orjson.loads(answer[1])
        except orjson.JSONDecodeError:
            return None
        return (answer[0], document) if answer is not None and isinstance(document, dict) else None

    async def create(self, request: pb.CreateRequest) -> pb.CookiePair | None:
        """Return a pair of a new session."""
        answer = await self._cookies("/v1/create", request, pb.CreateResponse)
        return answer.pair if answer is not None and answer.HasField("pair") else None

    async def renew(self, insecure: str) -> pb.RenewResponse:
        """Return what came of a renewal; UNAVAILABLE where nobody could be asked."""
        answer = await self._cookies("/v1/renew", pb.RenewRequest(insecure=insecure.encode()), pb.RenewResponse)
        return answer or pb.RenewResponse(outcome=pb.UNAVAILABLE)

    async def revoke(self, customer_id: int, session_id: str) -> bool:
        """Revoke a session; tell whether that is done."""
        request = pb.RevokeRequest(reason=pb.LOGOUT, customer_id=customer_id, session_id=session_id)
        return await self._cookies("/v1/revocations", request, pb.RevokeResponse) is not None

    async def _cookies(self, path: str, request: Message, kind: type[Answer]) -> Answer | None:
        answer = await self._post(self._cookie_url + path, request.SerializeToString(), "application/x-protobuf")
        try:
            return kind.FromString(answer[1]) if answer is not None and answer[0] == 200 else None
        except DecodeError:
            return None

    async def _post(self, url: str, body: bytes, media_type: str) -> tuple[int, bytes] | None:
        if self._session is None:
            raise RuntimeError("the services are used before their application runs")
        headers = {"Content-Type": media_type}
        try:
            async with self._session.post(url, data=body, headers=headers, allow_redirects=False) as answer:
                return answer.status, await answer.content.read(_MAX_ANSWER_BYTES)
        except (aiohttp.ClientError, TimeoutError) as error:
            # The type only: the error's text may hold the request, and with it a token or a password.
            _log.warning("service_unavailable", url=url, error=type(error).__name__)
        return None
