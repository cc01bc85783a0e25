"""Key material at rest: sealed under a key derived from the master key (docs/keys.md, The sealed store).

Sealed form: nonce (12 bytes) | AES-256-GCM-SIV ciphertext and tag. Associated data: key id (4 bytes, big-endian) |
purpose, so that a sealed value pasted into another row does not open.
"""

import hashlib
import hmac
import os
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCMSIV
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

MASTER_KEY_LENGTH: Final = 32
_NONCE_LENGTH: Final = 12


class Unsealable(Exception):  # noqa: N818 - says what the value is
    """A sealed value does not open: the master key is another one, or the row was changed."""


class Sealer:
    """Seals and opens key material, and authenticates the audit log. Holds keys; its repr does not show them."""

    __slots__ = ("_aead", "_audit_key")

    def __init__(self, master_key: bytes) -> None:
        """Take the 32 bytes of the master key."""
        if len(master_key) != MASTER_KEY_LENGTH:
            raise ValueError("the master key must be 32 bytes")
        self._aead = AESGCMSIV(_derived(master_key, b"edge-passport|v1|kms-store|aes-256-gcm-siv"))
        self._audit_key = _derived(master_key, b"edge-passport|v1|kms-audit|hmac-sha-256")

    def seal(self, purpose: str, key_id: int, material: bytes) -> bytes:
        """Return the sealed form of `material`."""
        nonce = os.urandom(_NONCE_LENGTH)
        return nonce + self._aead.encrypt(nonce, material, _associated(purpose, key_id))

    def open(self, purpose: str, key_id: int, sealed: bytes) -> bytes:
        """Return the material; raise Unsealable when it was not sealed for this purpose and key id."""
        try:
            return self._aead.decrypt(sealed[:_NONCE_LENGTH], sealed[_NONCE_LENGTH:], _associated(purpose, key_id))
        except (InvalidTag, ValueError):
            raise Unsealable(f"key {key_id:08x} of {purpose} does not open") from None

    def audit_code(self, message: bytes) -> bytes:
        """Return the HMAC-SHA-256 of something in the audit log, 32 bytes."""
        return hmac.digest(self._audit_key, message, hashlib.sha256)

    def __repr__(self) -> str:
        return "Sealer()"


def _derived(master_key: bytes, info: bytes) -> bytes:
    return HKDF(SHA256(), MASTER_KEY_LENGTH, salt=None, info=info).derive(master_key)


def _associated(purpose: str, key_id: int) -> bytes:
    return key_id.to_bytes(4, "big") + purpose.encode("ascii")
