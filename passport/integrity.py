"""The MACs of a Passport: what they cover, how they stand on the wire, how they are checked.

Version 1, as published, covers one part. Version 2 binds a user to its device and both to their request: the
device MAC covers `context | header | device_info`, the user MAC `context | header | device_info | user_info`, each
part with its length in four big-endian bytes before it. The context names domain, version, part and key.
"""

from hmac import compare_digest
from typing import Final, NamedTuple

from edgepb.passport.v1 import passport_pb2
from google.protobuf.message import DecodeError

from passport.identity import Part
from passport.keys import MacKey, PassportKeys
from passport.refusals import PassportRefusal, PassportRefused
from passport.strict import is_canonical
from passport.wire import DELIMITED, VARINT, MalformedWire, encode_delimited, encode_varint, read_fields

MAC_BYTES: Final = 32
MAX_PASSPORT_BYTES: Final = 16 * 1024
_ENVELOPE_FIELDS: Final = [(number, DELIMITED) for number in range(1, 6)]
_INTEGRITY_FIELDS: Final = [(1, VARINT), (2, DELIMITED), (3, DELIMITED)]
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

    Nearly every Passport is, and protobuf reads and writes it in a fifth of the time that reading by hand takes.
    """
    try:
        read = passport_pb2.PassportEnvelope.FromString(data)
    except DecodeError:
        return None
    if not is_canonical(read, data) or not (read.header and read.user_info and read.device_info):
        return None
    user, device = _canonical_integrity(read.user_integrity), _canonical_integrity(read.device_integrity)
    if user is None or device is None:
        return None
    return Envelope(read.header, read.user_info, read.device_info, user, device)


def _canonical_integrity(read: passport_pb2.Integrity) -> Integrity | None:
    version, key_name, mac = read.version, read.key_name, read.hmac
    if not version or not key_name or not key_name.isascii() or len(mac) != MAC_BYTES:
        return None
    return Integrity(version, key_name, mac, read.SerializeToString())


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
