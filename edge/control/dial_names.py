"""Dials as operators name them: by the names of the configuration, not by the numbers in tokens."""

from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from edge.contract.dials import SHIPPED, UNKNOWN_DEVICE_TYPE, Dial, DialTable, Feature, parse_percent

UNKNOWN: Final = "unknown"
"""The name of device type 0, which config/device_types.yaml does not list."""
NO_PERCENTAGE: Final = "must be a number from 0 to 100 with at most two decimals, such as 12.5"


class DialName(NamedTuple):
    """A feature, for an origin, for a device type, for both, or for whatever has no dial nearer."""

    feature: Feature
    origin: str | None = None
    device_type: str | None = None

    def __str__(self) -> str:
        parts = [str(self.feature)]
        parts += [f"origin {self.origin}"] if self.origin is not None else []
        parts += [f"device type {self.device_type}"] if self.device_type is not None else []
        return ", ".join(parts)


Positions = Mapping[DialName, int]
"""Hundredths of a percent."""


class FileDials(NamedTuple):
    """What config/dials.yaml says: the default of each feature, what is nearer, and a salt for each feature."""

    positions: Positions
    salts: Mapping[Feature, str]


SHIPPED_DIALS: Final = FileDials(
    {DialName(feature): at for feature, at in SHIPPED.items()}, {feature: feature.value for feature in Feature}
)


def type_numbers(device_types: Mapping[int, str]) -> dict[str, int]:
    """Return the number of each device type by its name, `unknown` among them."""
    return {UNKNOWN: UNKNOWN_DEVICE_TYPE, **{name: number for number, name in device_types.items()}}


def dial_table(revision: int, dials: FileDials, device_types: Mapping[int, str]) -> DialTable:
    """Return what a worker decides by. A dial of a device type that the configuration no longer names is left out."""
    numbers = type_numbers(device_types)

    def known() -> Iterator[tuple[Dial, int]]:
        for (feature, origin, device_type), at in dials.positions.items():
            if device_type is None:
                yield Dial(feature, origin), at
            elif device_type in numbers:
                yield Dial(feature, origin, numbers[device_type]), at

    return DialTable(revision, dict(known()), dials.salts)


def percentage(value: object) -> int:
    """Read a number of YAML or JSON as hundredths of a percent; raises ValueError that says what is expected."""
    at = parse_percent(str(value)) if isinstance(value, int | float) and not isinstance(value, bool) else None
    if at is None:
        raise ValueError(NO_PERCENTAGE)
    return at
