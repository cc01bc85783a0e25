"""Write the golden vectors of tokens: `python -m tests.tokens.make_vectors`.

Made by hand from docs/tokens.md with the crypto library and nothing of `tokens`, so that the code cannot agree with
its own mistakes. Keys are derived from their names; they protect nothing.
"""

import base64
import hashlib
import json
from pathlib import Path

from cryptography.hazmat.primitives.ciphers.aead import AESGCMSIV
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

FILE = Path(__file__).parents[1] / "vectors" / "tokens" / "cookie.json"
NOW = 1_800_000_000
URL_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
KEYS = {
    0x00C0FFEE: ("ACTIVE", True),
    0x0BADF00D: ("DEACTIVATED", False),
    0x01234567: ("PRE_ACTIVE", False),
    0xDEADBEEF: ("DESTROYED", False),
}


def material(key_id: int) -> bytes:
    """Return the made-up material of a key."""
    return hashlib.sha256(f"golden vector key {key_id:08x}".encode()).digest()


def varint(number: int) -> bytes:
    """Encode as protobuf does."""
    out = b""
    while number > 127:
        out, number = out + bytes((number & 127 | 128,)), number >> 7
    return out + bytes((number,))


def field(number: int, value: int | str) -> bytes:
    """Encode one protobuf field; absent when it has its default, as proto3 does."""
    if not value:
        return b""
    if isinstance(value, int):
        return varint(number << 3) + varint(value % 2**64)
    return varint(number << 3 | 2) + varint(len(value.encode())) + value.encode()


CLAIMS: dict[str, int | str] = {
    "customer_id": 4711,
    "account_owner_id": 4700,
    "profile_id": "profile-ü",
    "esn": "NFANDROID1-PXA-0001",
    "device_type": 7,
    "session_id": "00112233445566778899aabbccddeeff",
    "issued_at": NOW,
    "renew_after": NOW + 7200,
    "expires_at": NOW + 14_400,
    "generation": 3,
    "level": 3,
}
ORDER = list(CLAIMS)
BINDING = ("customer_id", "session_id", "issued_at", "renew_after", "expires_at", "generation")


def encoded(claims: dict[str, int | str]) -> bytes:
    """Encode claims by their field numbers."""
    return b"".join(field(ORDER.index(name) + 1, value) for name, value in claims.items())


def token(
    plaintext: bytes,
    name: str,
    *,
    key_id: int = 0x00C0FFEE,
    purpose: str = "cookie",
    kind: str = "cookie",
    environment: str = "golden",
    version: int = 1,
) -> str:
    """Seal as docs/tokens.md says."""
    info = f"edge-passport|v1|{purpose}|aes-256-gcm-siv".encode()
    key = HKDF(SHA256(), 32, None, info).derive(material(key_id))
    head = bytes((version,)) + key_id.to_bytes(4, "big")
    associated = head
    for part in (kind, name, environment):
        associated += len(part.encode()).to_bytes(2, "big") + part.encode()
    nonce = hashlib.sha256(plaintext + associated).digest()[:12]
    raw = head + nonce + AESGCMSIV(key).encrypt(nonce, plaintext, associated)
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def valid() -> list[dict[str, object]]:
    """Return tokens that open, and what they say."""
    secure = {name: CLAIMS[name] for name in BINDING}
    device = CLAIMS | {"customer_id": 0, "account_owner_id": 0, "profile_id": ""}
    cases = [
        ("the insecure half", "EdgeId", CLAIMS, 0x00C0FFEE),
        ("the secure half", "SecureEdgeId", secure, 0x00C0FFEE),
        ("a device without a user", "EdgeId", device, 0x00C0FFEE),
        ("under a deactivated key", "EdgeId", CLAIMS, 0x0BADF00D),
        ("under a key announced but not yet active", "EdgeId", CLAIMS, 0x01234567),
        ("long expired", "EdgeId", CLAIMS | {"issued_at": 1, "renew_after": 2, "expires_at": 3}, 0x00C0FFEE),
    ]
    return [
        {
            "name": name,
            "cookie": cookie,
            "text": token(encoded(claims), cookie, key_id=key_id),
            "claims": claims,
        }
        for name, cookie, claims, key_id in cases
    ]


def invalid() -> list[dict[str, object]]:
    """Return tokens that are refused, and why."""
    plaintext = encoded(CLAIMS)
    good = token(plaintext, "EdgeId")
    last = URL_ALPHABET[URL_ALPHABET.index(good[-1]) + 1]  # sets an unused bit: the same bytes, another text
    future = CLAIMS | {"issued_at": NOW + 61}
    cases = [
        ("empty", "", "too_short"),
        ("truncated tag", good[:-4], "bad_tag"),
        ("one character short", good[:-1], "not_canonical"),
        ("padding", good + "=" * (-len(good) % 4), "not_canonical"),
        ("non-zero unused bits", good[:-1] + last, "not_canonical"),
        ("line break", good[:40] + "\n" + good[41:], "not_canonical"),
        ("standard alphabet", good[:40] + "+" + good[41:], "not_canonical"),
        ("flipped ciphertext", good[:60] + ("A" if good[60] != "A" else "B") + good[61:], "bad_tag"),
        ("too long", good + "A" * 4096, "too_long"),
        ("version 2", token(plaintext, "EdgeId", version=2), "bad_version"),
        ("unknown key", token(plaintext, "EdgeId", key_id=0x0000AAAA), "unknown_key"),
        ("destroyed key", token(plaintext, "EdgeId", key_id=0xDEADBEEF), "unknown_key"),
        ("another purpose's key", token(plaintext, "EdgeId", purpose="cookie-rescheduled"), "bad_tag"),
        ("another kind", token(plaintext, "EdgeId", kind="cticket"), "bad_tag"),
        ("the other half's name", token(plaintext, "SecureEdgeId"), "bad_tag"),
        ("another environment", token(plaintext, "EdgeId", environment="live"), "bad_tag"),
        ("unframed associated data", token(plaintext, "dgeId", kind="cookieE"), "bad_tag"),
        ("no protobuf", token(b"\xff\xff", "EdgeId"), "bad_claims"),
        ("no session", token(encoded(CLAIMS | {"session_id": ""}), "EdgeId"), "bad_claims"),
        ("negative customer", token(encoded(CLAIMS | {"customer_id": -1}), "EdgeId"), "bad_claims"),
        ("issued 61 s ahead", token(encoded(future), "EdgeId"), "bad_times"),
        ("issued before 1970", token(encoded(CLAIMS | {"issued_at": -5}), "EdgeId"), "bad_times"),
        ("lives for years", token(encoded(CLAIMS | {"expires_at": NOW * 2}), "EdgeId"), "bad_times"),
    ]
    return [{"name": name, "cookie": "EdgeId", "text": text, "refusal": refusal} for name, text, refusal in cases]


def vectors() -> dict[str, object]:
    """Return the whole file."""
    return {
        "provenance": "Written by tests/tokens/make_vectors.py from docs/tokens.md, without the code under test.",
        "purpose": "cookie",
        "environment": "golden",
        "now": NOW,
        "keys": [
            {"key_id": key_id, "state": state, "primary": primary, "material": material(key_id).hex()}
            for key_id, (state, primary) in KEYS.items()
        ],
        "valid": valid(),
        "invalid": invalid(),
    }


if __name__ == "__main__":
    FILE.write_text(json.dumps(vectors(), indent=2, ensure_ascii=False) + "\n")
