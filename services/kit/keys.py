"""The key ring of a service: there before it serves, refreshed beside it, never lost once held.

It comes from the KMS or, while that is away at the start, from the sealed snapshot of what it said last
(docs/keys.md, "The sealed snapshot").
"""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Final

import structlog
from pydantic import BaseModel, ConfigDict, Field

from passport.key_sets import KeySets
from passport.key_snapshot import KeySnapshot, SnapshotFile, SnapshotSealer, Unusable
from passport.kms import KeysLost, KmsClient, KmsRefused, KmsUnavailable
from services.kit.process import StartError
from tokens.keys.ring import KeyRing

KMS: Final = "kms"
SNAPSHOT: Final = "snapshot"
_FIRST_RETRY_S: Final = 0.1
_LONGEST_RETRY_S: Final = 2.0
_SNAPSHOT_PATIENCE_S: Final = 0.5  # for a KMS that is only slow: whoever has a snapshot need not wait for it
_CURRENT_S: Final = 5.0
_UNKNOWN_KEY_REST_S: Final = 60.0
_log = structlog.get_logger()


class KeysConfig(BaseModel):
    """How old the sealed snapshot of the keys may be to start from; 0: none is written or used."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    snapshot_max_age_s: Annotated[float, Field(ge=0, le=31_536_000)] = 604_800

    def file(self, var: Path, token: str, identity: str, environment: str) -> SnapshotFile | None:
        """Return the snapshot's file, of an identity that proves itself with `token`; None when there is to be none."""
        if not self.snapshot_max_age_s:
            return None
        sealer = SnapshotSealer(token, identity, environment)
        return SnapshotFile(var / f"keys.{identity}.snapshot", sealer, self.snapshot_max_age_s)


class FreshRing:
    """The newest ring; a refresh that fails keeps the one before. Made by `fresh_ring`.

    `source` says whether it is from the KMS or from the snapshot, `fetched_at` when the KMS was asked for it, in epoch
    seconds, and `store_lost` that the KMS answers as if it had lost its store.
    """

    def __init__(
        self, client: KmsClient, purposes: Sequence[str], refresh_s: float, file: SnapshotFile | None = None
    ) -> None:
        self._sets = KeySets(client, purposes, file)
        self._sets.on_saved = _saved
        self._refresh_s = refresh_s
        self._refreshing = asyncio.Lock()
        self._version: tuple[object, ...] = ()
        self._current_until = self._next_asked = float("-inf")
        self.ring = KeyRing({}, {}, 0)
        self.source = KMS
        self.fetched_at = 0.0
        self.store_lost = False

    async def current(self) -> bool:
        """Say whether these were the newest keys a moment ago; find out if the KMS was not asked for that lately.

        For a token under a key that the ring does not know: at most one call in `_UNKNOWN_KEY_REST_S`, for strangers'
        tokens must not become a load on the KMS.
        """
        async with self._refreshing:
            now = asyncio.get_running_loop().time()
            if now >= self._current_until and now >= self._next_asked:
                self._next_asked = now + _UNKNOWN_KEY_REST_S
                await self._fetch_quietly()
            return now < self._current_until

    async def start(self) -> None:
        """Fetch until there is a ring, or take that of the snapshot while the KMS is away.

        StartError when the KMS refuses, or its answer makes no ring.
        """
        remembered = await self._sets.load()
        try:
            if isinstance(remembered, KeySnapshot):
                await self._start_with(remembered)
            else:
                if remembered is not Unusable.MISSING:
                    _log.warning("key_snapshot_unusable", reason=remembered.value)
                await self._start_without(remembered)
        except (KmsRefused, ValueError) as problem:
            raise StartError(str(problem)) from None

    async def follow(self) -> None:
        """Refresh for ever."""
        retry_s = _FIRST_RETRY_S
        while True:
            if self.source == KMS:
                # A tenth either way, so that the instances of a service do not ask all at once.
                wait_s = self._refresh_s * random.uniform(0.9, 1.1)  # noqa: S311 - spreads load
            else:
                wait_s = retry_s * random.uniform(0.5, 1.0)  # noqa: S311 - spreads load
                retry_s = min(2 * retry_s, self._refresh_s)
            await asyncio.sleep(wait_s)
            async with self._refreshing:
                await self._fetch_quietly()

    async def close(self) -> None:
        """Let the snapshot that is being written come to its end."""
        await self._sets.close()

    def health(self) -> Mapping[str, str | float | bool]:
        """Return where the keys are from, how long ago the KMS was asked for them, and if it has lost its store."""
        age_s = round(max(0.0, time.time() - self.fetched_at), 1)
        return {"source": self.source, "age_s": age_s, "store_lost": self.store_lost}

    async def _start_with(self, remembered: KeySnapshot) -> None:
        try:
            await asyncio.wait_for(self._fetch(), _SNAPSHOT_PATIENCE_S)
        except (KmsUnavailable, ValueError, TimeoutError) as problem:
            self._take(remembered, SNAPSHOT)
            age_s = round(time.time() - remembered.fetched_at)
            _log.warning("keys_from_snapshot", age_s=age_s, problem=str(problem) or "the KMS does not answer at once")

    async def _start_without(self, snapshot: Unusable) -> None:
        wait_s = _FIRST_RETRY_S
        while True:
            try:
                return await self._fetch()
            except KmsUnavailable as problem:
                _log.warning("waiting_for_keys", problem=str(problem), snapshot=snapshot.value)
            await asyncio.sleep(wait_s)
            wait_s = min(2 * wait_s, _LONGEST_RETRY_S)

    async def _fetch_quietly(self) -> None:
        try:
            await self._fetch()
        except (KmsUnavailable, KmsRefused, ValueError) as problem:
            _log.warning("keys_not_refreshed", problem=str(problem))
        except Exception as error:  # noqa: BLE001 - whatever it is: a refresh that goes wrong must not be the last one
            _log.error("key_refresh_failed", problem=type(error).__name__)

    async def _fetch(self) -> None:
        self._count_uses()
        self._current_until = float("-inf")
        try:
            self._take(await self._sets.fetch(), KMS)
        except KeysLost as lost:
            self.store_lost = True
            _log.error("kms_lost_keys", keys=lost.key_ids, hint="held keys stay in use: restore the store of the KMS")
            raise
        self.store_lost = False
        self._current_until = asyncio.get_running_loop().time() + _CURRENT_S

    def _take(self, snapshot: KeySnapshot, source: str) -> None:
        if snapshot.version != self._version:
            ring = KeyRing.from_key_sets(snapshot.answer.key_sets, snapshot.answer.revision)
            self._count_uses()
            self.ring, self._version = ring, snapshot.version
        self.source, self.fetched_at = source, snapshot.fetched_at
        self._sets.taken(snapshot, save=source == KMS)
        if self._sets.came_back:
            ids = [f"{key_id:08x}" for key_id in self._sets.came_back]
            _log.error("destroyed_keys_came_back", keys=ids, hint="they stay destroyed: is the KMS an old backup?")

    def _count_uses(self) -> None:
        now = time.time()
        for _, key_id, uses in self.ring.take_uses():
            self._sets.uses.add(key_id, uses, now)

    def __repr__(self) -> str:
        return f"FreshRing({self.ring!r})"


@asynccontextmanager
async def fresh_ring(
    client: KmsClient, purposes: Sequence[str], refresh_s: float, file: SnapshotFile | None = None
) -> AsyncIterator[FreshRing]:
    """Wait for the first ring, then keep it fresh until the block ends; remember it in `file`, if there is one."""
    keys = FreshRing(client, purposes, refresh_s, file)
    await keys.start()
    following = asyncio.create_task(keys.follow(), name="key-refresh")
    try:
        yield keys
    finally:
        following.cancel()
        await asyncio.wait({following})
        await keys.close()


def _saved(result: str, problem: str) -> None:
    if result == "failed":
        _log.warning("key_snapshot_not_saved", problem=problem)
