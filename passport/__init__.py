"""The Passport: build it at the edge, verify and read it in a service, pass it on, answer with a changed one."""

from passport.actions import PassportMutator, SignerUnavailable, with_device, with_user
from passport.builder import PassportBuilder
from passport.catalogue import DeviceAction, UserAction
from passport.exchange import Adoption, ExchangePassport, current_exchange
from passport.identity import Level, Part, Source
from passport.introspector import PassportIntrospector
from passport.keys import DEVICE_PURPOSE, USER_PURPOSE, MacKey, PassportKeys
from passport.parts import NO_DEVICE, NO_USER, DevicePart, UserPart
from passport.receiving import HEADER, PassportKeySource
from passport.refusals import PassportRefusal, PassportRefused
from passport.require import RequirementNotMet, require

__all__ = [
    "DEVICE_PURPOSE",
    "HEADER",
    "NO_DEVICE",
    "NO_USER",
    "USER_PURPOSE",
    "Adoption",
    "DeviceAction",
    "DevicePart",
    "ExchangePassport",
    "Level",
    "MacKey",
    "Part",
    "PassportBuilder",
    "PassportIntrospector",
    "PassportKeySource",
    "PassportKeys",
    "PassportMutator",
    "PassportRefusal",
    "PassportRefused",
    "RequirementNotMet",
    "SignerUnavailable",
    "Source",
    "UserAction",
    "UserPart",
    "current_exchange",
    "require",
    "with_device",
    "with_user",
]
