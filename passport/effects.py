"""What an action can do: the words of proto/passport/v1/actions.yaml."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum, StrEnum

from passport.identity import Level, Part


class Effect(IntEnum):
    """What the edge does with a device's tokens. The greater one wins where actions stand together."""

    NOTHING = 0
    UPDATE = 1
    CREATE = 2
    CLEAR = 3


class PartIs(StrEnum):
    """What the part that an action stands on must be."""

    NOBODY = "nobody"
    CHECKED = "checked"
    SAME = "same"
    REGISTERED = "registered"


class Revokes(StrEnum):
    """What becomes void besides, on all edges."""

    NONE = "none"
    SESSION = "session"
    OTHERS = "others"
    CUSTOMER = "customer"
    DEVICE = "device"


@dataclass(slots=True, frozen=True)
class CatalogueEntry:
    """One action. `level` is None where it stays as sent; `by_kind` holds the kinds of token that differ from `effect`.

    `changes` names fields of UserInfo or DeviceInfo.
    """

    name: str
    part: Part
    effect: Effect
    by_kind: Mapping[str, Effect]
    part_is: PartIs
    changes: frozenset[str]
    level: Level | None
    revokes: Revokes
    meaning: str

    def effect_on(self, kind: str) -> Effect:
        """Return what it does with tokens of a kind: `cookie`, `msl`, `cticket`, `partner`."""
        return self.by_kind.get(kind, self.effect)
