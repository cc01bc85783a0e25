"""Exchanges with cookies, and a cookie service behind its port, for the filters of tokens."""

import asyncio
import itertools

from edge.contract.exchange import Exchange
from edge.contract.identity import DeviceIdentity, Level, UserIdentity
from edge.contract.on_bad_token import OnBadToken
from edge.contract.ports import CookiePair, RenewalOutcome, RenewedCookie, Revocation
from edge.contract.route import AuthPolicy
from edge.contract.session_changes import SessionChanges
from tests.filters.exchanges import ANYBODY, an_exchange
from tests.tokens.rings import ENVIRONMENT, NAMES, NOW, claims, ring_of, version
from tokens.cookie import Claims, open_insecure, seal_pair
from tokens.keys.ring import KeyRing

ANONYMOUS_ON_BAD = AuthPolicy(Level.UNSPECIFIED, Level.UNSPECIFIED, OnBadToken.ANONYMOUS)
_counter = itertools.count(1)


class Rings:
    """Holds a ring that a test may replace."""

    def __init__(self, ring: KeyRing | None = None) -> None:
        self.ring = ring if ring is not None else ring_of(version(1))


def pair_of(of: Claims, ring: KeyRing | None = None) -> tuple[bytes, bytes]:
    """Seal claims under nonces that no other pair has."""
    number = next(_counter)
    nonces = (number.to_bytes(12, "big"), (number + 2**90).to_bytes(12, "big"))
    return seal_pair(ring or Rings().ring, NAMES, ENVIRONMENT, of, nonces)


def asking(
    insecure: bytes | None,
    secure: bytes | None = None,
    *,
    others: bytes = b"",
    now: float = NOW,
    transport_secure: bool = True,
    auth: AuthPolicy = ANYBODY,
) -> Exchange:
    """Return an exchange whose request carries these cookies."""
    cookies = [b"EdgeId=" + insecure] if insecure is not None else []
    cookies += [b"SecureEdgeId=" + secure] if secure is not None else []
    cookies += [others] if others else []
    fields = [(b"Host", b"edge.example"), (b"Cookie", b"; ".join(cookies)), (b"Accept", b"*/*")]
    exchange = an_exchange(*fields, auth=auth, secure=transport_secure)
    exchange.now = now
    return exchange


class CookieServiceAtThePort:
    """Renews as the real one does, under the test's control; counts its calls.

    `gate` holds every renewal and update until it is set, and `called` says that a renewal has begun. `outcome` is what
    comes of it; `raises` is raised instead.
    `customer_id`, `session_id` and `generation_step` let it answer wrongly, `moved_to` is what it says with that.
    """

    def __init__(self, rings: Rings) -> None:
        self.rings = rings
        self.gate = asyncio.Event()
        self.gate.set()
        self.called = asyncio.Event()
        self.outcome = RenewalOutcome.RENEWED
        self.raises: Exception | None = None
        self.customer_id: int | None = None
        self.session_id: str | None = None
        self.generation_step = 1
        self.moved_to = 0
        self.updates: list[tuple[bytes, SessionChanges]] = []
        self.now = NOW
        self.renewals: list[bytes] = []
        self.creations: list[tuple[UserIdentity, DeviceIdentity | None]] = []
        self.revoked: list[Revocation] = []
        self.created: CookiePair | None = CookiePair(b"new-insecure", b"new-secure", NOW + 14_400, 1)

    async def create(self, user: UserIdentity, device: DeviceIdentity | None) -> CookiePair | None:
        """Return what the test put into `created`."""
        self.creations.append((user, device))
        await self.gate.wait()
        return self.created

    async def revoke(self, revocation: Revocation, *, age_s: int = 0) -> bool:
        """Note it."""
        self.revoked.append(revocation)
        return True

    async def renew(self, insecure: bytes) -> RenewedCookie:
        """Renew for real, or answer as the test wants."""
        self.renewals.append(insecure)
        self.called.set()
        await self.gate.wait()
        if self.raises is not None:
            raise self.raises
        if self.outcome is not RenewalOutcome.RENEWED:
            return RenewedCookie(self.outcome)
        old = open_insecure(self.rings.ring, NAMES, ENVIRONMENT, insecure, self.now)
        assert isinstance(old, Claims)
        new = claims(
            customer_id=old.customer_id if self.customer_id is None else self.customer_id,
            session_id=old.session_id if self.session_id is None else self.session_id,
            issued_at=self.now,
            generation=old.generation + self.generation_step,
        )
        pair = pair_of(new, self.rings.ring)
        return RenewedCookie(RenewalOutcome.RENEWED, CookiePair(*pair, new.expires_at, new.generation), self.moved_to)

    async def update(self, insecure: bytes, changes: SessionChanges) -> RenewedCookie:
        """Make the pair anew with what changes, or answer as the test wants."""
        self.updates.append((insecure, changes))
        await self.gate.wait()
        if self.outcome is not RenewalOutcome.RENEWED:
            return RenewedCookie(self.outcome)
        old = open_insecure(self.rings.ring, NAMES, ENVIRONMENT, insecure, self.now)
        assert isinstance(old, Claims)
        new = old._replace(
            customer_id=self.customer_id or changes.customer_id or old.customer_id,
            account_owner_id=changes.account_owner_id or old.account_owner_id,
            profile_id=old.profile_id if changes.profile_id is None else changes.profile_id,
            esn=changes.esn or old.esn,
            device_type=old.device_type if changes.device_type is None else changes.device_type,
            session_id=self.session_id or old.session_id,
            generation=old.generation + self.generation_step,
        )
        pair = pair_of(new, self.rings.ring)
        return RenewedCookie(RenewalOutcome.RENEWED, CookiePair(*pair, new.expires_at, new.generation), self.moved_to)
