"""What filters may call that leaves the process. Each returns an outcome; none raises for a failing service."""

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol, TypeAlias

from edge.contract.identity import DeviceIdentity, UserIdentity
from edge.contract.session_changes import SessionChanges


class RenewalOutcome(StrEnum):
    """How a renewal ended, or an update, which is RENEWED, too, when it is done.

    Only NOT_A_MEMBER and REVOKED are definitive; REFUSED means the token is not authentic.
    """

    RENEWED = "renewed"
    NOT_A_MEMBER = "not_a_member"
    REVOKED = "revoked"
    UNAVAILABLE = "unavailable"
    REFUSED = "refused"


@dataclass(slots=True, frozen=True, repr=False)
class CookiePair:
    """Two cookie values, base64url without padding, and when they expire in epoch seconds."""

    insecure: bytes
    secure: bytes
    expires_at: int
    generation: int


@dataclass(slots=True, unsafe_hash=True)
class RenewedCookie:
    """The result of one renewal, shared by all who showed the token, or of one update; `pair` is set with RENEWED only.

    Where an update makes a newer pair of it, `pair` becomes that: who still waits for an origin then gets the newer.
    `moved_to` is the customer whose session it is by an update, where the token names another; else 0.
    """

    outcome: RenewalOutcome
    pair: CookiePair | None = None
    moved_to: int = 0


@dataclass(slots=True, repr=False)
class StandIn:
    """A rescheduled pair, shared by all who show the token it stands in for.

    `renewed` is what a later renewal of that token brought: who still waits for an origin then gets that, so that an
    older cookie never replaces a newer one.
    """

    pair: CookiePair
    renew_after: int
    renewed: RenewedCookie | None = None


class RevocationReason(StrEnum):
    """Why something is revoked: the user has left a session or all of them, or a device is not theirs any more."""

    LOGOUT = "logout"
    SIGN_OUT_EVERYWHERE = "sign_out_everywhere"
    DEVICE_REMOVED = "device_removed"


@dataclass(slots=True, frozen=True)
class Revocation:
    """What is to become void on all edges. The repr names nobody.

    `session_id` goes with LOGOUT, `esn` with DEVICE_REMOVED; `except_session_id` is the session that outlives a
    SIGN_OUT_EVERYWHERE, if any does.
    """

    reason: RevocationReason
    customer_id: int
    session_id: str = ""
    esn: str = ""
    except_session_id: str = ""

    def __repr__(self) -> str:
        return f"Revocation({self.reason})"


class Revocations(Protocol):
    """Which tokens are revoked: known here, without a call."""

    @property
    def revision(self) -> int:
        """A number that changes whenever something may have become revoked."""
        ...

    def covers(self, customer_id: int, session_id: str, esn: str, vouched_at: int) -> bool:
        """Tell whether a token is revoked that a token service last vouched for at `vouched_at`, epoch seconds."""
        ...


class CookieService(Protocol):
    """Creates, renews and updates the cookie pair. Deadlines and concurrency limits are the adapter's."""

    async def create(self, user: UserIdentity, device: DeviceIdentity | None) -> CookiePair | None:
        """Return a new pair for a user who has just signed in, or None when the service is unavailable."""
        ...

    async def renew(self, insecure: bytes) -> RenewedCookie:
        """Renew the pair that the EdgeId value `insecure` belongs to."""
        ...

    async def update(self, insecure: bytes, changes: SessionChanges) -> RenewedCookie:
        """Return a pair that says `changes` of the session of the EdgeId value `insecure`, and lives no longer."""
        ...

    async def revoke(self, revocation: Revocation, *, age_s: int = 0) -> bool:
        """Revoke; tell whether that is done.

        `age_s`: not 0 when it was tried before: seconds since it was asked for. It must not take the place of one who
        signs in or out now, and revokes nothing that is newer.
        """
        ...


class SignOuts(Protocol):
    """Has revoked what those who sign out leave behind, however long that takes."""

    def end(self, revocation: Revocation) -> None:
        """Have something revoked beside the caller."""
        ...


Renew: TypeAlias = Callable[[], Coroutine[None, None, RenewedCookie]]


class SharedRenewals(Protocol):
    """Makes one renewal of a token do for all workers and edges that share it."""

    async def once(self, presented: bytes, renew: Renew, keep_s: float) -> RenewedCookie:
        """Return what the renewal of the EdgeId value `presented` brought: by `renew` here, or just now elsewhere.

        What is found is kept for `keep_s` seconds, for those who still show the token. Where nothing can be shared
        this is `renew()`.
        """
        ...

    async def replace(self, presented: bytes, updated: RenewedCookie, keep_s: float) -> None:
        """Give `updated` to who renews the EdgeId value `presented` in the next `keep_s` seconds, if that can be."""
        ...
