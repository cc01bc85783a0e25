"""Key rings and claims that the tests of tokens share."""

import hashlib

from edgepb.kms.v1 import kms_pb2

from tokens.cookie import PURPOSE, RESCHEDULED, Claims, CookieNames, open_insecure
from tokens.envelope import Refusal, decode
from tokens.keys.ring import KeyRing

NOW = 1_800_000_000
NAMES = CookieNames()
ENVIRONMENT = "test"
NONCES = (b"insecure-non", b"secure-nonce")


def version(
    key_id: int, state: kms_pb2.KeyState = kms_pb2.ACTIVE, *, primary: bool = True, seed: str = ""
) -> kms_pb2.KeyVersion:
    """Make a key version whose material follows from `seed` or, without one, from its id."""
    material = hashlib.sha256(f"material of {seed or key_id}".encode()).digest()
    return kms_pb2.KeyVersion(key_id=key_id, state=state, material=material, primary=primary)


def ring_of(*versions: kms_pb2.KeyVersion, purpose: str = PURPOSE, revision: int = 1) -> KeyRing:
    """Make a ring of one purpose."""
    return KeyRing.from_key_sets([kms_pb2.KeySet(purpose=purpose, versions=versions)], revision)


def both_rings(*, rescheduled: str = "") -> KeyRing:
    """Make a ring for full and for rescheduled cookies; `rescheduled` seeds other material for the latter."""
    sets = [
        kms_pb2.KeySet(purpose=PURPOSE, versions=[version(1)]),
        kms_pb2.KeySet(purpose=RESCHEDULED, versions=[version(2, seed=rescheduled)]),
    ]
    return KeyRing.from_key_sets(sets, 1)


def claims(
    *,
    customer_id: int = 4711,
    session_id: str = "5e5510f0",
    issued_at: int = NOW,
    life_s: int = 14_400,
    generation: int = 1,
    esn: str = "NFANDROID1-PXA-0001",
) -> Claims:
    """Make plausible claims."""
    return Claims(
        customer_id=customer_id,
        account_owner_id=customer_id,
        profile_id="profile-1",
        esn=esn,
        device_type=7,
        session_id=session_id,
        issued_at=issued_at,
        renew_after=issued_at + life_s // 2,
        expires_at=issued_at + life_s,
        generation=generation,
        level=2,
    )


def open_secure(ring: KeyRing, names: CookieNames, environment: str, text: bytes, now: float) -> Claims | Refusal:
    """Open the `secure` half alone, as nobody but a test does: what tells the halves apart is their name."""
    return open_insecure(ring, CookieNames(insecure=names.secure, secure=names.insecure), environment, text, now)


def key_id_of(text: bytes) -> int:
    """Return the id of the key that a token names."""
    raw = decode(text)
    assert isinstance(raw, bytes)
    return int.from_bytes(raw[1:5])
