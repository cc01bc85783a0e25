"""Reads request heads: llhttp validates them, the rules here decide whether they are fit to relay.

Theory of operation: `feed` passes the connection's bytes to llhttp up to the blank line that ends the head, never
beyond it, so the position where the body (or the next request) starts is known to the byte. What llhttp accepts
though two parsers could read it differently is refused in `_judge`; docs/supported_http.md lists it all.

A device mostly sends the same field section over and over. One without a body that was found good is remembered, whole,
and recognised by one look-up; only the request line is then read.
"""

import re
from typing import Final, NamedTuple

import httptools

from edge.contract.headers import Field, Headers
from edge.contract.reasons import Reason
from edge.http1.body import BodyReader, ChunkedBody, LengthBody
from edge.http1.errors import BadRequestError
from edge.http1.fields import connection_options, list_tokens, split_head
from edge.http1.host import parse_host
from edge.http1.limits import HeadLimits
from edge.http1.lines import split_fields

_MAX_LENGTH_DIGITS: Final = 18
_MAX_METHOD_BYTES: Final = 32
_VERSIONS: Final = frozenset({b"HTTP/1.1", b"HTTP/1.0"})
_REFUSED_METHODS: Final = frozenset({b"CONNECT", b"TRACE"})
_USUAL_METHODS: Final = frozenset({b"GET", b"HEAD", b"OPTIONS", b"DELETE"})
_USUAL_HOP_FIELDS: Final = frozenset({b"host", b"connection"})
_PRINTABLE: Final = re.compile(rb"[!-~]+").fullmatch
_MAX_SECTION_BYTES: Final = 2048


class RequestHead:
    """A request head that passed every framing rule.

    `headers` are the end-to-end fields; hop-by-hop ones, and those that `Connection` names, are gone. `authority`
    is the Host value in lower case (empty for an HTTP/1.0 request without one), `host` the same without port.
    `body` reads the body, None when there is none; `length` is its announced length, None when chunked. `upgrade`
    names the protocols that the client would rather speak, in lower case and in its order.
    """

    __slots__ = (
        "authority",
        "body",
        "expect_continue",
        "headers",
        "host",
        "http10",
        "keep_alive",
        "length",
        "method",
        "target",
        "upgrade",
    )

    def __init__(self, method: bytes, target: bytes, headers: Headers) -> None:
        self.method = method
        self.target = target
        self.headers = headers
        self.authority = b""
        self.host = b""
        self.http10 = False
        self.keep_alive = True
        self.expect_continue = False
        self.body: BodyReader | None = None
        self.length: int | None = 0
        self.upgrade: tuple[bytes, ...] = ()

    def __repr__(self) -> str:
        return f"RequestHead({self.method.decode('latin-1')}, {len(self.headers)} headers)"


class _Section(NamedTuple):
    """A good field section from the end of an HTTP/1.1 request line to the blank line, of a request without a body."""

    fields: list[Field]
    authority: bytes
    host: bytes
    keep_alive: bool

    def __repr__(self) -> str:
        return f"_Section({len(self.fields)} fields)"


class _Sections:
    """Sections seen of late, in two generations of at most `max_bytes` of keys each.

    When the young one is full it becomes the old one, whose entries are forgotten unless they come again.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self.young: dict[bytes, _Section] = {}  # read directly on the fast path
        self.old: dict[bytes, _Section] = {}
        self.young_bytes = 0

    def revive(self, key: bytes) -> _Section | None:
        """Return an entry of the old generation, young again."""
        section = self.old.pop(key, None)
        if section is not None:
            self.put(key, section)
        return section

    def put(self, key: bytes, section: _Section) -> None:
        """Remember a section."""
        if self.young_bytes + len(key) > self._max_bytes:
            self.old, self.young, self.young_bytes = self.young, {}, 0
        self.young[key] = section
        self.young_bytes += len(key)


_sections: Final = _Sections(8 * 1024 * 1024)


def plain_request(data: bytes, max_target_bytes: int) -> tuple[bytes, bytes] | None:
    """Recognise one whole request with a field section that was found good before, and no body, without reading it.

    Return what comes before the query, and the authority: all requests with the same two go the same way. None for
    anything else, and for one that is its connection's last.
    """
    line_end = data.find(b"\r\n")
    version_at = line_end - 9
    if version_at < 0 or data[version_at:line_end] != b" HTTP/1.1":
        return None
    section = _sections.young.get(data[line_end:])
    if section is None or not section.keep_alive:
        return None
    query_at = data.find(b"?", 0, version_at)
    if query_at < 0:
        return data[:version_at], section.authority
    if version_at > max_target_bytes or not _PRINTABLE(data, query_at, version_at):
        return None
    return data[:query_at], section.authority


class RequestReader:
    """Reads the request heads of one connection, one after the other."""

    __slots__ = ("_held", "_limits", "_validator")

    def __init__(self, limits: HeadLimits) -> None:
        self._limits = limits
        self._validator: httptools.HttpRequestParser | None = None
        self._held = b""

    @property
    def idle(self) -> bool:
        """Whether no byte of the next head has been read."""
        return not self._held

    def feed(self, data: bytes) -> tuple[RequestHead, bytes] | None:
        """Take the next bytes; return a head and the bytes after it, or None when the head goes on.

        Raises BadRequestError; the connection is then of no further use.
        """
        held = self._held
        if not held:
            stop = data.find(b"\r\n\r\n") + 4
            if 4 <= stop <= self._limits.max_head_bytes:
                line_end = data.find(b"\r\n")
                key = data[line_end:stop]
                section = _sections.young.get(key) or _sections.revive(key)
                head = None if section is None else self._recognise(data[:line_end], section)
                if head is not None:
                    return head, data[stop:]
            if data[0] in b"\r\n":
                raise BadRequestError(400, Reason.MALFORMED_REQUEST, "empty line before the request line")
        data, rest, ended = split_head(held, data)
        whole = held + data
        if len(whole) > self._limits.max_head_bytes:
            raise BadRequestError(431, Reason.HEAD_TOO_LARGE, f"more than {self._limits.max_head_bytes} bytes")
        self._validate(data)
        if not ended:
            self._held = whole
            if b"\r\n" not in whole and len(whole) > self._limits.max_target_bytes + _MAX_METHOD_BYTES:
                raise self._target_too_long()
            return None
        self._held = b""
        return self._judge(whole), rest

    def _recognise(self, line: bytes, section: _Section) -> RequestHead | None:
        """Return the head of a request with a known section; None for a request line that is not a plain one."""
        words = line.split(b" ")
        if len(words) != 3 or words[2] != b"HTTP/1.1" or words[0] not in _USUAL_METHODS:
            return None
        if (
            len(words[1]) > self._limits.max_target_bytes
            or not _PRINTABLE(words[1])
            or len(section.fields) > self._limits.max_headers
        ):
            return None
        head = RequestHead(words[0], words[1], Headers([*section.fields]))
        head.authority, head.host, head.keep_alive = section.authority, section.host, section.keep_alive
        return head

    def _validate(self, data: bytes) -> None:
        validator = self._validator
        if validator is None:
            validator = self._validator = httptools.HttpRequestParser(None)
        try:
            validator.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._validator = None  # it waits for another protocol; what was asked for is judged with the rest
        except httptools.HttpParserError as error:
            raise BadRequestError(400, Reason.MALFORMED_REQUEST, type(error).__name__) from None

    def _target_too_long(self) -> BadRequestError:
        return BadRequestError(414, Reason.TARGET_TOO_LONG, f"more than {self._limits.max_target_bytes} bytes")

    def _judge(self, data: bytes) -> RequestHead:
        limits = self._limits
        lines = data[:-4].split(b"\r\n")
        if len(lines) > limits.max_headers + 1:
            raise BadRequestError(431, Reason.TOO_MANY_HEADERS, f"more than {limits.max_headers} fields")
        words = lines.pop(0).split(b" ")
        if len(words) != 3:
            raise BadRequestError(400, Reason.MALFORMED_REQUEST, "request line")
        method, target, version = words
        if len(target) > limits.max_target_bytes:
            raise self._target_too_long()
        if version not in _VERSIONS:
            raise BadRequestError(505, Reason.UNSUPPORTED_VERSION, "version")
        if method in _REFUSED_METHODS:
            raise BadRequestError(501, Reason.METHOD_NOT_SUPPORTED, "CONNECT or TRACE")
        hop: dict[bytes, list[bytes]] = {}
        head = RequestHead(method, target, Headers(split_fields(lines, hop)))
        head.http10 = version == b"HTTP/1.0"
        _judge_host(head, hop.get(b"host"))
        _judge_connection(head, hop.get(b"connection"))
        if len(hop) > 1 or head.http10:  # one of them is Host, which HTTP/1.0 can do without
            _judge_framing(head, hop, limits)
            _judge_expectation(head, hop.get(b"expect"))
            if b"upgrade" in hop:
                _judge_upgrade(head, hop)
            if head.body is not None:
                self._validator = None  # it waits for a body that our own readers take
        if hop.keys() <= _USUAL_HOP_FIELDS and not head.http10 and head.method in _USUAL_METHODS:
            _remember(data[data.index(b"\r\n") :], head)
        return head


def _remember(section: bytes, head: RequestHead) -> None:
    if len(section) <= _MAX_SECTION_BYTES:
        _sections.put(section, _Section([*head.headers.fields], head.authority, head.host, head.keep_alive))


def _judge_host(head: RequestHead, values: list[bytes] | None) -> None:
    """One valid Host; an HTTP/1.0 request may have none (RFC 9112 §3.2)."""
    if values is None:
        if not head.http10:
            raise BadRequestError(400, Reason.BAD_HOST, "missing")
        return
    parsed = parse_host(values[0]) if len(values) == 1 else None
    if parsed is None:
        raise BadRequestError(400, Reason.BAD_HOST, "invalid" if len(values) == 1 else "repeated")
    head.authority, head.host = parsed


def _judge_connection(head: RequestHead, values: list[bytes] | None) -> None:
    """Persistence, and the fields that `Connection` names for this hop only (RFC 9110 §7.6.1)."""
    options = connection_options(values)
    head.keep_alive = not options.close and (not head.http10 or options.keep_alive)
    if options.nominated:
        head.headers.fields = [field for field in head.headers.fields if field[0] not in options.nominated]


def _judge_framing(head: RequestHead, hop: dict[bytes, list[bytes]], limits: HeadLimits) -> None:
    """The body's length, in exactly one reading (RFC 9112 §6.3; THREATS S1, S2, S6)."""
    coding, length = hop.get(b"transfer-encoding"), hop.get(b"content-length")
    if coding is not None:
        if length is not None or head.http10 or len(coding) != 1 or coding[0].lower() != b"chunked":
            raise BadRequestError(400, Reason.AMBIGUOUS_FRAMING, "Transfer-Encoding")
        head.body, head.length = ChunkedBody(limits.max_head_bytes), None
    elif length is not None:
        digits = length[0]
        if len(length) != 1 or not digits.isdigit() or len(digits) > _MAX_LENGTH_DIGITS:
            raise BadRequestError(400, Reason.AMBIGUOUS_FRAMING, "Content-Length")
        head.length = int(digits)
        if head.length:
            head.body = LengthBody(head.length)


def _judge_upgrade(head: RequestHead, hop: dict[bytes, list[bytes]]) -> None:
    """Which protocols are asked for (RFC 9110 §7.8): by a GET, of this hop. One with a body is refused (THREATS S6)."""
    if head.body is not None:
        raise BadRequestError(400, Reason.AMBIGUOUS_FRAMING, "Upgrade with a body")
    if head.method == b"GET" and not head.http10 and b"upgrade" in list_tokens(hop.get(b"connection", [])):
        names = [name.strip(b" \t").lower() for value in hop[b"upgrade"] for name in value.split(b",")]
        head.upgrade = tuple(filter(None, names))


def _judge_expectation(head: RequestHead, values: list[bytes] | None) -> None:
    """`100-continue` is the only expectation there is (RFC 9110 §10.1.1); an HTTP/1.0 client's is ignored."""
    if values is None or head.http10:
        return
    if list_tokens(values) != {b"100-continue"}:
        raise BadRequestError(417, Reason.EXPECTATION_UNKNOWN, "Expect")
    head.expect_continue = head.body is not None
