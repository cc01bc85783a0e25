"""Refuses parts that protobuf would read leniently: singular fields that come twice, values of a wrong type.

A part is parsed only after its MAC was found good, so this guards against a signer's mistakes rather than against
strangers: two libraries must never read two identities from one signed part. Unknown fields pass: newer issuers
may add some, and the MAC covers them.
"""

from collections.abc import Mapping
from typing import Final, NamedTuple

from edgepb.passport.v1 import passport_pb2
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from passport.wire import DELIMITED, FIXED32, FIXED64, VARINT, MalformedWire, read_fields, read_packed_varints

MAX_REPEATED: Final = 16
"""How many values a repeated field may have: actions, in practice one."""
_WIRE_TYPES: Final = {
    FieldDescriptor.TYPE_STRING: DELIMITED,
    FieldDescriptor.TYPE_BYTES: DELIMITED,
    FieldDescriptor.TYPE_MESSAGE: DELIMITED,
    FieldDescriptor.TYPE_DOUBLE: FIXED64,
    FieldDescriptor.TYPE_FIXED64: FIXED64,
    FieldDescriptor.TYPE_SFIXED64: FIXED64,
    FieldDescriptor.TYPE_FLOAT: FIXED32,
    FieldDescriptor.TYPE_FIXED32: FIXED32,
    FieldDescriptor.TYPE_SFIXED32: FIXED32,
}


class FieldShape(NamedTuple):
    """What the schema says of one field; `nested` is the shape of the message in it."""

    wire_type: int
    repeated: bool
    nested: "Mapping[int, FieldShape] | None"


Shape = Mapping[int, FieldShape]


def _shape(descriptor: Descriptor) -> Shape:
    return {
        field.number: FieldShape(
            _WIRE_TYPES.get(field.type, VARINT),
            field.is_repeated,
            _shape(field.message_type) if field.message_type is not None else None,
        )
        for field in descriptor.fields
    }


_MESSAGES: Final = passport_pb2.DESCRIPTOR.message_types_by_name
HEADER: Final = _shape(_MESSAGES["Header"])
USER_INFO: Final = _shape(_MESSAGES["UserInfo"])
DEVICE_INFO: Final = _shape(_MESSAGES["DeviceInfo"])


def is_canonical(message: Message, data: bytes) -> bool:
    """Tell whether `data` is, byte for byte, what protobuf writes for `message`, which was read from it.

    Then every field in it is known, of its type, and stands there once and in order: what `check_message` is for, at a
    tenth of its cost. Takes fields that are not known out of `message`.
    """
    message.DiscardUnknownFields()
    return message.SerializeToString() == data


def check_message(data: bytes, shape: Shape) -> None:
    """Raise MalformedWire unless every known field of `data` is as `shape` says, and once if it is singular."""
    seen: set[int] = set()
    repeated = 0
    for number, wire_type, _, content in read_fields(data):
        known = shape.get(number)
        if known is None:
            continue
        if known.repeated:
            repeated += _count(wire_type, content, known)
            if repeated > MAX_REPEATED:
                raise MalformedWire("a field comes too often")
            continue
        if wire_type != known.wire_type or number in seen:
            raise MalformedWire("a field comes twice or is of another type")
        seen.add(number)
        if known.nested is not None and content:
            check_message(content, known.nested)


def _count(wire_type: int, content: bytes, known: FieldShape) -> int:
    if wire_type == known.wire_type:
        return 1
    if wire_type == DELIMITED and known.wire_type == VARINT:
        return len(read_packed_varints(content))
    raise MalformedWire("a field of another type")
