"""The protobuf wire format, read by hand and strictly.

Protobuf is lenient: a repeated scalar means "the last one", varints may be padded, messages may be concatenated.
Two readers of one Passport must not differ, so here every varint is minimal and below 2^64, groups do not exist,
and nothing may be left over (https://protobuf.dev/programming-guides/encoding/).
"""

from typing import Final

VARINT: Final = 0
FIXED64: Final = 1
DELIMITED: Final = 2
FIXED32: Final = 5
_FIXED_SIZES: Final = {FIXED64: 8, FIXED32: 4}
_MAX_FIELD_NUMBER: Final = (1 << 29) - 1
_SHIFTS: Final = range(7, 70, 7)


class MalformedWire(ValueError):  # noqa: N818 - named for what the bytes are
    """Bytes that are not strict protobuf."""


Field = tuple[int, int, int, bytes]
"""One field as it stands on the wire: number, wire type, value (VARINT), content (the other wire types)."""


def encode_varint(value: int) -> bytes:
    """Return `value` (0 to 2^64 - 1) as a minimal varint."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def encode_delimited(number: int, content: bytes) -> bytes:
    """Return `content` as a length-delimited field."""
    return encode_varint(number << 3 | DELIMITED) + encode_varint(len(content)) + content


def read_fields(data: bytes) -> list[Field]:
    """Return the fields of one message in the order they stand, unknown ones too; raise MalformedWire."""
    fields: list[Field] = []
    position = 0
    end = len(data)
    while position < end:
        # Nearly every tag and length is one byte: those are read in place.
        tag = data[position]
        position += 1
        if tag >= 0x80:
            tag, position = _read_varint(data, position - 1)
        number, wire_type = tag >> 3, tag & 7
        if not 1 <= number <= _MAX_FIELD_NUMBER:
            raise MalformedWire("field number")
        if wire_type == VARINT:
            value, position = _read_varint(data, position)
            fields.append((number, wire_type, value, b""))
            continue
        if wire_type == DELIMITED and position < end and data[position] < 0x80:
            size = data[position]
            position += 1
        elif wire_type == DELIMITED:
            size, position = _read_varint(data, position)
        elif wire_type in _FIXED_SIZES:
            size = _FIXED_SIZES[wire_type]
        else:
            raise MalformedWire("wire type")
        stop = position + size
        if stop > end:
            raise MalformedWire("length")
        fields.append((number, wire_type, 0, data[position:stop]))
        position = stop
    return fields


def read_packed_varints(content: bytes) -> list[int]:
    """Return the values of a packed repeated field; raise MalformedWire."""
    values: list[int] = []
    position = 0
    while position < len(content):
        value, position = _read_varint(content, position)
        values.append(value)
    return values


def _read_varint(data: bytes, position: int) -> tuple[int, int]:
    try:
        byte = data[position]
        if byte < 0x80:
            return byte, position + 1
        value = byte & 0x7F
        for shift in _SHIFTS:
            position += 1
            byte = data[position]
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                break
    except IndexError:
        raise MalformedWire("varint") from None
    if byte == 0 or byte >= 0x80 or value >= 1 << 64:
        raise MalformedWire("varint")
    return value, position + 1
