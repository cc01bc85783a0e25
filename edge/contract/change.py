"""What the accepted actions of a returned Passport ask the edge to do with a device's tokens."""

from dataclasses import dataclass, field
from enum import IntEnum, StrEnum

from edge.contract.identity import DeviceIdentity, UserIdentity


class TokenEffect(IntEnum):
    """What is done with the tokens; the numbers are those of the Passport library."""

    NOTHING = 0
    UPDATE = 1
    CREATE = 2
    CLEAR = 3


class Revoked(StrEnum):
    """What becomes void besides, on all edges: docs/actions.md."""

    SESSION = "session"
    OTHERS = "others"
    CUSTOMER = "customer"
    DEVICE = "device"


@dataclass(slots=True)
class TokenChange:
    """One change. `user` is who they are from now on, None for nobody; `device` which it is, None where that stays.

    Who makes a new session's tokens says in `session_id` which: what is revoked besides leaves that one out.
    """

    effect: TokenEffect
    user: UserIdentity | None
    device: DeviceIdentity | None
    revoked: frozenset[Revoked] = frozenset()
    session_id: str = field(default="", repr=False)
