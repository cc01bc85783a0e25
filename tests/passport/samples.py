"""Keys, parts and Passports that the tests of this package share. All key material here is public."""

from edgepb.kms.v1 import kms_pb2

from passport import DevicePart, Level, MacKey, PassportBuilder, PassportIntrospector, PassportKeys, Source, UserPart

NOW = 1_790_000_000
DOMAIN = "test"
ISSUER = "edge-1"
REQUEST_ID = b"0123456789abcdef0123456789abcdef"
CUSTOMER_ID = 7_001_002_003
ESN = "NFANDROID2-PRV-0001"
USER_ID = 0x0000A001
DEVICE_ID = 0x0000B001
AUTH_ID = 0x0000C001


def material(seed: str) -> bytes:
    return seed.encode().ljust(32, b".")


def key_version(
    key_id: int, seed: str, state: kms_pb2.KeyState = kms_pb2.ACTIVE, *, primary: bool = True
) -> kms_pb2.KeyVersion:
    destroyed = state == kms_pb2.DESTROYED
    return kms_pb2.KeyVersion(
        key_id=key_id, state=state, material=b"" if destroyed else material(seed), created=1, primary=primary
    )


def key_sets() -> list[kms_pb2.KeySet]:
    return [
        kms_pb2.KeySet(purpose="passport-user", versions=[key_version(USER_ID, "user")]),
        kms_pb2.KeySet(purpose="passport-device", versions=[key_version(DEVICE_ID, "device")]),
        kms_pb2.KeySet(purpose="passport-auth", versions=[key_version(AUTH_ID, "auth")]),
    ]


KEYS = PassportKeys.from_key_sets(key_sets())
USER = UserPart.of(Source.COOKIE, Level.HIGH, CUSTOMER_ID, 7_001_002_000, profile_id="profile-1", session_id="5e55" * 8)
DEVICE = DevicePart.of(Source.COOKIE, Level.HIGH, ESN, 7)


def signer(purpose: str, keys: PassportKeys = KEYS) -> MacKey:
    key = keys.signer(purpose)
    assert key is not None
    return key


def builder(*, version: int = 2, trust_domain: str = DOMAIN, ttl_s: int = 60) -> PassportBuilder:
    return PassportBuilder(
        ISSUER, trust_domain, signer("passport-user"), signer("passport-device"), ttl_s, integrity_version=version
    )


def build(
    user: UserPart = USER,
    device: DevicePart = DEVICE,
    *,
    request_id: bytes = REQUEST_ID,
    version: int = 2,
    now: int = NOW,
) -> bytes:
    return builder(version=version).build(request_id, user, device, now)


def read(raw: bytes, *, keys: PassportKeys = KEYS, now: float = NOW, accept_v1: bool = False) -> PassportIntrospector:
    return PassportIntrospector.from_bytes(raw, keys, now=now, trust_domain=DOMAIN, accept_v1=accept_v1)
