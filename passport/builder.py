"""Builds and signs the Passport of one request: what the edge runs for every request it passes on.

Only three things change from one request to the next: the request id, the second, and who is asking. All bytes
that depend on less than that are made once and joined. docs/passport.md has the layout.
"""

from binascii import b2a_base64
from typing import Final

from edgepb.passport.v1 import passport_pb2

from passport.identity import Part
from passport.integrity import encode_integrity_head
from passport.keys import DEVICE_PURPOSE, USER_PURPOSE, MacKey
from passport.parts import DevicePart, UserPart, encode_times
from passport.wire import encode_varint

REQUEST_ID_BYTES: Final = 32


class PassportBuilder:
    """Signs Passports for one edge with one pair of keys. Make a new one when the keys change."""

    __slots__ = (
        "_device_context",
        "_device_integrity",
        "_device_key",
        "_header_head",
        "_header_length",
        "_header_tail",
        "_issued_by",
        "_second",
        "_times",
        "_ttl_s",
        "_uncounted",
        "_user_context",
        "_user_integrity",
        "_user_key",
        "_version",
    )

    def __init__(
        self,
        issuer: str,
        trust_domain: str,
        user_key: MacKey,
        device_key: MacKey,
        ttl_s: int = 60,
        *,
        integrity_version: int = 2,
    ) -> None:
        """Prepare to sign as `issuer` (the edge's id); a Passport is valid for `ttl_s` seconds."""
        if (user_key.purpose, device_key.purpose) != (USER_PURPOSE, DEVICE_PURPOSE):
            raise ValueError(f"keys of purpose {user_key.purpose} and {device_key.purpose} do not sign Passports")
        if integrity_version not in {1, 2}:
            raise ValueError(f"integrity version {integrity_version} is not known")
        header = passport_pb2.Header(issuer=issuer, trust_domain=trust_domain)
        self._issued_by = header.SerializeToString()
        self._ttl_s = ttl_s
        self._version = integrity_version
        self._user_context = user_key.context(integrity_version, Part.USER)
        self._device_context = device_key.context(integrity_version, Part.DEVICE)
        self._user_integrity = encode_integrity_head(Part.USER, integrity_version, user_key.name)
        self._device_integrity = encode_integrity_head(Part.DEVICE, integrity_version, device_key.name)
        self._user_key = user_key
        self._device_key = device_key
        self._uncounted = 0
        self._second: int | None = None
        self._times = self._header_head = self._header_length = self._header_tail = b""

    def build(self, request_id: bytes, user: UserPart, device: DevicePart, now: int) -> bytes:
        """Return the signed Passport, serialised.

        `request_id` is 32 ASCII characters, `now` epoch seconds. Raises ValueError for another length of the id
        and for a time outside 1978 to 3058.
        """
        if len(request_id) != REQUEST_ID_BYTES:
            raise ValueError("a request id is 32 characters")
        if now != self._second:
            self._turn_to(now)
        else:
            self._uncounted += 1
        times = self._times
        header = request_id + self._header_tail
        device_info = device.head + times + device.tail
        user_info = user.head + times + user.tail
        device_mac = self._device_context.copy()
        user_mac = self._user_context.copy()
        if self._version == 2:
            covered = self._header_length + header + device.mac_length + device_info
            device_mac.update(covered)
            user_mac.update(covered + user.mac_length + user_info)
        else:
            device_mac.update(device_info)
            user_mac.update(user_info)
        return b"".join(
            (
                self._header_head,
                header,
                user.field_head,
                user_info,
                device.field_head,
                device_info,
                self._user_integrity,
                user_mac.finalize(),
                self._device_integrity,
                device_mac.finalize(),
            )
        )

    def header_value(self, request_id: bytes, user: UserPart, device: DevicePart, now: int) -> bytes:
        """Return what `build` does as an `X-Passport` value: base64 with padding, ASCII."""
        return b2a_base64(self.build(request_id, user, device, now), newline=False)

    def _turn_to(self, now: int) -> None:
        self._times = encode_times(now, now + self._ttl_s)
        self._header_tail = b"\x10" + encode_varint(now) + self._issued_by
        id_head = b"\x0a" + encode_varint(REQUEST_ID_BYTES)
        size = len(id_head) + REQUEST_ID_BYTES + len(self._header_tail)
        self._header_length = size.to_bytes(4, "big") + id_head
        self._header_head = b"\x0a" + encode_varint(size) + id_head
        self._second = now
        # Once a second, with those of the second before: each request would pay for its own.
        self._user_key.uses += 1 + self._uncounted
        self._device_key.uses += 1 + self._uncounted
        self._uncounted = 0

    def __repr__(self) -> str:
        return f"PassportBuilder(v{self._version}, {self._ttl_s} s)"
