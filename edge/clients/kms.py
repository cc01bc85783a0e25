"""The keys of one worker: there before it serves, refreshed beside it, never lost once held.

They come from the KMS or, while that is away at the start, from the sealed snapshot of what it said last
(docs/keys.md, "The sealed snapshot").
"""

import asyncio
import contextlib
import random
import time
from collections.abc import Iterable, Sequence
from typing import Final

import structlog
from edgepb.kms.v1 import kms_pb2

from edge.telemetry.metrics import WorkerMetrics, count
from passport.key_sets import KeySets
from passport.key_snapshot import KeySnapshot, SnapshotFile, Unusable
from passport.keys import PassportKeys
from passport.kms import KeysLost, KmsClient, KmsRefused, KmsUnavailable
from resilience.breaker import Breaker
from tokens.keys.ring import KeyRing

KMS: Final = "kms"
SNAPSHOT: Final = "snapshot"
_FIRST_RETRY_S: Final = 0.1
_LONGEST_RETRY_S: Final = 2.0
_SAY_SO_AFTER_S: Final = 2.0
_SNAPSHOT_PATIENCE_S: Final = 0.5  # for a KMS that is only slow: whoever has a snapshot need not wait for it
_UNKNOWN_KEY_REST_S: Final = 60.0
_log = structlog.get_logger("edge.keys")


class KeyRings:
    """Holds the newest `ring` and `passport_keys`; both are replaced together, and only when the KMS has new ones.

    Until `start` both are empty: nothing opens and nothing can be signed. A refresh that fails keeps the old.
    """

    def __init__(
        self,
        client: KmsClient,
        purposes: Sequence[str],
        *,
        refresh_s: float,
        stale_after_s: float,
        breaker: Breaker,
        metrics: WorkerMetrics,
        file: SnapshotFile | None = None,
    ) -> None:
        """Keep the keys of `purposes`, and remember them in `file` if there is one.

        The KMS lets no key protect that a live holder lacks; `stale_after_s` without a word it takes one for gone.
        """
        self._sets = KeySets(client, purposes, file)
        self._sets.on_saved = self._saved
        self._breaker = breaker
        self._refresh_s = refresh_s
        self._stale_after_s = stale_after_s
        self._fresh_until = float("-inf")  # on the monotonic clock: no step of the other one makes keys fresh
        self._metrics = metrics
        self._refreshing: asyncio.Task[None] | None = None
        self._asked_refreshes: set[asyncio.Task[None]] = set()
        self._next_asked_refresh = 0.0
        self.ring = KeyRing({}, {}, 0)
        self.passport_keys = PassportKeys({}, {})
        self._version: tuple[object, ...] = ()
        self._source = KMS
        self._fetching = asyncio.Lock()  # one at a time: a late, older answer must not replace a newer one
        metrics.sources.append(self._count_uses)

    def __repr__(self) -> str:
        return f"KeyRings({self.ring!r})"

    async def start(self, patience_s: float) -> None:
        """Fetch the keys, or take those of the snapshot while the KMS is away; then refresh them in the background.

        Without a snapshot, the KMS is tried again for `patience_s`. Raises KmsUnavailable when it stays away,
        KmsRefused when it knows this edge too little, ValueError when its key sets contradict themselves.
        """
        remembered = await self._sets.load()
        if isinstance(remembered, KeySnapshot):
            await self._start_with(remembered)
        else:
            if remembered is not Unusable.MISSING:
                _log.warning("key_snapshot_unusable", reason=remembered.value)
            await self._start_without(remembered, patience_s)
        self._refreshing = asyncio.create_task(self._refresh_for_ever(), name="key-refresh")

    def refresh_soon(self) -> None:
        """Fetch once beside the caller, because a token named a key that the ring lacks; not more often than it helps.

        Forged tokens name unknown keys at any rate, so the KMS sees at most one such call in `_UNKNOWN_KEY_REST_S`.
        """
        now = time.monotonic()
        if now >= self._next_asked_refresh:
            self._next_asked_refresh = now + _UNKNOWN_KEY_REST_S
            self._refresh_beside()

    def take_token(self, token: str) -> None:
        """Show a new token of this edge to the KMS from now on, at once, and keep the snapshot under it."""
        if self._sets.take_token(token):
            self._refresh_beside()

    def stale(self) -> bool:
        """Tell whether the KMS may have given out keys that these lack, so that an unknown key proves nothing.

        So it is, too, while what `refresh_soon` asked for is under way: for a key that was forced into use.
        """
        if any(not each.done() for each in self._asked_refreshes):
            return True
        return time.monotonic() >= self._fresh_until

    async def close(self) -> None:
        """Stop refreshing."""
        for task in (self._refreshing, *self._asked_refreshes):
            if task is not None:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task
        await self._sets.close()

    async def refresh(self) -> None:
        """Fetch once; raises as `start` does and then keeps the keys as they were."""
        async with self._fetching:
            asked = time.monotonic()
            try:
                self._take(await self._ask(), KMS)
            except Exception as error:
                self._metrics.remote_call("kms", _outcome(error))
                if isinstance(error, KeysLost):
                    self._store_lost(error)
                raise
            self._metrics.keys.store_lost = False
            self._fresh_until = asked + self._stale_after_s
            self._metrics.remote_call("kms", "ok")

    async def _start_with(self, remembered: KeySnapshot) -> None:
        try:
            await asyncio.wait_for(self.refresh(), _SNAPSHOT_PATIENCE_S)
        except (KmsUnavailable, ValueError, TimeoutError) as problem:
            self._take(remembered, SNAPSHOT)
            age_s = round(time.time() - remembered.fetched_at)
            _log.warning("keys_from_snapshot", age_s=age_s, problem=str(problem) or "the KMS does not answer at once")

    async def _start_without(self, snapshot: Unusable, patience_s: float) -> None:
        begun, said, wait_s = time.monotonic(), False, _FIRST_RETRY_S
        while True:
            try:
                return await self.refresh()
            except KmsUnavailable as problem:
                waited_s = time.monotonic() - begun
                if waited_s + wait_s > patience_s:
                    raise KmsUnavailable(f"{problem}; snapshot: {snapshot.value}") from None
                if not said and waited_s > _SAY_SO_AFTER_S:
                    said = True
                    _log.warning("waiting_for_keys", problem=str(problem), snapshot=snapshot.value)
            await asyncio.sleep(wait_s)
            wait_s = min(2 * wait_s, _LONGEST_RETRY_S)

    async def _ask(self) -> KeySnapshot:
        permit = self._breaker.permit()
        if permit is None:
            raise KmsUnavailable("the KMS has failed too often: it is left alone for a moment")
        self._count_uses(self._metrics)
        with permit:
            try:
                return await self._sets.fetch()
            except (KmsRefused, KeysLost):
                permit.worked()
                raise

    def _take(self, snapshot: KeySnapshot, source: str) -> None:
        """Make the keys of `snapshot` those in use; ValueError when its key sets contradict themselves."""
        key_sets = snapshot.answer.key_sets
        if snapshot.version != self._version:
            # Same version, same objects: verified-token caches live as long as the ring they were filled under.
            ring = KeyRing.from_key_sets(key_sets, snapshot.answer.revision)
            passport_keys = PassportKeys.from_key_sets(key_sets)
            self._count_uses(self._metrics)
            self.ring, self.passport_keys, self._version = ring, passport_keys, snapshot.version
            self._metrics.keys.made = _made(key_sets)
        self._source = source
        self._metrics.keys.ring(snapshot.answer.revision, snapshot.fetched_at, source)
        self._sets.taken(snapshot, save=source == KMS)
        if self._sets.came_back:
            ids = [f"{key_id:08x}" for key_id in self._sets.came_back]
            _log.error("destroyed_keys_came_back", keys=ids, hint="they stay destroyed: is the KMS an old backup?")

    def _store_lost(self, lost: KeysLost) -> None:
        """Go on with the keys there are; others may have taken the new ones, and a key of theirs is unknown here."""
        self._fresh_until = float("-inf")
        self._metrics.keys.store_lost = True
        _log.error("kms_lost_keys", keys=lost.key_ids, hint="held keys stay in use: restore the store of the KMS")

    def _count_uses(self, into: WorkerMetrics) -> None:
        now = time.time()
        for purpose, key_id, uses in (*self.ring.take_uses(), *self.passport_keys.take_uses()):
            self._sets.uses.add(key_id, uses, now)
            count(into.keys.uses, (purpose, f"{key_id:08x}"), uses)

    def _saved(self, result: str, problem: str) -> None:
        count(self._metrics.keys.snapshots, (result,))
        if problem:
            _log.warning("key_snapshot_not_saved", problem=problem)

    async def _refresh_for_ever(self) -> None:
        retry_s = _FIRST_RETRY_S
        while True:
            if self._source == KMS:
                # A tenth either way, so that the edges of a fleet do not ask all at once.
                wait_s = self._refresh_s * random.uniform(0.9, 1.1)  # noqa: S311 - spreads load
            else:
                wait_s = retry_s * random.uniform(0.5, 1.0)  # noqa: S311 - spreads load
                retry_s = min(2 * retry_s, self._refresh_s)
            await asyncio.sleep(wait_s)
            await self._refresh_quietly()

    def _refresh_beside(self) -> None:
        task = asyncio.create_task(self._refresh_quietly(), name="key-refresh-asked")
        self._asked_refreshes.add(task)
        task.add_done_callback(self._asked_refreshes.discard)

    async def _refresh_quietly(self) -> None:
        try:
            await self.refresh()
        except (KmsUnavailable, KmsRefused, ValueError) as problem:
            _log.warning("keys_not_refreshed", problem=str(problem))
        except Exception as error:  # noqa: BLE001 - whatever it is: a refresh that goes wrong must not be the last one
            _log.error("key_refresh_failed", problem=type(error).__name__)


def _made(key_sets: Iterable[kms_pb2.KeySet]) -> dict[tuple[str, str, str], int]:
    """Return when each key was made, in epoch seconds, by purpose, id and state: `primary` is the one that protects."""
    return {
        (key_set.purpose, f"{version.key_id:08x}", _state(version)): version.created
        for key_set in key_sets
        for version in key_set.versions
        if version.state != kms_pb2.DESTROYED
    }


def _state(version: kms_pb2.KeyVersion) -> str:
    return "primary" if version.primary else kms_pb2.KeyState.Name(version.state).lower()


def _outcome(error: Exception) -> str:
    if isinstance(error, KeysLost):
        return "lost_keys"
    if isinstance(error, KmsUnavailable):
        return "unavailable"
    if isinstance(error, KmsRefused):
        return "refused"
    return "invalid" if isinstance(error, ValueError) else "failed"
