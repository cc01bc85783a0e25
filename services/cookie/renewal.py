"""One renewal: is the token ours, is it revoked, is the user still a member, then the next pair.

The rules: an authentic token is renewed however old it is; only a revocation and the subscriber service's own word end
a user's session; whatever cannot be found out is UNAVAILABLE, which costs nobody the session.
"""

import asyncio
from collections.abc import Callable
from typing import Protocol

from edgepb.cookie.v1 import cookie_service_pb2 as pb

from services.cookie.issuing import Issuer
from services.cookie.presented import Held, Keys, Memory, PresentedTokens, Renewal, fresh_nonces
from services.cookie.subscriber import Membership, Standing
from services.kit.database_calls import DatabaseUnavailable
from tokens.cookie import NoSealingKeyError


class Subscribers(Protocol):
    """Who is a member."""

    async def membership(self, customer_id: int) -> Membership:
        """Return what is known about the user."""
        ...


class Renewer:
    """Renews pairs. `clock` gives epoch seconds, `overlap_s` is that of PresentedTokens."""

    def __init__(
        self,
        issuer: Issuer,
        keys: Keys,
        memory: Memory,
        subscribers: Subscribers,
        clock: Callable[[], float],
        *,
        overlap_s: int,
    ) -> None:
        self._issuer = issuer
        self._keys = keys
        self._tokens = PresentedTokens(issuer, keys, memory, clock, overlap_s=overlap_s)
        self._subscribers = subscribers
        self._clock = clock

    async def renew(self, insecure: bytes) -> Renewal:
        """Renew the pair that the EdgeId value `insecure` belongs to."""
        # Before anything is looked up: what is revoked from here on revokes the new pair, too.
        now = self._clock()
        presented = await self._tokens.opened(insecure)
        if isinstance(presented, Renewal):
            return presented
        customer_id = presented.customer_id
        held, membership = await asyncio.gather(
            self._tokens.held(presented, now), self._subscribers.membership(customer_id)
        )
        if isinstance(held, Renewal) and held.outcome == pb.REVOKED:
            return held
        moved = isinstance(held, Held) and held.claims.customer_id != customer_id
        if isinstance(held, Held) and moved:
            customer_id = held.claims.customer_id
            membership = await self._subscribers.membership(customer_id)
        if membership.standing is Standing.NOT_A_MEMBER:
            return Renewal(pb.NOT_A_MEMBER)
        if membership.standing is Standing.UNKNOWN:
            return Renewal(pb.UNAVAILABLE, f"subscriber: {membership.problem}")
        if isinstance(held, Renewal):
            return held
        try:
            await self._tokens.remember(held)
        except DatabaseUnavailable as problem:
            return Renewal(pb.UNAVAILABLE, f"database: {problem}")
        try:
            claims = self._issuer.next(held.claims, membership.account_owner_id, now, held.known.revoked.newest)
            pair = self._issuer.seal(self._keys.ring, claims, fresh_nonces())
        except NoSealingKeyError as problem:
            return Renewal(pb.UNAVAILABLE, problem.reason)
        return Renewal(pb.RENEWED, pair=pair, moved_to=customer_id if moved else 0)
