"""Response heads: one reading, the same in whatever pieces they come, and never another than h11's."""

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.http1.body import ChunkedBody, LengthBody, UntilCloseBody
from edge.http1.errors import BadResponseError
from edge.http1.limits import HeadLimits
from edge.http1.response import ResponseHead, ResponseReader
from tests.http1.test_body import CUTS, cut

LIMITS = HeadLimits(max_head_bytes=2000, max_headers=20)
_STARTS = [
    b"HTTP/1.1 200 OK\r\n",
    b"HTTP/1.0 200 OK\r\n",
    b"HTTP/1.1 204 No\r\n",
    b"HTTP/1.1 304 No\r\n",
    b"HTTP/1.1 103 E\r\n",
]
_STARTS += [
    b"HTTP/1.1 101 S\r\n",
    b"HTTP/2.0 200 OK\r\n",
    b"HTTP/1.1 99 x\r\n",
    b"HTTP/1.1 600 x\r\n",
    b"HTTP/1.1 200\r\n",
]
_STARTS += [
    b"\r\nHTTP/1.1 200 OK\r\n",
    b"ICY 200 OK\r\n",
    b"HTTP/1.1 200 O\rK\r\n",
    b"HTTP/1.1  200 OK\r\n",
    b"HTTP/1.1 200 OK\n",
]
_LINES = [
    b"Content-Length: 5\r\n",
    b"Content-Length: 0\r\n",
    b"Content-Length: 5, 5\r\n",
    b"Transfer-Encoding: chunked\r\n",
]
_LINES += [
    b"Transfer-Encoding: gzip, chunked\r\n",
    b"Connection: close\r\n",
    b"X-A: b \r\n",
    b" folded\r\n",
    b"X : y\r\n",
]
_LINES += [b"Connection: upgrade\r\nUpgrade: h2c\r\n", b"X: \x00\r\n", b"X: a\rb\r\n", b"X: a\nb\r\n"]
NEARLY = st.builds(
    lambda start, lines, end: start + b"".join(lines) + end,
    st.sampled_from(_STARTS),
    st.lists(st.sampled_from(_LINES), max_size=5),
    st.sampled_from([b"\r\n", b"\r\nhello", b"\n", b"", b"\r\nHTTP/1.1 200 OK\r\n\r\n"]),
)
METHODS = st.sampled_from([b"GET", b"HEAD", b"POST"])


def read(pieces: list[bytes], method: bytes = b"GET") -> tuple[ResponseHead, bytes] | str:
    """Feed pieces to a reader until there is a head; the rest is returned whole."""
    reader = ResponseReader(LIMITS)
    reader.method = method
    for turn, piece in enumerate(pieces):
        try:
            found = reader.feed(piece)
        except BadResponseError:
            return "refused"
        if found is not None:
            return found[0], found[1] + b"".join(pieces[turn + 1 :])
    return "goes on"


def head_of(data: bytes, method: bytes = b"GET") -> ResponseHead:
    """Return the head that `data` is."""
    found = read([data], method)
    assert isinstance(found, tuple), found
    return found[0]


def facts(found: tuple[ResponseHead, bytes] | str) -> object:
    """Return what can be compared of a reading."""
    if isinstance(found, str):
        return found
    head, rest = found
    return (
        head.status,
        head.headers.fields,
        LengthBody if head.whole is not None else type(head.body),
        head.length,
        head.reusable,
        rest,
    )


@given(data=NEARLY | st.binary(min_size=1, max_size=60), cuts=CUTS, method=METHODS)
def test_any_bytes_give_the_same_response_whole_and_in_pieces(data: bytes, cuts: list[int], method: bytes) -> None:
    assert facts(read([data], method)) == facts(read(cut(data, cuts), method))


@given(data=NEARLY, method=METHODS)
def test_whatever_is_accepted_h11_reads_as_the_same_response(data: bytes, method: bytes) -> None:
    found = read([data], method)
    if not isinstance(found, tuple):
        return
    head, rest = found
    oracle = h11.Connection(h11.CLIENT)
    oracle.send(h11.Request(method=method, target=b"/", headers=[(b"host", b"x")]))
    oracle.send(h11.EndOfMessage())
    oracle.receive_data(data[: len(data) - len(rest)])
    event = oracle.next_event()
    assert isinstance(event, h11.Response | h11.InformationalResponse)
    assert event.status_code == head.status
    names = [name for name, _ in event.headers]
    if b"content-length" in names:
        assert head.length == int(dict(event.headers)[b"content-length"])
    if head.body is not None:
        assert (b"transfer-encoding" in names) == isinstance(head.body, ChunkedBody)
    if head.body is None and head.status >= 200:
        assert isinstance(oracle.next_event(), h11.EndOfMessage)


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 103 Early\r\nContent-Length: 5\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n",
        b"HTTP/1.1 99 Low\r\n\r\n",
        b"HTTP/1.1 600 High\r\n\r\n",
        b"HTTP/2.0 200 OK\r\n\r\n",
        b"\r\nHTTP/1.1 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nLocation: /a\rSet-Cookie: b\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nLocation: /a\nSet-Cookie: b\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX : y\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: y\r\n z\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 2000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 21 + b"\r\n",
        b"hello",
    ],
)
def test_s8_s9_what_is_not_one_strict_response_is_refused(data: bytes) -> None:
    assert read([data]) == "refused"
    assert read(cut(data, [1])) == "refused"


@pytest.mark.parametrize("status", [b"204 No Content", b"304 Not Modified"])
def test_204_and_304_have_no_body_whatever_they_announce(status: bytes) -> None:
    assert head_of(b"HTTP/1.1 " + status + b"\r\nContent-Length: 5\r\n\r\n").body is None


@pytest.mark.parametrize("line", [b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n"])
def test_s9_a_204_that_announces_a_body_ends_its_connection(line: bytes) -> None:
    assert not head_of(b"HTTP/1.1 204 No Content\r\n" + line + b"\r\n").reusable
    assert head_of(b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n").reusable


@pytest.mark.parametrize(
    ("lines", "kind", "reusable"),
    [
        (b"Content-Length: 5\r\n", LengthBody, True),
        (b"Transfer-Encoding: CHUNKED\r\n", ChunkedBody, True),
        (b"", UntilCloseBody, False),
        (b"Content-Length: 0\r\n", type(None), True),
        (b"Content-Length: 5\r\nConnection: close\r\n", LengthBody, False),
    ],
)
def test_a_body_has_the_length_its_head_says(lines: bytes, kind: type, reusable: bool) -> None:
    head = head_of(b"HTTP/1.1 200 OK\r\n" + lines + b"\r\n")
    assert (type(head.body), head.reusable) == (kind, reusable)


@pytest.mark.parametrize("lines", [b"", b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n"])
@pytest.mark.parametrize("bad", [b"HTTP/1.1 200 OK\r\nX : y\r\n\r\n", b"HTTP/1.1 200 OK\r\nX: \x00\r\n\r\n"])
def test_s9_the_response_after_one_to_head_is_read_as_strictly(lines: bytes, bad: bytes) -> None:
    good = b"HTTP/1.1 404 No\r\nContent-Length: 3\r\nX-A: b\r\n\r\n"
    for following in (good, bad):
        reader = ResponseReader(LIMITS)
        reader.method = b"HEAD"
        found = reader.feed(b"HTTP/1.1 200 OK\r\nDate: x\r\n" + lines + b"\r\n")
        assert found is not None
        assert (found[0].body, found[0].reusable) == (None, True)
        reader.method = b"GET"
        if following is bad:
            with pytest.raises(BadResponseError):
                reader.feed(following)
        else:
            found = reader.feed(following)
            assert found is not None
            assert (found[0].status, found[0].length, found[0].headers.get(b"x-a")) == (404, 3, b"b")


_SEEN = b"HTTP/1.1 200 OK\r\nServer: x\r\nContent-Length: 5\r\n\r\n"


def test_a_head_repeated_to_the_byte_gives_the_same_response_with_its_own_body() -> None:
    reader = ResponseReader(LIMITS)
    for body in (b"hello", b"world", b"again"):
        found = reader.feed(_SEEN + body)
        assert found is not None
        assert (found[0].status, found[0].whole, found[0].length) == (200, body, 5)
        assert [name for name, _ in found[0].headers] == [b"Server"]
        found[0].headers.remove(b"server")


def test_s9_a_repeated_head_with_less_or_more_after_it_is_framed_as_ever() -> None:
    reader = ResponseReader(LIMITS)
    assert reader.feed(_SEEN + b"hello") is not None
    cut_short = reader.feed(_SEEN + b"hel")
    assert cut_short is not None
    assert (cut_short[0].whole, cut_short[1]) == (None, b"hel")
    assert isinstance(cut_short[0].body, LengthBody)
    overlong = reader.feed(_SEEN + b"helloHTTP/1.1")
    assert overlong is not None
    assert (overlong[0].whole, overlong[1]) == (None, b"helloHTTP/1.1")


def test_s9_a_repeated_head_answers_a_head_request_without_a_body() -> None:
    reader = ResponseReader(LIMITS)
    assert reader.feed(_SEEN + b"hello") is not None
    reader.method = b"HEAD"
    found = reader.feed(_SEEN)
    assert found is not None
    assert (found[0].whole, found[0].body, found[0].length) == (None, None, 5)
