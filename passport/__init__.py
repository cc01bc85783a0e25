"""The Passport: build it at the edge, verify and read it in a service, answer with a changed one."""

from passport.actions import with_user
from passport.builder import PassportBuilder
from passport.catalogue import DeviceAction, UserAction
from passport.identity import Level, Part, Source
from passport.introspector import PassportIntrospector
from passport.keys import DEVICE_PURPOSE, USER_PURPOSE, MacKey, PassportKeys
from passport.parts import NO_DEVICE, NO_USER, DevicePart, UserPart
from passport.refusals import PassportRefusal, PassportRefused

__all__ = [
    "DEVICE_PURPOSE",
    "NO_DEVICE",
    "NO_USER",
    "USER_PURPOSE",
    "DeviceAction",
    "DevicePart",
    "Level",
    "MacKey",
    "Part",
    "PassportBuilder",
    "PassportIntrospector",
    "PassportKeys",
    "PassportRefusal",
    "PassportRefused",
    "Source",
    "UserAction",
    "UserPart",
    "with_user",
]
