"""The Passport keys of one origin: fetched from the KMS before it serves, refreshed beside it."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress

import aiohttp
import structlog
from aiohttp import web

from origins_stub.kit.process import StartError
from passport.key_sets import KeySets
from passport.keys import PassportKeys
from passport.kms import KeysLost, KmsClient, KmsRefused, KmsUnavailable

START_PATIENCE_S = 30.0
_RETRY_S = 0.25
_log = structlog.get_logger("origins_stub.keys")


class KeySource:
    """Holds the keys of `purposes` in `passport_keys`, which is replaced as a whole by each refresh.

    An origin that has no keys yet does not serve; one that has keeps them for as long as the KMS is away.
    """

    def __init__(self, kms_url: str, token: str, purposes: Sequence[str], refresh_s: float) -> None:
        self._kms_url = kms_url
        self._token = token
        self._purposes = purposes
        self._refresh_s = refresh_s
        self.passport_keys: PassportKeys | None = None

    def __repr__(self) -> str:
        return f"KeySource({', '.join(self._purposes)})"

    async def running(self, _: web.Application) -> AsyncIterator[None]:
        """Fetch the keys, and refresh them while the application runs (for `Application.cleanup_ctx`).

        Raises StartError when the KMS refuses, or is not there for 30 s.
        """
        async with aiohttp.ClientSession() as session:
            sets = KeySets(KmsClient(session, self._kms_url, self._token), self._purposes)
            await self._fetch_first(sets)
            refreshing = asyncio.ensure_future(self._refresh_for_ever(sets))
            yield
            refreshing.cancel()
            with suppress(asyncio.CancelledError):
                await refreshing

    async def _fetch(self, sets: KeySets) -> None:
        self._count_uses(sets)
        fetched = await sets.fetch()
        keys = PassportKeys.from_key_sets(fetched.answer.key_sets)
        self._count_uses(sets)
        self.passport_keys = keys
        sets.taken(fetched, save=False)

    def _count_uses(self, sets: KeySets) -> None:
        if self.passport_keys is not None:
            for _, key_id, uses in self.passport_keys.take_uses():
                sets.uses.add(key_id, uses, time.time())

    async def _fetch_first(self, sets: KeySets) -> None:
        give_up = asyncio.get_running_loop().time() + START_PATIENCE_S
        while True:
            try:
                return await self._fetch(sets)
            except KmsRefused as refusal:
                raise StartError(f"{refusal}; see this identity's purposes in config/kms.yaml") from None
            except KmsUnavailable as outage:
                if asyncio.get_running_loop().time() > give_up:
                    raise StartError(f"no keys: {outage}") from None
            await asyncio.sleep(_RETRY_S)

    async def _refresh_for_ever(self, sets: KeySets) -> None:
        while True:
            await asyncio.sleep(self._refresh_s * random.uniform(0.9, 1.1))  # noqa: S311 - spreads load
            try:
                await self._fetch(sets)
            except KeysLost as lost:
                _log.error("kms_lost_keys", keys=lost.key_ids, hint="restore the store of the KMS")
            except (KmsRefused, KmsUnavailable, ValueError) as problem:
                _log.warning("keys_not_refreshed", problem=str(problem))
            except Exception as error:  # noqa: BLE001 - a refresh that goes wrong must not be the last one
                _log.error("key_refresh_failed", problem=type(error).__name__)
