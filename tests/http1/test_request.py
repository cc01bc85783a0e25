"""Request heads: one reading, the same in whatever pieces they come, and never another than h11's."""

import h11
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from edge.contract.reasons import Reason
from edge.http1 import request
from edge.http1.body import ChunkedBody, LengthBody
from edge.http1.errors import BadRequestError
from edge.http1.limits import HeadLimits
from edge.http1.request import RequestHead, RequestReader
from tests.http1.test_body import CUTS, cut

LIMITS = HeadLimits(max_target_bytes=200, max_head_bytes=2000, max_headers=20)
HOST = b"Host: edge.test\r\n"

# Bytes that are nearly a request: what fuzzing from nothing would take for ever to reach.
_WORDS = [b"GET", b"POST", b"HEAD", b"OPTIONS", b" ", b"  ", b"/", b"/a?b", b"*", b"http://edge.test/", b"HTTP/1.1"]
_WORDS += [
    b"HTTP/1.0",
    b"HTTP/2.0",
    b"RTSP/1.0",
    b"\r\n",
    b"\n",
    b"\r",
    b"\t",
    b"\x00",
    b"\xff",
    b"Host:",
    b"edge.test",
]
_LINES = [HOST, b"Host: other\r\n", b"Content-Length: 5\r\n", b"Content-Length: 0\r\n", b"Content-Length: 5, 5\r\n"]
_LINES += [b"Content-Length: +5\r\n", b"Content-Length:5 \r\n", b"Transfer-Encoding: chunked\r\n"]
_LINES += [
    b"Transfer-Encoding: gzip, chunked\r\n",
    b"Transfer-Encoding : chunked\r\n",
    b"Transfer-Encoding:\tChunked\t\r\n",
]
_LINES += [
    b"Connection: close\r\n",
    b"Connection: x-a\r\n",
    b"X-A: b\r\n",
    b" folded\r\n",
    b"X_A: \r\n",
    b": x\r\n",
    b"X\r\n",
]
_LINES += [b"Connection: upgrade\r\nUpgrade: h2c\r\n", b"Expect: 100-continue\r\n", b"Expect: x\r\n"]
NEARLY = st.builds(
    lambda start, lines, end: b"".join(start) + b"".join(lines) + end,
    st.one_of(
        st.sampled_from([[b"GET / HTTP/1.1\r\n"], [b"POST /a HTTP/1.1\r\n"], [b"GET / HTTP/1.0\r\n"]]),
        st.lists(st.sampled_from(_WORDS), max_size=7),
    ),
    st.lists(st.sampled_from(_LINES), max_size=6),
    st.sampled_from([b"\r\n", b"\r\nhello", b"\n", b"", b"\r\nGET /b HTTP/1.1\r\nHost: x\r\n\r\n"]),
)


def read(pieces: list[bytes]) -> tuple[RequestHead, bytes] | BadRequestError | None:
    """Feed pieces to a reader until there is a head; the rest is returned whole."""
    reader = RequestReader(LIMITS)
    for turn, piece in enumerate(pieces):
        try:
            found = reader.feed(piece)
        except BadRequestError as error:
            return error
        if found is not None:
            return found[0], found[1] + b"".join(pieces[turn + 1 :])
    return None


def head_of(data: bytes) -> RequestHead:
    """Return the head that `data` is, and nothing else."""
    found = read([data])
    assert isinstance(found, tuple), found
    return found[0]


def refusal_of(data: bytes) -> BadRequestError:
    """Return why `data` is refused; the same in whatever pieces."""
    found, bytewise = read([data]), read(cut(data, [1]))
    assert isinstance(found, BadRequestError), found
    assert isinstance(bytewise, BadRequestError)
    assert found.status == bytewise.status
    return found


def facts(found: tuple[RequestHead, bytes] | BadRequestError | None) -> object:
    """Return what can be compared of a reading."""
    if not isinstance(found, tuple):
        return "refused" if found is not None else None
    head, rest = found
    return (
        *(head.method, head.target, head.authority, head.headers.fields, head.http10, head.keep_alive),
        *(head.expect_continue, type(head.body), head.length, rest),
    )


@given(data=NEARLY | st.binary(min_size=1, max_size=80), cuts=CUTS)
def test_any_bytes_give_the_same_request_whole_and_in_pieces(data: bytes, cuts: list[int]) -> None:
    whole = read([data]) if data else None
    pieces = read(cut(data, cuts))
    if isinstance(pieces, BadRequestError) and whole is None:
        pytest.fail("refused in pieces only")
    assert facts(whole) == facts(pieces)


@given(data=NEARLY)
@example(data=b"POST / HTTP/1.0\r\nContent-Length: 5\r\n\r\nhello")
def test_whatever_is_accepted_h11_reads_as_the_same_request(data: bytes) -> None:
    found = read([data]) if data else None
    if not isinstance(found, tuple):
        return
    head, rest = found
    oracle = h11.Connection(h11.SERVER)
    oracle.receive_data(data[: len(data) - len(rest)])
    event = oracle.next_event()
    assert isinstance(event, h11.Request)
    assert (event.method, event.target) == (head.method, head.target)
    names = [name for name, _ in event.headers]
    if b"content-length" in names:
        assert head.length == int(dict(event.headers)[b"content-length"])
    assert (b"transfer-encoding" in names) == isinstance(head.body, ChunkedBody)
    passed = {lower: value for lower, _, value in head.headers.fields}
    assert passed.items() <= {(bytes(name), bytes(value)) for name, value in event.headers}


@pytest.mark.parametrize(
    "lines",
    [
        b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
        b"Transfer-Encoding: chunked, chunked\r\n",
        b"Transfer-Encoding: gzip, chunked\r\n",
        b"Transfer-Encoding: chunked, identity\r\n",
        b"Transfer-Encoding: identity\r\n",
        b"Transfer-Encoding: xchunked\r\n",
        b'Transfer-Encoding: "chunked"\r\n',
        b"Transfer-Encoding: chunked;q=1\r\n",
        b"Transfer-Encoding:\r\n",
        b"Transfer-Encoding: \x0bchunked\r\n",
        b"Transfer-Encoding : chunked\r\n",
        b" Transfer-Encoding: chunked\r\n",
        b"X: y\r\n Transfer-Encoding: chunked\r\n",
        b"X: y\nTransfer-Encoding: chunked\r\n",
        b"X: y\rTransfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: chunked\r\nUpgrade: h2c\r\nConnection: upgrade\r\n",
    ],
)
def test_s1_s3_s6_a_transfer_encoding_with_two_readings_is_refused(lines: bytes) -> None:
    assert refusal_of(b"POST / HTTP/1.1\r\n" + HOST + lines + b"\r\n0\r\n\r\n").status == 400


@pytest.mark.parametrize(
    "value",
    [b"+5", b"-5", b"0x5", b"5,5", b"5, 5", b"5 5", b"", b"5;", b"five", b"5.0", b"1e1", b"\xb2", b"9" * 19, b"9" * 40],
)
def test_s2_a_content_length_that_is_not_plain_digits_is_refused(value: bytes) -> None:
    assert refusal_of(b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: " + value + b"\r\n\r\nhello").status == 400


@pytest.mark.parametrize("second", [b"5", b"6", b"05"])
def test_s2_a_repeated_content_length_is_refused(second: bytes) -> None:
    lines = b"Content-Length: 5\r\nContent-Length: " + second + b"\r\n"
    assert refusal_of(b"POST / HTTP/1.1\r\n" + HOST + lines + b"\r\nhello").status == 400


@pytest.mark.parametrize("host", [b"", HOST])
@pytest.mark.parametrize("length", [b"5", b"005"])
def test_s1_an_http_1_0_request_has_its_length_with_and_without_a_host(host: bytes, length: bytes) -> None:
    head = head_of(b"POST / HTTP/1.0\r\n" + host + b"Content-Length: " + length + b"\r\n\r\nhello")
    assert (head.length, type(head.body), head.keep_alive) == (5, LengthBody, False)


@pytest.mark.parametrize("host", [b"", HOST])
def test_s1_transfer_encoding_in_http_1_0_is_refused(host: bytes) -> None:
    refusal = refusal_of(b"POST / HTTP/1.0\r\n" + host + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n")
    assert refusal.reason is Reason.AMBIGUOUS_FRAMING


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"\r\nGET / HTTP/1.1\r\n" + HOST + b"\r\n", 400),
        (b"GET / HTTP/1.1\n" + HOST + b"\r\n", 400),
        (b"GET  / HTTP/1.1\r\n" + HOST + b"\r\n", 400),
        (b"GET\t/ HTTP/1.1\r\n" + HOST + b"\r\n", 400),
        (b"GET / HTTP/1.1 \r\n" + HOST + b"\r\n", 400),
        (b" GET / HTTP/1.1\r\n" + HOST + b"\r\n", 400),
        (b"get / HTTP/1.1\r\n" + HOST + b"\r\n", 400),
        (b"GET / http/1.1\r\n" + HOST + b"\r\n", 400),
        (b"GET / HTTP/1.2\r\n" + HOST + b"\r\n", 400),
        (b"GET / HTTP/2.0\r\n" + HOST + b"\r\n", 505),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
        (b"GET /\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost : edge.test\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n" + HOST + b"X: a\r\n b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n" + HOST + b"X: a\x00b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n" + HOST + b"X: a\rb\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n" + HOST + b"X: a\x7fb\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n" + HOST + b"X\x80: a\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n" + HOST + b"X Y: a\r\n\r\n", 400),
        (b"GET /\x80 HTTP/1.1\r\n" + HOST + b"\r\n", 400),
        (b"GET /a b HTTP/1.1\r\n" + HOST + b"\r\n", 400),
        (b"BREW / HTTP/1.1\r\n" + HOST + b"\r\n", 400),
        (b"TRACE / HTTP/1.1\r\n" + HOST + b"\r\n", 501),
        (b"CONNECT edge.test:80 HTTP/1.1\r\n" + HOST + b"\r\n", 501),
        (b"CONNECT edge.test:80 HTTP/1.1\r\n" + HOST + b"Content-Length: 5\r\n\r\nhello", 501),
        (b"GET / HTTP/1.1\r\n" + HOST + b"Expect: 200-ok\r\nContent-Length: 5\r\n\r\n", 417),
    ],
)
def test_s3_h13_what_is_not_strict_http_is_refused(data: bytes, status: int) -> None:
    assert refusal_of(data).status == status


@pytest.mark.parametrize(
    "hosts",
    [
        [],
        [b""],
        [b"a", b"b"],
        [b"a", b"a"],
        [b"a@b"],
        [b"a."],
        [b"a..b"],
        [b".a"],
        [b"a:99999"],
        [b"a:"],
        [b"a:b"],
        [b"a/b"],
        [b"a b"],
        [b"a,b"],
        [b"\xc3\xbc.test"],
        [b"[::1"],
        [b"a" * 300],
    ],
)
def test_p7_a_host_that_is_missing_repeated_or_no_host_is_refused(hosts: list[bytes]) -> None:
    lines = b"".join(b"Host: " + host + b"\r\n" for host in hosts)
    assert refusal_of(b"GET / HTTP/1.1\r\n" + lines + b"\r\n").status == 400


@pytest.mark.parametrize(
    ("value", "authority", "host"),
    [
        (b"Edge.TEST", b"edge.test", b"edge.test"),
        (b"edge.test:8080", b"edge.test:8080", b"edge.test"),
        (b"[::1]:80", b"[::1]:80", b"[::1]"),
        (b" 127.0.0.1 ", b"127.0.0.1", b"127.0.0.1"),
    ],
)
def test_p7_a_host_has_one_form_for_rule_log_and_origin(value: bytes, authority: bytes, host: bytes) -> None:
    head = head_of(b"GET / HTTP/1.1\r\nHost:" + value + b"\r\n\r\n")
    assert (head.authority, head.host) == (authority, host)


def test_h8_fields_named_in_connection_end_here_in_every_case() -> None:
    lines = (
        b"Connection: X-One, keep-alive\r\nconnection:x-two\r\nX-One: 1\r\nx-TWO: 2\r\nX-Three: 3\r\nKeep-Alive: 5\r\n"
    )
    head = head_of(b"GET / HTTP/1.1\r\n" + HOST + lines + b"\r\n")
    assert [name for name, _ in head.headers] == [b"X-Three"]


@pytest.mark.parametrize(
    ("data", "status", "reason"),
    [
        (b"GET /" + b"a" * 200 + b" HTTP/1.1\r\n" + HOST + b"\r\n", 414, Reason.TARGET_TOO_LONG),
        (b"GET /" + b"a" * 2100, 414, Reason.TARGET_TOO_LONG),
        (b"GET / HTTP/1.1\r\n" + HOST + b"X: " + b"a" * 2000 + b"\r\n\r\n", 431, Reason.HEAD_TOO_LARGE),
        (b"GET / HTTP/1.1\r\n" + HOST + b"X: a\r\n" * 20 + b"\r\n", 431, Reason.TOO_MANY_HEADERS),
        (b"GET / HTTP/1.1\r\n" + HOST + b"Connection: a\r\n" * 20 + b"\r\n", 431, Reason.TOO_MANY_HEADERS),
    ],
)
def test_p14_a_head_beyond_its_limits_is_refused(data: bytes, status: int, reason: Reason) -> None:
    bytewise = read(cut(data, [1]))
    assert isinstance(bytewise, BadRequestError)
    assert (bytewise.status, bytewise.reason) == (status, reason)
    whole = read([data])
    assert isinstance(whole, BadRequestError)
    assert whole.status in {414, 431}


def test_a_head_at_its_limits_is_read() -> None:
    assert (
        head_of(b"GET /" + b"a" * 199 + b" HTTP/1.1\r\n" + HOST + b"X: a\r\n" * 19 + b"\r\n").target
        == b"/" + b"a" * 199
    )


@given(cuts=CUTS)
def test_requests_that_follow_each_other_are_read_one_by_one(cuts: list[int]) -> None:
    first = b"POST /one HTTP/1.1\r\n" + HOST + b"Content-Length: 5\r\n\r\n"
    second = b"GET /two HTTP/1.1\r\n" + HOST + b"Connection: upgrade\r\nUpgrade: h2c\r\n\r\n"
    third = b"GET /three HTTP/1.1\r\n" + HOST + b"\r\n"
    reader = RequestReader(LIMITS)
    targets, body, held = [], b"", 0
    for piece in cut(first + b"hello" + second + third, cuts):
        rest = piece
        while rest:
            if held:
                body, rest, held = body + rest[:held], rest[held:], held - len(rest[:held])
                continue
            found = reader.feed(rest)
            if found is None:
                break
            targets.append(found[0].target)
            held, rest = found[0].length or 0, found[1]
    assert (targets, body, reader.idle) == ([b"/one", b"/two", b"/three"], b"hello", True)


_SEEN = b"\r\nHost: seen.test\r\nX-Same: 1\r\nCookie: a=b\r\n\r\n"


def test_a_section_seen_before_gives_the_same_head_and_a_list_of_its_own() -> None:
    first, second = head_of(b"GET /a HTTP/1.1" + _SEEN), head_of(b"GET /b HTTP/1.1" + _SEEN)
    assert (second.target, second.host, second.keep_alive) == (b"/b", b"seen.test", True)
    assert second.headers.fields == first.headers.fields
    second.headers.remove(b"cookie")
    third = head_of(b"DELETE /c HTTP/1.1" + _SEEN)
    assert [name for name, _ in third.headers] == [b"X-Same", b"Cookie"]


@pytest.mark.parametrize(
    "line",
    [
        b"GET  /a HTTP/1.1",
        b"GET /a  HTTP/1.1",
        b" GET /a HTTP/1.1",
        b"GET /a b HTTP/1.1",
        b"get /a HTTP/1.1",
        b"GET /\x00 HTTP/1.1",
        b"GET /\x7f HTTP/1.1",
        b"GET /\xff HTTP/1.1",
        b"GET /a\tb HTTP/1.1",
        b"GET /a\nX: y HTTP/1.1",
        b"GET /a\rX: y HTTP/1.1",
        b"GET HTTP/1.1",
        b"GET /a HTTP/1.2",
        b"GET /a HTTP/2.0",
        b"GET /a",
        b"CONNECT /a HTTP/1.1",
        b"TRACE /a HTTP/1.1",
        b"NONSENSE /a HTTP/1.1",
        b"\r\nGET /a HTTP/1.1",
        b"",
    ],
)
def test_s3_a_bad_request_line_is_refused_before_a_section_seen_before_too(line: bytes) -> None:
    head_of(b"GET /a HTTP/1.1" + _SEEN)
    assert isinstance(read([line + _SEEN]), BadRequestError)


def test_s1_a_section_that_frames_a_body_is_read_anew_each_time() -> None:
    data = b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc"
    for _ in range(2):
        found = read([data])
        assert isinstance(found, tuple)
        assert (found[0].length, found[1]) == (3, b"abc")
        assert isinstance(found[0].body, LengthBody)
    http10 = head_of(b"GET /a HTTP/1.0" + _SEEN)
    assert (http10.http10, http10.keep_alive) == (True, False)
    assert head_of(b"GET /a HTTP/1.1" + _SEEN).keep_alive


def test_d7_sections_are_remembered_in_bounded_amounts() -> None:
    sections = request._Sections(max_bytes=1000)
    for number in range(200):
        sections.put(b"\r\nHost: a\r\nX: %d\r\n\r\n" % number, request._Section([], b"a", b"a", keep_alive=True))
    assert sum(map(len, sections.young)) <= 1000
    assert sum(map(len, sections.old)) <= 1000
    head_of(b"GET /a HTTP/1.1" + _SEEN)
    request._sections.old, request._sections.young = request._sections.young, {}
    assert head_of(b"GET /b HTTP/1.1" + _SEEN).host == b"seen.test"
    assert _SEEN in request._sections.young
    long = b"\r\nHost: a\r\nX: " + b"x" * 1900 + b"\r\nY: " + b"y" * 200 + b"\r\n\r\n"
    RequestReader(HeadLimits()).feed(b"GET / HTTP/1.1" + long)
    assert long not in sections.young


def test_remembered_sections_show_no_values() -> None:
    head_of(b"GET /a HTTP/1.1" + _SEEN)
    assert "a=b" not in repr(request._sections.young[_SEEN])
