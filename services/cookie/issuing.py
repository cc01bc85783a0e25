"""What the claims of a new and of a renewed pair are. Pure: `now` is epoch seconds, randomness comes from outside."""

from dataclasses import dataclass

from edgepb.cookie.v1 import cookie_service_pb2 as pb

from tokens.cookie import Claims, CookieNames, open_insecure, seal_pair
from tokens.envelope import Refusal
from tokens.keys.ring import KeyRing

MAX_ESN_BYTES = 256
MAX_PROFILE_ID_BYTES = 128
LEVELS = range(1, 4)


@dataclass(slots=True, frozen=True)
class Issuer:
    """The rules of one environment: for which names, for how long (`life_s`), renewed after which share of it."""

    names: CookieNames
    environment: str
    life_s: int
    renew_after_share: float

    def first(self, request: pb.CreateRequest, session_id: str, now: float, after: int) -> Claims:
        """Return the claims of a pair for a user who has just signed in; `session_id` is new with every sign-in.

        It is issued `now`, or a second `after` what was revoked last: else it would be revoked with that.
        """
        return self._dated(
            Claims(
                customer_id=request.customer_id,
                account_owner_id=request.account_owner_id,
                profile_id=request.profile_id,
                esn=request.esn,
                device_type=request.device_type,
                session_id=session_id,
                issued_at=0,
                renew_after=0,
                expires_at=0,
                generation=1,
                level=request.level,
            ),
            now,
            after,
        )

    def next(self, claims: Claims, account_owner_id: int, now: float, after: int) -> Claims:
        """Return the claims that follow `claims`: the same session, one generation on, a new life as in `first`."""
        renewed = claims._replace(
            account_owner_id=account_owner_id,
            generation=claims.generation + 1,
            rescheduled_count=0,
            rescheduled_since=0,
            original_expires_at=0,
            original_issued_at=0,
        )
        return self._dated(renewed, now, after)

    def open(self, ring: KeyRing, insecure: bytes, now: float) -> Claims | Refusal:
        """Return the claims of an authentic EdgeId value, also when it has expired."""
        return open_insecure(ring, self.names, self.environment, insecure, now)

    def seal(self, ring: KeyRing, claims: Claims, nonces: tuple[bytes, bytes]) -> pb.CookiePair:
        """Return the pair. Raises NoSealingKeyError when the ring has no primary."""
        insecure, secure = seal_pair(ring, self.names, self.environment, claims, nonces)
        return pb.CookiePair(
            insecure=insecure, secure=secure, expires_at=claims.expires_at, generation=claims.generation
        )

    def _dated(self, claims: Claims, now: float, after: int) -> Claims:
        issued_at = max(int(now), after + 1)
        return claims._replace(
            issued_at=issued_at,
            renew_after=issued_at + int(self.life_s * self.renew_after_share),
            expires_at=issued_at + self.life_s,
        )


def acceptable(request: pb.CreateRequest) -> bool:
    """Say whether a pair may be made of this: a user, a level, and texts short enough for a cookie."""
    return (
        request.customer_id > 0
        and request.account_owner_id >= 0
        and request.device_type >= 0
        and request.level in LEVELS
        and len(request.esn.encode()) <= MAX_ESN_BYTES
        and len(request.profile_id.encode()) <= MAX_PROFILE_ID_BYTES
    )
