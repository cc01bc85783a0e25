"""One renewal: is the token ours, is the user still a member, then the next pair.

The rules: an authentic token is renewed however old it is; only the subscriber service's own word ends a user's
session; whatever cannot be found out is UNAVAILABLE, which costs nobody the session.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from edgepb.cookie.v1 import cookie_service_pb2 as pb

from services.cookie.issuing import Issuer
from services.cookie.subscriber import Membership, Standing
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
    """Renews pairs. `clock` gives epoch seconds."""

    def __init__(self, issuer: Issuer, keys: Keys, subscribers: Subscribers, clock: Callable[[], float]) -> None:
        self._issuer = issuer
        self._keys = keys
        self._subscribers = subscribers
        self._clock = clock

    async def renew(self, insecure: bytes) -> Renewal:
        """Renew the pair that the EdgeId value `insecure` belongs to."""
        claims = await self._claims(insecure)
        if isinstance(claims, Renewal):
            return claims
        if claims.customer_id == 0:
            return Renewal(pb.REFUSED, "no_user")
        membership = await self._subscribers.membership(claims.customer_id)
        if membership.standing is Standing.NOT_A_MEMBER:
            return Renewal(pb.NOT_A_MEMBER)
        if membership.standing is Standing.UNKNOWN:
            return Renewal(pb.UNAVAILABLE, f"subscriber: {membership.problem}")
        try:
            claims = self._issuer.next(claims, membership.account_owner_id, self._clock())
            return Renewal(pb.RENEWED, pair=self._issuer.seal(self._keys.ring, claims, fresh_nonces()))
        except NoSealingKeyError:
            return Renewal(pb.UNAVAILABLE, "no_sealing_key")

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
