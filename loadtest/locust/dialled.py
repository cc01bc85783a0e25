"""Devices that a dial may move: which of them are in at which position, and what each may be served by. Pure."""

from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Final

UNKNOWN: Final = "unknown"
LEGACY, PASSPORT = "legacy", "passport"
FEATURE: Final = "terminate-cookie"
_BUCKETS: Final = 10_000
_PERSON: Final = blake2b(FEATURE.encode(), digest_size=blake2b.PERSON_SIZE).digest()
_WIDTH: Final = 1 / 128
_PER_PERCENT: Final = _BUCKETS // 100


@dataclass(slots=True, frozen=True)
class Rollout:
    """What a scenario does with the dial `terminate-cookie`, which stands at 0 % for who is not named here.

    Attributes:
        turned: the device type whose dial is turned while it is measured.
        course: its positions in percent, each for as long as the others.
        standing: types whose dial stands from the beginning, and at what percentage.
        wrong_share: of the answers in legacy mode in which the origin reports a wrong identity.
    """

    turned: str
    course: tuple[int, ...]
    standing: Mapping[str, int] = field(default_factory=dict)
    wrong_share: float = 0.02


@dataclass(slots=True, frozen=True)
class Standing:
    """Where a dial stands, in percent: between the two while it is turned, and before all workers have heard of it."""

    lowest: int = 0
    highest: int = 0

    def or_at(self, later: "Standing") -> "Standing":
        """Return what covers this and a later look: it may have been turned in between."""
        return Standing(min(self.lowest, later.lowest), max(self.highest, later.highest))

    @property
    def settled(self) -> bool:
        """Whether it is turned by nobody."""
        return self.lowest == self.highest

    def allows(self, mode: str, at: int) -> bool:
        """Say whether a device in this bucket may be served so: its bucket is below the dial for a Passport."""
        if mode == LEGACY:
            return at >= self.lowest * _PER_PERCENT
        return at < self.highest * _PER_PERCENT


class Board:
    """Where the dials stand, as the devices of one process have been told."""

    def __init__(self) -> None:
        self._stand: MutableMapping[str, Standing] = {}

    def of(self, device_type: str) -> Standing:
        """Return where the dial of a type stands: at 0 until something else is said."""
        return self._stand.get(device_type, Standing())

    def told(self, device_type: str, lowest: int, highest: int) -> None:
        """Hear where a dial stands."""
        self._stand[device_type] = Standing(lowest, highest)

    def clear(self) -> None:
        """Forget all."""
        self._stand.clear()


def bucket_of(esn: str) -> int:
    """Return the bucket of a device, 0 to 9,999, under the salt that the dial is shipped with: docs/dials.md."""
    hashed = blake2b(esn.encode(), digest_size=8, person=_PERSON).digest()
    return int.from_bytes(hashed, "big") % _BUCKETS


def serial(prefix: str, number: int, worker: int = 0) -> str:
    """Return an ESN for a device: however many there are, they lie evenly in the buckets.

    `number` counts the devices of a process from 0 on, and `worker` the processes.
    """
    wanted = (_van_der_corput(number) + _van_der_corput(worker)) % 1.0
    tried = 0
    while True:
        esn = f"{prefix}-{worker}-{number}-{tried}"
        if 0 <= bucket_of(esn) / _BUCKETS - wanted < _WIDTH:
            return esn
        tried += 1


def _van_der_corput(number: int) -> float:
    """Return 0, 1/2, 1/4, 3/4, 1/8 and so on: the bits of the number behind the point, in reverse."""
    found, part = 0.0, 0.5
    while number:
        found += part * (number & 1)
        number, part = number >> 1, part / 2
    return found
