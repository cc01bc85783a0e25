"""The strict reader of protobuf, beside protobuf itself."""

import pytest
from google.protobuf import wrappers_pb2
from hypothesis import given
from hypothesis import strategies as st

from passport.wire import MalformedWire, encode_delimited, encode_varint, read_fields

UINT64 = st.integers(min_value=0, max_value=(1 << 64) - 1)


@given(UINT64)
def test_a_varint_reads_back(value: int) -> None:
    assert read_fields(b"\x08" + encode_varint(value)) == [(1, 0, value, b"")]


@given(st.lists(st.tuples(st.integers(1, (1 << 29) - 1), st.binary(max_size=300)), max_size=8))
def test_delimited_fields_read_back_in_order(fields: list[tuple[int, bytes]]) -> None:
    data = b"".join(encode_delimited(number, content) for number, content in fields)
    assert read_fields(data) == [(number, 2, 0, content) for number, content in fields]


@given(st.binary(max_size=200))
def test_what_the_strict_reader_accepts_protobuf_accepts_too(data: bytes) -> None:
    try:
        fields = read_fields(data)
    except MalformedWire:
        return
    # Int64Value knows field 1 only; without it the rest is unknown fields, which protobuf keeps as they are.
    message = wrappers_pb2.Int64Value()
    message.ParseFromString(data)
    numbers = [value for number, wire_type, value, _ in fields if (number, wire_type) == (1, 0)]
    assert message.value & 0xFFFF_FFFF_FFFF_FFFF == (numbers[-1] if numbers else 0)


@pytest.mark.parametrize(
    "data",
    [
        b"\x08",  # no value
        b"\x08\x80",  # varint cut
        b"\x08\x81\x00",  # padded varint
        b"\x88\x00\x01",  # padded tag
        b"\x08" + b"\xff" * 9 + b"\x02",  # 2^64 and more
        b"\x08" + b"\xff" * 10 + b"\x01",  # eleven bytes
        b"\x00\x01",  # field number 0
        b"\x0b\x0c",  # a group
        b"\x0e",  # wire type 6
        b"\x0f",  # wire type 7
        b"\x0a\x02a",  # longer than what is there
        b"\x09\x00",  # fixed64 cut
        b"\x0d\x00\x00",  # fixed32 cut
        b"\x80\x80\x80\x80\x10\x00",  # field number 2^29 and more
    ],
)
def test_x3_malformed_wire_is_refused(data: bytes) -> None:
    with pytest.raises(MalformedWire):
        read_fields(data)


def test_fixed_fields_are_read() -> None:
    assert read_fields(b"\x0d" + b"abcd" + b"\x11" + b"12345678") == [(1, 5, 0, b"abcd"), (2, 1, 0, b"12345678")]
