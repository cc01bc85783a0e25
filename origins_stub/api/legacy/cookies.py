"""Opening the cookie pair, with nothing of the edge's own code: as each origin had to, once. Pure; docs/tokens.md.

A bad cookie is nobody's here. Which is the trouble with every origin opening them for itself.
"""

import binascii
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCMSIV
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from edgepb.kms.v1 import kms_pb2
from edgepb.tokens.v1.cookie_pb2 import CookieClaims
from google.protobuf.message import DecodeError

PURPOSES: Final = ("cookie", "cookie-rescheduled")
_OPENS: Final = (kms_pb2.PRE_ACTIVE, kms_pb2.ACTIVE, kms_pb2.DEACTIVATED)
_VERSION: Final = b"\x01"
_KEY_ID, _NONCE, _SEALED = slice(1, 5), slice(5, 17), slice(17, None)
_MAX_VALUE_BYTES: Final = 4096
_SKEW_S: Final = 60


@dataclass(slots=True, frozen=True, repr=False)
class Opened:
    """Whom a cookie names: `paired` says that both halves came, `expired` that their life is over."""

    claims: CookieClaims
    insecure: str
    paired: bool
    expired: bool


class _Key:
    def __init__(self, purpose: str, material: bytes) -> None:
        info = b"edge-passport|v1|" + purpose.encode() + b"|aes-256-gcm-siv"
        self.purpose = purpose
        self.aead = AESGCMSIV(HKDF(algorithm=SHA256(), length=32, salt=None, info=info).derive(material))


class CookieKeys:
    """What opens cookies, by key id; `uses` counts what each has opened since it was last read."""

    def __init__(self, key_sets: Iterable[kms_pb2.KeySet]) -> None:
        self._keys: dict[bytes, _Key] = {}
        self.uses: dict[int, int] = {}
        for key_set in key_sets:
            for version in key_set.versions if key_set.purpose in PURPOSES else ():
                if version.state in _OPENS:
                    self._keys[version.key_id.to_bytes(4, "big")] = _Key(key_set.purpose, version.material)

    def open(self, value: str, name: str, environment: str) -> CookieClaims | None:
        """Return what the value of the cookie `name` says, None when it is not authentic for that name and place."""
        raw = _decoded(value)
        key = self._keys.get(raw[_KEY_ID])
        if key is None or raw[:1] != _VERSION:
            return None
        parts = (part.encode() for part in (key.purpose, name, environment))
        bound = raw[:5] + b"".join(len(part).to_bytes(2, "big") + part for part in parts)
        try:
            claims = CookieClaims.FromString(key.aead.decrypt(raw[_NONCE], raw[_SEALED], bound))
        except (InvalidTag, ValueError, DecodeError):
            return None
        key_id = int.from_bytes(raw[_KEY_ID])
        self.uses[key_id] = self.uses.get(key_id, 0) + 1
        return claims


@dataclass(slots=True, frozen=True)
class Names:
    """The names of the two cookies, and the environment that they are for."""

    insecure: str
    secure: str
    environment: str


def open_cookies(keys: CookieKeys, names: Names, cookies: Mapping[str, str], now: float) -> Opened | None:
    """Return whom the cookies of a request name, None when that is nobody; `now` in epoch seconds."""
    insecure, secure = cookies.get(names.insecure), cookies.get(names.secure)
    claims = None if insecure is None else keys.open(insecure, names.insecure, names.environment)
    if insecure is None or claims is None or claims.issued_at > now + _SKEW_S:
        return None
    expires_at = claims.expires_at
    if secure is not None:
        other = keys.open(secure, names.secure, names.environment)
        if other is None or (other.customer_id, other.session_id) != (claims.customer_id, claims.session_id):
            return None
        expires_at = min(expires_at, other.expires_at)
    return Opened(claims, insecure, paired=secure is not None, expired=now >= expires_at)


def _decoded(value: str) -> bytes:
    """Return the bytes of base64url without padding, none when it is anything else."""
    if len(value) > _MAX_VALUE_BYTES or not value.isascii() or set(value) & set("+/="):
        return b""
    text = value.translate({ord("-"): "+", ord("_"): "/"}).encode()
    try:
        return binascii.a2b_base64(text + b"=" * (-len(text) % 4), strict_mode=True)
    except binascii.Error:
        return b""
