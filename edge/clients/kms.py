"""The keys of one worker: fetched from the KMS before it serves, refreshed beside it, never lost once held."""

import asyncio
import contextlib
import random
import time
from collections.abc import Sequence

import structlog
from edgepb.kms.v1.kms_pb2 import GetKeySetsResponse

from edge.guard.breaker import Breaker
from edge.telemetry.metrics import WorkerMetrics
from passport.keys import PassportKeys
from passport.kms import KmsClient, KmsRefused, KmsUnavailable
from tokens.keys.ring import KeyRing

_FIRST_RETRY_S = 0.1
_LONGEST_RETRY_S = 2.0
_UNKNOWN_KEY_REST_S = 60.0
_log = structlog.get_logger("edge.keys")


class KeyRings:
    """Holds the newest `ring` and `passport_keys`; both are replaced together, and only when the KMS has new ones.

    Until the first fetch both are empty: nothing opens and nothing can be signed. A refresh that fails keeps the old.
    """

    def __init__(
        self, client: KmsClient, purposes: Sequence[str], *, refresh_s: float, breaker: Breaker, metrics: WorkerMetrics
    ) -> None:
        self._client = client
        self._breaker = breaker
        self._purposes = tuple(purposes)
        self._refresh_s = refresh_s
        self._metrics = metrics
        self._refreshing: asyncio.Task[None] | None = None
        self._asked_refresh: asyncio.Task[None] | None = None
        self._next_asked_refresh = 0.0
        self.ring = KeyRing({}, {}, 0)
        self.passport_keys = PassportKeys({}, {})
        self._revision: int | None = None
        self._fetching = asyncio.Lock()  # one at a time: a late, older answer must not replace a newer one

    def __repr__(self) -> str:
        return f"KeyRings({self.ring!r})"

    async def start(self, patience_s: float) -> None:
        """Fetch the keys, trying again for `patience_s`, then refresh them in the background.

        Raises KmsUnavailable when the KMS stays away, KmsRefused when it knows this edge too little, ValueError when
        its key sets contradict themselves.
        """
        give_up = time.monotonic() + patience_s
        wait_s = _FIRST_RETRY_S
        while True:
            try:
                await self.refresh()
                break
            except KmsUnavailable:
                if time.monotonic() + wait_s > give_up:
                    raise
            await asyncio.sleep(wait_s)
            wait_s = min(2 * wait_s, _LONGEST_RETRY_S)
        self._refreshing = asyncio.create_task(self._refresh_for_ever(), name="key-refresh")

    def refresh_soon(self) -> None:
        """Fetch once beside the caller, because a token named a key that the ring lacks; not more often than it helps.

        Forged tokens name unknown keys at any rate, so the KMS sees at most one such call in `_UNKNOWN_KEY_REST_S`.
        """
        now = time.monotonic()
        if now >= self._next_asked_refresh:
            self._next_asked_refresh = now + _UNKNOWN_KEY_REST_S
            self._asked_refresh = asyncio.create_task(self._refresh_quietly(), name="key-refresh-asked")

    async def close(self) -> None:
        """Stop refreshing."""
        for task in (self._refreshing, self._asked_refresh):
            if task is not None:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task

    async def refresh(self) -> None:
        """Fetch once; raises as `start` does and then keeps the keys as they were."""
        async with self._fetching:
            await self._fetch()

    async def _ask(self) -> GetKeySetsResponse:
        permit = self._breaker.permit()
        if permit is None:
            raise KmsUnavailable("the KMS has failed too often: it is left alone for a moment")
        with permit:
            try:
                return await self._client.key_sets(self._purposes)
            except KmsRefused:
                permit.worked()
                raise

    async def _fetch(self) -> None:
        try:
            answer = await self._ask()
            if answer.revision != self._revision:
                # Same revision, same objects: verified-token caches live as long as the ring they were filled under.
                ring = KeyRing.from_key_sets(answer.key_sets, answer.revision)
                keys = PassportKeys.from_key_sets(answer.key_sets)
                self.ring, self.passport_keys, self._revision = ring, keys, answer.revision
        except (KmsUnavailable, KmsRefused, ValueError) as error:
            self._metrics.remote_call("kms", _outcome(error))
            raise
        self._metrics.remote_call("kms", "ok")
        self._metrics.key_ring(answer.revision, time.time())

    async def _refresh_for_ever(self) -> None:
        while True:
            # A tenth either way, so that the edges of a fleet do not ask all at once.
            await asyncio.sleep(self._refresh_s * random.uniform(0.9, 1.1))  # noqa: S311 - spreads load
            await self._refresh_quietly()

    async def _refresh_quietly(self) -> None:
        try:
            await self.refresh()
        except (KmsUnavailable, KmsRefused, ValueError) as problem:
            _log.warning("keys_not_refreshed", problem=str(problem))


def _outcome(error: Exception) -> str:
    if isinstance(error, KmsUnavailable):
        return "unavailable"
    return "refused" if isinstance(error, KmsRefused) else "invalid"
