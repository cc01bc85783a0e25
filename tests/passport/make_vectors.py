"""Writes the golden vectors: `python -m tests.passport.make_vectors`.

The Passports are put together from the published schema with protobuf and with `hmac` of the standard library, not
with this package: the vectors say what the format is, and the package is held to them.
"""

import hashlib
import hmac
import json
from base64 import b64encode
from collections.abc import Iterator, Mapping
from pathlib import Path

from edgepb.passport.v1 import actions_pb2, passport_pb2

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
    return sealed(
        header.SerializeToString(),
        user.SerializeToString(),
        device.SerializeToString(),
        version=version,
        user_key=user_key,
        device_key=device_key,
    )


def sealed(
    header: bytes,
    user: bytes,
    device: bytes,
    *,
    version: int = 2,
    user_key: str = USER_KEY,
    device_key: str = DEVICE_KEY,
) -> passport_pb2.PassportEnvelope:
    made = passport_pb2.PassportEnvelope(header=header, user_info=user, device_info=device)
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


UNKNOWN_FIELDS = b"\xa0\x06\x05\xa9\x06\x01\x02\x03\x04\x05\x06\x07\x08\xb2\x06\x03new\xbd\x06\x01\x02\x03\x04"
"""Fields 100 to 103: a varint, eight bytes, a text, four bytes."""
MINUS_ONE = b"\xff" * 9 + b"\x01"
TWO_TO_32 = 1 << 32


def varint(value: int) -> bytes:
    head = b""
    while value > 0x7F:
        head += bytes([value & 0x7F | 0x80])
        value >>= 7
    return head + bytes([value])


def minor() -> Iterator[Vector]:
    """Passports of older and newer minor versions of the schema, and what no version may write."""
    header, user, device = (each.SerializeToString() for each in (a_header(), a_user(), a_device()))
    whole = {
        "customer_id": "9007199254740993",
        "profile_id": "profil-\u00fc",
        "esn": "NFCDCH-02-VECTOR",
        "device_type": 7,
    }
    older = a_user()
    for field in ("profile_id", "session_id", "account_owner_id"):
        older.ClearField(field)
    old_device = a_device()
    old_device.ClearField("device_type")
    old_header = a_header(issuer="")
    lacking: dict[str, object] = {
        "issuer": "",
        "profile_id": None,
        "session_id": None,
        "account_owner_id": None,
        "device_type": None,
    }
    lacking |= {"rescheduled": False, "actions": [], "device_actions": []}
    yield accepted("older: fields that came later are absent", envelope(old_header, older, old_device), lacking)
    everywhere = sealed(header + UNKNOWN_FIELDS, user + UNKNOWN_FIELDS, device + UNKNOWN_FIELDS)
    yield accepted("newer: fields of every wire type in every part", everywhere, whole)
    first = sealed(UNKNOWN_FIELDS + header, UNKNOWN_FIELDS + user, UNKNOWN_FIELDS + device)
    yield accepted("newer: unknown fields before known ones", first, whole)
    yield accepted("newer: an unknown field twice", sealed(header, user + b"\xa0\x06\x05" * 2, device), whole)
    last = sealed(header, user + b"\xf8\xff\xff\xff\x0f\x01", device)
    yield accepted("newer: the highest field number", last, whole)
    yield accepted(
        "newer: a field beside a wrapped value",
        sealed(header, wrapping(b"\x08\x11\x10\x01"), device),
        {"customer_id": "17"},
    )
    acting = a_user()
    acting.actions.extend([actions_pb2.USER_LOGIN])
    numbers = acting.SerializeToString() + b"\x60\xb0\xea\x01"
    yield accepted(
        "newer: an action that is not known", sealed(header, numbers, device), {"actions": ["USER_LOGIN", "UNKNOWN"]}
    )
    yield accepted(
        "newer: a device action that is not known",
        sealed(header, user, device + b"\x3a\x02\xe7\x07"),
        {"device_actions": ["UNKNOWN"]},
    )
    unpacked = sealed(header, user + b"\x60\x02" * 2, device + b"\x38\x03")
    yield accepted(
        "actions one by one", unpacked, {"actions": ["USER_LOGOUT"] * 2, "device_actions": ["DEVICE_RENAMED"]}
    )
    yield accepted(
        "16 actions", sealed(header, user + b"\x62\x10" + b"\x02" * 16, device), {"actions": ["USER_LOGOUT"] * 16}
    )
    written = sealed(header, wrapping(b"") + b"\x68\x00", device + b"\x3a\x00")
    yield accepted(
        "defaults that are written out", written, {"customer_id": "0", "rescheduled": False, "device_actions": []}
    )
    no_numbers = user_of(b"\x08" + varint(TWO_TO_32 + 1), wrapped(b"\x08\x11"), b"\x68\x02")
    wide = device_of(b"\x08" + varint(TWO_TO_32 + 2), b"\x2a\x06\x08" + varint(TWO_TO_32 + 7))
    cut = {"user_source": "COOKIE", "rescheduled": True, "device_source": "COOKIE_INSECURE", "device_type": 7}
    yield accepted("numbers of more bits than their types have", sealed(header, no_numbers, wide), cut)
    negative = user_of(b"\x08" + MINUS_ONE, wrapped(b"\x08" + MINUS_ONE), b"\x58" + MINUS_ONE, b"\x60" + MINUS_ONE)
    under = {"user_source": "UNKNOWN", "user_level": "UNSPECIFIED", "customer_id": "-1", "actions": ["UNKNOWN"]}
    yield accepted("negative numbers", sealed(header, negative, device), under)
    marked = user_of(b"\x08\x01", wrapped(b"\x08\x11"), b"\x32\x06\x0a\x04\xef\xbb\xbfp")
    yield accepted(
        "a text that begins with a byte order mark", sealed(header, marked, device), {"profile_id": "\ufeffp"}
    )
    for name, stray in {
        "a group": b"\x0b\x0c",
        "a field of number 0": b"\x00\x00",
        "an unknown field that is cut off": b"\xb2\x06\x04new",
        "an unknown field with a padded length": b"\xb2\x06\x83\x00new",
        "an unknown varint of eleven bytes": b"\xa0\x06" + b"\xff" * 10 + b"\x01",
        "an unknown varint beyond 64 bits": b"\xa0\x06" + b"\xff" * 9 + b"\x02",
        "17 actions": b"\x62\x11" + b"\x02" * 17,
        "17 actions one by one": b"\x60\x02" * 17,
        "actions as four bytes": b"\x65\x01\x00\x00\x00",
        "a level as four bytes": b"\x5d\x02\x00\x00\x00",
    }.items():
        yield refused("malformed_part", name, text(sealed(header, user + stray, device)))
    yield refused(
        "malformed_part", "a wrapped value twice", text(sealed(header, wrapping(b"\x08\x11\x08\x12"), device))
    )
    for name, letters in {
        "not UTF-8": b"\xff",
        "an overlong letter": b"\xc0\xaf",
        "half a surrogate pair": b"\xed\xa0\x80",
    }.items():
        made = user_of(b"\x08\x01", wrapped(b"\x08\x11"), b"\x32" + framed_short(b"\x0a" + framed_short(letters)))
        yield refused("malformed_part", f"a text that is {name}", text(sealed(header, made, device)))
    raw = sealed(header, user, device).SerializeToString()
    yield refused("malformed", "a sixth field beside the five", text(raw + b"\x32\x00"))


def chain() -> Iterator[Vector]:
    """Passports that a service has changed before they come to the next one."""
    login = a_user()
    login.source, login.authentication_level = passport_pb2.SOURCE_USER_CREDENTIALS, passport_pb2.LEVEL_HIGHEST
    login.created, login.expires = NOW + 2, NOW + 62
    login.actions.append(actions_pb2.USER_LOGIN)
    device = a_device()
    device.device_type.value = 9
    device.actions.append(actions_pb2.DEVICE_TYPE_CORRECTED)
    signed_in = {
        "user_source": "USER_CREDENTIALS",
        "user_level": "HIGHEST",
        "user_created": str(NOW + 2),
        "actions": ["USER_LOGIN"],
    }
    corrected = {"device_type": 9, "device_actions": ["DEVICE_TYPE_CORRECTED"]}
    both = {"user_signers": ["passport-auth"], "device_signers": ["passport-auth"]}
    user_only, device_only = ({name: both[name]} for name in both)
    changed = envelope(a_header(), login, a_device(), user_key=AUTH_KEY)
    yield accepted("a user whom a service has changed", changed, signed_in) | user_only
    yield refused("key_purpose", "a user whom a service has changed, and nobody may", text(changed))
    yield (
        refused("key_purpose", "a user whom a service has changed that may change devices", text(changed)) | device_only
    )
    yield (
        accepted(
            "one that nobody has changed, though somebody may",
            envelope(a_header(), a_user(), a_device()),
            {"actions": []},
        )
        | both
    )
    changed = envelope(a_header(), a_user(), device, user_key=AUTH_KEY, device_key=AUTH_KEY)
    yield accepted("a device that a service has changed", changed, corrected | {"actions": []}) | both
    yield refused("key_purpose", "a device that a service has changed that may change users", text(changed)) | user_only
    changed = spliced(changed, envelope(a_header(), a_user(), a_device()), "user_integrity")
    yield refused("bad_mac", "a device that was changed without its user", text(changed)) | both
    changed = envelope(a_header(), login, device, user_key=AUTH_KEY, device_key=AUTH_KEY)
    yield accepted("a user and a device that a service has changed", changed, signed_in | corrected) | both
    changed.user_integrity.key_name = "passport-auth:000000ff"
    yield refused("unknown_key", "a user changed with a key that nobody has", text(changed)) | both


def accepted(name: str, made: passport_pb2.PassportEnvelope, expect: Mapping[str, object]) -> Vector:
    return {"name": name, "passport": text(made), "expect": expect}


def framed_short(content: bytes) -> bytes:
    return bytes([len(content)]) + content


def wrapped(content: bytes) -> bytes:
    """Return a customer id."""
    return b"\x22" + framed_short(content)


def wrapping(content: bytes) -> bytes:
    """Return `a_user` with another customer id."""
    user = a_user()
    user.ClearField("customer_id")
    return user.SerializeToString() + wrapped(content)


def user_of(*fields: bytes) -> bytes:
    return b"".join(fields) + passport_pb2.UserInfo(created=NOW, expires=NOW + 60).SerializeToString()


def device_of(*fields: bytes) -> bytes:
    device = passport_pb2.DeviceInfo(created=NOW, expires=NOW + 60)
    device.esn.value = "NFCDCH-02-VECTOR"
    return b"".join(fields) + device.SerializeToString()


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
    return {DIRECTORY / f"{each.__name__}.json": document(each()) for each in (valid, invalid, minor, chain)}


if __name__ == "__main__":
    for path, content in files().items():
        path.write_text(content, encoding="utf-8")
