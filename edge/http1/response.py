"""Reads an origin's responses: heads through llhttp, bodies by our own readers. The twin of `request.py`."""

import re
from typing import Final, NamedTuple

import httptools

from edge.contract.headers import Field, Headers
from edge.http1.body import BodyReader, ChunkedBody, LengthBody, TunnelBody, UntilCloseBody
from edge.http1.errors import BadResponseError
from edge.http1.fields import connection_options, list_tokens, split_head
from edge.http1.limits import HeadLimits
from edge.http1.lines import split_fields

_MAX_LENGTH_DIGITS: Final = 18
_STATUS_LINE: Final = re.compile(rb"HTTP/1\.[01] [1-5][0-9]{2}(?: [\t -~\x80-\xff]*)?").fullmatch
_FIRST_BYTE: Final = ord("H")  # llhttp would skip empty lines before it


class ResponseHead:
    """A response head that passed every framing rule.

    `body` reads the body, None when the response has none, or when all of it came with the head: then it is in
    `whole`. `length` is the announced length, also where there is no body to it (HEAD, 304), and None when the head
    names none. `reusable` says whether the connection may carry another request once this response is complete. The
    body of a 101 is a `TunnelBody`.
    """

    __slots__ = ("body", "headers", "length", "reusable", "status", "whole")

    def __init__(self, status: int, headers: Headers) -> None:
        self.status = status
        self.headers = headers
        self.body: BodyReader | None = None
        self.length: int | None = None
        self.whole: bytes | None = None
        self.reusable = True

    def __repr__(self) -> str:
        return f"ResponseHead({self.status}, {len(self.headers)} headers)"


class _Last(NamedTuple):
    """The head of the last response that came whole: an origin often repeats itself to the byte within a second."""

    section: bytes
    status: int
    fields: list[Field]
    length: int
    reusable: bool

    def again(self, body: bytes) -> ResponseHead:
        """Return the same head with another body of the same length."""
        head = ResponseHead(self.status, Headers([*self.fields]))
        head.whole, head.length, head.reusable = body, self.length, self.reusable
        return head

    def __repr__(self) -> str:
        return f"_Last({self.status})"


class ResponseReader:
    """Reads the response heads of one origin connection. Set `method` to that of each request first.

    A 101 is refused unless `upgrade` is set: it answers a request that asked for another protocol.
    """

    __slots__ = ("_held", "_hop", "_last", "_limits", "_validator", "method", "upgrade")

    def __init__(self, limits: HeadLimits) -> None:
        self._limits = limits
        self._validator: httptools.HttpResponseParser | None = None
        self._held = b""
        self._hop: dict[bytes, list[bytes]] = {}
        self._last: _Last | None = None
        self.upgrade = False
        self.method = b""  # of the request that the next response answers: a HEAD's has no body

    def feed(self, data: bytes) -> tuple[ResponseHead, bytes] | None:
        """Take the next bytes; return a head and the bytes after it, or None. Raises BadResponseError."""
        held, last = self._held, self._last
        if last is not None and not held and data.startswith(last.section) and self.method != b"HEAD":
            body = data[len(last.section) :]
            if len(body) == last.length:
                return last.again(body), body
        if not held and data[0] != _FIRST_BYTE:
            raise BadResponseError("does not begin with HTTP")
        data, rest, ended = split_head(held, data)
        section = held + data
        if len(section) > self._limits.max_head_bytes:
            raise BadResponseError("head too large")
        validator = self._validator
        if validator is None:
            validator = self._validator = httptools.HttpResponseParser(None)
        try:
            validator.feed_data(data)
        except httptools.HttpParserUpgrade:
            pass  # it waits for another protocol; whether that was asked for is judged with the rest
        except httptools.HttpParserError as error:
            raise BadResponseError(type(error).__name__) from None
        if not ended:
            self._held = section
            return None
        self._held = b""
        head = self._judge(section, rest)
        if head.whole is not None:
            validator.feed_data(rest)  # llhttp, too, has then seen the whole response
            self._last = _Last(section, head.status, [*head.headers.fields], len(rest), head.reusable)
        elif head.body is not None or head.length or self.method == b"HEAD":
            self._validator = None  # it waits for a body that our own readers take, or that never comes
        return head, rest

    def _judge(self, section: bytes, rest: bytes) -> ResponseHead:
        lines = section[:-4].split(b"\r\n")
        if len(lines) > self._limits.max_headers + 1:
            raise BadResponseError("too many fields")
        start = lines.pop(0)
        if _STATUS_LINE(start) is None:
            raise BadResponseError("status line")
        http10, status = start[7:8] == b"0", int(start[9:12])
        if status == 101 and (http10 or not self.upgrade):
            raise BadResponseError("a 101 that was not asked for")
        self._hop = {}
        head = ResponseHead(status, Headers(split_fields(lines, self._hop)))
        if http10 or b"connection" in self._hop:
            self._judge_connection(head, http10=http10)
        if status >= 200:
            self._judge_framing(head, rest, http10=http10)
            if status == 401 and _binds_connection(head.headers):
                head.reusable = False
        elif b"content-length" in self._hop or b"transfer-encoding" in self._hop:
            raise BadResponseError("an interim response with a body")
        elif status == 101:
            self._judge_upgrade(head)
        return head

    def _judge_upgrade(self, head: ResponseHead) -> None:
        """The one protocol that a 101 switches to, for this hop (RFC 9110 §7.8)."""
        protocols = self._hop.get(b"upgrade", [])
        if len(protocols) != 1 or b"upgrade" not in list_tokens(self._hop.get(b"connection", [])):
            raise BadResponseError("a 101 that switches to nothing")
        head.body, head.reusable = TunnelBody(protocols[0].lower()), False

    def _judge_connection(self, head: ResponseHead, *, http10: bool) -> None:
        options = connection_options(self._hop.get(b"connection"))
        head.reusable = not options.close and (not http10 or options.keep_alive)
        if options.nominated:
            head.headers.fields = [field for field in head.headers.fields if field[0] not in options.nominated]

    def _judge_framing(self, head: ResponseHead, rest: bytes, *, http10: bool) -> None:
        """The body's length (RFC 9112 §6.3); what could be read in two ways is refused."""
        coding, lengths = self._hop.get(b"transfer-encoding"), self._hop.get(b"content-length")
        if lengths is not None:
            digits = lengths[0]
            if coding is not None or len(lengths) != 1 or not digits.isdigit() or len(digits) > _MAX_LENGTH_DIGITS:
                raise BadResponseError("Content-Length")
            head.length = int(digits)
        if coding is not None and (http10 or len(coding) != 1 or coding[0].lower() != b"chunked"):
            raise BadResponseError("Transfer-Encoding")
        if self.method == b"HEAD" or head.status in {204, 304}:
            if coding is not None:
                self._validator = None
            if head.status == 204 and (coding is not None or head.length):
                head.reusable = False  # it has no body, but what it announces may follow
        elif coding is not None:
            head.body = ChunkedBody(self._limits.max_head_bytes)
        elif head.length is None:
            head.body, head.reusable = UntilCloseBody(), False
        elif head.length == len(rest):
            head.whole = rest or None
        elif head.length:
            head.body = LengthBody(head.length)


def _binds_connection(headers: Headers) -> bool:
    """Whether an origin would sign in a connection instead of a request (THREATS S10)."""
    return any(value[:9].lower().startswith((b"ntlm", b"negotiate")) for value in headers.get_all(b"www-authenticate"))
