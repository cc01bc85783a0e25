"""The vocabulary of the Passport; the numbers are those of `proto/passport/v1/passport.proto`."""

from enum import IntEnum, StrEnum


class Source(IntEnum):
    """How an identity was resolved. UNKNOWN stands for a number that this version does not know."""

    UNKNOWN = -1
    NONE = 0
    COOKIE = 1
    COOKIE_INSECURE = 2
    MSL = 3
    PARTNER_TOKEN = 4
    CTICKET = 5
    USER_CREDENTIALS = 6

    @classmethod
    def _missing_(cls, value: object) -> "Source":  # noqa: ARG003 - any number
        return cls.UNKNOWN


class Level(IntEnum):
    """How far an identity may be trusted. UNSPECIFIED, as any number not known here, fails every assertion."""

    UNSPECIFIED = 0
    LOW = 1
    HIGH = 2
    HIGHEST = 3

    @classmethod
    def _missing_(cls, value: object) -> "Level":  # noqa: ARG003 - any number
        return cls.UNSPECIFIED


class Part(StrEnum):
    """The two parts of a Passport that carry a MAC each."""

    USER = "user"
    DEVICE = "device"
