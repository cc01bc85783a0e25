"""Cookie pairs as the cookie service makes them, sealed with the keys that a KMS hands out."""

import os
import time

from tests.services.kms_calls import Kms
from tokens.cookie import Claims, CookieNames, seal_pair
from tokens.envelope import NONCE_BYTES
from tokens.keys.ring import KeyRing

NAMES = CookieNames()
ENVIRONMENT = "local"
LIFE_S = 14_400


async def cookie_pair(kms: Kms, customer_id: int = 7, *, age_s: int = 0) -> tuple[str, str]:
    """Return the values of EdgeId and SecureEdgeId of a user whose pair was made `age_s` ago."""
    answer = await kms.client("cookie").key_sets(["cookie"])
    issued_at = int(time.time()) - age_s
    claims = Claims(
        customer_id=customer_id,
        account_owner_id=customer_id,
        profile_id="",
        esn="ESN-EDGE-PROCESS",
        device_type=1,
        session_id="00112233445566778899aabbccddeeff",
        issued_at=issued_at,
        renew_after=issued_at + LIFE_S // 2,
        expires_at=issued_at + LIFE_S,
        generation=1,
        level=2,
    )
    nonces = (os.urandom(NONCE_BYTES), os.urandom(NONCE_BYTES))
    ring = KeyRing.from_key_sets(answer.key_sets, answer.revision)
    insecure, secure = seal_pair(ring, NAMES, ENVIRONMENT, claims, nonces)
    return insecure.decode(), secure.decode()


async def cookie_header(kms: Kms, customer_id: int = 7, *, age_s: int = 0) -> str:
    """Return the `Cookie` value with both."""
    insecure, secure = await cookie_pair(kms, customer_id, age_s=age_s)
    return f"{NAMES.insecure}={insecure}; {NAMES.secure}={secure}"
