"""Reads an origin's responses: heads through llhttp, bodies by our own readers. The twin of `request.py`."""

from typing import Final

import httptools

from edge.contract.headers import Headers
from edge.http1.body import BodyReader, ChunkedBody, LengthBody, UntilCloseBody
from edge.http1.errors import BadResponseError
from edge.http1.fields import HOP_BY_HOP, connection_options, split_head
from edge.http1.limits import HeadLimits

_MAX_LENGTH_DIGITS: Final = 18


class ResponseHead:
    """A response head that passed every framing rule.

    `body` reads the body, None when the response has none. `length` is the announced length, also where there is
    no body to it (HEAD, 304), and None when the head names none. `reusable` says whether the connection may carry
    another request once this response is complete.
    """

    __slots__ = ("body", "headers", "length", "reusable", "status")

    def __init__(self, status: int, headers: Headers) -> None:
        self.status = status
        self.headers = headers
        self.body: BodyReader | None = None
        self.length: int | None = None
        self.reusable = True

    @property
    def interim(self) -> bool:
        """Whether this is a 1xx head, with the final one still to come."""
        return self.status < 200

    def __repr__(self) -> str:
        return f"ResponseHead({self.status}, {len(self.headers)} headers)"


class ResponseReader:
    """Reads the response heads of one origin connection. Call `expect` with each request's method first."""

    __slots__ = ("_fields", "_hop", "_limits", "_method", "_parser", "_seen", "_tail")

    def __init__(self, limits: HeadLimits) -> None:
        self._limits = limits
        self._parser: httptools.HttpResponseParser | None = None
        self._method = b""
        self._start()

    def _start(self) -> None:
        self._fields: list[tuple[bytes, bytes, bytes]] = []
        self._hop: dict[bytes, list[bytes]] = {}
        self._tail = b""
        self._seen = 0

    def expect(self, method: bytes) -> None:
        """Say which request the next response answers: a HEAD's has no body."""
        self._method = method

    def feed(self, data: bytes) -> tuple[ResponseHead, bytes] | None:
        """Take the next bytes; return a head and the bytes after it, or None. Raises BadResponseError."""
        data, rest, ended = split_head(self._tail, data)
        self._seen += len(data)
        if self._seen > self._limits.max_head_bytes:
            raise BadResponseError("head too large")
        parser = self._parser
        if parser is None:
            parser = self._parser = httptools.HttpResponseParser(self)
        try:
            parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            raise BadResponseError(type(error).__name__) from None
        if not ended:
            self._tail = (self._tail + data)[-3:]
            return None
        head = self._judge(parser)
        self._start()
        self._keep_in_step(head, rest)
        return head, rest

    def _keep_in_step(self, head: ResponseHead, rest: bytes) -> None:
        """Let llhttp see a small body whole, or start afresh: it must not wait for one that our readers take."""
        if head.body is None and not head.length:
            return
        if self._parser is not None and isinstance(head.body, LengthBody) and head.length == len(rest):
            self._parser.feed_data(rest)
        else:
            self._parser = None

    def on_header(self, name: bytes, value: bytes) -> None:
        """Collect one field: llhttp's callback."""
        lower = name.lower()
        if lower in HOP_BY_HOP:
            self._hop.setdefault(lower, []).append(value)
        else:
            self._fields.append((lower, name, value))

    def _judge(self, parser: httptools.HttpResponseParser) -> ResponseHead:
        hop, status = self._hop, parser.get_status_code()
        if len(self._fields) + len(hop) > self._limits.max_headers:
            raise BadResponseError("too many fields")
        version = parser.get_http_version()
        if version not in {"1.1", "1.0"} or not 100 <= status <= 599 or status == 101:
            # No upgrade was asked for, so a 101 answers nothing.
            raise BadResponseError("version or status")
        head = ResponseHead(status, Headers(self._fields))
        self._judge_connection(head, http10=version == "1.0")
        if not head.interim:
            self._judge_framing(head, http10=version == "1.0")
        return head

    def _judge_connection(self, head: ResponseHead, *, http10: bool) -> None:
        options = connection_options(self._hop.get(b"connection"))
        head.reusable = not options.close and (not http10 or options.keep_alive)
        if options.nominated:
            head.headers.fields = [field for field in head.headers.fields if field[0] not in options.nominated]

    def _judge_framing(self, head: ResponseHead, *, http10: bool) -> None:
        """The body's length (RFC 9112 §6.3); what could be read in two ways is refused."""
        coding, lengths = self._hop.get(b"transfer-encoding"), self._hop.get(b"content-length")
        if lengths is not None:
            digits = lengths[0]
            if coding is not None or len(lengths) != 1 or not digits.isdigit() or len(digits) > _MAX_LENGTH_DIGITS:
                raise BadResponseError("Content-Length")
            head.length = int(digits)
        if coding is not None and (http10 or len(coding) != 1 or coding[0].lower() != b"chunked"):
            raise BadResponseError("Transfer-Encoding")
        if self._method == b"HEAD" or head.status in {204, 304}:
            if coding is not None:
                self._parser = None
        elif coding is not None:
            head.body = ChunkedBody(self._limits.max_head_bytes)
        elif head.length is None:
            head.body, head.reusable = UntilCloseBody(), False
        elif head.length:
            head.body = LengthBody(head.length)
