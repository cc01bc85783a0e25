"""What of a session an update changes."""

from dataclasses import dataclass, replace
from typing import TypeVar

from edge.contract.identity import DeviceIdentity, Level, UserIdentity

T = TypeVar("T")


@dataclass(slots=True, frozen=True, repr=False)
class SessionChanges:
    """What of a session is different from now on; None stays as it is. `level` is the most that its cookies earn."""

    customer_id: int | None = None
    account_owner_id: int | None = None
    profile_id: str | None = None
    esn: str | None = None
    device_type: int | None = None
    level: Level | None = None

    @classmethod
    def between(
        cls,
        user: UserIdentity | None,
        new_user: UserIdentity | None,
        device: DeviceIdentity | None,
        new_device: DeviceIdentity | None,
    ) -> "SessionChanges":
        """Return what differs between who was sent to an origin and who came back; of None nothing does.

        Only a level that came back lower is one: what a request earns may be less than what its session does.
        """
        changes = cls()
        if new_user is not None:
            changes = cls(
                customer_id=_if_new(new_user.customer_id, None if user is None else user.customer_id),
                account_owner_id=_if_new(new_user.account_owner_id, None if user is None else user.account_owner_id),
                profile_id=_if_new(new_user.profile_id, None if user is None else user.profile_id),
                level=max(new_user.level, Level.LOW) if user is not None and new_user.level < user.level else None,
            )
        if new_device is not None:
            changes = replace(
                changes,
                esn=_if_new(new_device.esn, None if device is None else device.esn),
                device_type=_if_new(new_device.device_type, None if device is None else device.device_type),
            )
        return changes


def _if_new(value: T, was: T | None) -> T | None:
    return None if value == was else value
