"""The envelope that all our own tokens travel in: docs/tokens.md, "Envelope".

Text is base64url without padding of `version (1) | key id (4) | nonce (12) | AES-256-GCM-SIV ciphertext and tag`.
One token has one text: whatever would decode to the same bytes but is written otherwise is refused, so that a cache,
a revocation list or a shared renewal keyed on the text cannot be dodged.
"""

import binascii
from enum import StrEnum
from typing import Final

from cryptography.exceptions import InvalidTag

from tokens.keys.ring import VERSION, Key, KeyRing, Place

MAX_TEXT_BYTES: Final = 4096
NONCE_BYTES: Final = 12
_NONCE_AT: Final = 5
_SEALED_AT: Final = _NONCE_AT + NONCE_BYTES
_MIN_TEXT_BYTES: Final = 46  # the text of one byte of plaintext: 17 + 1 + 16 bytes

_ALPHABET: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
# `+`, `/` and `=` belong to other spellings of base64; they become a byte that no strict decoder takes.
_TO_STANDARD: Final = bytes.maketrans(b"-_+/=", b"+/\0\0\0")
_TO_URL: Final = bytes.maketrans(b"+/", b"-_")
# By length modulo 4: the padding, and the last characters whose unused bits are zero. Length 1 modulo 4 cannot be.
_PADDING: Final = (b"", b"", b"==", b"=")
_LAST: Final = (frozenset(_ALPHABET), frozenset[int](), frozenset(_ALPHABET[::16]), frozenset(_ALPHABET[::4]))


class Refusal(StrEnum):
    """Why a token was refused. Private: for metrics and logs; from outside all of them look alike."""

    TOO_LONG = "too_long"
    TOO_SHORT = "too_short"
    NOT_CANONICAL = "not_canonical"
    BAD_VERSION = "bad_version"
    UNKNOWN_KEY = "unknown_key"
    BAD_TAG = "bad_tag"
    BAD_CLAIMS = "bad_claims"
    BAD_TIMES = "bad_times"
    DUPLICATE = "duplicate"
    PAIR_MISMATCH = "pair_mismatch"


def seal(key: Key, place: Place, plaintext: bytes, nonce: bytes) -> bytes:
    """Seal `plaintext` for one place and return the ASCII text.

    Args:
        key: the primary key of the token's purpose.
        place: where the token is to be valid, and nowhere else.
        plaintext: at least one byte.
        nonce: 12 bytes from the system's random source, fresh for every call.

    Raises:
        ValueError: the key must not protect, the nonce has the wrong length, or the text would be too long.
    """
    if not key.protects:
        raise ValueError(f"{key!r} must not seal new tokens")
    if len(nonce) != NONCE_BYTES:
        raise ValueError(f"the nonce has {len(nonce)} bytes instead of {NONCE_BYTES}")
    sealed = key.aead.encrypt(nonce, plaintext, key.associated_data(place))
    text = encode(bytes((VERSION,)) + key.id + nonce + sealed)
    if len(text) > MAX_TEXT_BYTES:
        raise ValueError(f"the token would be {len(text)} bytes long")
    key.uses += 1
    return text


def open_envelope(ring: KeyRing, purpose: str, place: Place, text: bytes) -> bytes | Refusal:
    """Return the plaintext of a token sealed for exactly this place, or why not. Takes any bytes; raises nothing."""
    raw = decode(text)
    if isinstance(raw, Refusal):
        return raw
    if raw[0] != VERSION:
        return Refusal.BAD_VERSION
    key = ring.find(purpose, raw[1:_NONCE_AT])
    if key is None:
        return Refusal.UNKNOWN_KEY
    try:
        plaintext = key.aead.decrypt(raw[_NONCE_AT:_SEALED_AT], raw[_SEALED_AT:], key.associated_data(place))
    except InvalidTag:
        return Refusal.BAD_TAG
    key.uses += 1  # only what is authentic: else whoever forges tokens could keep a key from being destroyed
    return plaintext


def encode(raw: bytes) -> bytes:
    """Return base64url without padding (RFC 4648 section 5)."""
    return binascii.b2a_base64(raw, newline=False).translate(_TO_URL).rstrip(b"=")


def decode(text: bytes) -> bytes | Refusal:
    """Return the bytes of a canonical text; refuse every other spelling of them (RFC 4648 section 3.5)."""
    length = len(text)
    if length > MAX_TEXT_BYTES:
        return Refusal.TOO_LONG
    if length < _MIN_TEXT_BYTES:
        return Refusal.TOO_SHORT
    rest = length & 3
    if text[-1] not in _LAST[rest]:
        return Refusal.NOT_CANONICAL
    try:
        return binascii.a2b_base64(text.translate(_TO_STANDARD) + _PADDING[rest], strict_mode=True)
    except binascii.Error:
        return Refusal.NOT_CANONICAL
