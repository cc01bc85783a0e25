"""Who is asking: what authenticators find, and what the Passport is built from."""

from dataclasses import dataclass
from enum import IntEnum


class Source(IntEnum):
    """How an identity was resolved; the numbers are those of `passport.proto`."""

    NONE = 0
    COOKIE = 1
    COOKIE_INSECURE = 2
    MSL = 3
    PARTNER_TOKEN = 4
    CTICKET = 5
    USER_CREDENTIALS = 6


class Level(IntEnum):
    """How far an identity may be trusted; UNSPECIFIED fails every requirement."""

    UNSPECIFIED = 0
    LOW = 1
    HIGH = 2
    HIGHEST = 3


@dataclass(slots=True, frozen=True)
class UserIdentity:
    """A user, as resolved from a token or named by a returned Passport. The repr names nobody.

    `rescheduled`: the token has expired and its renewal could not be done, so what it says may be out of date.
    """

    source: Source
    level: Level
    customer_id: int
    account_owner_id: int
    profile_id: str = ""
    session_id: str = ""
    rescheduled: bool = False

    def __repr__(self) -> str:
        return f"UserIdentity({self.source.name}, {self.level.name})"


@dataclass(slots=True, frozen=True)
class DeviceIdentity:
    """A device: its electronic serial number and its type from config/device_types.yaml (0: unknown)."""

    source: Source
    level: Level
    esn: str
    device_type: int = 0

    def __repr__(self) -> str:
        return f"DeviceIdentity({self.source.name}, {self.level.name}, type {self.device_type})"


@dataclass(slots=True, frozen=True)
class ClientCertificate:
    """The certificate that a device proved to hold in its TLS handshake, verified against the listener's CAs.

    `subject` is a distinguished name as RFC 4514 writes it; `fingerprint` the SHA-256 of the DER form, 64 lower-case
    hex digits; `not_after` in epoch seconds. The repr names nobody.
    """

    subject: str
    dns_names: tuple[str, ...]
    uris: tuple[str, ...]
    fingerprint: str
    not_after: int

    def __repr__(self) -> str:
        return f"ClientCertificate({len(self.dns_names)} DNS names, {len(self.uris)} URIs)"


@dataclass(slots=True, frozen=True)
class Peeked:
    """Who the edge would take the asker for, found without a consequence for the exchange. The repr names nobody.

    `token` is the kind of token that was shown, as `TokenKind` has it. `settled` is False where the edge would first
    have had the token renewed, or lacks the keys to tell.
    """

    user: UserIdentity | None
    device: DeviceIdentity | None
    token: str
    settled: bool


@dataclass(slots=True, frozen=True, repr=False)
class Reported:
    """Who a legacy origin says is asking.

    `customer_id` None is nobody. `esn` "" is no device; None says nothing of devices, and `level` None nothing of the
    level.
    """

    customer_id: int | None
    esn: str | None
    level: Level | None
