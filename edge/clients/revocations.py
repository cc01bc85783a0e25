"""Follows the cookie service's feed of revocations: one long poll per worker, and nothing on a request's way.

A feed that cannot be had leaves what is known: it is tried again, less and less often, and its age is a metric.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable
from random import random
from typing import Final

import aiohttp
import structlog
from edgepb.cookie.v1 import cookie_service_pb2 as pb
from google.protobuf.message import DecodeError

from edge.guard.revoked import RevokedTokens
from edge.telemetry.metrics import WorkerMetrics

_log = structlog.get_logger("edge.revocations")
_MAX_PAGE_BYTES: Final = 16 * 1024 * 1024  # 10,000 entries with the longest names that tokens can carry
_FIRST_RETRY_S: Final = 0.1
_LONGEST_RETRY_S: Final = 2.0
_GRACE_S: Final = 5.0  # for the answer to a long poll, beyond the wait that was asked for


class _Unusable(Exception):  # noqa: N818 - never leaves this module; `outcome` is the metric's label
    def __init__(self, outcome: str) -> None:
        super().__init__(outcome)
        self.outcome = outcome


class RevocationFeed:
    """Keeps `revoked` up to date from `start` to `close`. Counts its calls as service `revocations`."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        url: str,
        token: str,
        revoked: RevokedTokens,
        *,
        wait_s: float,
        metrics: WorkerMetrics,
        wall: Callable[[], float] = time.time,
    ) -> None:
        """Follow the service at base `url` as the bearer of `token`, with long polls of `wait_s` seconds."""
        self._session = session
        self._url = url.rstrip("/") + "/v1/revocations"
        self._headers = {"Authorization": f"Bearer {token}"}
        self._wait_s = wait_s
        self._metrics = metrics
        self._wall = wall
        self._cursor = 0
        self._following: asyncio.Task[None] | None = None
        self._caught_up = False
        self._begun = asyncio.Event()  # all there was has come, or it cannot be had now
        self.revoked = revoked
        metrics.revocations_heard_at = wall()  # so that its age grows from the start

    def __repr__(self) -> str:
        return f"RevocationFeed({self.revoked!r})"

    def take_token(self, token: str) -> None:
        """Show a new token of this edge from the next page on."""
        self._headers = {"Authorization": f"Bearer {token}"}

    async def start(self, patience_s: float) -> None:
        """Begin to follow; wait until all there is has come or cannot be had, for `patience_s` at most."""
        self._following = asyncio.create_task(self._follow(), name="revocation-feed")
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._begun.wait(), patience_s)

    async def close(self) -> None:
        """Follow no more."""
        if self._following is not None:
            self._following.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._following

    async def _follow(self) -> None:
        retry_s = _FIRST_RETRY_S
        while True:
            try:
                more = await self._page(self._wait_s if self._caught_up else 0.0)
            except _Unusable as problem:
                if retry_s == _FIRST_RETRY_S:
                    _log.warning("revocations_not_followed", problem=problem.outcome)
                self._metrics.remote_call("revocations", problem.outcome)
                self._begun.set()
                # Half to whole: workers that lost the service together do not come back together.
                await asyncio.sleep(retry_s * (0.5 + random() / 2))  # noqa: S311 - spreads load
                retry_s = min(2 * retry_s, _LONGEST_RETRY_S)
                continue
            self._metrics.remote_call("revocations", "ok")
            retry_s = _FIRST_RETRY_S
            self._caught_up = not more
            if not more:
                self._begun.set()

    async def _page(self, wait_s: float) -> bool:
        """Take what was revoked since the last page; return whether there is more."""
        try:
            async with self._session.get(
                self._url,
                params={"after": str(self._cursor), "wait_s": f"{wait_s:g}"},
                headers=self._headers,
                timeout=aiohttp.ClientTimeout(total=wait_s + _GRACE_S),
                allow_redirects=False,
            ) as response:
                if response.status != 200:
                    raise _Unusable(f"status_{response.status // 100}xx")
                received = bytearray()
                async for piece in response.content.iter_any():
                    received += piece
                    if len(received) > _MAX_PAGE_BYTES:
                        raise _Unusable("bad_answer")
            feed = pb.RevocationFeed.FromString(bytes(received))
        except DecodeError:
            raise _Unusable("bad_answer") from None
        except TimeoutError:
            raise _Unusable("timeout") from None
        except (aiohttp.ClientError, OSError):
            raise _Unusable("unreachable") from None
        now = self._wall()
        for entry in feed.revocations:
            self._take(now, entry)
        self._cursor = feed.cursor
        self._metrics.revocations_heard_at = now
        return feed.more

    def _take(self, now: float, entry: pb.Revocation) -> None:
        if entry.kind == pb.SESSION:
            self.revoked.session(now, entry.customer_id, entry.session_id)
        elif entry.kind == pb.DEVICE:
            self.revoked.device(now, entry.customer_id, entry.esn, entry.revoked_at)
        elif entry.kind == pb.CUSTOMER:
            self.revoked.customer(now, entry.customer_id, entry.revoked_at, entry.except_session_id)
        else:  # of a later version: rather too much than too little
            self.revoked.customer(now, entry.customer_id, entry.revoked_at)
