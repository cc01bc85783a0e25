"""The cookie service's parts in a test: a store on a database, keys, a clock, tokens of one session."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edgepb.cookie.v1 import cookie_service_pb2 as pb

from services.cookie.config import Revocations
from services.cookie.issuing import Issuer
from services.cookie.presented import fresh_nonces
from services.cookie.renewal import Renewer
from services.cookie.revocation import kind_of
from services.cookie.store import MIGRATIONS, Store
from services.cookie.subscriber import Membership, Standing
from services.kit.breaker import BreakerConfig
from services.kit.database import Database, DatabaseConfig
from services.kit.database_calls import DatabaseCalls
from tests.tokens.rings import both_rings
from tokens.cookie import Claims, CookieNames
from tokens.keys.ring import KeyRing

START = 1_800_000_000.0
DAY = 86_400
CONFIG = Revocations(check_timeout_s=5.0)
ISSUER = Issuer(CookieNames(), "local", 14_400, 0.5)


class Keys:
    """The newest keys there are."""

    ring: KeyRing = both_rings()

    async def current(self) -> bool:
        return True


KEYS = Keys()


class Clock:
    """Epoch seconds, as the test says."""

    now = START

    def __call__(self) -> float:
        return self.now


@contextmanager
def opened(url: str, clock: Clock) -> Iterator[Store]:
    config = DatabaseConfig(url=url)
    database = Database(config, Path("/nonexistent/none.sqlite"))
    calls = DatabaseCalls(database, config)
    try:
        database.upgrade(MIGRATIONS)
        yield Store(calls, clock, CONFIG, BreakerConfig(min_calls=1_000_000).breaker("database"))
    finally:
        calls.close()


async def revoke(store: Store, reason: pb.RevocationReason, customer_id: int = 1, **fields: str) -> pb.Revocation:
    request = pb.RevokeRequest(reason=reason, customer_id=customer_id, **fields)  # type: ignore[arg-type]
    kind = kind_of(request)
    assert kind is not None
    return await store.revoke(request, kind, "auth")


class Members:
    """Everybody is one."""

    async def membership(self, customer_id: int) -> Membership:
        return Membership(Standing.MEMBER, customer_id)


def stand_in_of(claims: Claims, now: float) -> bytes:
    """Return the EdgeId value of what an edge gives for an expired token."""
    return ISSUER.seal(KEYS.ring, claims.rescheduled(now, 300, 0), fresh_nonces()).insecure


def full_token(issued_at: float = START - 20_000) -> Claims:
    """Return a token of somebody who has just signed in."""
    return ISSUER.first(pb.CreateRequest(customer_id=1, esn="ESN", level=3), "session", issued_at, 0)


async def renewed(renewer: Renewer, insecure: bytes, now: float) -> Claims:
    """Return what the pair says that a token is renewed to."""
    renewal = await renewer.renew(insecure)
    assert (renewal.outcome, renewal.detail) == (pb.RENEWED, "")
    claims = ISSUER.open(KEYS.ring, renewal.pair.insecure if renewal.pair else b"", now)
    assert isinstance(claims, Claims)
    return claims


def value(claims: Claims) -> bytes:
    """Return the EdgeId value of a full token."""
    return ISSUER.seal(KEYS.ring, claims, fresh_nonces()).insecure
