"""Bytes that are nearly HTTP: valid messages, and what becomes of them when they are tampered with."""

from hypothesis import strategies as st

_TOKENS = [b"\r", b"\n", b"\r\n", b"\r\n\r\n", b"\x00", b" ", b"  ", b"\t", b":", b";", b",", b"=", b"0", b"1", b"5"]
_TOKENS += [b"a", b"+", b"-", b"0x", b"_", b"\x0b", b"\x0c", b"\x1f", b"\x7f", b"\x80", b"\x85", b"\xa0", b"\xff"]
_TOKENS += [b"Content-Length: 3\r\n", b"Transfer-Encoding: chunked\r\n", b"Transfer-Encoding: identity\r\n", b"chunked"]
_TOKENS += [
    b"Connection: close\r\n",
    b"Host: evil\r\n",
    b"HTTP/1.0",
    b"0\r\n\r\n",
    b";a=b",
    b"\r\n ",
    b"GET / HTTP/1.1",
]

_NAMES = st.sampled_from([b"X-A", b"x-b", b"Accept", b"X_C", b"Cookie", b"User-Agent", b"Set-Cookie", b"ETag"])
_VALUES = st.sampled_from([b"", b"1", b"a b", b"a, b", b"chunked", b'"x"', b"\xc3\xbc", b"5", b"a=b; c=d", b"HTTP/1.1"])
_FIELDS = st.lists(st.tuples(_NAMES, _VALUES).map(lambda field: field[0] + b": " + field[1] + b"\r\n"), max_size=4)
_PAYLOADS = st.lists(
    st.sampled_from([b"hello", b"\r\n", b"0\r\n\r\n", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"])
    | st.binary(min_size=1, max_size=30),
    max_size=4,
)
_TRAILERS = st.lists(
    st.sampled_from([b"X-Sum: 1\r\n", b"Cookie: a\r\n", b"Content-Length: 5\r\n", b"x-b:\r\n"]), max_size=2, unique=True
)


def chunks(payloads: list[bytes], trailers: list[bytes]) -> bytes:
    """Return payloads as a chunked body."""
    sized = b"".join(b"%x\r\n%b\r\n" % (len(each), each) for each in payloads)
    return sized + b"0\r\n" + b"".join(trailers) + b"\r\n"


@st.composite
def _body(draw: st.DrawFn) -> tuple[bytes, bytes]:
    """Draw a framing line and the body that it frames."""
    payloads = draw(_PAYLOADS)
    whole = b"".join(payloads)
    if draw(st.booleans()):
        return b"Content-Length: %d\r\n" % len(whole), whole
    return b"Transfer-Encoding: chunked\r\n", chunks(payloads, draw(_TRAILERS))


@st.composite
def valid_request(draw: st.DrawFn) -> bytes:
    """Draw a request that every parser reads alike."""
    method = draw(st.sampled_from([b"GET", b"POST", b"PUT", b"DELETE", b"HEAD", b"OPTIONS", b"PATCH"]))
    target = draw(st.sampled_from([b"/", b"/a/b?c=d", b"/%20", b"http://edge.test/x", b"/?a=b&c=//"]))
    framing, body = draw(st.just((b"", b"")) | _body())
    lines = draw(st.permutations([b"Host: edge.test\r\n", framing, *draw(_FIELDS)]))
    return method + b" " + target + b" HTTP/1.1\r\n" + b"".join(lines) + b"\r\n" + body


@st.composite
def valid_response(draw: st.DrawFn) -> bytes:
    """Draw an answer to GET that does not end with the connection."""
    status = draw(st.sampled_from([b"200 OK", b"404 Not Found", b"500 ", b"302 Found", b"418 I'm a teapot"]))
    framing, body = draw(_body())
    lines = draw(st.permutations([framing, *draw(_FIELDS)]))
    interim = draw(
        st.sampled_from([b"", b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n", b"HTTP/1.1 100 Continue\r\n\r\n"])
    )
    return interim + b"HTTP/1.1 " + status + b"\r\n" + b"".join(lines) + b"\r\n" + body


@st.composite
def tampered(draw: st.DrawFn, messages: st.SearchStrategy[bytes]) -> bytes:
    """Draw one to three messages in a row, tampered with in a few places."""
    data = b"".join(draw(st.lists(messages, min_size=1, max_size=3)))
    for _ in range(draw(st.integers(0, 3))):
        place = draw(st.integers(0, len(data)))
        length = draw(st.integers(0, 4))
        match draw(st.sampled_from(["insert", "insert", "delete", "replace", "repeat", "cut"])):
            case "insert":
                data = data[:place] + draw(st.sampled_from(_TOKENS)) + data[place:]
            case "delete":
                data = data[:place] + data[place + length :]
            case "replace":
                data = data[:place] + draw(st.sampled_from(_TOKENS)) + data[place + length :]
            case "repeat":
                data = data[: place + 8 * length] + data[place:]
            case _:
                data = data[:place]
    return data


SIZES = st.lists(st.integers(min_value=1, max_value=25), min_size=1, max_size=30)
