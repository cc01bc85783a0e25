"""Dials: for which share of the devices a feature is on.

A device is in one of 10,000 buckets, by a hash of its key under the dial's salt, and the feature is on for it when its
bucket lies below the dial's position. So a device stays in while a dial stands still, whoever is in at 5 % is in at
10 %, and two dials with different salts choose independently of each other.
"""

from collections.abc import Mapping
from enum import StrEnum
from hashlib import blake2b
from typing import Final, NamedTuple

BUCKETS: Final = 10_000
"""A position in hundredths of a percent: 0 is off for all, 10,000 on for all."""
UNKNOWN_DEVICE_TYPE: Final = 0


class Feature(StrEnum):
    """What a dial turns on: the key in `config/dials.yaml`."""

    TERMINATE_COOKIE = "terminate-cookie"  # cookies end here, and the origin gets a Passport; off: it gets the cookies
    SHADOW_COOKIE = "shadow-cookie"  # where cookies go to the origin, resolve them here too, and compare


SHIPPED: Final[Mapping[Feature, int]] = {Feature.TERMINATE_COOKIE: BUCKETS, Feature.SHADOW_COOKIE: 0}
"""The position of each feature as long as nobody has said otherwise."""


class Dial(NamedTuple):
    """One dial: a feature for an origin, for a device type, for both, or (None, None) for what has no dial nearer."""

    feature: Feature
    origin: str | None = None
    device_type: int | None = None


class DialTable:
    """All positions at one moment: immutable. A feature without a position stands where it is shipped.

    `positions` are in hundredths of a percent; the salt of a feature is its name, unless `salts` says otherwise.
    """

    __slots__ = ("_by_origin", "_by_type", "_defaults", "_everywhere", "_salted", "positions", "revision")

    def __init__(
        self, revision: int = 0, positions: Mapping[Dial, int] | None = None, salts: Mapping[Feature, str] | None = None
    ) -> None:
        self.revision = revision
        self.positions: Final[Mapping[Dial, int]] = {
            **{Dial(feature): at for feature, at in SHIPPED.items()},
            **(positions or {}),
        }
        self._salted: dict[str, blake2b] = {
            feature: salted(feature.value if salts is None else salts.get(feature, feature.value))
            for feature in Feature
        }
        self._defaults: dict[str, int] = {}
        self._by_type: dict[tuple[str, int], int] = {}
        self._by_origin: dict[tuple[str, str], dict[int, int]] = {}  # device type, or -1 for all others → position
        for dial, at in self.positions.items():
            if dial.origin is not None:
                types = self._by_origin.setdefault((dial.feature, dial.origin), {})
                types[-1 if dial.device_type is None else dial.device_type] = at
            elif dial.device_type is not None:
                self._by_type[dial.feature, dial.device_type] = at
            else:
                self._defaults[dial.feature] = at
        standing: dict[str, set[int]] = {}
        for dial, at in self.positions.items():
            standing.setdefault(dial.feature, set()).add(at)
        self._everywhere: Final = frozenset(feature for feature, found in standing.items() if found == {BUCKETS})

    def is_on(self, feature: Feature, origin: str, device_type: int, key: bytes) -> bool:
        """Say whether `feature` is on for the device with this key: its ESN, or what is stable of it where it has none.

        `device_type` is 0 where it is not known.
        """
        at = self.position(feature, origin, device_type)
        return at == BUCKETS or (at != 0 and bucket(self._salted[feature], key) < at)

    def position(self, feature: Feature, origin: str, device_type: int) -> int:
        """Return the position that counts: that of origin and type, of the origin, of the type, of the feature."""
        if self._by_origin:
            types = self._by_origin.get((feature, origin))
            if types is not None:
                at = types.get(device_type)
                if at is None:
                    at = types.get(-1)
                if at is not None:
                    return at
        if self._by_type:
            by_type = self._by_type.get((feature, device_type))
            if by_type is not None:
                return by_type
        return self._defaults[feature]

    def fully_on(self, feature: Feature) -> bool:
        """Say whether every dial of `feature` stands at 100 %, so that nobody needs to be asked who they are."""
        return feature in self._everywhere

    def fully_on_at(self, feature: Feature, origin: str) -> bool:
        """Say whether `feature` is on at an origin for each device, of whatever type and key."""
        types = {dial.device_type for dial in self.positions if dial.feature == feature}  # None: all others
        return all(self.position(feature, origin, -1 if each is None else each) == BUCKETS for each in types)


class Dials:
    """Where the table of now is, swapped whole: who asks twice for one exchange keeps the table, or the answer."""

    __slots__ = ("table",)

    def __init__(self, table: DialTable | None = None) -> None:
        self.table = table or DialTable()


def salted(salt: str) -> blake2b:
    """Return what `bucket` hashes with. The salt is in BLAKE2b's personalisation: half the time that a key takes."""
    return blake2b(digest_size=8, person=blake2b(salt.encode(), digest_size=blake2b.PERSON_SIZE).digest())


def bucket(hasher: blake2b, key: bytes) -> int:
    """Return the bucket of a key, 0 to 9,999. `hasher` stays as it is."""
    hashing = hasher.copy()
    hashing.update(key)
    return int.from_bytes(hashing.digest(), "big") % BUCKETS


def parse_percent(text: str) -> int | None:
    """Read `5`, `5.2` or `12.34` as hundredths of a percent, None when it is no percentage of at most two decimals."""
    whole, point, decimals = text.partition(".")
    if not (text.isascii() and whole.isdigit() and len(whole) <= 3 and len(decimals) <= 2):
        return None
    if bool(point) != decimals.isdigit():
        return None
    at = int(whole) * 100 + int(decimals.ljust(2, "0"))
    return at if at <= BUCKETS else None


def percent_text(at: int) -> str:
    """Return a position in hundredths of a percent as `parse_percent` reads it, as short as it goes."""
    return f"{at // 100}.{at % 100:02d}".rstrip("0").rstrip(".")
