"""One renewal: is the token ours, is it revoked, is the user still a member, then the next pair.

The rules: an authentic token is renewed however old it is; only a revocation and the subscriber service's own word end
a user's session; whatever cannot be found out is UNAVAILABLE, which costs nobody the session.
"""

import asyncio
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from edgepb.cookie.v1 import cookie_service_pb2 as pb

from services.cookie.issuing import Issuer
from services.cookie.revocation import Known
from services.cookie.subscriber import Membership, Standing
from services.kit.database_calls import DatabaseUnavailable
from tokens.cookie import Claims, NoSealingKeyError
from tokens.envelope import NONCE_BYTES, Refusal
from tokens.keys.ring import KeyRing


class Keys(Protocol):
    """The newest ring, and a way to ask whether it is."""

    @property
    def ring(self) -> KeyRing:
        """The newest ring."""
        ...

    async def current(self) -> bool:
        """Try to get newer keys; say whether these are the newest."""
        ...


class Memory(Protocol):
    """What is revoked, and which rescheduled tokens were renewed. Raises DatabaseUnavailable where it cannot say."""

    async def known(self, customer_id: int, session_id: str, esn: str) -> Known:
        """Return what is known of a session."""
        ...

    async def remember_rescheduled_renewal(self, session_id: str, generation: int) -> None:
        """Remember that the rescheduled token of this session and generation was renewed now."""
        ...

    async def succeed_rescheduled_renewals(self, session_id: str, generation: int) -> None:
        """Remember that a token of this generation was presented now, of those before it that were renewed."""
        ...


class Subscribers(Protocol):
    """Who is a member."""

    async def membership(self, customer_id: int) -> Membership:
        """Return what is known about the user."""
        ...


@dataclass(slots=True, frozen=True)
class Renewal:
    """How one ended. `detail` is private: for the log, never with a token or a name in it."""

    outcome: pb.RenewOutcome
    detail: str = ""
    pair: pb.CookiePair | None = None


class Renewer:
    """Renews pairs. `clock` gives epoch seconds.

    A rescheduled token that was renewed is good until a token that came after it is presented, and `overlap_s` more.
    """

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
        self._memory = memory
        self._subscribers = subscribers
        self._clock = clock
        self._overlap_s = overlap_s

    async def renew(self, insecure: bytes) -> Renewal:
        """Renew the pair that the EdgeId value `insecure` belongs to."""
        # Before anything is looked up: what is revoked from here on revokes the new pair, too.
        now = self._clock()
        claims = await self._claims(insecure)
        if isinstance(claims, Renewal):
            return claims
        if claims.customer_id == 0:
            return Renewal(pb.REFUSED, "no_user")
        known, membership = await asyncio.gather(self._known(claims), self._subscribers.membership(claims.customer_id))
        if isinstance(known, Known) and known.revoked.covers(claims.vouched_at):
            return Renewal(pb.REVOKED)
        if membership.standing is Standing.NOT_A_MEMBER:
            return Renewal(pb.NOT_A_MEMBER)
        if membership.standing is Standing.UNKNOWN:
            return Renewal(pb.UNAVAILABLE, f"subscriber: {membership.problem}")
        if not isinstance(known, Known):
            return Renewal(pb.UNAVAILABLE, f"database: {known}")
        if claims.rescheduled_count:
            succeeded_at = known.renewals.get(claims.generation)
            if succeeded_at is not None and now - succeeded_at > self._overlap_s:
                return Renewal(pb.REFUSED, "reused")
        try:
            await self._remember(claims, known)
        except DatabaseUnavailable as problem:
            return Renewal(pb.UNAVAILABLE, f"database: {problem}")
        try:
            claims = self._issuer.next(claims, membership.account_owner_id, now, known.revoked.newest)
            return Renewal(pb.RENEWED, pair=self._issuer.seal(self._keys.ring, claims, fresh_nonces()))
        except NoSealingKeyError as problem:
            return Renewal(pb.UNAVAILABLE, problem.reason)

    async def _remember(self, claims: Claims, known: Known) -> None:
        """Remember that a rescheduled token is renewed, and that the owner of one before this got what followed."""
        session_id, generation = claims.session_id, claims.generation
        if any(before < generation and at is None for before, at in known.renewals.items()):
            await self._memory.succeed_rescheduled_renewals(session_id, generation)
        if claims.rescheduled_count:
            await self._memory.remember_rescheduled_renewal(session_id, generation)

    async def _known(self, claims: Claims) -> Known | str:
        """Return what is known of the session, or why nothing is."""
        try:
            return await self._memory.known(claims.customer_id, claims.session_id, claims.esn)
        except DatabaseUnavailable as problem:
            return str(problem)

    async def _claims(self, insecure: bytes) -> Claims | Renewal:
        opened = self._issuer.open(self._keys.ring, insecure, self._clock())
        if opened is Refusal.UNKNOWN_KEY:
            # The edge may have newer keys than this service: find out before calling the token forged.
            if not await self._keys.current():
                return Renewal(pb.UNAVAILABLE, "unknown_key, and no newer keys to be had")
            opened = self._issuer.open(self._keys.ring, insecure, self._clock())
        return Renewal(pb.REFUSED, opened.value) if isinstance(opened, Refusal) else opened


def fresh_nonces() -> tuple[bytes, bytes]:
    """Return a nonce for each cookie of a pair, from the system's random source."""
    return os.urandom(NONCE_BYTES), os.urandom(NONCE_BYTES)
