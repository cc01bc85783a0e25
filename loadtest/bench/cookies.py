"""Cookie pairs for the edge, sealed with its own keys as the cookie service seals them."""

import secrets

from loadtest.bench.visitors import LIFE_S, Visitor
from tokens.cookie import Claims, CookieNames, seal_pair
from tokens.keys.ring import KeyRing

LEVEL_HIGH = 2


def cookie_field(ring: KeyRing, names: CookieNames, environment: str, visitor: Visitor, now: int) -> str:
    """Return the header field that carries a fresh pair of `visitor`, issued at `now` (epoch seconds)."""
    claims = Claims(
        customer_id=visitor.customer_id,
        account_owner_id=visitor.account_owner_id,
        profile_id=visitor.profile_id,
        esn=visitor.esn,
        device_type=visitor.device_type,
        session_id=visitor.session_id,
        issued_at=now,
        renew_after=now + LIFE_S // 2,
        expires_at=now + LIFE_S,
        generation=1,
        level=LEVEL_HIGH,
    )
    nonces = (secrets.token_bytes(12), secrets.token_bytes(12))
    insecure, secure = seal_pair(ring, names, environment, claims, nonces)
    return f"Cookie: {names.insecure}={insecure.decode()}; {names.secure}={secure.decode()}"
