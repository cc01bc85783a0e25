"""What is said of a Passport to a human: a sentence for each source, level and reason."""

from collections.abc import Mapping
from typing import Final

from passport.identity import Level, Source
from passport.refusals import PassportRefusal
from passport.returned import ReturnedRefusal

SOURCES: Final[Mapping[Source, str]] = {
    Source.UNKNOWN: "from something that this version does not know",
    Source.NONE: "nobody was resolved",
    Source.COOKIE: "from both halves of the cookie pair",
    Source.COOKIE_INSECURE: "from EdgeId alone, which can be read off an open network",
    Source.MSL: "from MSL tokens",
    Source.PARTNER_TOKEN: "from a partner's token",
    Source.CTICKET: "from a legacy ticket",
    Source.USER_CREDENTIALS: "credentials were checked for this very request",
}
LEVELS: Final[Mapping[Level, str]] = {
    Level.UNSPECIFIED: "fails every requirement",
    Level.LOW: "untrusted transport, or out of date",
    Level.HIGH: "a secure token over a transport that can be trusted",
    Level.HIGHEST: "proved for this very request",
}
REASONS: Final[Mapping[PassportRefusal | ReturnedRefusal, str]] = {
    PassportRefusal.MISSING: "there is none",
    PassportRefusal.REPEATED: "there is more than one",
    PassportRefusal.TOO_LONG: "it is longer than any Passport",
    PassportRefusal.NOT_CANONICAL: "the base64 is not as an encoder writes it: cut off, or with other characters in it",
    PassportRefusal.MALFORMED: "the bytes are no Passport",
    PassportRefusal.UNKNOWN_VERSION: "its integrity is of a version that nobody knows",
    PassportRefusal.VERSION_NOT_ACCEPTED: "its integrity is of a version that is not accepted here",
    PassportRefusal.UNKNOWN_KEY: "no such key, or one that is destroyed: of another environment, or too old",
    PassportRefusal.KEY_PURPOSE: "signed with a key that is not for that part: a service has changed it, say",
    PassportRefusal.BAD_MAC: "the bytes are not those that were signed",
    PassportRefusal.MALFORMED_PART: "a part is signed, and yet not as the schema says",
    PassportRefusal.INCONSISTENT_PART: "a part contradicts itself",
    PassportRefusal.TRUST_DOMAIN: "it was made for another trust domain",
    PassportRefusal.NOT_YET_VALID: "it comes from the future: compare the clocks",
    PassportRefusal.EXPIRED: "its time is over",
    PassportRefusal.TOO_OLD: "it was made too long ago",
    PassportRefusal.NO_USER: "nobody is signed in",
    PassportRefusal.NO_DEVICE: "the device is not known",
    PassportRefusal.LEVEL_TOO_LOW: "there is nobody of that level",
    ReturnedRefusal.HEADER_CHANGED: "it is not the Passport of this exchange: of another request, or encoded anew",
    ReturnedRefusal.STALE: "the changed part is older than the one that was sent",
    ReturnedRefusal.ACTION_NOT_GRANTED: "config/grants.yaml does not grant the key an action on it",
    ReturnedRefusal.CHANGED_WITHOUT_ACTION: "a part has changed, and no action says why",
    ReturnedRefusal.REPEATED_ACTION: "an action stands there twice",
    ReturnedRefusal.CONTRADICTORY_ACTIONS: "one action begins a session, another ends it",
    ReturnedRefusal.USER_DOES_NOT_FIT: "the user is not what the actions ask for: docs/actions.md",
    ReturnedRefusal.DEVICE_DOES_NOT_FIT: "the device is not what the actions ask for: docs/actions.md",
}
