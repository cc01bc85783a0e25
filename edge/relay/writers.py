"""Encode the pieces of a body for the next hop: as they are, chunked, or through a filter's transform."""

from edge.contract.exchange import BodyTransform
from edge.contract.headers import Headers
from edge.http1 import write


class BodyWriter:
    """Turns body pieces into bytes for the wire. Plain and untransformed bodies need none: use `plain`."""

    __slots__ = ("_chunked", "_transform", "plain")

    def __init__(self, transform: BodyTransform | None, *, chunked: bool) -> None:
        self._transform = transform
        self._chunked = chunked
        self.plain = transform is None and not chunked

    def piece(self, piece: bytes) -> bytes:
        """Return what to send for a piece; may be empty."""
        if self._transform is not None:
            piece = self._transform.feed(piece)
        return write.chunk(piece) if self._chunked and piece else piece

    def end(self, trailers: Headers | None) -> bytes:
        """Return what to send at the end; trailers can be sent with chunks only."""
        left = self._transform.finish() if self._transform is not None else b""
        if not self._chunked:
            return left
        return (write.chunk(left) if left else b"") + write.last_chunk(trailers)


PLAIN = BodyWriter(None, chunked=False)
