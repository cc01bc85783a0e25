"""Why a Passport is refused: stable ids for logs and metrics; a caller outside sees one look for all of them."""

from enum import StrEnum


class PassportRefusal(StrEnum):
    """A stable id; docs/passport.md says what each means."""

    MISSING = "missing"
    REPEATED = "repeated"
    TOO_LONG = "too_long"
    NOT_CANONICAL = "not_canonical"
    MALFORMED = "malformed"
    UNKNOWN_VERSION = "unknown_version"
    VERSION_NOT_ACCEPTED = "version_not_accepted"
    UNKNOWN_KEY = "unknown_key"
    KEY_PURPOSE = "key_purpose"
    BAD_MAC = "bad_mac"
    MALFORMED_PART = "malformed_part"
    INCONSISTENT_PART = "inconsistent_part"
    TRUST_DOMAIN = "trust_domain"
    NOT_YET_VALID = "not_yet_valid"
    EXPIRED = "expired"
    TOO_OLD = "too_old"
    NO_USER = "no_user"
    NO_DEVICE = "no_device"
    LEVEL_TOO_LOW = "level_too_low"


class PassportRefused(Exception):  # noqa: N818 - named for what happened to the Passport
    """A Passport that must not be believed, or does not say enough. The text is the reason and nothing else."""

    def __init__(self, reason: PassportRefusal) -> None:
        super().__init__(reason.value)
        self.reason = reason
