"""Strict body readers: by length, chunked, and until close. They tell to the byte where a message ends.

`feed(data, out)` appends payload pieces to `out` and returns the bytes that lie beyond the end of the body; `complete`
says whether the end has been seen. Bytes that are returned before it are to be fed again, once others have had their
turn. A reader serves one body.
"""

import re
from collections.abc import Callable
from typing import Final, Protocol

from edge.contract.headers import Headers
from edge.http1.errors import BadChunkingError
from edge.http1.fields import parse_trailers

# A size of at most 15 digits stays below 2**60; extensions are refused, for parsers disagree on where they end.
_SIZE_LINE = re.compile(rb"([0-9A-Fa-f]{1,15})\r\n")
_MAX_SIZE_LINE_BYTES = 17
_NEXT_SIZE_LINE: Final = re.compile(rb"\r\n([0-9A-Fa-f]{1,15})\r\n")
_STEPS_AT_ONCE: Final = 1024
"""Chunks, mostly: a read may hold tens of thousands of one byte."""


class BodyReader(Protocol):
    """What the three readers have in common."""

    complete: bool
    trailers: Headers | None

    def feed(self, data: bytes, out: list[bytes]) -> bytes:
        """Take the next bytes of the connection."""
        ...

    def ended_by_close(self) -> bool:
        """Whether a clean end of the connection, now, is a clean end of the body."""
        ...


class LengthBody:
    """A body of exactly `length` bytes (RFC 9112 §6.2), length > 0."""

    __slots__ = ("_left", "complete", "trailers")

    def __init__(self, length: int) -> None:
        self._left = length
        self.complete = False
        self.trailers: Headers | None = None

    def feed(self, data: bytes, out: list[bytes]) -> bytes:
        """Take payload until the length is reached."""
        size = len(data)
        if size < self._left:
            self._left -= size
            out.append(data)
            return b""
        self.complete = True
        out.append(data[: self._left])
        return data[self._left :]

    def ended_by_close(self) -> bool:
        """Never: a close before the length is reached is a cut."""
        return self.complete


class UntilCloseBody:
    """A response body that the connection's end ends (RFC 9112 §6.3, rule 8)."""

    __slots__ = ("complete", "trailers")

    def __init__(self) -> None:
        self.complete = False
        self.trailers: Headers | None = None

    def feed(self, data: bytes, out: list[bytes]) -> bytes:
        """Take everything."""
        out.append(data)
        return b""

    def ended_by_close(self) -> bool:
        """Always."""
        return True


class TunnelBody(UntilCloseBody):
    """What follows a 101: the bytes of `protocol` (lower case), until this side says that it sends no more."""

    __slots__ = ("protocol",)

    def __init__(self, protocol: bytes) -> None:
        super().__init__()
        self.protocol = protocol


class ChunkedBody:
    """A chunked body (RFC 9112 §7.1), read without any leniency; raises BadChunkingError."""

    __slots__ = ("_held", "_left", "_max_trailer_bytes", "_read", "complete", "trailers")

    def __init__(self, max_trailer_bytes: int) -> None:
        self._max_trailer_bytes = max_trailer_bytes
        self._held = b""
        self._left = 0
        self._read: Callable[[bytes, int, list[bytes]], int] = self._read_size
        self.complete = False
        self.trailers: Headers | None = None

    def feed(self, data: bytes, out: list[bytes]) -> bytes:
        """Take as much as the body wants; pieces of chunks go out as they come."""
        if self._held:
            data, self._held = self._held + data, b""
        position = 0
        for _ in range(_STEPS_AT_ONCE):
            if self.complete:
                break
            following = self._read(data, position, out)
            if following < 0:
                self._held = data[position:]
                return b""
            position = following
        return data[position:]

    def ended_by_close(self) -> bool:
        """Never: a close before the last chunk is a cut."""
        return self.complete

    # Each step returns the position after what it has read, or -1 when it needs more than there is.

    def _read_size(self, data: bytes, position: int, _out: list[bytes]) -> int:
        match = _SIZE_LINE.match(data, position)
        if match is None:
            rest = data[position : position + _MAX_SIZE_LINE_BYTES]
            if len(rest) >= _MAX_SIZE_LINE_BYTES or not _SIZE_LINE_START.fullmatch(rest):
                raise BadChunkingError("chunk size line")
            return -1
        self._left = int(match[1], 16)
        self._read = self._read_data if self._left else self._read_trailers
        return match.end()

    def _read_data(self, data: bytes, position: int, out: list[bytes]) -> int:
        end = position + self._left
        if end > len(data):
            if position == len(data):
                return -1
            out.append(data[position:])
            self._left = end - len(data)
            return len(data)
        out.append(data[position:end])
        following = _NEXT_SIZE_LINE.match(data, end)
        if following is None:  # not all there, or not valid
            self._left = 0
            self._read = self._read_data_end
            return end
        self._left = int(following[1], 16)
        if not self._left:
            self._read = self._read_trailers
        return following.end()

    def _read_data_end(self, data: bytes, position: int, _out: list[bytes]) -> int:
        end = data[position : position + 2]
        if end != b"\r\n":
            if b"\r\n".startswith(end):
                return -1
            raise BadChunkingError("chunk data is longer than its size")
        self._read = self._read_size
        return position + 2

    def _read_trailers(self, data: bytes, position: int, _out: list[bytes]) -> int:
        if data.startswith(b"\r\n", position):
            self.complete = True
            return position + 2
        end = data.find(b"\r\n\r\n", position)
        if (len(data) if end < 0 else end) - position > self._max_trailer_bytes:
            raise BadChunkingError("trailer section too large")
        if end < 0:
            return -1
        self.trailers = parse_trailers(data[position : end + 4])
        self.complete = True
        return end + 4


_SIZE_LINE_START = re.compile(rb"(?:[0-9A-Fa-f]{1,15}\r?)?")
