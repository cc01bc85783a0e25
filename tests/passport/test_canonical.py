"""The quick way to read a Passport, which protobuf goes, says what reading by hand says: of any bytes, or nothing."""

from collections.abc import Iterator

import pytest
from edgepb.passport.v1 import passport_pb2
from google.protobuf.message import DecodeError
from hypothesis import example, given
from hypothesis import strategies as st

from passport import NO_DEVICE, NO_USER, UserAction, with_user
from passport.integrity import (
    MAC_BYTES,
    Envelope,
    Integrity,
    _split_canonical,
    _split_strictly,
    join_envelope,
    split_envelope,
)
from passport.introspector import _canonical_parts, _strict_parts, decode_base64
from passport.refusals import PassportRefused
from passport.strict import DEVICE_INFO, HEADER, MAX_REPEATED, USER_INFO, check_message, is_canonical
from passport.wire import FIXED32, FIXED64, VARINT, encode_delimited, encode_varint
from tests.passport.samples import NOW, USER, build, signer

MADE = build()
NOBODY = build(NO_USER, NO_DEVICE)
ACTIONS = [UserAction.USER_LOGIN, UserAction.USER_SIGNUP_STARTED]
CHANGED = decode_base64(with_user(MADE, USER, ACTIONS, signer("passport-auth"), now=NOW))
PASSPORTS = [MADE, NOBODY, CHANGED]
TOO_OFTEN = join_envelope(split_envelope(MADE)._replace(user_info=encode_delimited(12, b"\x01" * (MAX_REPEATED + 1))))

PARTS = {
    passport_pb2.Header: HEADER,
    passport_pb2.UserInfo: USER_INFO,
    passport_pb2.DeviceInfo: DEVICE_INFO,
}


@st.composite
def edited(draw: st.DrawFn) -> bytes:
    """Return a Passport with a few bytes replaced, taken out, put in, or with a stretch of it twice."""
    data = bytearray(draw(st.sampled_from(PASSPORTS)))
    for _ in range(draw(st.integers(0, 3))):
        start = draw(st.integers(0, len(data)))
        stop = start + draw(st.integers(0, 8))
        kept = bytes(data[start:stop]) * draw(st.integers(0, 2))
        data[start:stop] = draw(st.one_of(st.binary(max_size=8), st.just(kept)))
    return bytes(data)


varints = st.one_of(st.integers(0, 3), st.integers(0, 2**64 - 1)).map(encode_varint)
padded = st.builds(
    lambda value, more: bytes([value | 0x80]) + b"\x80" * more + b"\x00", st.integers(0, 127), st.integers(0, 9)
)


def field(inner: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    """Return fields of the numbers that the parts have, and of some that they have not, of every wire type."""
    numbers = st.one_of(st.integers(1, 14), st.integers(1, 2**29 - 1))
    return st.one_of(
        st.builds(lambda number, value: encode_varint(number << 3 | VARINT) + value, numbers, varints | padded),
        st.builds(encode_delimited, numbers, inner),
        st.builds(lambda n, value: encode_varint(n << 3 | FIXED32) + value, numbers, st.binary(min_size=4, max_size=4)),
        st.builds(lambda n, value: encode_varint(n << 3 | FIXED64) + value, numbers, st.binary(min_size=8, max_size=8)),
    )


contents = st.recursive(
    st.one_of(st.binary(max_size=6), st.text(max_size=4).map(str.encode), st.lists(varints, max_size=18).map(b"".join)),
    lambda inner: st.lists(field(inner), max_size=3).map(b"".join),
    max_leaves=4,
)


def strictly(data: bytes) -> Envelope | None:
    try:
        return _split_strictly(data)
    except PassportRefused:
        return None


@given(edited())
@example(MADE + MADE)
@example(MADE + b"\x32\x00")
@example(b"")
def test_an_envelope_that_is_read_quickly_is_read_strictly_alike(data: bytes) -> None:
    quickly = _split_canonical(data)
    assert quickly is None or quickly == strictly(data)


def contents_of(envelope: Envelope) -> list[bytes]:
    return [*envelope[:3], envelope.user_integrity.field, envelope.device_integrity.field]


def frame(data: bytes) -> Iterator[tuple[str, int]]:
    """Yield where the bytes stand that `_split_canonical` looks at: all but parts, names of keys, and MACs."""
    at = 0
    for number, content in enumerate(contents_of(_split_strictly(data)), start=1):
        head = len(encode_delimited(number, content)) - len(content)
        yield from ((f"field {number}, byte {byte}", at + byte) for byte in range(head))
        at += head
        if number > 3:
            inner = [0, 1, 2, 3, len(content) - MAC_BYTES - 2, len(content) - MAC_BYTES - 1]
            yield from ((f"integrity in field {number}, byte {byte}", at + byte) for byte in inner)
        at += len(content)


FRAMES = [(data, where, at) for data in PASSPORTS for where, at in frame(data)]


@pytest.mark.parametrize(("data", "at"), [(data, at) for data, _, at in FRAMES], ids=[where for _, where, _ in FRAMES])
def test_a_byte_of_the_frame_that_is_changed_is_read_quickly_as_it_is_strictly(data: bytes, at: int) -> None:
    for value in {data[at] - 1, data[at] + 1, 0, 1, 3, 0x7F, 0x80, 0x81, 0x82, 0xFF}:
        changed = data[:at] + bytes([value & 0xFF]) + data[at + 1 :]
        quickly = _split_canonical(changed)
        assert quickly is None or quickly == strictly(changed), value


def test_a_passport_that_is_cut_or_goes_on_is_not_read_quickly() -> None:
    for data in PASSPORTS:
        assert all(_split_canonical(data[:size]) is None for size in range(len(data)))
        assert _split_canonical(data + b"\x00") is None


def integrity(name: bytes, *, version: bytes = b"\x02", size: bytes | None = None, mac: bytes = bytes(32)) -> bytes:
    length = encode_varint(len(name)) if size is None else size
    return b"\x08" + version + b"\x12" + length + name + encode_delimited(3, mac)


ODD = {
    "nothing": b"",
    "a name's tag and no more": b"\x08\x02\x12",
    "no name": integrity(b""),
    "a name that is not ASCII": integrity(b"pass\xffport"),
    "a name of 127 bytes": integrity(b"n" * 127),
    "a name of 128 bytes": integrity(b"n" * 128),
    "a name of 128 bytes whose length takes one": integrity(b"n" * 128, size=b"\x80"),
    "a version of two bytes": integrity(b"name", version=b"\x80\x01"),
    "a version with nothing after its first byte": integrity(b"name", version=b"\x82"),
    "version 0": integrity(b"name", version=b"\x00"),
    "a MAC of 31 bytes": integrity(b"name", mac=bytes(31)),
    "a MAC of 33 bytes": integrity(b"name", mac=bytes(33)),
}


@pytest.mark.parametrize("field", ODD.values(), ids=ODD.keys())
def test_an_odd_integrity_is_read_quickly_as_it_is_strictly(field: bytes) -> None:
    odd, envelope = Integrity(2, "", b"", field), split_envelope(MADE)
    for data in (
        join_envelope(envelope._replace(user_integrity=odd)),
        join_envelope(envelope._replace(device_integrity=odd)),
    ):
        quickly = _split_canonical(data)
        assert quickly is None or quickly == strictly(data)


@pytest.mark.parametrize("number", range(1, 6))
def test_a_size_that_is_not_written_as_protobuf_does_is_not_read_quickly(number: int) -> None:
    before, content, after = (
        b"".join(encode_delimited(at, each) for at, each in enumerate(contents_of(split_envelope(MADE)), 1) if keep(at))
        for keep in (number.__gt__, number.__eq__, number.__lt__)
    )
    tag, size = content[:1], len(content) - 2
    assert size < 0x80, "of one byte"
    padded_size = bytes([size | 0x80, 0])
    assert _split_canonical(before + tag + padded_size + content[2:] + after) is None
    assert _split_canonical(before + tag + b"\x80" + bytes(0x80) + after) is None
    too_long = bytes(0x80 << 7)
    assert _split_canonical(before + tag + b"\x80\x80" + too_long + after) is None


@given(edited())
@example(MADE + b"\x32\x00")
@example(TOO_OFTEN)
def test_parts_that_are_read_quickly_are_read_strictly_alike(data: bytes) -> None:
    quickly = _canonical_parts(data)
    if quickly is not None and (envelope := strictly(data)) is not None:
        assert quickly == _strict_parts(envelope)


@given(st.sampled_from(sorted(PARTS, key=str)), st.lists(field(contents), max_size=6).map(b"".join))
@example(passport_pb2.UserInfo, b"\x08\x01" * 2)
@example(passport_pb2.UserInfo, b"\x08\x01\x60\x01\x90\x03\x01")
@example(passport_pb2.UserInfo, encode_delimited(4, b"\x08\x01\x08\x02"))
@example(passport_pb2.UserInfo, encode_delimited(12, b"\x01" * (MAX_REPEATED + 1)))
@example(passport_pb2.DeviceInfo, b"\x08\xff\xff\xff\xff\x0f")
def test_a_part_that_is_taken_quickly_is_taken_strictly(
    kind: type[passport_pb2.Header | passport_pb2.UserInfo | passport_pb2.DeviceInfo], data: bytes
) -> None:
    message = kind()
    try:
        message.ParseFromString(data)
        quickly = is_canonical(message, data)
    except DecodeError:
        return
    if quickly and len(getattr(message, "actions", ())) <= MAX_REPEATED:
        check_message(data, PARTS[kind])


def test_what_the_edge_and_services_make_is_read_quickly() -> None:
    for data in PASSPORTS:
        envelope = _split_canonical(data)
        assert envelope is not None
        assert envelope == strictly(data)
        assert _canonical_parts(data) == _strict_parts(envelope)
