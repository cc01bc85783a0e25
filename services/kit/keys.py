"""The key ring of a service: there before it serves, refreshed beside it, never lost once held."""

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress

import structlog

from passport.kms import KmsClient, KmsRefused, KmsUnavailable
from services.kit.process import StartError
from tokens.keys.ring import KeyRing

_FIRST_RETRY_S = 0.1
_LONGEST_RETRY_S = 2.0
_MIN_GAP_S = 5.0
_log = structlog.get_logger()


class FreshRing:
    """The newest ring; a refresh that fails keeps the one before. Made by `fresh_ring`."""

    def __init__(self, client: KmsClient, purposes: Sequence[str], refresh_s: float) -> None:
        self._client = client
        self._purposes = tuple(purposes)
        self._refresh_s = refresh_s
        self._refreshing = asyncio.Lock()
        self._asked_at = float("-inf")
        self._current = False
        self.ring = KeyRing({}, {}, 0)

    async def current(self) -> bool:
        """Ask the KMS for newer keys, unless it was asked a moment ago; say whether the last answer was one.

        For a token under a key that the ring does not know: strangers' tokens must not become a load on the KMS.
        """
        async with self._refreshing:
            if asyncio.get_running_loop().time() - self._asked_at >= _MIN_GAP_S:
                with suppress(KmsUnavailable, KmsRefused, ValueError):
                    await self._fetch()
            return self._current

    async def first(self) -> None:
        """Fetch until there is a ring. StartError when the KMS refuses, or its answer makes no ring."""
        wait_s = _FIRST_RETRY_S
        while True:
            try:
                return await self._fetch()
            except KmsUnavailable as problem:
                _log.warning("waiting_for_keys", problem=str(problem))
            except (KmsRefused, ValueError) as problem:
                raise StartError(str(problem)) from None
            await asyncio.sleep(wait_s)
            wait_s = min(2 * wait_s, _LONGEST_RETRY_S)

    async def follow(self) -> None:
        """Refresh for ever."""
        while True:
            # A tenth either way, so that the instances of a service do not ask all at once.
            await asyncio.sleep(self._refresh_s * random.uniform(0.9, 1.1))  # noqa: S311 - spreads load
            try:
                async with self._refreshing:
                    await self._fetch()
            except (KmsUnavailable, KmsRefused, ValueError) as problem:
                _log.warning("keys_not_refreshed", problem=str(problem))

    async def _fetch(self) -> None:
        self._asked_at = asyncio.get_running_loop().time()
        self._current = False
        answer = await self._client.key_sets(self._purposes)
        if answer.revision != self.ring.revision:
            self.ring = KeyRing.from_key_sets(answer.key_sets, answer.revision)
        self._current = True

    def __repr__(self) -> str:
        return f"FreshRing({self.ring!r})"


@asynccontextmanager
async def fresh_ring(client: KmsClient, purposes: Sequence[str], refresh_s: float) -> AsyncIterator[FreshRing]:
    """Wait for the first ring, then keep it fresh until the block ends."""
    keys = FreshRing(client, purposes, refresh_s)
    await keys.first()
    following = asyncio.create_task(keys.follow(), name="key-refresh")
    try:
        yield keys
    finally:
        following.cancel()
        await asyncio.wait({following})
