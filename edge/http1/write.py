"""Writes heads and chunks. One bytes object per head, so that it leaves in one write."""

from http import HTTPStatus
from typing import Final

from edge.contract.headers import Headers

LAST_CHUNK: Final = b"0\r\n\r\n"
CONTINUE_100: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
CHUNKED: Final = b"transfer-encoding: chunked\r\n"
CLOSE: Final = b"connection: close\r\n"
KEEP_ALIVE: Final = b"connection: keep-alive\r\n"

_PHRASES: Final = {status.value: status.phrase.encode() for status in HTTPStatus}
_STATUS_LINES: Final = {
    status: b"HTTP/1.1 %d %s\r\n" % (status, _PHRASES.get(status, b"")) for status in range(100, 600)
}


def fields(headers: Headers) -> bytes:
    """Return the field lines, each with its CRLF, without the blank line."""
    return b"".join([field[1] for field in headers.fields])


def request_head(method: bytes, target: bytes, authority: bytes, headers: Headers, framing: bytes) -> bytes:
    """Return a request head; `framing` holds the lines that frame the body, or nothing."""
    lines = b"".join([field[1] for field in headers.fields])
    return b"%b %b HTTP/1.1\r\nhost: %b\r\n%b%b\r\n" % (method, target, authority, lines, framing)


def response_head(status: int, headers: Headers, framing: bytes) -> bytes:
    """Return a response head; `framing` holds the length and connection lines."""
    return b"%b%b%b\r\n" % (_STATUS_LINES[status], fields(headers), framing)


def whole_response(status: int, headers: Headers, connection: bytes, body: bytes) -> bytes:
    """Return head and body as one; `connection` is the line that says how the connection goes on, or nothing."""
    lines = b"".join([field[1] for field in headers.fields])
    return b"%b%bcontent-length: %d\r\n%b\r\n%b" % (_STATUS_LINES[status], lines, len(body), connection, body)


def content_length(length: int) -> bytes:
    """Return the Content-Length line."""
    return b"content-length: %d\r\n" % length


def chunk(piece: bytes) -> bytes:
    """Return `piece`, not empty, as one chunk."""
    return b"%x\r\n%b\r\n" % (len(piece), piece)


def last_chunk(trailers: Headers | None) -> bytes:
    """Return what ends a chunked body."""
    return b"0\r\n%b\r\n" % fields(trailers) if trailers else LAST_CHUNK
