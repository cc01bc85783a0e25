"""What updates say of a session, and what its tokens are by that. Pure; times are epoch seconds."""

from dataclasses import dataclass
from typing import Final, TypeVar

from edgepb.cookie.v1 import cookie_service_pb2 as pb

from services.cookie.issuing import LEVELS, MAX_ESN_BYTES, MAX_PROFILE_ID_BYTES
from tokens.cookie import Claims

T = TypeVar("T")

# What a cookie earns at most: no update puts more into one.
_HIGH: Final = 2


@dataclass(slots=True, frozen=True)
class SessionUpdate:
    """What updates have said of a session, taken together; None where they said nothing.

    The account owner is not in it: the subscriber service names them with each renewal. `vouched_at` is the issued_at
    of the pair that an update of customer or device made: what was revoked of the new ones before is older than that.
    """

    customer_id: int | None = None
    profile_id: str | None = None
    esn: str | None = None
    device_type: int | None = None
    level: int | None = None
    vouched_at: int | None = None

    def applied(self, claims: Claims) -> Claims:
        """Return what a full token of the session says from now on."""
        changed = claims._replace(
            customer_id=_or(self.customer_id, claims.customer_id),
            profile_id=_or(self.profile_id, claims.profile_id),
            esn=_or(self.esn, claims.esn),
            device_type=_or(self.device_type, claims.device_type),
            level=min(_or(self.level, claims.level), claims.level),
        )
        return changed if self.vouched_at is None else issued_at_least(changed, self.vouched_at)


NOTHING_SAID: Final = SessionUpdate()


def said(request: pb.UpdateRequest, claims: Claims) -> SessionUpdate:
    """Return what a request says that is not so already."""
    return SessionUpdate(
        customer_id=_new(request, "customer_id", request.customer_id, claims.customer_id),
        profile_id=_new(request, "profile_id", request.profile_id, claims.profile_id),
        esn=_new(request, "esn", request.esn, claims.esn),
        device_type=_new(request, "device_type", request.device_type, claims.device_type),
        level=_new(request, "level", min(request.level, claims.level), claims.level),
    )


def updated(request: pb.UpdateRequest, update: SessionUpdate, claims: Claims) -> Claims:
    """Return the claims of the pair that follows the full `claims`: one generation on, and not a second longer."""
    following = update.applied(claims)
    return following._replace(
        account_owner_id=request.account_owner_id if request.HasField("account_owner_id") else claims.account_owner_id,
        generation=claims.generation + 1,
        level=min(following.level, _HIGH),
    )


def full(claims: Claims) -> Claims:
    """Return the claims of the last full token, for which a rescheduled one stands; its life is over."""
    if not claims.rescheduled_count:
        return claims
    return claims._replace(
        issued_at=claims.original_issued_at,
        renew_after=claims.original_issued_at,
        expires_at=claims.original_expires_at,
        rescheduled_count=0,
        rescheduled_since=0,
        original_expires_at=0,
        original_issued_at=0,
    )


def issued_at_least(claims: Claims, at: int) -> Claims:
    """Return full claims that were not issued before `at`, with what is left of their life."""
    if claims.issued_at >= at:
        return claims
    return claims._replace(
        issued_at=at, renew_after=max(claims.renew_after, at), expires_at=max(claims.expires_at, at + 1)
    )


def same_names(one: Claims, other: Claims) -> bool:
    """Tell whether what is revoked of one is revoked of the other."""
    return (one.customer_id, one.esn) == (other.customer_id, other.esn)


def unacceptable(request: pb.UpdateRequest) -> str:
    """Return the first field that no cookie may carry, empty when there is none."""
    bad = {
        "customer_id": request.HasField("customer_id") and request.customer_id <= 0,
        "account_owner_id": request.account_owner_id < 0,
        "profile_id": _unfit(request.profile_id, MAX_PROFILE_ID_BYTES),
        "esn": _unfit(request.esn, MAX_ESN_BYTES),
        "device_type": request.device_type < 0,
        "level": request.HasField("level") and request.level not in LEVELS,
    }
    return next((field for field, is_bad in bad.items() if is_bad), "")


def _unfit(text: str, most_bytes: int) -> bool:
    return len(text.encode()) > most_bytes or "\0" in text  # which PostgreSQL stores in no text


def _or(said_of_it: T | None, otherwise: T) -> T:
    return otherwise if said_of_it is None else said_of_it


def _new(request: pb.UpdateRequest, field: str, value: T, was: T) -> T | None:
    return value if request.HasField(field) and value != was else None
