"""The MACs of a Passport: what they cover, how they stand on the wire, how they are checked.

Version 1, as published, covers one part. Version 2 binds a user to its device and both to their request: the
device MAC covers `context | header | device_info`, the user MAC `context | header | device_info | user_info`, each
part with its length in four big-endian bytes before it. The context names domain, version, part and key.
"""

from hmac import compare_digest
from typing import Final, NamedTuple

from passport.identity import Part
from passport.keys import MacKey, PassportKeys
from passport.refusals import PassportRefusal, PassportRefused
from passport.wire import DELIMITED, VARINT, MalformedWire, encode_delimited, encode_varint, read_fields

MAC_BYTES: Final = 32
MAX_PASSPORT_BYTES: Final = 16 * 1024
_ENVELOPE_FIELDS: Final = [(number, DELIMITED) for number in range(1, 6)]
_INTEGRITY_FIELDS: Final = [(1, VARINT), (2, DELIMITED), (3, DELIMITED)]
_ENVELOPE_TAGS: Final = bytes(number << 3 | DELIMITED for number in range(1, 6))
_VERSION_TAG: Final = 1 << 3 | VARINT
_NAME_TAG: Final = 2 << 3 | DELIMITED
_NAME_AT: Final = 4
_MAC_HEAD: Final = bytes((3 << 3 | DELIMITED, MAC_BYTES))
_FIELD: Final = {Part.USER: 4, Part.DEVICE: 5}


class Integrity(NamedTuple):
    """One MAC as it came. `field` is the whole integrity message, byte for byte."""

    version: int
    key_name: str
    mac: bytes
    field: bytes

    def __repr__(self) -> str:
        return f"Integrity(v{self.version}, {self.key_name!r})"


class Covered(NamedTuple):
    """The serialised parts that MACs cover, in the order in which version 2 does."""

    header: bytes
    device_info: bytes
    user_info: bytes

    def __repr__(self) -> str:
        return f"Covered({sum(map(len, self))} bytes)"


class Envelope(NamedTuple):
    """A Passport with its parts as the bytes that came."""

    header: bytes
    user_info: bytes
    device_info: bytes
    user_integrity: Integrity
    device_integrity: Integrity

    @property
    def covered(self) -> Covered:
        """What the MACs are computed over."""
        return Covered(self.header, self.device_info, self.user_info)

    @property
    def is_bound(self) -> bool:
        """Whether both MACs bind their part to the request: version 1 covers no header."""
        return self.user_integrity.version != 1 and self.device_integrity.version != 1

    def __repr__(self) -> str:
        return f"Envelope({self.user_integrity!r}, {self.device_integrity!r})"


def split_envelope(data: bytes) -> Envelope:
    """Take a serialised Passport apart without parsing its parts.

    Fields 1 to 5 must stand there in order, each once, each length-delimited, and nothing else: what every
    protobuf library writes, and the one form that all readers see alike. Raises PassportRefused.
    """
    if len(data) > MAX_PASSPORT_BYTES:
        raise PassportRefused(PassportRefusal.TOO_LONG)
    return _split_canonical(data) or _split_strictly(data)


def _split_canonical(data: bytes) -> Envelope | None:
    """Return the envelope of a Passport that is just as protobuf writes it; None: `_split_strictly` has to judge it.

    Nearly every Passport is, so that its fields can be taken where they must stand, in a quarter of the time.
    """
    taken = []
    position = 0
    try:
        for tag in _ENVELOPE_TAGS:
            if data[position] != tag:
                return None
            size = data[position + 1]
            position += 2
            if size >= 0x80:
                more = data[position]
                if not 0 < more < 0x80:
                    return None
                size += (more - 1) << 7
                position += 1
            taken.append(data[position : position + size])
            position += size
    except IndexError:
        return None
    if position != len(data):
        return None
    header, user_info, device_info, user_field, device_field = taken
    user, device = _canonical_integrity(user_field), _canonical_integrity(device_field)
    if user is None or device is None:
        return None
    return Envelope(header, user_info, device_info, user, device)


def _canonical_integrity(field: bytes) -> Integrity | None:
    """Return an integrity of the usual form: a version and a length of one byte each, a name, and the MAC."""
    end = len(field) - len(_MAC_HEAD) - MAC_BYTES
    if not _NAME_AT < end < _NAME_AT + 0x80 or field[0] != _VERSION_TAG or field[1] >= 0x80:
        return None
    name = field[_NAME_AT:end]
    if field[2] != _NAME_TAG or field[3] != len(name) or field[end:-MAC_BYTES] != _MAC_HEAD or not name.isascii():
        return None
    return Integrity(field[1], name.decode("ascii"), field[-MAC_BYTES:], field)


def _split_strictly(data: bytes) -> Envelope:
    try:
        fields = read_fields(data)
        if [field[:2] for field in fields] != _ENVELOPE_FIELDS:
            raise PassportRefused(PassportRefusal.MALFORMED)
        header, user_info, device_info, user_integrity, device_integrity = (field[3] for field in fields)
        return Envelope(
            header, user_info, device_info, _read_integrity(user_integrity), _read_integrity(device_integrity)
        )
    except (MalformedWire, UnicodeDecodeError):
        raise PassportRefused(PassportRefusal.MALFORMED) from None


def join_envelope(envelope: Envelope) -> bytes:
    """Return the serialised Passport; parts that were not changed stay byte for byte."""
    parts = (
        envelope.header,
        envelope.user_info,
        envelope.device_info,
        envelope.user_integrity.field,
        envelope.device_integrity.field,
    )
    return b"".join(encode_delimited(number, content) for number, content in enumerate(parts, start=1))


def verify(envelope: Envelope, part: Part, keys: PassportKeys, purposes: frozenset[str], *, accept_v1: bool) -> MacKey:
    """Check the MAC of `part` over the bytes that came; return the key it was made with.

    The key must be of one of `purposes`. Raises PassportRefused.
    """
    integrity = envelope.user_integrity if part is Part.USER else envelope.device_integrity
    if integrity.version not in {1, 2}:
        raise PassportRefused(PassportRefusal.UNKNOWN_VERSION)
    if integrity.version == 1 and not accept_v1:
        raise PassportRefused(PassportRefusal.VERSION_NOT_ACCEPTED)
    key = keys.find(integrity.key_name)
    if key is None:
        raise PassportRefused(PassportRefusal.UNKNOWN_KEY)
    if key.purpose not in purposes:
        raise PassportRefused(PassportRefusal.KEY_PURPOSE)
    expected = compute_mac(key, integrity.version, part, envelope.covered)
    if not compare_digest(expected, integrity.mac):
        raise PassportRefused(PassportRefusal.BAD_MAC)
    key.uses += 1
    return key


def compute_mac(key: MacKey, version: int, part: Part, covered: Covered) -> bytes:
    """Return the MAC of `part`, 32 bytes; the device's leaves the user out."""
    context = key.context(version, part).copy()
    if version == 1:
        context.update(covered.user_info if part is Part.USER else covered.device_info)
        return context.finalize()
    header, device_info, user_info = covered
    # Joined: an update costs as much as hashing a hundred bytes more.
    data = len(header).to_bytes(4, "big") + header + len(device_info).to_bytes(4, "big") + device_info
    if part is Part.USER:
        data += len(user_info).to_bytes(4, "big") + user_info
    context.update(data)
    return context.finalize()


def sign(key: MacKey, version: int, part: Part, covered: Covered) -> Integrity:
    """Return the integrity of `part`, made with `key`."""
    key.uses += 1
    mac = compute_mac(key, version, part, covered)
    return Integrity(version, key.name, mac, _encode_integrity(version, key.name, mac))


def encode_integrity_head(part: Part, version: int, key_name: str) -> bytes:
    """Return the integrity field of `part` up to its MAC, whose 32 bytes must follow."""
    return encode_delimited(_FIELD[part], _encode_integrity(version, key_name, bytes(MAC_BYTES)))[:-MAC_BYTES]


def _encode_integrity(version: int, key_name: str, mac: bytes) -> bytes:
    return b"\x08" + encode_varint(version) + encode_delimited(2, key_name.encode()) + encode_delimited(3, mac)


def _read_integrity(message: bytes) -> Integrity:
    fields = read_fields(message)
    if [field[:2] for field in fields] != _INTEGRITY_FIELDS:
        raise MalformedWire("integrity")
    (_, _, version, _), (_, _, _, key_name), (_, _, _, mac) = fields
    if len(mac) != MAC_BYTES:
        raise MalformedWire("mac")
    return Integrity(version, key_name.decode("ascii"), mac, message)
