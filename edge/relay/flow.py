"""One body on its way through the relay: held back, collected for a filter, or passed on piece by piece."""

from collections.abc import Callable
from enum import Enum

from edge.contract.headers import Headers
from edge.relay.writers import BodyWriter


class _Mode(Enum):
    HOLD = 1  # nobody to pass it to yet; the sender is paused, so this is at most one read
    COLLECT = 2  # a filter wants it whole
    PASS = 3


class BodyFlow:
    """A request or response body. `size` counts its payload bytes, `ended` says whether all of it has come."""

    __slots__ = (
        "_kept",
        "_max_bytes",
        "_max_kept",
        "_mode",
        "_pieces",
        "_send",
        "_trailers",
        "_window_at",
        "_window_size",
        "_writer",
        "ended",
        "size",
    )

    def __init__(self, max_bytes: int | None) -> None:
        self._max_bytes = max_bytes
        self._mode = _Mode.HOLD
        self._pieces: list[bytes] = []
        self._send: Callable[[bytes], None] = self._pieces.append
        self._writer: BodyWriter | None = None
        self._trailers: Headers | None = None
        self._kept: list[bytes] | None = None
        self._max_kept = 0
        self.ended = False
        self.size = 0
        self._window_at = 0.0
        self._window_size = 0

    @property
    def collecting(self) -> bool:
        """Whether the body is being collected for a filter."""
        return self._mode is _Mode.COLLECT

    def take(self, piece: bytes) -> bool:
        """Take a piece; return False when the body has grown beyond its limit."""
        self.size += len(piece)
        if self._max_bytes is not None and self.size > self._max_bytes:
            return False
        if self._kept is not None:
            self._keep(piece)
        if self._writer is None:
            self._send(piece)
        else:
            self._pass(self._writer.piece(piece))
        return True

    def is_slow(self, bytes_per_s: int, window_s: float, now: float, *, reading: bool) -> bool:
        """Tell whether less came in the window that ends now than it must; time without `reading` does not count."""
        if reading and self._window_at and now - self._window_at < window_s:
            return False
        slow = reading and self._window_at > 0.0 and self.size - self._window_size < bytes_per_s * window_s
        self._window_at, self._window_size = now, self.size
        return slow

    def end(self, trailers: Headers | None) -> None:
        """Take the end of the body."""
        self.ended = True
        self._trailers = trailers
        if self._mode is _Mode.PASS and self._writer is not None:
            self._pass(self._writer.end(trailers))

    def collect(self, max_bytes: int) -> bool:
        """Keep everything from now on; return False when what is there is too much already."""
        self._mode = _Mode.COLLECT
        self._max_bytes = max_bytes if self._max_bytes is None else min(max_bytes, self._max_bytes)
        return self.size <= self._max_bytes

    def collected(self) -> bytes:
        """Return the whole body and keep none of it."""
        whole = b"".join(self._pieces)
        self._pieces.clear()
        return whole

    def keep(self, max_bytes: int) -> None:
        """Keep a copy of what is passed on, so that it can be passed on again, while it is not more than this."""
        self._max_kept = max_bytes
        self._kept = self._pieces.copy() if self.size <= max_bytes else None

    def _keep(self, piece: bytes) -> None:
        if self._kept is not None and self.size <= self._max_kept:
            self._kept.append(piece)
        else:
            self._kept = None

    @property
    def kept(self) -> bool:
        """Whether all that came so far can be passed on again."""
        return self._kept is not None

    def rewind(self) -> None:
        """Hold everything that came so far, to be passed on once more. Only while it is `kept`."""
        self._pieces = (self._kept or []).copy()
        self._mode = _Mode.HOLD
        self._send = self._pieces.append
        self._writer = None

    @property
    def has_trailers(self) -> bool:
        """Whether the body ended with trailers."""
        return bool(self._trailers)

    def pass_to(self, send: Callable[[bytes], None], writer: BodyWriter) -> None:
        """Pass on what was held, and from now on everything as it comes."""
        held, self._pieces = self._pieces, []
        self._mode = _Mode.PASS
        self._send = send
        self._writer = None if writer.plain else writer
        for piece in held:
            if self._writer is None:
                send(piece)
            else:
                self._pass(self._writer.piece(piece))
        if self.ended and self._writer is not None:
            self._pass(self._writer.end(self._trailers))

    def _pass(self, data: bytes) -> None:
        if data:
            self._send(data)

    def __repr__(self) -> str:
        return f"BodyFlow({self._mode.name}, {self.size} bytes, {'ended' if self.ended else 'going on'})"
