"""Field sections: which names belong to one hop, how `Connection` is read, how trailers are parsed."""

from typing import Final, NamedTuple

import httptools

from edge.contract.headers import Headers
from edge.http1.errors import BadChunkingError
from edge.http1.lines import HOP_BY_HOP

# What a trailer may not carry (RFC 9110 §6.5.1): framing, routing, authentication, and what a recipient acts on early.
_NOT_IN_TRAILERS = HOP_BY_HOP | {
    b"authorization",
    b"cache-control",
    b"content-encoding",
    b"content-range",
    b"content-type",
    b"cookie",
    b"set-cookie",
}


class ConnectionOptions(NamedTuple):
    """What `Connection` says: its two options, and the fields that are for this hop only (RFC 9110 §7.6.1)."""

    close: bool
    keep_alive: bool
    nominated: frozenset[bytes]


_NONE: Final = ConnectionOptions(close=False, keep_alive=False, nominated=frozenset())
_COMMON_OPTIONS: Final = {
    b"close": ConnectionOptions(close=True, keep_alive=False, nominated=frozenset()),
    b"keep-alive": ConnectionOptions(close=False, keep_alive=True, nominated=frozenset()),
    b"Keep-Alive": ConnectionOptions(close=False, keep_alive=True, nominated=frozenset()),
}


def connection_options(values: list[bytes] | None) -> ConnectionOptions:
    """Read the values of `Connection`, None when there is none."""
    if values is None:
        return _NONE
    if len(values) == 1 and values[0] in _COMMON_OPTIONS:
        return _COMMON_OPTIONS[values[0]]
    options = list_tokens(values)
    nominated = frozenset(options - {b"close", b"keep-alive"})
    return ConnectionOptions(b"close" in options, b"keep-alive" in options, nominated)


def list_tokens(values: list[bytes]) -> set[bytes]:
    """Return the lower-case members of comma-separated field values."""
    return {token for value in values for member in value.split(b",") if (token := member.strip(b" \t").lower())}


def split_head(tail: bytes, data: bytes) -> tuple[bytes, bytes, bool]:
    """Split `data` after the blank line that ends a head; return both parts and whether it was there.

    `tail` is what came before, at least its last three bytes.
    """
    found = (tail + data).find(b"\r\n\r\n")
    if found < 0:
        return data, b"", False
    stop = found + 4 - len(tail)
    return data[:stop], data[stop:], True


class _Trailers:
    """Collects fields for `parse_trailers`."""

    def __init__(self) -> None:
        self.headers = Headers()

    def on_header(self, name: bytes, value: bytes) -> None:
        lower = name.lower()
        if lower not in _NOT_IN_TRAILERS:
            self.headers.add(name, value.rstrip(b" \t"))  # llhttp leaves blanks at the end


def parse_trailers(section: bytes) -> Headers:
    """Parse a trailer section, final CRLF CRLF included, with the rules of a head; raises BadChunkingError.

    Fields that RFC 9110 §6.5.1 forbids in trailers are left out.
    """
    collected = _Trailers()
    try:
        # llhttp has no entry for a bare field section: a 204 head around it makes it one.
        httptools.HttpResponseParser(collected).feed_data(b"HTTP/1.1 204 No Content\r\n" + section)
    except httptools.HttpParserError as error:
        raise BadChunkingError("trailer section") from error
    return collected.headers
