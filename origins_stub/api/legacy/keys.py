"""The cookie keys of a legacy origin: there before it serves, refreshed beside it."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import suppress
from time import time

import aiohttp
import structlog
from aiohttp import web

from origins_stub.api.legacy.cookies import PURPOSES, CookieKeys
from origins_stub.kit.process import StartError
from passport.key_sets import KeySets
from passport.kms import KmsClient, KmsRefused, KmsUnavailable

_log = structlog.get_logger("origins_stub.api")


class CookieKeySource:
    """Holds the newest keys in `keys`, from the KMS at `url` in the name of `token`'s identity."""

    def __init__(self, url: str, token: str, refresh_s: float) -> None:
        self.keys = CookieKeys(())
        self._url = url
        self._token = token
        self._refresh_s = refresh_s

    async def running(self, _: web.Application) -> AsyncIterator[None]:
        """Keep them while the application runs (for `Application.cleanup_ctx`); StartError without any."""
        async with aiohttp.ClientSession() as session:
            sets = KeySets(KmsClient(session, self._url, self._token), PURPOSES)
            try:
                await self._fetch(sets)
            except (KmsRefused, KmsUnavailable) as problem:
                raise StartError(f"no cookie keys: {problem}") from None
            refreshing = asyncio.create_task(self._refresh_for_ever(sets), name="cookie-keys")
            yield
            refreshing.cancel()
            with suppress(asyncio.CancelledError):
                await refreshing

    async def _fetch(self, sets: KeySets) -> None:
        for key_id, uses in self.keys.uses.items():
            sets.uses.add(key_id, uses, time())
        self.keys.uses.clear()
        fetched = await sets.fetch()
        self.keys = CookieKeys(fetched.answer.key_sets)
        sets.taken(fetched, save=False)

    async def _refresh_for_ever(self, sets: KeySets) -> None:
        while True:
            await asyncio.sleep(self._refresh_s * random.uniform(0.9, 1.1))  # noqa: S311
            try:
                await self._fetch(sets)
            except (KmsRefused, KmsUnavailable, ValueError) as problem:
                _log.warning("cookie_keys_not_refreshed", problem=str(problem))
