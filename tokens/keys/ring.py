"""The keys that tokens are sealed and opened with: one immutable ring, replaced as a whole.

A key is found by purpose and id, never tried in turn. Raw key bytes enter here and nowhere else, are turned into a
cipher at once, and are not kept.
"""

from collections.abc import Iterable, Iterator, Mapping
from enum import IntEnum
from typing import Final, NamedTuple, Protocol

from cryptography.hazmat.primitives.ciphers.aead import AESGCMSIV
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from edgepb.kms.v1 import kms_pb2

VERSION: Final = 1
MATERIAL_BYTES: Final = 32
_OPENS: Final = frozenset((kms_pb2.PRE_ACTIVE, kms_pb2.ACTIVE, kms_pb2.DEACTIVATED))
_CACHED_PLACES: Final = 64  # places come from the config; the bound is for callers that make them up


class KeyState(IntEnum):
    """The states of NIST SP 800-57 that a key in a ring can have; destroyed keys are not in it."""

    PRE_ACTIVE = kms_pb2.PRE_ACTIVE
    ACTIVE = kms_pb2.ACTIVE
    DEACTIVATED = kms_pb2.DEACTIVATED


class Place(NamedTuple):
    """Where a token is valid: its kind ("cookie"), its name within the kind, and the deployment ("live", "test")."""

    kind: str
    name: str
    environment: str


class Key:
    """One version of a key, bound to its purpose. Shows no key bytes.

    `id` is four big-endian bytes. `protects` is True for the one key of a purpose that seals new tokens, where that
    is granted. `uses` counts what it sealed, and what it opened that was authentic.
    """

    __slots__ = ("_associated", "aead", "id", "protects", "purpose", "state", "uses")

    def __init__(self, purpose: str, version: kms_pb2.KeyVersion, *, may_protect: bool = True) -> None:
        self.purpose = purpose
        self.id = version.key_id.to_bytes(4, "big")
        self.state = KeyState(version.state)
        self.protects = version.primary and self.state is KeyState.ACTIVE and may_protect
        self.uses = 0
        self.aead = AESGCMSIV(_derive(purpose, version.material))
        self._associated: dict[Place, bytes] = {}

    def associated_data(self, place: Place) -> bytes:
        """Return what a token in this place is bound to: docs/tokens.md, "Associated data"."""
        known = self._associated.get(place)
        if known is not None:
            return known
        parts = (part.encode() for part in place)
        made = bytes((VERSION,)) + self.id + b"".join(len(part).to_bytes(2, "big") + part for part in parts)
        if len(self._associated) < _CACHED_PLACES:
            self._associated[place] = made
        return made

    def __repr__(self) -> str:
        return f"Key({self.purpose}:{self.id.hex()}, {self.state.name}{', protects' if self.protects else ''})"


class KeyRing:
    """All keys this process may use, as one snapshot of the KMS. `revision` is the snapshot's.

    `keys` are those that open, by purpose and id; `primaries` those that protect; `opens_only` the purposes for which
    this process was not granted to protect.
    """

    __slots__ = ("_keys", "_opens_only", "_primaries", "revision")

    def __init__(
        self,
        keys: Mapping[str, Mapping[bytes, Key]],
        primaries: Mapping[str, Key],
        revision: int,
        opens_only: frozenset[str] = frozenset(),
    ) -> None:
        self._keys = keys
        self._primaries = primaries
        self._opens_only = opens_only
        self.revision = revision

    @classmethod
    def from_key_sets(cls, key_sets: Iterable[kms_pb2.KeySet], revision: int) -> "KeyRing":
        """Build the ring of a KMS answer.

        Raises:
            ValueError: the key sets contradict themselves: a purpose or key id twice, two primaries, material that
                is not 32 bytes. The text holds purposes and key ids only.
        """
        keys: dict[str, dict[bytes, Key]] = {}
        primaries: dict[str, Key] = {}
        opens_only: set[str] = set()
        seen: set[bytes] = set()
        for key_set in key_sets:
            purpose = key_set.purpose
            if purpose in keys:
                raise ValueError(f"key set {purpose!r} is listed twice")
            if not _granted(key_set, kms_pb2.PROTECT):
                opens_only.add(purpose)
            versions = _versions(key_set, seen)
            keys[purpose] = versions if _granted(key_set, kms_pb2.OPEN) else {}
            if sum(each.primary and each.state == kms_pb2.ACTIVE for each in key_set.versions) > 1:
                raise ValueError(f"key set {purpose!r} has more than one primary")
            primaries.update((purpose, key) for key in versions.values() if key.protects)
        return cls(keys, primaries, revision, frozenset(opens_only))

    def primary(self, purpose: str) -> Key | None:
        """Return the key that protects new tokens of `purpose`, or None: then nothing can be sealed."""
        return self._primaries.get(purpose)

    def may_protect(self, purpose: str) -> bool:
        """Tell whether the KMS granted this process to seal tokens of `purpose`; without, it has no primary."""
        return purpose not in self._opens_only

    def find(self, purpose: str, key_id: bytes) -> Key | None:
        """Return the key of `purpose` with this id (4 bytes) if it may still open tokens."""
        versions = self._keys.get(purpose)
        return None if versions is None else versions.get(key_id)

    def has_keys(self, purpose: str) -> bool:
        """Tell whether anything of `purpose` can be opened at all."""
        return bool(self._keys.get(purpose))

    def take_uses(self) -> Iterator[tuple[str, int, int]]:
        """Return purpose, id and count of each key that was used since this was last asked, and count from 0 again."""
        opening = (key for versions in self._keys.values() for key in versions.values())
        for key in {*opening, *self._primaries.values()}:
            uses, key.uses = key.uses, 0
            if uses:
                yield key.purpose, int.from_bytes(key.id), uses

    def __repr__(self) -> str:
        counts = ", ".join(f"{purpose}: {len(versions)}" for purpose, versions in self._keys.items())
        return f"KeyRing(revision {self.revision}, {counts or 'empty'})"


class RingSource(Protocol):
    """Whoever holds the newest ring. The ring may be another object at every look."""

    @property
    def ring(self) -> KeyRing:
        """The newest ring."""
        ...


def _versions(key_set: kms_pb2.KeySet, seen: set[bytes]) -> dict[bytes, Key]:
    """Make the keys of one set that open tokens; `seen` collects the key ids of the whole ring."""
    versions: dict[bytes, Key] = {}
    for version in key_set.versions:
        key_id = version.key_id.to_bytes(4, "big")
        if key_id in seen:
            raise ValueError(f"key id {key_id.hex()} is listed twice")
        seen.add(key_id)
        if version.state in _OPENS:
            versions[key_id] = Key(key_set.purpose, version, may_protect=_granted(key_set, kms_pb2.PROTECT))
    return versions


def _granted(key_set: kms_pb2.KeySet, use: kms_pb2.Use) -> bool:
    """Tell whether a set may be used so; a KMS that does not say what is granted grants both."""
    return not key_set.uses or use in key_set.uses


def _derive(purpose: str, material: bytes) -> bytes:
    """Derive the key of one purpose and algorithm (HKDF-SHA-256), so that no two uses share a key."""
    if len(material) != MATERIAL_BYTES:
        raise ValueError(f"a key of {purpose!r} has {len(material)} bytes of material instead of {MATERIAL_BYTES}")
    info = b"edge-passport|v1|" + purpose.encode() + b"|aes-256-gcm-siv"
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=info).derive(material)
