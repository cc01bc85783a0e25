"""Writes the golden vectors: `python -m tests.passport.make_vectors`.

The Passports are put together from the published schema with protobuf and with `hmac` of the standard library, not
with this package: the vectors say what the format is, and the package is held to them.
"""

import hashlib
import hmac
import json
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path

from edgepb.passport.v1 import passport_pb2

DIRECTORY = Path(__file__).parent.parent / "vectors" / "passport"
NOW = 1_790_000_000
DOMAIN = "vectors"
MATERIAL = {
    "passport-user:00000001": bytes(range(32)),
    "passport-device:00000002": bytes(range(32, 64)),
    "passport-auth:00000003": bytes(range(64, 96)),
}
USER_KEY, DEVICE_KEY, AUTH_KEY = MATERIAL
PROVENANCE = (
    "Made by tests/passport/make_vectors.py from proto/passport/v1/passport.proto with protobuf and hmac; the keys "
    "are derived with HKDF-SHA-256 as RFC 5869 says (no salt, info 'edge-passport|v1|PURPOSE|hmac-sha256', 32 bytes)."
)

Vector = dict[str, object]


def derive(name: str) -> bytes:
    info = f"edge-passport|v1|{name.partition(':')[0]}|hmac-sha256".encode()
    extracted = hmac.digest(bytes(32), MATERIAL[name], hashlib.sha256)
    return hmac.digest(extracted, info + b"\x01", hashlib.sha256)


def framed(content: bytes) -> bytes:
    return len(content).to_bytes(4, "big") + content


def mac(version: int, part: str, key: str, parts: tuple[bytes, bytes, bytes]) -> bytes:
    header, device, user = parts
    if version == 1:
        covered = user if part == "user" else device
    else:
        context = f"edge-passport v2 {part}\0".encode() + framed(key.encode())
        covered = context + framed(header) + framed(device) + (framed(user) if part == "user" else b"")
    return hmac.digest(derive(key), covered, hashlib.sha256)


def envelope(
    header: passport_pb2.Header,
    user: passport_pb2.UserInfo,
    device: passport_pb2.DeviceInfo,
    *,
    version: int = 2,
    user_key: str = USER_KEY,
    device_key: str = DEVICE_KEY,
) -> passport_pb2.PassportEnvelope:
    made = passport_pb2.PassportEnvelope(
        header=header.SerializeToString(), user_info=user.SerializeToString(), device_info=device.SerializeToString()
    )
    parts = (made.header, made.device_info, made.user_info)
    made.user_integrity.version = made.device_integrity.version = version
    made.user_integrity.key_name, made.device_integrity.key_name = user_key, device_key
    made.user_integrity.hmac = mac(version, "user", user_key, parts)
    made.device_integrity.hmac = mac(version, "device", device_key, parts)
    return made


def a_header(**changes: str) -> passport_pb2.Header:
    header = passport_pb2.Header(
        request_id="00112233445566778899aabbccddeeff", created=NOW, issuer="edge-1", trust_domain=DOMAIN
    )
    for name, value in changes.items():
        setattr(header, name, value)
    return header


def a_user() -> passport_pb2.UserInfo:
    user = passport_pb2.UserInfo(
        source=passport_pb2.SOURCE_COOKIE,
        created=NOW,
        expires=NOW + 60,
        authentication_level=passport_pb2.LEVEL_HIGH,
    )
    user.customer_id.value, user.account_owner_id.value = 9_007_199_254_740_993, 17
    user.profile_id.value, user.session_id.value = "profil-\u00fc", "00ff" * 8
    return user


def a_device() -> passport_pb2.DeviceInfo:
    device = passport_pb2.DeviceInfo(
        source=passport_pb2.SOURCE_COOKIE,
        created=NOW,
        expires=NOW + 60,
        authentication_level=passport_pb2.LEVEL_LOW,
    )
    device.esn.value, device.device_type.value = "NFCDCH-02-VECTOR", 7
    return device


def nobody() -> tuple[passport_pb2.UserInfo, passport_pb2.DeviceInfo]:
    return (
        passport_pb2.UserInfo(created=NOW, expires=NOW + 60),
        passport_pb2.DeviceInfo(created=NOW, expires=NOW + 60),
    )


def text(message: passport_pb2.PassportEnvelope | bytes) -> str:
    return b64encode(message if isinstance(message, bytes) else message.SerializeToString()).decode()


def valid() -> Iterator[Vector]:
    whole = {
        "request_id": "00112233445566778899aabbccddeeff",
        "issuer": "edge-1",
        "user_source": "COOKIE",
        "user_level": "HIGH",
        "customer_id": "9007199254740993",
        "account_owner_id": "17",
        "profile_id": "profil-\u00fc",
        "session_id": "00ff" * 8,
        "device_source": "COOKIE",
        "device_level": "LOW",
        "esn": "NFCDCH-02-VECTOR",
        "device_type": 7,
        "actions": [],
    }
    made = envelope(a_header(), a_user(), a_device())
    yield {"name": "user and device, integrity 2", "passport": text(made), "expect": whole}
    old = envelope(a_header(), a_user(), a_device(), version=1)
    yield {"name": "user and device, integrity 1", "passport": text(old), "accept_v1": True, "expect": whole}
    none = {"user_source": "NONE", "user_level": "UNSPECIFIED", "customer_id": None, "account_owner_id": None}
    none |= {"profile_id": None, "session_id": None}
    no_device = {"device_source": "NONE", "device_level": "UNSPECIFIED", "esn": None, "device_type": None}
    user, device = nobody()
    made = envelope(a_header(), user, device)
    yield {"name": "nobody", "passport": text(made), "expect": whole | none | no_device}
    made = envelope(a_header(), user, a_device())
    yield {"name": "a device without a user", "passport": text(made), "expect": whole | none}
    newer = a_user()
    newer.MergeFromString(b"\x9a\x06\x03new")
    made = envelope(a_header(), newer, a_device())
    yield {"name": "a user with a field of a newer schema", "passport": text(made), "expect": whole}
    newer = a_user()
    newer.MergeFromString(b"\x08\x63\x58\x63")
    made = envelope(a_header(), newer, a_device())
    unknown = whole | {"user_source": "UNKNOWN", "user_level": "UNSPECIFIED"}
    yield {"name": "a source and a level of a newer schema", "passport": text(made), "expect": unknown}
    made = envelope(a_header(), a_user(), a_device())
    yield {"name": "late, within the skew", "passport": text(made), "now": NOW + 120, "expect": whole}


def invalid() -> Iterator[Vector]:
    made = envelope(a_header(), a_user(), a_device())
    raw = made.SerializeToString()
    other = envelope(a_header(request_id="f" * 32), a_user(), a_device())
    yield refused("malformed", "truncated", text(raw[:-1]))
    yield refused("malformed", "one byte more", text(raw + b"\0"))
    yield refused("malformed", "the user twice", text(raw + b"\x12\x00"))
    yield refused("malformed", "two Passports", text(raw + raw))
    yield refused("malformed", "no device integrity", text(without(made, "device_integrity")))
    yield refused("too_long", "more than 16 KiB", text(raw + bytes(17_000)))
    yield refused("not_canonical", "base64url", text(raw).replace("+", "-").replace("/", "_").rstrip("=") + "_")
    yield refused("not_canonical", "a line end", text(raw) + "\n")
    yield refused("missing", "empty", "")
    yield refused("bad_mac", "the user of another request", text(spliced(made, other, "user_info", "user_integrity")))
    yield refused("bad_mac", "the header of another request", text(spliced(made, other, "header")))
    relabelled = spliced(made, made)
    relabelled.user_integrity.version = relabelled.device_integrity.version = 1
    yield refused("bad_mac", "integrity 2 called 1", text(relabelled)) | {"accept_v1": True}
    yield refused("version_not_accepted", "integrity 1", text(envelope(a_header(), a_user(), a_device(), version=1)))
    relabelled.user_integrity.version = relabelled.device_integrity.version = 3
    yield refused("unknown_version", "integrity 3", text(relabelled))
    relabelled = spliced(made, made)
    relabelled.device_integrity.key_name = "passport-device:000000ff"
    yield refused("unknown_key", "a key that nobody has", text(relabelled))
    yield refused("key_purpose", "a user signed by a service", text(by_keys(user_key=AUTH_KEY)))
    yield refused("key_purpose", "a user signed with the device key", text(by_keys(user_key=DEVICE_KEY)))
    twice = a_user().SerializeToString() + b"\x22\x02\x08\x01"
    yield refused("malformed_part", "a signed customer id twice", text(with_user_bytes(twice)))
    yield refused("malformed_part", "a signed padded varint", text(with_user_bytes(b"\x08\x81\x00")))
    stray = passport_pb2.UserInfo(created=NOW, expires=NOW + 60)
    stray.customer_id.value = 1
    yield refused("inconsistent_part", "a user of source NONE", text(envelope(a_header(), stray, a_device())))
    yield refused(
        "trust_domain", "another trust domain", text(envelope(a_header(trust_domain="x"), a_user(), a_device()))
    )
    yield refused("expired", "a minute and a second late", text(made)) | {"now": NOW + 121}
    yield refused("not_yet_valid", "a minute and a second early", text(made)) | {"now": NOW - 61}


def refused(reason: str, name: str, passport: str) -> Vector:
    return {"name": name, "passport": passport, "refused": reason}


def without(made: passport_pb2.PassportEnvelope, field: str) -> passport_pb2.PassportEnvelope:
    changed = passport_pb2.PassportEnvelope.FromString(made.SerializeToString())
    changed.ClearField(field)
    return changed


def spliced(
    ours: passport_pb2.PassportEnvelope, theirs: passport_pb2.PassportEnvelope, *fields: str
) -> passport_pb2.PassportEnvelope:
    changed = passport_pb2.PassportEnvelope.FromString(ours.SerializeToString())
    for field in fields:
        changed.ClearField(field)
        part = passport_pb2.PassportEnvelope.FromString(theirs.SerializeToString())
        for name in part.DESCRIPTOR.fields_by_name:
            if name != field:
                part.ClearField(name)
        changed.MergeFrom(part)
    return changed


def by_keys(*, user_key: str) -> passport_pb2.PassportEnvelope:
    return envelope(a_header(), a_user(), a_device(), user_key=user_key)


def with_user_bytes(user: bytes) -> passport_pb2.PassportEnvelope:
    made = envelope(a_header(), a_user(), a_device())
    made.user_info = user
    made.user_integrity.hmac = mac(2, "user", USER_KEY, (made.header, made.device_info, user))
    return made


def document(vectors: Iterator[Vector]) -> str:
    content = {
        "provenance": PROVENANCE,
        "now": NOW,
        "trust_domain": DOMAIN,
        "key_material_hex": {name: material.hex() for name, material in MATERIAL.items()},
        "vectors": list(vectors),
    }
    return json.dumps(content, indent=2, ensure_ascii=True) + "\n"


def files() -> dict[Path, str]:
    return {DIRECTORY / "valid.json": document(valid()), DIRECTORY / "invalid.json": document(invalid())}


if __name__ == "__main__":
    for path, content in files().items():
        path.write_text(content, encoding="utf-8")
