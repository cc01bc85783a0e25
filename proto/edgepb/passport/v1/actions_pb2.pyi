from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from typing import ClassVar as _ClassVar

DESCRIPTOR: _descriptor.FileDescriptor

class UserAction(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    USER_ACTION_UNSPECIFIED: _ClassVar[UserAction]
    USER_LOGIN: _ClassVar[UserAction]
    USER_LOGOUT: _ClassVar[UserAction]
    USER_LOGOUT_EVERYWHERE: _ClassVar[UserAction]
    USER_LOGOUT_ELSEWHERE: _ClassVar[UserAction]
    USER_ACTIVATED_BY_CODE: _ClassVar[UserAction]
    USER_STEP_UP_PASSED: _ClassVar[UserAction]
    USER_TOKEN_REFRESH_FORCED: _ClassVar[UserAction]
    USER_PROFILE_SWITCHED: _ClassVar[UserAction]
    USER_PROFILE_LEFT: _ClassVar[UserAction]
    USER_PROFILE_KID_LOCKED: _ClassVar[UserAction]
    USER_PROFILE_KID_UNLOCKED: _ClassVar[UserAction]
    USER_SIGNUP_STARTED: _ClassVar[UserAction]
    USER_SIGNUP_STEP_DONE: _ClassVar[UserAction]
    USER_SIGNUP_COMPLETED: _ClassVar[UserAction]
    USER_MEMBERSHIP_STARTED: _ClassVar[UserAction]
    USER_MEMBERSHIP_HELD: _ClassVar[UserAction]
    USER_MEMBERSHIP_CANCELLED: _ClassVar[UserAction]
    USER_MEMBERSHIP_RESTARTED: _ClassVar[UserAction]
    USER_PASSWORD_CHANGED: _ClassVar[UserAction]
    USER_PASSWORD_RESET: _ClassVar[UserAction]
    USER_EMAIL_CHANGED: _ClassVar[UserAction]
    USER_PHONE_CHANGED: _ClassVar[UserAction]
    USER_ACCOUNT_MERGED: _ClassVar[UserAction]
    USER_HOUSEHOLD_TRANSFERRED: _ClassVar[UserAction]
    USER_ACCOUNT_CLOSED: _ClassVar[UserAction]
    USER_PARTNER_LINKED: _ClassVar[UserAction]
    USER_PARTNER_UNLINKED: _ClassVar[UserAction]
    USER_CONSENT_GIVEN: _ClassVar[UserAction]
    USER_CONSENT_WITHDRAWN: _ClassVar[UserAction]

class DeviceAction(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    DEVICE_ACTION_UNSPECIFIED: _ClassVar[DeviceAction]
    DEVICE_REGISTERED: _ClassVar[DeviceAction]
    DEVICE_ACTIVATED: _ClassVar[DeviceAction]
    DEVICE_RENAMED: _ClassVar[DeviceAction]
    DEVICE_DEACTIVATED: _ClassVar[DeviceAction]
    DEVICE_RESET: _ClassVar[DeviceAction]
    DEVICE_TYPE_CORRECTED: _ClassVar[DeviceAction]
    DEVICE_TOKEN_REFRESH_FORCED: _ClassVar[DeviceAction]
    DEVICE_ATTESTED: _ClassVar[DeviceAction]
    DEVICE_PARTNER_LINKED: _ClassVar[DeviceAction]
    DEVICE_PARTNER_UNLINKED: _ClassVar[DeviceAction]
USER_ACTION_UNSPECIFIED: UserAction
USER_LOGIN: UserAction
USER_LOGOUT: UserAction
USER_LOGOUT_EVERYWHERE: UserAction
USER_LOGOUT_ELSEWHERE: UserAction
USER_ACTIVATED_BY_CODE: UserAction
USER_STEP_UP_PASSED: UserAction
USER_TOKEN_REFRESH_FORCED: UserAction
USER_PROFILE_SWITCHED: UserAction
USER_PROFILE_LEFT: UserAction
USER_PROFILE_KID_LOCKED: UserAction
USER_PROFILE_KID_UNLOCKED: UserAction
USER_SIGNUP_STARTED: UserAction
USER_SIGNUP_STEP_DONE: UserAction
USER_SIGNUP_COMPLETED: UserAction
USER_MEMBERSHIP_STARTED: UserAction
USER_MEMBERSHIP_HELD: UserAction
USER_MEMBERSHIP_CANCELLED: UserAction
USER_MEMBERSHIP_RESTARTED: UserAction
USER_PASSWORD_CHANGED: UserAction
USER_PASSWORD_RESET: UserAction
USER_EMAIL_CHANGED: UserAction
USER_PHONE_CHANGED: UserAction
USER_ACCOUNT_MERGED: UserAction
USER_HOUSEHOLD_TRANSFERRED: UserAction
USER_ACCOUNT_CLOSED: UserAction
USER_PARTNER_LINKED: UserAction
USER_PARTNER_UNLINKED: UserAction
USER_CONSENT_GIVEN: UserAction
USER_CONSENT_WITHDRAWN: UserAction
DEVICE_ACTION_UNSPECIFIED: DeviceAction
DEVICE_REGISTERED: DeviceAction
DEVICE_ACTIVATED: DeviceAction
DEVICE_RENAMED: DeviceAction
DEVICE_DEACTIVATED: DeviceAction
DEVICE_RESET: DeviceAction
DEVICE_TYPE_CORRECTED: DeviceAction
DEVICE_TOKEN_REFRESH_FORCED: DeviceAction
DEVICE_ATTESTED: DeviceAction
DEVICE_PARTNER_LINKED: DeviceAction
DEVICE_PARTNER_UNLINKED: DeviceAction
