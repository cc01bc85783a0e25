"""Passports as services return them: any part replaced, with any actions, signed with any key."""

from base64 import b64encode
from collections.abc import Sequence

from passport import DeviceAction, DevicePart, Level, MacKey, Part, Source, UserAction, UserPart
from passport.catalogue import CATALOGUE
from passport.effects import CatalogueEntry, PartIs
from passport.integrity import join_envelope, sign, split_envelope
from passport.parts import NO_DEVICE, NO_USER, encode_times
from tests.passport.samples import CUSTOMER_ID, ESN, NOW

TTL_S = 60
CHECKED = UserPart.of(Source.USER_CREDENTIALS, Level.HIGH, 42, 41, profile_id="p")


def changed(
    received: bytes,
    key: MacKey,
    *,
    user: UserPart | None = None,
    device: DevicePart | None = None,
    actions: Sequence[UserAction | DeviceAction] = (),
    now: int = NOW,
) -> bytes:
    """Return an `X-Passport` value: `received` with another user or device, which carries the actions of its part."""
    envelope = split_envelope(received)
    version = envelope.device_integrity.version
    times = encode_times(now, now + TTL_S)
    if device is not None:
        mine = [action for action in actions if isinstance(action, DeviceAction)]
        envelope = envelope._replace(device_info=device.with_actions(mine).static + times)
        envelope = envelope._replace(device_integrity=sign(key, version, Part.DEVICE, envelope.covered))
    if user is not None:
        its = [action for action in actions if isinstance(action, UserAction)]
        envelope = envelope._replace(user_info=user.with_actions(its).static + times)
    envelope = envelope._replace(user_integrity=sign(key, version, Part.USER, envelope.covered))
    return b64encode(join_envelope(envelope))


def action_of(entry: CatalogueEntry) -> UserAction | DeviceAction:
    """Return the action that an entry of the catalogue is about."""
    return UserAction[entry.name] if entry.part is Part.USER else DeviceAction[entry.name]


def fitting(entry: CatalogueEntry, session_id: str = "5e55" * 8) -> dict[str, UserPart | DevicePart]:
    """Return the part that an action asks for, of the user and the device of `samples`, with all it may change."""
    if entry.part is Part.USER:
        return {"user": fitting_user(entry, session_id)}
    return {"device": fitting_device(entry)}


def fitting_user(
    entry: CatalogueEntry,
    session_id: str,
    customer_id: int = CUSTOMER_ID,
    owner_id: int = 7_001_002_000,
    profile_id: str = "profile-1",
) -> UserPart:
    """Return a user that fits an action, where one with these ids was sent."""
    if entry.part_is is PartIs.NOBODY:
        return NO_USER
    if entry.part_is is PartIs.CHECKED:
        return CHECKED
    return UserPart.of(
        Source.COOKIE,
        entry.level if entry.level is not None else Level.HIGH,
        customer_id + ("customer_id" in entry.changes),
        owner_id + ("account_owner_id" in entry.changes),
        profile_id=profile_id + "-2" * ("profile_id" in entry.changes),
        session_id=session_id,
    )


def fitting_device(entry: CatalogueEntry, esn: str = ESN, device_type: int = 7) -> DevicePart:
    """Return a device that fits an action, where `esn` was sent."""
    if entry.part_is is PartIs.NOBODY:
        return NO_DEVICE
    level = entry.level if entry.level is not None else Level.HIGH
    changed_type = device_type + ("device_type" in entry.changes)
    return DevicePart.of(Source.COOKIE, level, esn + "-2" * ("esn" in entry.changes), changed_type)


def entries(part: Part) -> list[CatalogueEntry]:
    """Return the catalogue's entries of one part."""
    return [entry for entry in CATALOGUE.values() if entry.part is part]
