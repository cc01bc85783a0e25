"""One update: is the token ours, is it revoked, then a pair of the same session that says something else.

It is no renewal: the pair lives no longer than the last full token, and nobody is asked whether the user is a member.
What an update says is remembered of the session, so that no older token of it brings back what was before.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

from edgepb.cookie.v1 import cookie_service_pb2 as pb

from services.cookie.issuing import Issuer
from services.cookie.presented import Held, Keys, Memory, PresentedTokens, Renewal, fresh_nonces
from services.cookie.revocation import Known
from services.cookie.session_update import NOTHING_SAID, SessionUpdate, issued_at_least, said, same_names, updated
from services.kit.database_calls import DatabaseUnavailable
from tokens.cookie import Claims, NoSealingKeyError


class UpdateMemory(Memory, Protocol):
    """What is known of sessions, and remembered of updates."""

    async def remember_update(self, session_id: str, update: SessionUpdate) -> None:
        """Remember what an update said of a session. Raises DatabaseUnavailable."""
        ...


class Updater:
    """Updates pairs. `clock` gives epoch seconds, `overlap_s` is that of PresentedTokens."""

    def __init__(
        self, issuer: Issuer, keys: Keys, memory: UpdateMemory, clock: Callable[[], float], *, overlap_s: int
    ) -> None:
        self._issuer = issuer
        self._keys = keys
        self._memory = memory
        self._tokens = PresentedTokens(issuer, keys, memory, clock, overlap_s=overlap_s)
        self._clock = clock

    async def update(self, request: pb.UpdateRequest) -> Renewal:
        """Update the session that the EdgeId value in `request` belongs to."""
        now = self._clock()
        presented = await self._tokens.opened(request.insecure)
        if isinstance(presented, Renewal):
            return presented
        held = await self._tokens.held(presented, now)
        if isinstance(held, Renewal):
            return held
        update = said(request, held.claims)
        claims = await self._dated(updated(request, update, held.claims), held)
        if isinstance(claims, Renewal):
            return claims
        try:
            pair = self._issuer.seal(self._keys.ring, claims, fresh_nonces())
        except NoSealingKeyError as problem:
            return Renewal(pb.UNAVAILABLE, problem.reason)
        if not same_names(claims, held.claims):
            update = replace(update, vouched_at=claims.issued_at)
        try:
            await self._tokens.remember(held)
            if update != NOTHING_SAID:
                await self._memory.remember_update(claims.session_id, update)
        except DatabaseUnavailable as problem:
            return Renewal(pb.UNAVAILABLE, f"database: {problem}")
        moved = claims.customer_id != presented.customer_id
        return Renewal(pb.UPDATED, pair=pair, moved_to=claims.customer_id if moved else 0)

    async def _dated(self, claims: Claims, held: Held) -> Claims | Renewal:
        """Return the claims, issued after what was revoked before of another customer or device that they now name."""
        if same_names(claims, held.claims):
            return claims
        known = await self._tokens.known(claims)
        if not isinstance(known, Known):
            return Renewal(pb.UNAVAILABLE, f"database: {known}")
        if known.revoked.session:
            return Renewal(pb.REVOKED)
        return issued_at_least(claims, known.revoked.newest + 1) if known.revoked.covers(claims.issued_at) else claims
