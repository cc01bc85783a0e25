"""The MAC keys of the Passport: looked up by name, never tried in turn. Key bytes do not come out of here."""

from collections.abc import Iterable, Iterator
from typing import Final

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hmac import HMAC
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from edgepb.kms.v1 import kms_pb2

from passport.identity import Part

USER_PURPOSE: Final = "passport-user"
DEVICE_PURPOSE: Final = "passport-device"
PURPOSE_PREFIX: Final = "passport-"
_MATERIAL_BYTES: Final = 32
_VERIFYING: Final = frozenset({kms_pb2.PRE_ACTIVE, kms_pb2.ACTIVE, kms_pb2.DEACTIVATED})


class MacKey:
    """One key for one purpose, held as keyed HMAC-SHA-256 contexts only.

    `name` is what stands in a Passport: the purpose, a colon, the key id as eight lower-case hex digits. `uses` counts
    what it signed, and what it verified that was authentic.
    """

    __slots__ = ("_contexts", "key_id", "name", "purpose", "uses")

    def __init__(self, purpose: str, key_id: int, material: bytes) -> None:
        """Derive the MAC key for `purpose` from 32 bytes of material (HKDF-SHA-256, RFC 5869)."""
        if len(material) != _MATERIAL_BYTES:
            raise ValueError(f"key material of {purpose}:{key_id:08x} is not {_MATERIAL_BYTES} bytes")
        self.name = f"{purpose}:{key_id:08x}"
        self.purpose = purpose
        self.key_id = key_id
        self.uses = 0
        info = f"edge-passport|v1|{purpose}|hmac-sha256".encode()
        plain = HMAC(HKDF(SHA256(), 32, salt=None, info=info).derive(material), SHA256())
        self._contexts: dict[tuple[int, Part], HMAC] = {(1, part): plain for part in Part}
        for part in Part:
            context = plain.copy()
            context.update(_v2_context(part, self.name))
            self._contexts[2, part] = context

    def context(self, version: int, part: Part) -> HMAC:
        """Return the context that a MAC of `version` (1 or 2) over `part` starts from. Copy it before use."""
        return self._contexts[version, part]

    def __repr__(self) -> str:
        return f"MacKey({self.name})"


class PassportKeys:
    """An immutable set of MAC keys, with the one that signs for each purpose."""

    __slots__ = ("_by_name", "_signers")

    def __init__(self, by_name: dict[str, MacKey], signers: dict[str, MacKey]) -> None:
        self._by_name = by_name
        self._signers = signers

    @classmethod
    def from_key_sets(cls, key_sets: Iterable[kms_pb2.KeySet]) -> "PassportKeys":
        """Take the keys whose purpose begins with `passport-`; others, and destroyed ones, are left out.

        Pre-active, active and deactivated keys verify; the active primary of a set signs; each only where the KMS has
        granted it. Raises ValueError for material of a wrong size, a purpose or key id that comes twice, or two
        primaries for one purpose.
        """
        by_name: dict[str, MacKey] = {}
        signers: dict[str, MacKey] = {}
        seen: set[str] = set()
        for key_set in key_sets:
            if not key_set.purpose.startswith(PURPOSE_PREFIX):
                continue
            if key_set.purpose in seen:
                raise ValueError(f"key set {key_set.purpose} comes twice")
            seen.add(key_set.purpose)
            keys, primary = _keys(key_set)
            if _granted(key_set, kms_pb2.OPEN):
                by_name |= keys
            if primary is not None and _granted(key_set, kms_pb2.PROTECT):
                signers[key_set.purpose] = primary
        return cls(by_name, signers)

    def find(self, name: str) -> MacKey | None:
        """Return the key that verifies MACs made under `name`, or None."""
        return self._by_name.get(name)

    def signer(self, purpose: str) -> MacKey | None:
        """Return the key that signs for `purpose`, or None when there is no active primary."""
        return self._signers.get(purpose)

    def take_uses(self) -> Iterator[tuple[str, int, int]]:
        """Return purpose, id and count of each key that was used since this was last asked, and count from 0 again."""
        for key in {*self._by_name.values(), *self._signers.values()}:
            uses, key.uses = key.uses, 0
            if uses:
                yield key.purpose, key.key_id, uses

    def __repr__(self) -> str:
        return f"PassportKeys({', '.join(sorted(self._by_name))})"


def _keys(key_set: kms_pb2.KeySet) -> tuple[dict[str, MacKey], MacKey | None]:
    """Return the keys of one set by name, and its active primary."""
    keys: dict[str, MacKey] = {}
    primary = None
    for version in key_set.versions:
        if version.state not in _VERIFYING:
            continue
        key = MacKey(key_set.purpose, version.key_id, version.material)
        if key.name in keys:
            raise ValueError(f"key {key.name} comes twice")
        keys[key.name] = key
        if version.primary and version.state == kms_pb2.ACTIVE:
            if primary is not None:
                raise ValueError(f"purpose {key.purpose} has two primary keys")
            primary = key
    return keys, primary


def _granted(key_set: kms_pb2.KeySet, use: kms_pb2.Use) -> bool:
    """Tell whether a set may be used so; a KMS that does not say what is granted grants both."""
    return not key_set.uses or use in key_set.uses


def _v2_context(part: Part, name: str) -> bytes:
    encoded = name.encode()
    return f"edge-passport v2 {part}\0".encode() + len(encoded).to_bytes(4, "big") + encoded
