"""One connection to an origin: carries one request at a time, tells its response to a handler as it comes."""

import asyncio
from enum import StrEnum
from math import inf
from typing import Final, Protocol, cast

from edge.contract.headers import Headers
from edge.contract.reasons import Reason
from edge.http1.body import BodyReader, LengthBody, TunnelBody
from edge.http1.errors import BadChunkingError, BadResponseError
from edge.http1.limits import HeadLimits
from edge.http1.response import ResponseHead, ResponseReader
from edge.net.reset import reset_on_close

_CLIENT: Final = 1  # reasons to pause reading, as bits
_CHAIN: Final = 2
_NO_LIMIT: Final = 1 << 60


class ResponseHandler(Protocol):
    """Takes the response to the request that was sent on a connection."""

    def interim(self, head: ResponseHead) -> None:
        """Take a 1xx head."""
        ...

    def response_head(self, head: ResponseHead) -> None:
        """Take the final head. When `head.whole` is set the handler may `complete` the response with it at once."""
        ...

    def response_body(self, piece: bytes) -> None:
        """Take a piece of the body."""
        ...

    def response_end(self, trailers: Headers | None, *, reusable: bool) -> None:
        """Take the end; `reusable` says whether the connection may carry another request."""
        ...

    def flush(self) -> None:
        """Everything that came in one read has been told."""
        ...

    def origin_failed(self, reason: Reason, *, unanswered: bool) -> None:
        """The connection broke; `unanswered`: before the first byte of a response."""
        ...

    def origin_full(self) -> None:
        """The origin reads slower than it is written to."""
        ...

    def origin_drained(self) -> None:
        """The origin has caught up."""
        ...


class Peer:
    """Where connections lead: a host name or IP literal, and a port. A pool keeps more of it in a class of its own."""

    __slots__ = ("host", "port")

    def __init__(self, host: str, port: int) -> None:
        self.host = host
        self.port = port


class Owner(Protocol):
    """The pool a connection belongs to."""

    def connection_closed(self, connection: "Upstream") -> None:
        """The connection is gone, and its handler has been told."""
        ...


class State(StrEnum):
    """Where a connection is in its life."""

    IDLE = "idle"
    RESERVED = "reserved"  # handed out, nothing sent yet
    ACTIVE = "active"
    CLOSED = "closed"


class Upstream(asyncio.Protocol):
    """A connection to one address of an origin."""

    __slots__ = (
        "_answered",
        "_body",
        "_ended",
        "_handler",
        "_owner",
        "_pauses",
        "_reader",
        "_reusable",
        "_transport",
        "address",
        "idle_since",
        "lent",
        "max_requests",
        "requests",
        "retire_at",
        "state",
    )

    def __init__(self, owner: Owner, address: Peer, limits: HeadLimits) -> None:
        self._owner = owner
        self._reader = ResponseReader(limits)
        self._handler: ResponseHandler | None = None
        self._body: BodyReader | None = None
        self._reusable = True
        self._answered = False
        self._ended = False
        self._pauses = 0
        self.address = address
        self.requests = 0
        self.idle_since = 0.0
        self.lent = False  # a request has it
        self.retire_at = inf  # seconds of the pool's clock: not given out again after it
        self.max_requests = _NO_LIMIT
        self.state = State.RESERVED

    # What a handler calls.

    def begin(self, handler: ResponseHandler, method: bytes, head: bytes) -> None:
        """Send a request's head, or all of it; the rest of its body follows through `send`."""
        self._handler = handler
        self._answered = False
        self.requests += 1
        self.state = State.ACTIVE
        self._reader.method = method
        self._transport.write(head)

    def send(self, data: bytes) -> None:
        """Send bytes to the origin; what still comes of a body once the connection is gone is dropped."""
        if self.state is not State.CLOSED:
            self._transport.write(data)

    def complete(self) -> bool:
        """Take the response as read to its end; return whether the connection may carry another request."""
        self._handler = None
        self._body = None
        if self._pauses:  # writing the response may have filled the device's buffer
            self._resume(_CLIENT | _CHAIN)
        return self._reusable and self.state is not State.CLOSED

    def hold_for_client(self) -> None:
        """Read no more until the device has caught up."""
        self._pause(_CLIENT)

    def hold_for_chain(self) -> None:
        """Read no more until the outbound filters are through."""
        self._pause(_CHAIN)

    def release_client(self) -> None:
        """The device has caught up."""
        self._resume(_CLIENT)

    def release_chain(self) -> None:
        """The outbound filters are through."""
        self._resume(_CHAIN)

    # What the handler of an upgrade calls.

    def allow_upgrade(self) -> None:
        """Take a 101 for an answer to the request that comes next."""
        self._reader.upgrade = True

    def half_close(self) -> bool:
        """Say that nothing more will be sent; return whether the connection can stay open without."""
        possible = self.state is not State.CLOSED and self._transport.can_write_eof()
        if possible:
            self._transport.write_eof()
        return possible

    @property
    def all_sent(self) -> bool:
        """Whether nothing waits to be written."""
        return self.state is State.CLOSED or not self._transport.get_write_buffer_size()

    def reset(self) -> None:
        """Break off with a TCP reset, lest the origin takes what it got for all there is."""
        reset_on_close(self._transport)
        self.close()

    def close(self) -> None:
        """Break off whatever is in progress; the handler hears no more."""
        self._handler = None
        self.state = State.CLOSED
        self._transport.abort()

    # Callbacks of the event loop.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the connection in."""
        # uvloop's transports have the methods of asyncio.Transport without being subclasses of it.
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Tell the handler what came; bytes that nobody asked for end the connection (THREATS S9)."""
        handler = self._handler
        if handler is None:
            self.close()
            return
        self._answered = True
        try:
            while data and self._handler is handler:
                data = self._read_head(handler, data) if self._body is None else self._read_body(handler, data)
        except (BadResponseError, BadChunkingError):
            self._fail(Reason.ORIGIN_PROTOCOL_ERROR)
            return
        if self._handler is handler:
            handler.flush()

    def eof_received(self) -> bool:
        """Carry no other request; stay open only for the other direction of an upgraded connection.

        Over TLS the end is `close_notify`: a connection that ends without it was cut (RFC 8446 §6.1).
        """
        self._ended = True
        if self._handler is not None and isinstance(self._body, TunnelBody) and self._transport.can_write_eof():
            self._handler.response_end(None, reusable=False)
            return True
        self.state = State.CLOSED
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell a clean end of a body that only the close ends from a cut one; the owner after that verdict."""
        self.state = State.CLOSED
        handler, body = self._handler, self._body
        try:
            if handler is not None and exc is None and self._ended and body is not None and body.ended_by_close():
                self._end(handler, body.trailers, extra=False)
            else:
                self._fail(Reason.ORIGIN_CUT if self._answered else Reason.ORIGIN_CLOSED)
        finally:
            self._owner.connection_closed(self)

    def pause_writing(self) -> None:
        """Pass the back-pressure on."""
        if self._handler is not None:
            self._handler.origin_full()

    def resume_writing(self) -> None:
        """Pass on that there is room again."""
        if self._handler is not None:
            self._handler.origin_drained()

    # Reading.

    def _read_head(self, handler: ResponseHandler, data: bytes) -> bytes:
        read = self._reader.feed(data)
        if read is None:
            return b""
        head, rest = read
        if head.status < 200 and head.body is None:
            handler.interim(head)
            return rest
        self._body, self._reusable = head.body, head.reusable
        handler.response_head(head)
        if self._handler is not handler:
            return b""
        if head.whole is not None:
            self._body = LengthBody(len(head.whole))
        elif head.body is None:
            self._end(handler, None, extra=rest != b"")
        return rest

    def _read_body(self, handler: ResponseHandler, data: bytes) -> bytes:
        body = self._body
        if body is None:
            raise AssertionError("no body is being read")
        pieces: list[bytes] = []
        rest = body.feed(data, pieces)
        if pieces:  # as one: a flood of tiny chunks must not become a flood of calls
            handler.response_body(pieces[0] if len(pieces) == 1 else b"".join(pieces))
        if body.complete and self._handler is handler:
            self._end(handler, body.trailers, extra=rest != b"")
        return rest

    def _end(self, handler: ResponseHandler, trailers: Headers | None, *, extra: bool) -> None:
        self._handler = None
        self._body = None
        if self._pauses:
            self._resume(_CLIENT | _CHAIN)
        handler.response_end(trailers, reusable=self._reusable and not extra and self.state is not State.CLOSED)

    def _fail(self, reason: Reason) -> None:
        handler, self._handler = self._handler, None
        self._body = None
        self.state = State.CLOSED
        self._transport.abort()
        if handler is not None:
            handler.origin_failed(reason, unanswered=not self._answered)

    def _pause(self, why: int) -> None:
        if not self._pauses:
            self._transport.pause_reading()
        self._pauses |= why

    def _resume(self, why: int) -> None:
        if self._pauses & why:
            self._pauses &= ~why
            if not self._pauses and not self._transport.is_closing():
                self._transport.resume_reading()

    def __repr__(self) -> str:
        return f"Upstream({self.address.host}:{self.address.port}, {self.state}, {self.requests} requests)"
