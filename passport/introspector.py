"""Reads a Passport: what every consumer uses, and never the schema. Verified over the received bytes, then parsed."""

from binascii import Error as Base64Error
from binascii import a2b_base64, b2a_base64
from collections.abc import Set
from typing import Final, TypeVar

from edgepb.passport.v1 import passport_pb2
from google.protobuf.message import DecodeError, Message

from passport.catalogue import DeviceAction, UserAction
from passport.identity import Level, Part, Source
from passport.integrity import MAX_PASSPORT_BYTES, Envelope, split_envelope, verify
from passport.keys import DEVICE_PURPOSE, USER_PURPOSE, PassportKeys
from passport.refusals import PassportRefusal, PassportRefused
from passport.strict import DEVICE_INFO, HEADER, MAX_REPEATED, USER_INFO, Shape, check_message, is_canonical
from passport.wire import MalformedWire

SKEW_S: Final = 60
"""How far two clocks inside the trust domain may differ, in seconds."""
MAX_AGE_S: Final = 300
"""How old a Passport may be at most, whatever its issuer says, in seconds."""
_MAX_BASE64_BYTES: Final = (MAX_PASSPORT_BYTES + 2) // 3 * 4
_USER_PURPOSES: Final = frozenset({USER_PURPOSE})
_DEVICE_PURPOSES: Final = frozenset({DEVICE_PURPOSE})
_NOBODY_ELSE: Final[Set[str]] = frozenset()
_M = TypeVar("_M", bound=Message)
_Parts = tuple[passport_pb2.Header, passport_pb2.UserInfo, passport_pb2.DeviceInfo]


class PassportIntrospector:
    """A Passport that has been verified. Its properties are what may be relied on; its repr names nobody."""

    __slots__ = ("_device", "_header", "_received", "_user")

    def __init__(
        self,
        received: bytes,
        header: passport_pb2.Header,
        user: passport_pb2.UserInfo,
        device: passport_pb2.DeviceInfo,
    ) -> None:
        """Hold parsed parts; callers use `from_base64` and `from_bytes`."""
        self._received = received
        self._header = header
        self._user = user
        self._device = device

    @classmethod
    def from_base64(
        cls,
        value: bytes | str,
        keys: PassportKeys,
        *,
        now: float,
        trust_domain: str,
        max_age_s: float = MAX_AGE_S,
        accept_v1: bool = False,
        user_signers: Set[str] = _NOBODY_ELSE,
        device_signers: Set[str] = _NOBODY_ELSE,
    ) -> "PassportIntrospector":
        """Verify and read an `X-Passport` value (base64 with padding); see `from_bytes`."""
        return cls.from_bytes(
            decode_base64(value),
            keys,
            now=now,
            trust_domain=trust_domain,
            max_age_s=max_age_s,
            accept_v1=accept_v1,
            user_signers=user_signers,
            device_signers=device_signers,
        )

    @classmethod
    def from_bytes(
        cls,
        data: bytes,
        keys: PassportKeys,
        *,
        now: float,
        trust_domain: str,
        max_age_s: float = MAX_AGE_S,
        accept_v1: bool = False,
        user_signers: Set[str] = _NOBODY_ELSE,
        device_signers: Set[str] = _NOBODY_ELSE,
    ) -> "PassportIntrospector":
        """Verify and read a serialised Passport.

        `now` is epoch seconds. `accept_v1` also takes the published integrity, which does not bind a user to a
        request. `user_signers` and `device_signers` are the purposes of keys that may have signed the part instead of
        the edge: those of services that change Passports before they come here. Raises PassportRefused.
        """
        envelope = split_envelope(data)
        if envelope.user_integrity.version != envelope.device_integrity.version:
            raise PassportRefused(PassportRefusal.VERSION_NOT_ACCEPTED)
        verify(envelope, Part.DEVICE, keys, _DEVICE_PURPOSES | device_signers, accept_v1=accept_v1)
        verify(envelope, Part.USER, keys, _USER_PURPOSES | user_signers, accept_v1=accept_v1)
        passport = cls.from_verified(data, envelope)
        passport._check(now, trust_domain, max_age_s)
        return passport

    @classmethod
    def from_verified(cls, data: bytes, envelope: Envelope) -> "PassportIntrospector":
        """Parse an envelope whose MACs the caller has checked; raise PassportRefused when a part is malformed.

        Says nothing about times and trust domain: for this library's own use.
        """
        header, user, device = _canonical_parts(data) or _strict_parts(envelope)
        if user.HasField("customer_id") == (user.source == passport_pb2.SOURCE_NONE):
            raise PassportRefused(PassportRefusal.INCONSISTENT_PART)
        if device.HasField("esn") == (device.source == passport_pb2.SOURCE_NONE):
            raise PassportRefused(PassportRefusal.INCONSISTENT_PART)
        return cls(data, header, user, device)

    def _check(self, now: float, trust_domain: str, max_age_s: float) -> None:
        if self._header.trust_domain != trust_domain:
            raise PassportRefused(PassportRefusal.TRUST_DOMAIN)
        check_expiry(self._user.created, self._user.expires, now)
        check_expiry(self._device.created, self._device.expires, now)
        for created in (self._header.created, self._user.created, self._device.created):
            check_age(created, now, max_age_s)

    @property
    def received(self) -> bytes:
        """The serialised Passport as it came: what to pass on, or to build an answer on."""
        return self._received

    @property
    def header_value(self) -> str:
        """The Passport as it came, as an `X-Passport` value for a call to the next service."""
        return b2a_base64(self._received, newline=False).decode("ascii")

    @property
    def request_id(self) -> str:
        """The request it was made for."""
        return self._header.request_id

    @property
    def issuer(self) -> str:
        """The id of the edge that made it."""
        return self._header.issuer

    @property
    def trust_domain(self) -> str:
        """The trust domain it is valid in."""
        return self._header.trust_domain

    @property
    def created(self) -> int:
        """When it was made, in epoch seconds."""
        return self._header.created

    @property
    def user_created(self) -> int:
        """When its user part was made, in epoch seconds: later than `created` once a service has changed it."""
        return self._user.created

    @property
    def expires(self) -> int:
        """When its user part ends, in epoch seconds."""
        return self._user.expires

    @property
    def user_source(self) -> Source:
        """How the user was resolved; NONE when there is none."""
        return Source(self._user.source)

    @property
    def user_level(self) -> Level:
        """How far the user may be trusted."""
        return Level(self._user.authentication_level)

    @property
    def customer_id(self) -> int | None:
        """The user, or None."""
        return self._user.customer_id.value if self._user.HasField("customer_id") else None

    @property
    def account_owner_id(self) -> int | None:
        """The owner of the user's account, or None."""
        return self._user.account_owner_id.value if self._user.HasField("account_owner_id") else None

    @property
    def profile_id(self) -> str | None:
        """The profile in use, or None."""
        return self._user.profile_id.value if self._user.HasField("profile_id") else None

    @property
    def session_id(self) -> str | None:
        """The session that the user's token belongs to, or None."""
        return self._user.session_id.value if self._user.HasField("session_id") else None

    @property
    def rescheduled(self) -> bool:
        """Whether the user's token has expired and could not be renewed: what is said here may be out of date."""
        return self._user.rescheduled

    @property
    def actions(self) -> tuple[UserAction, ...]:
        """What a service asks the edge to do for the user, in order."""
        return tuple(UserAction(number) for number in self._user.actions)

    @property
    def device_created(self) -> int:
        """When its device part was made, in epoch seconds."""
        return self._device.created

    @property
    def device_expires(self) -> int:
        """When its device part ends, in epoch seconds."""
        return self._device.expires

    @property
    def device_actions(self) -> tuple[DeviceAction, ...]:
        """What a service asks the edge to do for the device, in order."""
        return tuple(DeviceAction(number) for number in self._device.actions)

    @property
    def device_source(self) -> Source:
        """How the device was resolved; NONE when it is not known."""
        return Source(self._device.source)

    @property
    def device_level(self) -> Level:
        """How far the device may be trusted."""
        return Level(self._device.authentication_level)

    @property
    def esn(self) -> str | None:
        """The device's electronic serial number, or None."""
        return self._device.esn.value if self._device.HasField("esn") else None

    @property
    def device_type(self) -> int | None:
        """The device's type as registered, or None."""
        return self._device.device_type.value if self._device.HasField("device_type") else None

    def action_numbers(self, part: Part) -> tuple[int, ...]:
        """Return the actions on a part as they stand on the wire, those too that this version does not know."""
        return tuple(self._user.actions if part is Part.USER else self._device.actions)

    @property
    def is_authenticated(self) -> bool:
        """Whether there is a user whose level says anything."""
        return self.customer_id is not None and self.user_level is not Level.UNSPECIFIED

    def require_user_level(self, level: Level) -> None:
        """Raise PassportRefused unless there is a user of at least `level`; UNSPECIFIED never passes."""
        if not self.is_authenticated or self.user_level < level:
            raise PassportRefused(PassportRefusal.LEVEL_TOO_LOW)

    def require_device_level(self, level: Level) -> None:
        """Raise PassportRefused unless there is a device of at least `level`; UNSPECIFIED never passes."""
        if self.esn is None or self.device_level is Level.UNSPECIFIED or self.device_level < level:
            raise PassportRefused(PassportRefusal.LEVEL_TOO_LOW)

    def __repr__(self) -> str:
        return (
            f"PassportIntrospector(request {self.request_id}, user {self.user_source.name}/{self.user_level.name}, "
            f"device {self.device_source.name}/{self.device_level.name})"
        )


def decode_base64(value: bytes | str) -> bytes:
    """Return the bytes of a canonical base64 value; raise PassportRefused for any other spelling of them."""
    if not value:
        raise PassportRefused(PassportRefusal.MISSING)
    if len(value) > _MAX_BASE64_BYTES:
        raise PassportRefused(PassportRefusal.TOO_LONG)
    try:
        text = value.encode("ascii") if isinstance(value, str) else value
        raw = a2b_base64(text, strict_mode=True)
    except (Base64Error, UnicodeEncodeError):
        raise PassportRefused(PassportRefusal.NOT_CANONICAL) from None
    # strict_mode lets pad bits through that are not zero: two texts of one Passport.
    if b2a_base64(raw, newline=False) != text:
        raise PassportRefused(PassportRefusal.NOT_CANONICAL)
    return raw


def check_age(created: int, now: float, max_age_s: float) -> None:
    """Raise PassportRefused for a Passport from the future or of more than `max_age_s`."""
    if created > now + SKEW_S:
        raise PassportRefused(PassportRefusal.NOT_YET_VALID)
    if now - created > max_age_s:
        raise PassportRefused(PassportRefusal.TOO_OLD)


def check_expiry(created: int, expires: int, now: float) -> None:
    """Raise PassportRefused for a part that had ended by `now`, with `SKEW_S` for the clocks."""
    if expires <= created:
        raise PassportRefused(PassportRefusal.INCONSISTENT_PART)
    if now > expires + SKEW_S:
        raise PassportRefused(PassportRefusal.EXPIRED)


def _canonical_parts(data: bytes) -> _Parts | None:
    """Return the parts of a Passport that is just as protobuf writes it; None: `_strict_parts` has to judge it."""
    try:
        read = passport_pb2.Passport.FromString(data)
    except DecodeError:
        return None
    user, device = read.user_info, read.device_info
    if not is_canonical(read, data) or max(len(user.actions), len(device.actions)) > MAX_REPEATED:
        return None
    return read.header, user, device


def _strict_parts(envelope: Envelope) -> _Parts:
    return (
        _parse(passport_pb2.Header(), envelope.header, HEADER),
        _parse(passport_pb2.UserInfo(), envelope.user_info, USER_INFO),
        _parse(passport_pb2.DeviceInfo(), envelope.device_info, DEVICE_INFO),
    )


def _parse(message: _M, data: bytes, shape: Shape) -> _M:
    try:
        check_message(data, shape)
        message.ParseFromString(data)
    except (MalformedWire, DecodeError):
        raise PassportRefused(PassportRefusal.MALFORMED_PART) from None
    return message
