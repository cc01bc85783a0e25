"""What revokes which tokens. Pure; times are epoch seconds (docs/services.md, Revocation).

A token says when it was issued, so a revocation says up to when: both are moved on by a second where they would
meet, and a revocation lies a margin ahead, for clocks that differ and renewals that are under way.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, NamedTuple

from edgepb.cookie.v1 import cookie_service_pb2 as pb

from services.cookie.issuing import MAX_ESN_BYTES
from services.cookie.session_update import NOTHING_SAID, SessionUpdate

MAX_SESSION_ID_BYTES: Final = 64
MAX_AGE_S: Final = 3600
KINDS: Final[Mapping[pb.RevocationReason, pb.RevocationKind]] = MappingProxyType(
    {
        pb.SIGN_OUT_EVERYWHERE: pb.CUSTOMER,
        pb.PASSWORD_CHANGED: pb.CUSTOMER,
        pb.LOGOUT: pb.SESSION,
        pb.DEVICE_REMOVED: pb.DEVICE,
    }
)


class Session(NamedTuple):
    """Whose session it is, and on which device; `esn` is empty for none."""

    customer_id: int
    session_id: str
    esn: str


class Revocation(NamedTuple):
    """What is stored of one. `kind` is a number of RevocationKind; a text that does not belong to it is empty."""

    kind: int
    session_id: str
    esn: str
    except_session_id: str
    revoked_at: int


@dataclass(slots=True, frozen=True)
class Revoked:
    """What is revoked of one session.

    `session` tells that all of it is. `through` is the newest time up to which its tokens are revoked, `newest` the
    newest that new tokens of the customer on this device have to come after; 0 for none.
    """

    session: bool = False
    through: int = 0
    newest: int = 0

    def covers(self, issued_at: int) -> bool:
        """Tell whether a token of the session that was issued then is revoked."""
        return self.session or issued_at <= self.through


class Known(NamedTuple):
    """What is known of a session.

    `renewals` has the generations of its rescheduled tokens that were renewed, and when a token of a later generation
    was first presented after that, in epoch seconds; None: not yet. `update` is what updates have said of it.
    """

    revoked: Revoked
    renewals: Mapping[int, int | None]
    update: SessionUpdate = NOTHING_SAID


def revoked_of(session: Session, revocations: Collection[Revocation]) -> Revoked:
    """Return what is revoked of a session by the `revocations` of its customer."""
    here = (pb.DEVICE, session.esn)
    of_all = [each for each in revocations if each.kind == pb.CUSTOMER or (each.kind, each.esn) == here]
    return Revoked(
        any(each.kind == pb.SESSION and each.session_id == session.session_id for each in revocations),
        max((each.revoked_at for each in of_all if each.except_session_id != session.session_id), default=0),
        max((each.revoked_at for each in of_all), default=0),
    )


def kind_of(request: pb.RevokeRequest) -> pb.RevocationKind | None:
    """Return what the request revokes, or None when it does not say so whole, or says what does not belong to it."""
    kind = KINDS.get(request.reason)
    wanted = (kind == pb.SESSION, kind == pb.DEVICE)
    if kind is None or request.customer_id <= 0 or wanted != (request.session_id != "", request.esn != ""):
        return None
    if (request.except_session_id and kind != pb.CUSTOMER) or not 0 <= request.age_s <= MAX_AGE_S:
        return None
    sessions = (request.session_id, request.except_session_id)
    if len(request.esn.encode()) > MAX_ESN_BYTES or any(len(s.encode()) > MAX_SESSION_ID_BYTES for s in sessions):
        return None
    return kind


def revoked_at(newest: int, now: float, margin_s: int, age_s: int) -> int:
    """Return up to when tokens are revoked; `newest` is the newest such time that any of them had to come after.

    One that was asked for `age_s` seconds ago is of then: who has signed in since goes on. It may have been stored
    before, and its answer lost, so that it is not moved on behind what seems to be another.
    """
    if age_s:
        return int(now) - age_s + margin_s
    return max(int(now) + margin_s, newest + 1)
