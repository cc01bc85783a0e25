"""Body readers: exact to the byte, whatever the pieces; anything but the one strict form is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.http1.body import BodyReader, ChunkedBody, LengthBody, UntilCloseBody
from edge.http1.errors import BadChunkingError

PAYLOADS = st.lists(st.binary(min_size=1, max_size=40), max_size=6)
CUTS = st.lists(st.integers(min_value=1, max_value=25), min_size=1, max_size=30)
MAX_TRAILER_BYTES = 200


def cut(data: bytes, cuts: list[int]) -> list[bytes]:
    """Cut `data` into pieces of the given sizes, again and again."""
    pieces, turn = [], 0
    while data:
        size = cuts[turn % len(cuts)]
        pieces.append(data[:size])
        data, turn = data[size:], turn + 1
    return pieces


def read(body: BodyReader, pieces: list[bytes]) -> tuple[bytes, bytes]:
    """Feed pieces to a reader; return the payload and what lies beyond the end."""
    out: list[bytes] = []
    rest = b""
    for piece in pieces:
        rest += piece if body.complete else body.feed(piece, out)
    return b"".join(out), rest


def chunked(payloads: list[bytes], trailers: bytes = b"") -> bytes:
    """Return payloads as chunks."""
    return b"".join(b"%x\r\n%b\r\n" % (len(each), each) for each in payloads) + b"0\r\n" + trailers + b"\r\n"


def fresh() -> ChunkedBody:
    """Return a reader of chunks."""
    return ChunkedBody(MAX_TRAILER_BYTES)


@given(payloads=PAYLOADS, cuts=CUTS, beyond=st.binary(max_size=20))
def test_a_chunked_body_is_the_same_in_whatever_pieces_it_comes(
    payloads: list[bytes], cuts: list[int], beyond: bytes
) -> None:
    body = fresh()
    assert read(body, cut(chunked(payloads, b"A: b\r\n") + beyond, cuts)) == (b"".join(payloads), beyond)
    assert body.complete
    assert body.trailers is not None
    assert list(body.trailers) == [(b"A", b"b")]


def test_m3_a_flood_of_tiny_chunks_is_read_in_turns() -> None:
    body, out, turns = fresh(), [b""], 0
    rest = chunked([b"a"] * 10_000) + b"beyond"
    while not body.complete:
        rest, turns = body.feed(rest, out), turns + 1
        assert len(out) < turns * 1100
    assert turns >= 9
    assert (b"".join(out), rest) == (b"a" * 10_000, b"beyond")


@given(payload=st.binary(min_size=1, max_size=60), cuts=CUTS, beyond=st.binary(max_size=20))
def test_a_body_of_known_length_ends_to_the_byte(payload: bytes, cuts: list[int], beyond: bytes) -> None:
    body = LengthBody(len(payload))
    assert read(body, cut(payload + beyond, cuts)) == (payload, beyond)
    assert body.complete


@given(payload=st.binary(max_size=60), cuts=CUTS)
def test_a_body_without_length_is_everything_until_the_close(payload: bytes, cuts: list[int]) -> None:
    body = UntilCloseBody()
    assert read(body, cut(payload, cuts)) == (payload, b"")
    assert not body.complete
    assert body.ended_by_close()


@given(payloads=PAYLOADS, short_by=st.integers(min_value=1, max_value=10))
def test_a_cut_body_never_counts_as_ended(payloads: list[bytes], short_by: int) -> None:
    wire = chunked(payloads)
    body = fresh()
    read(body, [wire[: max(len(wire) - short_by, 0)]])
    assert not body.complete
    assert not body.ended_by_close()
    sized = LengthBody(5)
    read(sized, [b"four"])
    assert not sized.ended_by_close()


@given(data=st.binary(max_size=80), cuts=CUTS)
def test_any_bytes_are_read_or_refused_alike_whole_and_in_pieces(data: bytes, cuts: list[int]) -> None:
    assert _verdict([data]) == _verdict(cut(data, cuts))


@given(
    data=st.lists(st.sampled_from([b"0", b"1", b"5", b"a", b"\r\n", b"\r", b"\n", b";", b" ", b"A: b\r\n"])).map(
        b"".join
    ),
    cuts=CUTS,
)
def test_s3_bytes_like_chunks_are_read_or_refused_alike_whole_and_in_pieces(data: bytes, cuts: list[int]) -> None:
    assert _verdict([data]) == _verdict(cut(data, cuts))


def _verdict(pieces: list[bytes]) -> tuple[bytes, bytes] | str:
    body = fresh()
    try:
        payload, rest = read(body, [piece for piece in pieces if piece])
    except BadChunkingError:
        return "refused"
    return (payload, rest) if body.complete else "goes on"


@pytest.mark.parametrize(
    "wire",
    [
        b"5;ext=1\r\nhello\r\n0\r\n\r\n",
        b"5 \r\nhello\r\n0\r\n\r\n",
        b" 5\r\nhello\r\n0\r\n\r\n",
        b"+5\r\nhello\r\n0\r\n\r\n",
        b"-5\r\nhello\r\n0\r\n\r\n",
        b"0x5\r\nhello\r\n0\r\n\r\n",
        b"5_0\r\nhello\r\n0\r\n\r\n",
        b"5\nhello\n0\n\n",
        b"5\r\nhello\n0\r\n\r\n",
        b"5\rXhello\r\n0\r\n\r\n",
        b"5\r\nhelloX\r\n0\r\n\r\n",
        b"5\r\nhello0\r\n\r\n",
        b"g\r\n\r\n",
        b"\r\nhello",
        b"FFFFFFFFFFFFFFFFF\r\nhello",
        b"10000000000000000\r\nhello",
        b"0000000000000005\r\nhello\r\n0\r\n\r\n",
        b"0\r\nA : b\r\n\r\n",
        b"0\r\n A: b\r\n\r\n",
        b"0\r\nA: b\r\n folded\r\n\r\n",
        b"0\r\nA: b\n\r\n\r\n",
        b"0\r\nA: b\rc\r\n\r\n",
        b"0\r\nA: \x00\r\n\r\n",
        b"0\r\nno colon\r\n\r\n",
        b"0\r\n: empty\r\n\r\n",
        b"0\r\nA: " + b"b" * MAX_TRAILER_BYTES + b"\r\n\r\n",
        b"0\r\n" + b"A: b\r\n" * MAX_TRAILER_BYTES,
    ],
)
@pytest.mark.parametrize("size", [1, 3, 1000])
def test_s3_what_two_parsers_could_chunk_differently_is_refused(wire: bytes, size: int) -> None:
    with pytest.raises(BadChunkingError):
        read(fresh(), cut(wire, [size]))


@pytest.mark.parametrize("size_line", [b"5", b"05", b"000000000000005"])
def test_a_chunk_size_may_have_leading_zeros_and_either_case(size_line: bytes) -> None:
    assert read(fresh(), [size_line + b"\r\nhello\r\nA\r\n0123456789\r\na\r\n0123456789\r\n0\r\n\r\n"])[1] == b""


def test_trailers_have_no_blanks_around_their_values() -> None:
    body = fresh()
    read(body, [chunked([], b"A: \t b c \t \r\nB:\r\n")])
    assert body.trailers is not None
    assert [(name, value) for name, _, value in body.trailers.fields] == [(b"a", b"b c"), (b"b", b"")]


def test_h7_trailers_that_frame_route_or_authenticate_are_left_out() -> None:
    body = fresh()
    lines = (
        b"Content-Length: 5\r\nHost: evil\r\nCookie: a=b\r\nAuthorization: x\r\nConnection: upgrade\r\nUpgrade: x\r\n"
    )
    read(body, [chunked([], lines + b"Checksum: 1\r\n")])
    assert body.trailers is not None
    assert [name for name, _ in body.trailers] == [b"Checksum"]
