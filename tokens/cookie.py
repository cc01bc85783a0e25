"""The cookie pair: claims in, two sealed values out, and back. docs/tokens.md, "The cookie pair".

`EdgeId` travels over any transport and carries everything; `SecureEdgeId` is `Secure` and carries what ties it to
its sibling. An expired cookie is not refused here: it is authentic, and whether it still counts is the caller's.

A *rescheduled* pair has the same names and a kind and a key of its own: the edge gives it for a short time when a
renewal could not be done. docs/tokens.md, "Rescheduled cookies".
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar, Final, NamedTuple

from edgepb.tokens.v1.cookie_pb2 import CookieClaims
from google.protobuf.message import DecodeError

from tokens.envelope import Refusal, open_envelope, seal
from tokens.keys.ring import KeyRing, Place

PURPOSE: Final = "cookie"
RESCHEDULED: Final = "cookie-rescheduled"  # purpose and kind
SKEW_S: Final = 60
MAX_LIFE_S: Final = 86_400
MAX_RESCHEDULED_LIFE_S: Final = 3600
_TOP_LEVEL: Final = 3

_parse: Final[Callable[[bytes], CookieClaims]] = CookieClaims.FromString


class NoSealingKeyError(Exception):
    """The ring has no primary cookie key: nothing can be sealed until the KMS provides one. `reason` is for the log."""

    reason: ClassVar[str] = "no_sealing_key"


class ProtectNotGrantedError(NoSealingKeyError):
    """The KMS lets this process open tokens of that purpose, and seal none."""

    reason: ClassVar[str] = "protect_not_granted"


@dataclass(slots=True, frozen=True)
class CookieNames:
    """The names of the two cookies, case-sensitive ASCII."""

    insecure: str = "EdgeId"
    secure: str = "SecureEdgeId"


class Claims(NamedTuple):
    """What a cookie says. Times in epoch seconds; the repr names nobody.

    `customer_id` 0 stands for a device without a user. `level` is the one reached at login, 0 to 3. The last four
    are those of a rescheduled cookie: how many times in a row, since when, and when the last full one expired and was
    issued.
    """

    customer_id: int
    account_owner_id: int
    profile_id: str
    esn: str
    device_type: int
    session_id: str
    issued_at: int
    renew_after: int
    expires_at: int
    generation: int
    level: int
    rescheduled_count: int = 0
    rescheduled_since: int = 0
    original_expires_at: int = 0
    original_issued_at: int = 0

    @property
    def vouched_at(self) -> int:
        """When a token service last vouched for it: what was revoked since then covers it."""
        return self.original_issued_at or self.issued_at

    @property
    def full_until(self) -> int:
        """When the life of the last full cookie ended, or will end."""
        return self.original_expires_at or self.expires_at

    def rescheduled(self, now: float, life_s: float, renew_in_s: float) -> "Claims":
        """Return the claims of the cookie that stands in for this expired one; `renew_in_s` is less than `life_s`."""
        issued_at = int(now)
        return self._replace(
            issued_at=issued_at,
            renew_after=issued_at + int(renew_in_s),
            expires_at=issued_at + int(life_s),
            rescheduled_count=self.rescheduled_count + 1,
            # No later than now, though the clock that said so may have been ahead.
            rescheduled_since=min(self.rescheduled_since or issued_at, issued_at),
            original_expires_at=min(self.full_until, issued_at + SKEW_S),
            original_issued_at=self.vouched_at,
        )

    def expired(self, now: float) -> bool:
        """Tell whether the cookie's life is over, or was said by a clock that was ahead."""
        return now >= self.expires_at or now < self.issued_at - SKEW_S

    def due(self, now: float) -> bool:
        """Tell whether the cookie is to be renewed."""
        return now >= self.renew_after

    def __repr__(self) -> str:
        return f"Claims(generation {self.generation}, issued {self.issued_at}, expires {self.expires_at})"


def seal_pair(
    ring: KeyRing, names: CookieNames, environment: str, claims: Claims, nonces: tuple[bytes, bytes]
) -> tuple[bytes, bytes]:
    """Return the values of both cookies, (insecure, secure), base64url without padding.

    Args:
        ring: the keys; its primary for the purpose "cookie" seals, or for "cookie-rescheduled".
        names: the cookies the values are for; under another name they do not open.
        environment: the deployment they are for; in another one they do not open.
        claims: what to seal.
        nonces: twice 12 bytes from the system's random source.

    Raises:
        NoSealingKeyError: the ring has no primary for cookies, or for rescheduled ones if that is what it is; as
            ProtectNotGrantedError when this process may not seal them.
        ValueError: the claims are such that opening would refuse them.
    """
    purpose = RESCHEDULED if claims.rescheduled_count else PURPOSE
    key = ring.primary(purpose)
    if not ring.may_protect(purpose):
        raise ProtectNotGrantedError(f"not granted to protect with the purpose {purpose!r}")
    if key is None:
        raise NoSealingKeyError(f"no primary key for purpose {purpose!r}")
    if _problem(claims, claims.issued_at) is not None:
        raise ValueError("the claims contradict themselves")
    return (
        seal(key, _place(purpose, names.insecure, environment), _message(claims).SerializeToString(), nonces[0]),
        seal(key, _place(purpose, names.secure, environment), _binding(claims).SerializeToString(), nonces[1]),
    )


def open_insecure(ring: KeyRing, names: CookieNames, environment: str, text: bytes, now: float) -> Claims | Refusal:
    """Open the value of the `insecure` cookie, also when it has expired."""
    return _open(ring, names.insecure, environment, text, now)


def open_pair(
    ring: KeyRing, names: CookieNames, environment: str, pair: tuple[bytes, bytes], now: float
) -> Claims | Refusal:
    """Open both values, (insecure, secure), and return the claims of the pair.

    Both must be authentic and name one user and one session. The pair lives as long as its shorter half.
    """
    claims = _open(ring, names.insecure, environment, pair[0], now)
    if isinstance(claims, Refusal):
        return claims
    secure = _open(ring, names.secure, environment, pair[1], now)
    if isinstance(secure, Refusal):
        return secure
    if claims.customer_id != secure.customer_id or claims.session_id != secure.session_id:
        return Refusal.PAIR_MISMATCH
    if _times(claims) == _times(secure):
        return claims  # sealed together: the common case
    return claims._replace(
        issued_at=max(claims.issued_at, secure.issued_at),
        renew_after=min(claims.renew_after, secure.renew_after),
        expires_at=min(claims.expires_at, secure.expires_at),
        rescheduled_count=max(claims.rescheduled_count, secure.rescheduled_count),
        rescheduled_since=_earlier(claims.rescheduled_since, secure.rescheduled_since),
        original_expires_at=_earlier(claims.original_expires_at, secure.original_expires_at),
        original_issued_at=_earlier(claims.original_issued_at, secure.original_issued_at),
    )


def _times(claims: Claims) -> tuple[int, int, int, int]:
    return claims.issued_at, claims.renew_after, claims.expires_at, claims.original_expires_at


def _earlier(one: int, other: int) -> int:
    """Return the smaller of two times of which 0 is none."""
    return min(one, other) or max(one, other)


@lru_cache(maxsize=64)
def _place(kind: str, name: str, environment: str) -> Place:
    return Place(kind, name, environment)


def _open(ring: KeyRing, name: str, environment: str, text: bytes, now: float) -> Claims | Refusal:
    purpose = PURPOSE
    opened = open_envelope(ring, purpose, _place(purpose, name, environment), text)
    if opened is Refusal.UNKNOWN_KEY:  # key ids are unique over all purposes: only one of them can know it
        purpose = RESCHEDULED
        opened = open_envelope(ring, purpose, _place(purpose, name, environment), text)
    if isinstance(opened, Refusal):
        return opened
    try:
        said = _parse(opened)
    except DecodeError:
        return Refusal.BAD_CLAIMS
    claims = Claims(
        said.customer_id,
        said.account_owner_id,
        said.profile_id,
        said.esn,
        said.device_type,
        said.session_id,
        said.issued_at,
        said.renew_after,
        said.expires_at,
        said.generation,
        said.level,
        said.rescheduled_count,
        said.rescheduled_since,
        said.original_expires_at,
        said.original_issued_at,
    )
    if (claims.rescheduled_count > 0) is not (purpose is RESCHEDULED):
        return Refusal.BAD_CLAIMS
    return _problem(claims, now) or claims


def _problem(claims: Claims, now: float) -> Refusal | None:
    """Judge what no cookie of ours can say; that it has expired is not among it."""
    max_life_s = MAX_LIFE_S
    if claims.rescheduled_count or claims.rescheduled_since or claims.original_expires_at or claims.original_issued_at:
        max_life_s = MAX_RESCHEDULED_LIFE_S
        if claims.rescheduled_count < 0 or not 0 < claims.original_expires_at <= claims.issued_at + SKEW_S:
            return Refusal.BAD_CLAIMS
        if not 0 < claims.original_issued_at < claims.original_expires_at:
            return Refusal.BAD_CLAIMS
        if not 0 < claims.rescheduled_since <= claims.issued_at:
            return Refusal.BAD_CLAIMS
    if not (0 < claims.issued_at <= claims.renew_after <= claims.expires_at <= claims.issued_at + max_life_s):
        return Refusal.BAD_TIMES
    # A rescheduled one may be of an edge whose clock was ahead: it counts as expired, and dates from the full one.
    if claims.expires_at == claims.issued_at or claims.vouched_at > now + SKEW_S:
        return Refusal.BAD_TIMES
    if claims.customer_id < 0 or claims.generation < 0 or not claims.session_id or not 0 <= claims.level <= _TOP_LEVEL:
        return Refusal.BAD_CLAIMS
    return None


def _message(claims: Claims) -> CookieClaims:
    return CookieClaims(
        customer_id=claims.customer_id,
        account_owner_id=claims.account_owner_id,
        profile_id=claims.profile_id,
        esn=claims.esn,
        device_type=claims.device_type,
        session_id=claims.session_id,
        issued_at=claims.issued_at,
        renew_after=claims.renew_after,
        expires_at=claims.expires_at,
        generation=claims.generation,
        level=claims.level,
        rescheduled_count=claims.rescheduled_count,
        rescheduled_since=claims.rescheduled_since,
        original_expires_at=claims.original_expires_at,
        original_issued_at=claims.original_issued_at,
    )


def _binding(claims: Claims) -> CookieClaims:
    return CookieClaims(
        customer_id=claims.customer_id,
        session_id=claims.session_id,
        issued_at=claims.issued_at,
        renew_after=claims.renew_after,
        expires_at=claims.expires_at,
        generation=claims.generation,
        rescheduled_count=claims.rescheduled_count,
        rescheduled_since=claims.rescheduled_since,
        original_expires_at=claims.original_expires_at,
        original_issued_at=claims.original_issued_at,
    )
