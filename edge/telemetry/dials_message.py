"""The positions of all dials as a message over the control channel."""

from collections.abc import Iterator, Mapping
from typing import Final

from edge.contract.dials import BUCKETS, Dial, DialTable, Feature

_FEATURES: Final = {feature.value: feature for feature in Feature}
NO_REVISION: Final = -1


def dials_message(table: DialTable, salts: Mapping[Feature, str]) -> Mapping[str, object]:
    """Return what tells a worker where the dials stand."""
    positions = [[dial.feature.value, dial.origin, dial.device_type, at] for dial, at in table.positions.items()]
    return {
        "type": "dials",
        "revision": table.revision,
        "salts": {feature.value: salt for feature, salt in salts.items()},
        "positions": positions,
    }


def read_dials(message: Mapping[str, object]) -> DialTable | None:
    """Return the table in a message, None when it is none. A feature that this worker does not know is left out."""
    revision, salts, positions = message.get("revision"), message.get("salts"), message.get("positions")
    if not isinstance(revision, int) or not isinstance(salts, dict) or not isinstance(positions, list):
        return None
    known = {_FEATURES[name]: salt for name, salt in salts.items() if name in _FEATURES and isinstance(salt, str)}
    try:
        return DialTable(revision, dict(_positions(positions)), known)
    except ValueError:
        return None


def _positions(rows: list[object]) -> Iterator[tuple[Dial, int]]:
    for row in rows:
        match row:
            case [str(feature), None | str() as origin, None | int() as device_type, int(at)] if 0 <= at <= BUCKETS:
                if feature in _FEATURES:
                    yield Dial(_FEATURES[feature], origin, device_type), at
            case _:
                raise ValueError("no position of a dial")
