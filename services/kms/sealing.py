"""Key material at rest: sealed under a key derived from the master key (docs/keys.md, The sealed store).

Sealed form: nonce (12 bytes) | AES-256-GCM-SIV ciphertext and tag. Associated data: key id (4 bytes, big-endian) |
purpose, so that a sealed value pasted into another row does not open.
"""

import base64
import binascii
import os
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCMSIV
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from services.kit.callers import read_secret
from services.kit.process import StartError

_NONCE_LENGTH = 12
_KEY_LENGTH = 32


class Unsealable(Exception):  # noqa: N818 - says what the value is
    """A sealed value does not open: the master key is another one, or the row was changed."""


class Sealer:
    """Seals and opens key material. Holds the sealing key; its repr does not show it."""

    __slots__ = ("_aead",)

    def __init__(self, master_key: bytes) -> None:
        """Take the 32 bytes of the master key."""
        if len(master_key) != _KEY_LENGTH:
            raise ValueError("the master key must be 32 bytes")
        info = b"edge-passport|v1|kms-store|aes-256-gcm-siv"
        self._aead = AESGCMSIV(HKDF(SHA256(), _KEY_LENGTH, salt=None, info=info).derive(master_key))

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

    def __repr__(self) -> str:
        return "Sealer()"


def read_master_key(path: Path) -> bytes:
    """Return the master key in a file: 32 bytes as one line of base64. StartError when it is not that."""
    try:
        key = base64.b64decode(read_secret(path), validate=True)
    except binascii.Error:
        key = b""
    if len(key) != _KEY_LENGTH:
        raise StartError(f"{path} holds no master key: 32 random bytes as one line of base64 are expected")
    return key


def _associated(purpose: str, key_id: int) -> bytes:
    return key_id.to_bytes(4, "big") + purpose.encode("ascii")
