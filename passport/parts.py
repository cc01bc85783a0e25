"""The user and the device of a Passport as bytes made once: only the two times are added per request."""

from collections.abc import Sequence
from typing import Final

from edgepb.passport.v1 import passport_pb2

from passport.identity import Level, Source
from passport.wire import encode_delimited, encode_varint

TIMES_BYTES: Final = 12
"""`created` and `expires`, each a tag and a varint of five bytes: epoch seconds from 1978 to 3058."""
_SOURCE_TAG: Final = b"\x08"
_SOURCE_BYTES: Final = 2  # tag and number: field 1 of both parts
_FIRST_TIME: Final = 1 << 28
_LAST_TIME: Final = (1 << 35) - 1
_USER: Final = passport_pb2.UserInfo
_DEVICE: Final = passport_pb2.DeviceInfo


def encode_times(created: int, expires: int) -> bytes:
    """Return fields 2 and 3 of a part, 12 bytes, from epoch seconds; raise ValueError outside 1978 to 3058."""
    if not _FIRST_TIME <= created < expires <= _LAST_TIME:
        raise ValueError(f"not a time to sign: created {created}, expires {expires}")
    return b"\x10" + encode_varint(created) + b"\x18" + encode_varint(expires)


class _Part:
    """A part without its times, which come between `head` and `tail`: the order that protobuf writes fields in.

    `field_head` and `mac_length` already count the times in.
    """

    __slots__ = ("field_head", "head", "mac_length", "static", "tail")
    _number: int

    def __init__(self, static: bytes) -> None:
        self.static = static
        self.head = static[:_SOURCE_BYTES] if static.startswith(_SOURCE_TAG) else b""
        self.tail = static[len(self.head) :]
        size = len(static) + TIMES_BYTES
        self.mac_length = size.to_bytes(4, "big")
        self.field_head = encode_varint(self._number << 3 | 2) + encode_varint(size)

    def info(self, times: bytes) -> bytes:
        """Return the part with its times: what is signed."""
        return self.head + times + self.tail

    def __repr__(self) -> str:
        """Nothing but the size: a part names a user or a device."""
        return f"{type(self).__name__}({len(self.static)} bytes)"


class UserPart(_Part):
    """A user, or nobody, ready to be signed."""

    __slots__ = ()
    _number = passport_pb2.Passport.USER_INFO_FIELD_NUMBER

    @classmethod
    def of(
        cls,
        source: Source,
        level: Level,
        customer_id: int,
        account_owner_id: int,
        *,
        profile_id: str = "",
        session_id: str = "",
        rescheduled: bool = False,
    ) -> "UserPart":
        """Make the part of a known user; empty strings are left out, and so is `rescheduled` unless it is so."""
        return cls(
            _scalar(_USER.SOURCE_FIELD_NUMBER, source)
            + _wrapped_number(_USER.CUSTOMER_ID_FIELD_NUMBER, customer_id)
            + _wrapped_number(_USER.ACCOUNT_OWNER_ID_FIELD_NUMBER, account_owner_id)
            + (_wrapped_text(_USER.PROFILE_ID_FIELD_NUMBER, profile_id) if profile_id else b"")
            + (_wrapped_text(_USER.SESSION_ID_FIELD_NUMBER, session_id) if session_id else b"")
            + _scalar(_USER.AUTHENTICATION_LEVEL_FIELD_NUMBER, level)
            + _scalar(_USER.RESCHEDULED_FIELD_NUMBER, rescheduled)
        )

    def with_actions(self, actions: Sequence[int]) -> "UserPart":
        """Return this user with `actions` for the edge."""
        return UserPart(self.static + _packed(_USER.ACTIONS_FIELD_NUMBER, actions)) if actions else self


class DevicePart(_Part):
    """A device, or none, ready to be signed."""

    __slots__ = ()
    _number = passport_pb2.Passport.DEVICE_INFO_FIELD_NUMBER

    @classmethod
    def of(cls, source: Source, level: Level, esn: str, device_type: int = 0) -> "DevicePart":
        """Make the part of a known device; `device_type` 0 (unknown) is left out."""
        return cls(
            _scalar(_DEVICE.SOURCE_FIELD_NUMBER, source)
            + _wrapped_text(_DEVICE.ESN_FIELD_NUMBER, esn)
            + (_wrapped_number(_DEVICE.DEVICE_TYPE_FIELD_NUMBER, device_type) if device_type else b"")
            + _scalar(_DEVICE.AUTHENTICATION_LEVEL_FIELD_NUMBER, level)
        )

    def with_actions(self, actions: Sequence[int]) -> "DevicePart":
        """Return this device with `actions` for the edge."""
        return DevicePart(self.static + _packed(_DEVICE.ACTIONS_FIELD_NUMBER, actions)) if actions else self


NO_USER: Final = UserPart(b"")
"""Source NONE, level UNSPECIFIED: signed as any other, so that "nobody" cannot be forged."""
NO_DEVICE: Final = DevicePart(b"")


def _number(value: int) -> int:
    if not 0 <= value < 1 << 63:
        raise ValueError("not a number that a Passport can carry")
    return int(value)


def _packed(field: int, actions: Sequence[int]) -> bytes:
    return encode_delimited(field, b"".join(encode_varint(_number(action)) for action in actions))


def _scalar(field: int, value: int) -> bytes:
    return encode_varint(field << 3) + encode_varint(_number(value)) if value else b""


def _wrapped_number(field: int, value: int) -> bytes:
    return encode_delimited(field, _scalar(1, value))


def _wrapped_text(field: int, value: str) -> bytes:
    return encode_delimited(field, encode_delimited(1, value.encode()) if value else b"")
