"""What a presented token stands for: what renewals and updates have in common.

A token says what its session was when it was made. An update may have said otherwise since, and that counts, whatever
token is presented.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from edgepb.cookie.v1 import cookie_service_pb2 as pb

from services.cookie.issuing import Issuer
from services.cookie.revocation import Known
from services.cookie.session_update import full, same_names
from services.kit.database_calls import DatabaseUnavailable
from tokens.cookie import Claims
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


@dataclass(slots=True, frozen=True)
class Renewal:
    """How a renewal or an update ended. `detail` is private: for the log, never with a token or a name in it.

    `moved_to` is the customer whose session it is by an update, where the token names another; else 0.
    """

    outcome: pb.RenewOutcome
    detail: str = ""
    pair: pb.CookiePair | None = None
    moved_to: int = 0


@dataclass(slots=True, frozen=True)
class Held:
    """A token that is neither revoked nor used up: as `presented`, and the full `claims` that its session has now.

    `known` is what is known of the session under the names in `claims`.
    """

    presented: Claims
    claims: Claims
    known: Known


class PresentedTokens:
    """Opens tokens and looks up what has become of them. `clock` gives epoch seconds.

    A rescheduled token that was followed is good until one that came after it is presented, and `overlap_s` more.
    """

    def __init__(
        self, issuer: Issuer, keys: Keys, memory: Memory, clock: Callable[[], float], *, overlap_s: int
    ) -> None:
        self._issuer = issuer
        self._keys = keys
        self._memory = memory
        self._clock = clock
        self._overlap_s = overlap_s

    async def opened(self, insecure: bytes) -> Claims | Renewal:
        """Return what an authentic token of a user says, however old it is."""
        opened = self._issuer.open(self._keys.ring, insecure, self._clock())
        if opened is Refusal.UNKNOWN_KEY:
            # The edge may have newer keys than this service: find out before calling the token forged.
            if not await self._keys.current():
                return Renewal(pb.UNAVAILABLE, "unknown_key, and no newer keys to be had")
            opened = self._issuer.open(self._keys.ring, insecure, self._clock())
        if isinstance(opened, Refusal):
            return Renewal(pb.REFUSED, opened.value)
        return Renewal(pb.REFUSED, "no_user") if opened.customer_id == 0 else opened

    async def held(self, presented: Claims, now: float) -> Held | Renewal:
        """Look up what became of the session of a token that was presented `now`."""
        claims, known = full(presented), await self.known(presented)
        if isinstance(known, Known) and known.revoked.covers(presented.vouched_at):
            return Renewal(pb.REVOKED)
        if isinstance(known, Known):
            claims = known.update.applied(claims)
            if not same_names(claims, presented):
                known = await self.known(claims)
                if isinstance(known, Known) and known.revoked.covers(claims.vouched_at):
                    return Renewal(pb.REVOKED)
        if not isinstance(known, Known):
            return Renewal(pb.UNAVAILABLE, f"database: {known}")
        if presented.rescheduled_count:
            succeeded_at = known.renewals.get(presented.generation)
            if succeeded_at is not None and now - succeeded_at > self._overlap_s:
                return Renewal(pb.REFUSED, "reused")
        return Held(presented, claims, known)

    async def known(self, claims: Claims) -> Known | str:
        """Return what is known of the session, or why nothing is."""
        try:
            return await self._memory.known(claims.customer_id, claims.session_id, claims.esn)
        except DatabaseUnavailable as problem:
            return str(problem)

    async def remember(self, held: Held) -> None:
        """Remember that a rescheduled token is followed, and that the owner of one before this got what followed.

        Raises DatabaseUnavailable.
        """
        session_id, generation = held.presented.session_id, held.presented.generation
        if any(before < generation and at is None for before, at in held.known.renewals.items()):
            await self._memory.succeed_rescheduled_renewals(session_id, generation)
        if held.presented.rescheduled_count:
            await self._memory.remember_rescheduled_renewal(session_id, generation)


def fresh_nonces() -> tuple[bytes, bytes]:
    """Return a nonce for each cookie of a pair, from the system's random source."""
    return os.urandom(NONCE_BYTES), os.urandom(NONCE_BYTES)
