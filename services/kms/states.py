"""The states of a key version and the moves between them (NIST SP 800-57 part 1, §7).

A version is distributed before it protects anything, so that every holder can open what it seals, and it opens long
after it has stopped protecting, so that what it sealed can live out its life. Nothing comes back from a later state.
"""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final


class State(StrEnum):
    """Where a key version stands; the names are those of `kms.proto`."""

    PRE_ACTIVE = "PRE_ACTIVE"
    ACTIVE = "ACTIVE"
    DEACTIVATED = "DEACTIVATED"
    DESTROYED = "DESTROYED"


NEXT: Final[Mapping[State, frozenset[State]]] = MappingProxyType(
    {
        State.PRE_ACTIVE: frozenset({State.ACTIVE, State.DESTROYED}),
        State.ACTIVE: frozenset({State.DEACTIVATED}),
        State.DEACTIVATED: frozenset({State.DESTROYED}),
        State.DESTROYED: frozenset(),
    }
)


def may_move(current: State, wanted: State) -> bool:
    """Say whether a version may go from `current` straight to `wanted`."""
    return wanted in NEXT[current]
