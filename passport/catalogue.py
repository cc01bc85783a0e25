"""Every action that a returned Passport may carry. Made by `make proto` from proto/passport/v1/actions.yaml."""

from collections.abc import Mapping
from enum import IntEnum
from typing import Final

from passport.effects import CatalogueEntry, Effect, PartIs, Revokes
from passport.identity import Level, Part


class UserAction(IntEnum):
    """A change of the user that the edge turns into token updates: docs/actions.md."""

    UNKNOWN = -1
    USER_LOGIN = 1
    """The user has proved who they are. A session begins; none from before it goes on."""
    USER_LOGOUT = 2
    """The user has left this device. The session ends, and every copy of its tokens with it."""
    USER_LOGOUT_EVERYWHERE = 3
    """The user has left all devices, this one too."""
    USER_LOGOUT_ELSEWHERE = 4
    """The user has left all devices but this one."""
    USER_ACTIVATED_BY_CODE = 5
    """A code that this device shows was entered by a user elsewhere, who is now signed in here."""
    USER_STEP_UP_PASSED = 6
    """The user has proved once more who they are, for this request. No cookie carries that on."""
    USER_TOKEN_REFRESH_FORCED = 7
    """The user's tokens are to be made anew, though nothing in them has changed."""
    USER_PROFILE_SWITCHED = 8
    """Another profile of the account is in use on this device."""
    USER_PROFILE_LEFT = 9
    """No profile is in use until one is chosen."""
    USER_PROFILE_KID_LOCKED = 10
    """This device is held to a child's profile."""
    USER_PROFILE_KID_UNLOCKED = 11
    """This device is held to a child's profile no longer."""
    USER_SIGNUP_STARTED = 12
    """Somebody has made an account. A session begins in which they may become a member."""
    USER_SIGNUP_STEP_DONE = 13
    """A step of the sign-up is done; the session goes on."""
    USER_SIGNUP_COMPLETED = 14
    """The sign-up is over. The member's session begins, and that of the sign-up ends."""
    USER_MEMBERSHIP_STARTED = 15
    """The user has become a member."""
    USER_MEMBERSHIP_HELD = 16
    """The membership is on hold. Tokens stay until the next renewal asks."""
    USER_MEMBERSHIP_CANCELLED = 17
    """The membership will end. Tokens stay until a renewal finds that it has."""
    USER_MEMBERSHIP_RESTARTED = 18
    """The user is a member again."""
    USER_PASSWORD_CHANGED = 19
    """The user has changed the password. The sessions on other devices end."""
    USER_PASSWORD_RESET = 20
    """A forgotten password was replaced. A session begins, and all from before end."""
    USER_EMAIL_CHANGED = 21
    """The user has another e-mail address. No token holds it."""
    USER_PHONE_CHANGED = 22
    """The user has another telephone number. No token holds it."""
    USER_ACCOUNT_MERGED = 23
    """The user's account has become part of another, under whose names they go on."""
    USER_HOUSEHOLD_TRANSFERRED = 24
    """The user belongs to another account owner."""
    USER_ACCOUNT_CLOSED = 25
    """The account is no more."""
    USER_PARTNER_LINKED = 26
    """The account is linked to the user's account at a partner."""
    USER_PARTNER_UNLINKED = 27
    """The account is linked to a partner's no longer; who came by the partner's token has to sign in."""
    USER_CONSENT_GIVEN = 28
    """The user has agreed to something. No token holds it."""
    USER_CONSENT_WITHDRAWN = 29
    """The user agrees no longer. No token holds it."""

    @classmethod
    def _missing_(cls, value: object) -> "UserAction":  # noqa: ARG003 - any number
        return cls.UNKNOWN


class DeviceAction(IntEnum):
    """A change of the device that the edge turns into token updates: docs/actions.md."""

    UNKNOWN = -1
    DEVICE_REGISTERED = 1
    """The device has got its serial number, or another one."""
    DEVICE_ACTIVATED = 2
    """The device may be used with the account."""
    DEVICE_RENAMED = 3
    """The device is called something else. No token holds it."""
    DEVICE_DEACTIVATED = 4
    """The device may be used with the account no longer."""
    DEVICE_RESET = 5
    """The device is as new; nobody is signed in on it."""
    DEVICE_TYPE_CORRECTED = 6
    """The device is of another type than its token says."""
    DEVICE_TOKEN_REFRESH_FORCED = 7
    """The device's tokens are to be made anew, though nothing in them has changed."""
    DEVICE_ATTESTED = 8
    """The device has proved what it is. No cookie carries that on."""
    DEVICE_PARTNER_LINKED = 9
    """A partner vouches for the device."""
    DEVICE_PARTNER_UNLINKED = 10
    """A partner vouches for the device no longer."""

    @classmethod
    def _missing_(cls, value: object) -> "DeviceAction":  # noqa: ARG003 - any number
        return cls.UNKNOWN


Action = UserAction | DeviceAction
CATALOGUE: Final[Mapping[str, CatalogueEntry]] = {
    "USER_LOGIN": CatalogueEntry(
        name="USER_LOGIN",
        part=Part.USER,
        effect=Effect.CREATE,
        by_kind={},
        part_is=PartIs.CHECKED,
        changes=frozenset(),
        level=Level.HIGH,
        revokes=Revokes.NONE,
        meaning="The user has proved who they are. A session begins; none from before it goes on.",
    ),
    "USER_LOGOUT": CatalogueEntry(
        name="USER_LOGOUT",
        part=Part.USER,
        effect=Effect.CLEAR,
        by_kind={},
        part_is=PartIs.NOBODY,
        changes=frozenset(),
        level=Level.UNSPECIFIED,
        revokes=Revokes.SESSION,
        meaning="The user has left this device. The session ends, and every copy of its tokens with it.",
    ),
    "USER_LOGOUT_EVERYWHERE": CatalogueEntry(
        name="USER_LOGOUT_EVERYWHERE",
        part=Part.USER,
        effect=Effect.CLEAR,
        by_kind={},
        part_is=PartIs.NOBODY,
        changes=frozenset(),
        level=Level.UNSPECIFIED,
        revokes=Revokes.CUSTOMER,
        meaning="The user has left all devices, this one too.",
    ),
    "USER_LOGOUT_ELSEWHERE": CatalogueEntry(
        name="USER_LOGOUT_ELSEWHERE",
        part=Part.USER,
        effect=Effect.UPDATE,
        by_kind={},
        part_is=PartIs.SAME,
        changes=frozenset(),
        level=None,
        revokes=Revokes.OTHERS,
        meaning="The user has left all devices but this one.",
    ),
    "USER_ACTIVATED_BY_CODE": CatalogueEntry(
        name="USER_ACTIVATED_BY_CODE",
        part=Part.USER,
        effect=Effect.CREATE,
        by_kind={},
        part_is=PartIs.CHECKED,
        changes=frozenset(),
        level=Level.HIGH,
        revokes=Revokes.NONE,
        meaning="A code that this device shows was entered by a user elsewhere, who is now signed in here.",
    ),
    "USER_STEP_UP_PASSED": CatalogueEntry(
        name="USER_STEP_UP_PASSED",
        part=Part.USER,
        effect=Effect.UPDATE,
        by_kind={},
        part_is=PartIs.SAME,
        changes=frozenset(),
        level=Level.HIGHEST,
        revokes=Revokes.NONE,
        meaning="The user has proved once more who they are, for this request. No cookie carries that on.",
    ),
    "USER_TOKEN_REFRESH_FORCED": CatalogueEntry(
        name="USER_TOKEN_REFRESH_FORCED",
        part=Part.USER,
        effect=Effect.UPDATE,
        by_kind={},
        part_is=PartIs.SAME,
        changes=frozenset(),
        level=None,
        revokes=Revokes.NONE,
        meaning="The user's tokens are to be made anew, though nothing in them has changed.",
    ),
    "USER_PROFILE_SWITCHED": CatalogueEntry(
        name="USER_PROFILE_SWITCHED",
        part=Part.USER,
        effect=Effect.UPDATE,
        by_kind={},
        part_is=PartIs.SAME,
        changes=frozenset({"profile_id"}),
        level=None,
        revokes=Revokes.NONE,
        meaning="Another profile of the account is in use on this device.",
    ),
    "USER_PROFILE_LEFT": CatalogueEntry(
        name="USER_PROFILE_LEFT",
        part=Part.USER,
        effect=Effect.UPDATE,
        by_kind={},
        part_is=PartIs.SAME,
        changes=frozenset({"profile_id"}),
        level=None,
        revokes=Revokes.NONE,
        meaning="No profile is in use until one is chosen.",
    ),
    "USER_PROFILE_KID_LOCKED": CatalogueEntry(
        name="USER_PROFILE_KID_LOCKED",
        part=Part.USER,
        effect=Effect.UPDATE,
        by_kind={},
        part_is=PartIs.SAME,
        changes=frozenset({"profile_id"}),
        level=None,
        revokes=Revokes.NONE,
        meaning="This device is held to a child's profile.",
    ),
    "USER_PROFILE_KID_UNLOCKED": CatalogueEntry(
        name="USER_PROFILE_KID_UNLOCKED",
        part=Part.USER,
        effect=Effect.UPDATE,
        by_kind={},
        part_is=PartIs.SAME,
        changes=frozenset({"profile_id"}),
        level=None,
        revokes=Revokes.NONE,
        meaning="This device is held to a child's profile no longer.",
    ),
    "USER_SIGNUP_STARTED": CatalogueEntry(
        name="USER_SIGNUP_STARTED",
        part=Part.USER,
        effect=Effect.CREATE,
        by_kind={},
        part_is=PartIs.CHECKED,
        changes=frozenset(),
        level=Level.HIGH,
        revokes=Revokes.NONE,
        meaning="Somebody has made an account. A session begins in which they may become a member.",
    ),
    "USER_SIGNUP_STEP_DONE": CatalogueEntry(
        name="USER_SIGNUP_STEP_DONE",
        part=Part.USER,
        effect=Effect.UPDATE,
        by_kind={},
        part_is=PartIs.SAME,
        changes=frozenset({"profile_id"}),
        level=None,
        revokes=Revokes.NONE,
        meaning="A step of the sign-up is done; the session goes on.",
    ),
    "USER_SIGNUP_COMPLETED": CatalogueEntry(
        name="USER_SIGNUP_COMPLETED",
        part=Part.USER,
        effect=Effect.CREATE,
        by_kind={},
        part_is=PartIs.CHECKED,
        changes=frozenset(),
        level=Level.HIGH,
        revokes=Revokes.SESSION,
        meaning="The sign-up is over. The member's session begins, and that of the sign-up ends.",
    ),
    "USER_MEMBERSHIP_STARTED": CatalogueEntry(
        name="USER_MEMBERSHIP_STARTED",
        part=Part.USER,
        effect=Effect.UPDATE,
        by_kind={},
        part_is=PartIs.SAME,
        changes=frozenset(),
        level=None,
        revokes=Revokes.NONE,
        meaning="The user has become a member.",
    ),
    "USER_MEMBERSHIP_HELD": CatalogueEntry(
        name="USER_MEMBERSHIP_HELD",
        part=Part.USER,
        effect=Effect.NOTHING,
        by_kind={},
        part_is=PartIs.SAME,
        changes=frozenset(),
        level=None,
        revokes=Revokes.NONE,
        meaning="The membership is on hold. Tokens stay until the next renewal asks.",
    ),
    "USER_MEMBERSHIP_CANCELLED": CatalogueEntry(
        name="USER_MEMBERSHIP_CANCELLED",
        part=Part.USER,
        effect=Effect.NOTHING,
        by_kind={},
        part_is=PartIs.SAME,
        changes=frozenset(),
        level=None,
        revokes=Revokes.NONE,
        meaning="The membership will end. Tokens stay until a renewal finds that it has.",
    ),
    "USER_MEMBERSHIP_RESTARTED": CatalogueEntry(
        name="USER_MEMBERSHIP_RESTARTED",
        part=Part.USER,
        effect=Effect.UPDATE,
        by_kind={},
        part_is=PartIs.SAME,
        changes=frozenset(),
        level=None,
        revokes=Revokes.NONE,
        meaning="The user is a member again.",
    ),
    "USER_PASSWORD_CHANGED": CatalogueEntry(
        name="USER_PASSWORD_CHANGED",
        part=Part.USER,
        effect=Effect.UPDATE,
        by_kind={},
        part_is=PartIs.SAME,
        changes=frozenset(),
        level=None,
        revokes=Revokes.OTHERS,
        meaning="The user has changed the password. The sessions on other devices end.",
    ),
    "USER_PASSWORD_RESET": CatalogueEntry(
        name="USER_PASSWORD_RESET",
        part=Part.USER,
        effect=Effect.CREATE,
        by_kind={},
        part_is=PartIs.CHECKED,
        changes=frozenset(),
        level=Level.HIGH,
        revokes=Revokes.CUSTOMER,
        meaning="A forgotten password was replaced. A session begins, and all from before end.",
    ),
    "USER_EMAIL_CHANGED": CatalogueEntry(
        name="USER_EMAIL_CHANGED",
        part=Part.USER,
        effect=Effect.NOTHING,
        by_kind={},
        part_is=PartIs.SAME,
        changes=frozenset(),
        level=None,
        revokes=Revokes.NONE,
        meaning="The user has another e-mail address. No token holds it.",
    ),
    "USER_PHONE_CHANGED": CatalogueEntry(
        name="USER_PHONE_CHANGED",
        part=Part.USER,
        effect=Effect.NOTHING,
        by_kind={},
        part_is=PartIs.SAME,
        changes=frozenset(),
        level=None,
        revokes=Revokes.NONE,
        meaning="The user has another telephone number. No token holds it.",
    ),
    "USER_ACCOUNT_MERGED": CatalogueEntry(
        name="USER_ACCOUNT_MERGED",
        part=Part.USER,
        effect=Effect.UPDATE,
        by_kind={},
        part_is=PartIs.SAME,
        changes=frozenset({"account_owner_id", "customer_id", "profile_id"}),
        level=None,
        revokes=Revokes.NONE,
        meaning="The user's account has become part of another, under whose names they go on.",
    ),
    "USER_HOUSEHOLD_TRANSFERRED": CatalogueEntry(
        name="USER_HOUSEHOLD_TRANSFERRED",
        part=Part.USER,
        effect=Effect.UPDATE,
        by_kind={},
        part_is=PartIs.SAME,
        changes=frozenset({"account_owner_id", "profile_id"}),
        level=None,
        revokes=Revokes.NONE,
        meaning="The user belongs to another account owner.",
    ),
    "USER_ACCOUNT_CLOSED": CatalogueEntry(
        name="USER_ACCOUNT_CLOSED",
        part=Part.USER,
        effect=Effect.CLEAR,
        by_kind={},
        part_is=PartIs.NOBODY,
        changes=frozenset(),
        level=Level.UNSPECIFIED,
        revokes=Revokes.CUSTOMER,
        meaning="The account is no more.",
    ),
    "USER_PARTNER_LINKED": CatalogueEntry(
        name="USER_PARTNER_LINKED",
        part=Part.USER,
        effect=Effect.NOTHING,
        by_kind={"partner": Effect.UPDATE},
        part_is=PartIs.SAME,
        changes=frozenset(),
        level=None,
        revokes=Revokes.NONE,
        meaning="The account is linked to the user's account at a partner.",
    ),
    "USER_PARTNER_UNLINKED": CatalogueEntry(
        name="USER_PARTNER_UNLINKED",
        part=Part.USER,
        effect=Effect.NOTHING,
        by_kind={"partner": Effect.CLEAR},
        part_is=PartIs.SAME,
        changes=frozenset(),
        level=None,
        revokes=Revokes.NONE,
        meaning="The account is linked to a partner's no longer; who came by the partner's token has to sign in.",
    ),
    "USER_CONSENT_GIVEN": CatalogueEntry(
        name="USER_CONSENT_GIVEN",
        part=Part.USER,
        effect=Effect.NOTHING,
        by_kind={},
        part_is=PartIs.SAME,
        changes=frozenset(),
        level=None,
        revokes=Revokes.NONE,
        meaning="The user has agreed to something. No token holds it.",
    ),
    "USER_CONSENT_WITHDRAWN": CatalogueEntry(
        name="USER_CONSENT_WITHDRAWN",
        part=Part.USER,
        effect=Effect.NOTHING,
        by_kind={},
        part_is=PartIs.SAME,
        changes=frozenset(),
        level=None,
        revokes=Revokes.NONE,
        meaning="The user agrees no longer. No token holds it.",
    ),
    "DEVICE_REGISTERED": CatalogueEntry(
        name="DEVICE_REGISTERED",
        part=Part.DEVICE,
        effect=Effect.UPDATE,
        by_kind={},
        part_is=PartIs.REGISTERED,
        changes=frozenset({"device_type", "esn"}),
        level=None,
        revokes=Revokes.NONE,
        meaning="The device has got its serial number, or another one.",
    ),
    "DEVICE_ACTIVATED": CatalogueEntry(
        name="DEVICE_ACTIVATED",
        part=Part.DEVICE,
        effect=Effect.UPDATE,
        by_kind={},
        part_is=PartIs.SAME,
        changes=frozenset(),
        level=None,
        revokes=Revokes.NONE,
        meaning="The device may be used with the account.",
    ),
    "DEVICE_RENAMED": CatalogueEntry(
        name="DEVICE_RENAMED",
        part=Part.DEVICE,
        effect=Effect.NOTHING,
        by_kind={},
        part_is=PartIs.SAME,
        changes=frozenset(),
        level=None,
        revokes=Revokes.NONE,
        meaning="The device is called something else. No token holds it.",
    ),
    "DEVICE_DEACTIVATED": CatalogueEntry(
        name="DEVICE_DEACTIVATED",
        part=Part.DEVICE,
        effect=Effect.CLEAR,
        by_kind={},
        part_is=PartIs.SAME,
        changes=frozenset(),
        level=None,
        revokes=Revokes.DEVICE,
        meaning="The device may be used with the account no longer.",
    ),
    "DEVICE_RESET": CatalogueEntry(
        name="DEVICE_RESET",
        part=Part.DEVICE,
        effect=Effect.CLEAR,
        by_kind={},
        part_is=PartIs.NOBODY,
        changes=frozenset(),
        level=Level.UNSPECIFIED,
        revokes=Revokes.DEVICE,
        meaning="The device is as new; nobody is signed in on it.",
    ),
    "DEVICE_TYPE_CORRECTED": CatalogueEntry(
        name="DEVICE_TYPE_CORRECTED",
        part=Part.DEVICE,
        effect=Effect.UPDATE,
        by_kind={},
        part_is=PartIs.SAME,
        changes=frozenset({"device_type"}),
        level=None,
        revokes=Revokes.NONE,
        meaning="The device is of another type than its token says.",
    ),
    "DEVICE_TOKEN_REFRESH_FORCED": CatalogueEntry(
        name="DEVICE_TOKEN_REFRESH_FORCED",
        part=Part.DEVICE,
        effect=Effect.UPDATE,
        by_kind={},
        part_is=PartIs.SAME,
        changes=frozenset(),
        level=None,
        revokes=Revokes.NONE,
        meaning="The device's tokens are to be made anew, though nothing in them has changed.",
    ),
    "DEVICE_ATTESTED": CatalogueEntry(
        name="DEVICE_ATTESTED",
        part=Part.DEVICE,
        effect=Effect.UPDATE,
        by_kind={"cookie": Effect.NOTHING},
        part_is=PartIs.SAME,
        changes=frozenset(),
        level=Level.HIGHEST,
        revokes=Revokes.NONE,
        meaning="The device has proved what it is. No cookie carries that on.",
    ),
    "DEVICE_PARTNER_LINKED": CatalogueEntry(
        name="DEVICE_PARTNER_LINKED",
        part=Part.DEVICE,
        effect=Effect.NOTHING,
        by_kind={"partner": Effect.UPDATE},
        part_is=PartIs.SAME,
        changes=frozenset(),
        level=None,
        revokes=Revokes.NONE,
        meaning="A partner vouches for the device.",
    ),
    "DEVICE_PARTNER_UNLINKED": CatalogueEntry(
        name="DEVICE_PARTNER_UNLINKED",
        part=Part.DEVICE,
        effect=Effect.NOTHING,
        by_kind={"partner": Effect.CLEAR},
        part_is=PartIs.SAME,
        changes=frozenset(),
        level=None,
        revokes=Revokes.NONE,
        meaning="A partner vouches for the device no longer.",
    ),
}
"""By name: the numbers of the two enums are the same, and so equal."""
