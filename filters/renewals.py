"""The renewals of one worker: under way, just ended, put off. A reload makes the filter anew, and these go on."""

import asyncio
from hashlib import blake2b
from typing import Final

from edge.contract.ports import CookiePair, RenewalOutcome, RenewedCookie, SharedRenewals, StandIn
from filters.recent import Recent

_DIGEST_BYTES: Final = 16
_UPDATES: Final = 1024
_REVOKED: Final = 4096
_MOST_HELD: Final = 8


class Renewals:
    """What a worker knows of the renewals of its tokens. For one event loop.

    `running` and `done` are by the token that was presented, `put_off` (when the renewal of a due one is tried again)
    and `stand_ins` (what stands in for an expired one) by a digest of it. `waiting` counts the requests that wait.
    `shared` makes one renewal do for other workers and edges, too; None: for this worker alone. `overlap_s` is how long
    they keep a result for stragglers. `any_revoked` tells whether it is worth while to ask `is_revoked`.
    """

    __slots__ = (
        "_held",
        "_revoked",
        "_updated",
        "any_revoked",
        "done",
        "overlap_s",
        "put_off",
        "running",
        "shared",
        "stand_ins",
        "waiting",
    )

    def __init__(self, shared: SharedRenewals | None = None) -> None:
        self.shared = shared
        self.overlap_s = 10.0
        self.waiting = 0
        self.running: dict[bytes, asyncio.Task[RenewedCookie]] = {}
        self.done: Recent[bytes, tuple[float, asyncio.Task[RenewedCookie]]] = Recent(0)
        self.put_off: Recent[bytes, float] = Recent(0)
        self.stand_ins: Recent[bytes, StandIn] = Recent(0)
        self.any_revoked = False
        # By the token itself, whose hash is kept with it: every request asks, and a digest costs five look-ups.
        self._revoked: Recent[bytes, RenewalOutcome] = Recent(_REVOKED)
        # By the token that was presented: what an update has made of it.
        self._updated: Recent[bytes, CookiePair] = Recent(_UPDATES)
        # By the token that an update has made: those through which others may still be given it.
        self._held: Recent[bytes, list[RenewedCookie | StandIn]] = Recent(_UPDATES)

    def bound(self, ended: int, failed: int) -> None:
        """Say how many renewals that ended are remembered, and how many that failed."""
        self.done.size = ended
        self.put_off.size = self.stand_ins.size = failed

    def revoke(self, *tokens: bytes) -> None:
        """Remember EdgeId values that the cookie service says are revoked. That is for good."""
        self.any_revoked = True
        for token in tokens:
            self._revoked.put(token, RenewalOutcome.REVOKED)

    def is_revoked(self, presented: bytes) -> bool:
        """Tell whether an EdgeId value is remembered as revoked."""
        return self._revoked.get(presented) is not None

    def newest(self, presented: bytes) -> CookiePair | None:
        """Return what updates have made of a token here, None where there was none."""
        pair = self._updated.get(presented)
        for _ in range(_MOST_HELD):
            later = None if pair is None else self._updated.get(pair.insecure)
            if later is None:
                break
            pair = later
        return pair

    async def replace(self, presented: bytes, updated: RenewedCookie, now: float) -> None:
        """Put what an update has made in the place of all that was remembered for a token.

        Who showed `presented` and waits for an answer, or shows it again, is not given what was before the update. To
        be called before the response that carries the new pair goes out.

        Args:
            presented: the EdgeId value that the device showed, whatever the update started from.
            updated: what the update brought; without a pair nothing is done.
            now: epoch seconds.
        """
        pair = updated.pair
        if pair is None:
            return
        held = [*(self._held.get(presented) or ())]
        done = self.done.get(presented)
        renewed = None if done is None else done[1].result()
        if renewed is not None and renewed.pair is not None:
            held.append(renewed)
        stand_in = self.stand_ins.get(digest(presented))
        if stand_in is not None:
            held.append(stand_in)
        for each in held:
            each.pair = pair
        if held:
            self._held.put(pair.insecure, held[-_MOST_HELD:])
        self._updated.put(presented, pair)
        # One that has expired is no renewal: who waits for one elsewhere must not take it for that.
        if self.shared is not None and pair.expires_at > now:
            moved_to = updated.moved_to or (0 if renewed is None else renewed.moved_to)
            await self.shared.replace(presented, RenewedCookie(RenewalOutcome.RENEWED, pair, moved_to), self.overlap_s)

    def __repr__(self) -> str:
        """Counts only: tokens are keys."""
        return f"Renewals({len(self.running)} under way, {self.waiting} waiting)"


def digest(presented: bytes) -> bytes:
    """Return what stands for a token where many are remembered."""
    return blake2b(presented, digest_size=_DIGEST_BYTES).digest()
