"""The key sets as the KMS last gave them, sealed in a file: what a process starts from while the KMS is away.

docs/keys.md, "The sealed snapshot". The file is of one identity in one environment, and opens with that identity's
bearer token only.
"""

import fcntl
import os
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCMSIV
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from edgepb.kms.v1 import kms_pb2
from google.protobuf.message import DecodeError

_MAGIC: Final = b"EPKS\x01"
_INFO: Final = b"edge-passport|v1|key-snapshot|aes-256-gcm-siv"
_NONCE_BYTES: Final = 12
_TIME_BYTES: Final = 8
_MAX_FILE_BYTES: Final = 2 << 20
_REWRITE_S: Final = 60.0
"""How far the time in the file may be behind, lest every refresh of every worker writes it."""


class Unusable(StrEnum):
    """Why there is no snapshot to start from."""

    MISSING = "missing"
    UNREADABLE = "unreadable"
    DAMAGED = "damaged"  # or sealed under another token: the cipher cannot tell
    OTHER_IDENTITY = "other_identity"
    OTHER_ENVIRONMENT = "other_environment"
    TOO_OLD = "too_old"
    INCOMPLETE = "incomplete"


@dataclass(slots=True, frozen=True)
class KeySnapshot:
    """What the KMS answered when it was asked at `fetched_at`, in epoch seconds. Its repr shows no key."""

    answer: kms_pb2.GetKeySetsResponse
    fetched_at: float

    @property
    def version(self) -> tuple[object, ...]:
        """What tells it from another: the revision of the keys, and what may be done with each set of them."""
        return self.answer.revision, *((each.purpose, *each.uses) for each in self.answer.key_sets)

    def __repr__(self) -> str:
        return f"KeySnapshot(revision {self.answer.revision}, {self.fetched_at:.0f})"


class SnapshotSealer:
    """Seals snapshots for one identity in one environment, under a key derived from that identity's token."""

    def __init__(self, token: str, identity: str, environment: str) -> None:
        self._identity, self._environment = identity.encode(), environment.encode()
        self.take_token(token)
        self._head = _MAGIC + b"".join(len(each).to_bytes(2) + each for each in (self._identity, self._environment))

    def __repr__(self) -> str:
        return f"SnapshotSealer({self._identity.decode()}, {self._environment.decode()})"

    def take_token(self, token: str) -> None:
        """Seal and open under another token of the identity from now on."""
        self._aead = AESGCMSIV(HKDF(SHA256(), 32, salt=None, info=_INFO).derive(token.encode()))

    def seal(self, snapshot: KeySnapshot, nonce: bytes) -> bytes:
        """Return the content of the file; `nonce` is 12 bytes from the system's random source."""
        said = int(snapshot.fetched_at * 1000).to_bytes(_TIME_BYTES) + snapshot.answer.SerializeToString()
        return self._head + nonce + self._aead.encrypt(nonce, said, self._head)

    def open(self, raw: bytes) -> KeySnapshot | Unusable:
        """Return what was sealed, or why not. Takes any bytes; raises nothing."""
        head = _head(raw)
        if head is None:
            return Unusable.DAMAGED
        identity, environment, end = head
        if identity != self._identity:
            return Unusable.OTHER_IDENTITY
        if environment != self._environment:
            return Unusable.OTHER_ENVIRONMENT
        nonce, sealed = raw[end : end + _NONCE_BYTES], raw[end + _NONCE_BYTES :]
        with suppress(InvalidTag, ValueError, DecodeError):
            said = self._aead.decrypt(nonce, sealed, raw[:end])
            answer = kms_pb2.GetKeySetsResponse.FromString(said[_TIME_BYTES:])
            return KeySnapshot(answer, int.from_bytes(said[:_TIME_BYTES]) / 1000)
        return Unusable.DAMAGED


class SnapshotFile:
    """One file, which all processes of an identity on a machine share. Its calls wait for the disk."""

    def __init__(self, path: Path, sealer: SnapshotSealer, max_age_s: float) -> None:
        """Take what is at most `max_age_s` seconds old."""
        self._path = path
        self._sealer = sealer
        self._max_age_s = max_age_s

    def __repr__(self) -> str:
        return f"SnapshotFile({self._path})"

    def take_token(self, token: str) -> None:
        """Go on under another token: what was sealed under the one before is replaced by the next save."""
        self._sealer.take_token(token)

    def load(self, now: float) -> KeySnapshot | Unusable:
        """Return the snapshot, or why there is none to use. `now` is epoch seconds."""
        found = self._read()
        # Also from the future: by a clock that was wrong once, keys are no worse than by one that is wrong now.
        if isinstance(found, KeySnapshot) and abs(now - found.fetched_at) > self._max_age_s:
            return Unusable.TOO_OLD
        return found

    def save(self, snapshot: KeySnapshot) -> bool:
        """Replace the file whole, unless what is there is as good; return whether it was replaced. Raises OSError."""
        directory = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(directory, fcntl.LOCK_EX)  # or an older answer might replace a newer one just written
            if not _is_news(snapshot, self._read()):
                return False
            self._replace(self._sealer.seal(snapshot, os.urandom(_NONCE_BYTES)))
            os.fsync(directory)
            return True
        finally:
            os.close(directory)

    def _read(self) -> KeySnapshot | Unusable:
        try:
            with self._path.open("rb") as file:
                raw = file.read(_MAX_FILE_BYTES + 1)
        except FileNotFoundError:
            return Unusable.MISSING
        except OSError:
            return Unusable.UNREADABLE
        return self._sealer.open(raw) if len(raw) <= _MAX_FILE_BYTES else Unusable.DAMAGED

    def _replace(self, content: bytes) -> None:
        fresh = self._path.with_name(f".{self._path.name}.new")
        fresh.unlink(missing_ok=True)
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(self._path)


def _head(raw: bytes) -> tuple[bytes, bytes, int] | None:
    """Return identity and environment as the file names them, and where that ends."""
    if not raw.startswith(_MAGIC):
        return None
    names, at = [], len(_MAGIC)
    for _ in range(2):
        end = at + 2 + int.from_bytes(raw[at : at + 2])
        names.append(raw[at + 2 : end])
        at = end
    return (names[0], names[1], at) if at <= len(raw) else None


def _is_news(snapshot: KeySnapshot, there: KeySnapshot | Unusable) -> bool:
    if isinstance(there, Unusable):
        return True
    behind_s = snapshot.fetched_at - there.fetched_at
    if -_REWRITE_S < behind_s < 0:  # another worker has asked since
        return snapshot.answer.revision > there.answer.revision
    return behind_s < 0 or behind_s >= _REWRITE_S or snapshot.version != there.version
