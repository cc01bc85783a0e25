"""One device connection: reads requests one after the other, writes responses in order.

Theory of operation: bytes go to the head reader, then to the body reader of the request in progress. One request is
in progress at a time. What a client sends ahead (pipelining) is held, unread by any parser, and reading is paused: so
at most one read of it is in memory, and after a few requests that were answered on the spot other connections have
their turn. A connection that is closed while its client may still be sending is half-closed first and drained for a
moment, lest the kernel's reset destroys the answer (RFC 9112 §9.6).
"""

import asyncio
from collections.abc import Callable
from typing import Final, cast

from edge.contract.identity import ClientCertificate
from edge.contract.reasons import Reason
from edge.guard.clients import Client
from edge.http1.body import BodyReader, TunnelBody
from edge.http1.errors import BadChunkingError, BadRequestError
from edge.http1.request import RequestReader
from edge.net.proxy_protocol import ProxyHeader
from edge.net.reset import reset_on_close
from edge.net.roles import StreamHandler, Worker
from edge.net.tcp_info import bytes_acked, bytes_unread

_HELD: Final = 1  # reasons to pause reading, as bits
_HANDLER: Final = 2
_LINGER_S: Final = 2.0
_REQUESTS_AT_ONCE: Final = 16


class Downstream(asyncio.Protocol):
    """A connection from a device, or from a proxy in front."""

    __slots__ = (
        "_abort_at",
        "_body",
        "_closing",
        "_consuming",
        "_deadline",
        "_ended",
        "_full",
        "_handler",
        "_head_begun",
        "_held",
        "_pauses",
        "_reader",
        "_resets",
        "_transport",
        "_unsent",
        "_window_acked",
        "_window_at",
        "_worker",
        "arrival",
        "client",
        "client_certificate",
        "idle_at",
        "min_response_bytes_per_s",
        "peer",
        "peer_trusted",
        "proxied",
        "secure",
        "write",
    )

    write: Callable[[bytes], None]
    """Send bytes to the device: the transport's own method, since it is called for every response."""

    def __init__(self, worker: Worker, *, secure: bool = False, proxied: ProxyHeader | None = None) -> None:
        """`proxied` is what a trusted proxy said of the client, before the first byte of its own."""
        self.proxied = proxied
        self._worker = worker
        self._reader = RequestReader(worker.limits)
        self._handler: StreamHandler | None = None
        self._body: BodyReader | None = None
        self._held = b""
        self._pauses = 0
        self._consuming = False
        self._closing = False
        self._ended = False
        self._full = False
        self._abort_at = self._deadline = 0.0
        self._head_begun = False
        self._resets = self._unsent = False
        self._window_at = 0.0
        self._window_acked = 0
        self.idle_at = 0.0
        self.arrival: object | None = None  # until it is made: an end without a word shows when this is gone
        self.client: Client | None = None
        self.min_response_bytes_per_s = worker.min_response_bytes_per_s
        self.secure = secure
        self.peer = ""
        self.peer_trusted = False
        self.client_certificate: ClientCertificate | None = None

    # Callbacks of the event loop.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the connection in."""
        # uvloop's transports have the methods of asyncio.Transport without being subclasses of it.
        self._transport = stream = cast("asyncio.Transport", transport)
        self.write = stream.write
        stream.set_write_buffer_limits(high=self._worker.write_buffer_bytes)
        self.idle_at = self._worker.clock()
        self._deadline = self.idle_at + self._worker.head_read_s
        self._worker.connections.add(self)
        session = transport.get_extra_info("ssl_object") if self.secure else None
        client = self.proxied.client if self.proxied is not None else None
        if not self._worker.admit(self, client or transport.get_extra_info("peername"), session):
            self.reset()

    def data_received(self, data: bytes) -> None:
        """Consume what came, or hold it while an earlier request is being answered."""
        if self._closing:
            return
        if self._held:
            self._held += data
            self._pause(_HELD)
            return
        self._consume(data)

    def eof_received(self) -> bool:
        """Finish the answer to a client that has only shut down its sending side; return whether to stay open."""
        self._ended = True
        if self._closing or self._handler is None:
            return False
        if self._body is None:
            return self._transport.can_write_eof()  # TLS ends as a whole
        if isinstance(self._body, TunnelBody):
            self._handler.request_end(None)
            return self._transport.can_write_eof()
        self._lose_client()
        return False

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - the reason makes no difference
        """Let go of everything."""
        self._worker.forget(self)
        self._closing = True
        self._held = b""
        self._lose_client()

    def pause_writing(self) -> None:
        """Pass the back-pressure on."""
        self._full = True
        if self._handler is not None:
            self._handler.client_full()

    def resume_writing(self) -> None:
        """Go on: with the response, or with the next request."""
        self._full = False
        self._window_at = 0.0
        if self._handler is not None:
            self._handler.client_drained()
        else:
            self._consume_held()

    # What the handler and the worker ask.

    @property
    def reading(self) -> bool:
        """Whether what the device sends is being read."""
        return not self._pauses

    @property
    def full(self) -> bool:
        """Whether the device reads slower than it is written to."""
        return self._full

    @property
    def idle(self) -> bool:
        """Whether the connection waits for a request of which nothing has come."""
        return self._handler is None and self._reader.idle and not self._held and not self._closing

    @property
    def answered_unswept(self) -> bool:
        """Whether an answer has ended since the last sweep: `idle_at` is of before it."""
        return not self._deadline

    # What the handler calls.

    def pause_reading(self) -> None:
        """Take no more of the request body for now."""
        self._pause(_HANDLER)

    def resume_reading(self) -> None:
        """Take the request body again."""
        self._resume(_HANDLER)

    def upgrade(self, protocol: bytes) -> None:
        """Read `protocol` from now on: each byte goes to the handler, what was held first, until the device's end."""
        handler = self._handler
        self._body = TunnelBody(protocol)
        data, self._held = self._held, b""
        self._resume(_HELD)
        if data:
            self._consume(data)
        if self._ended and handler is not None:
            handler.request_end(None)

    def half_close(self) -> bool:
        """Say that nothing more will be sent; return whether the connection can stay open without."""
        possible = not self._closing and self._transport.can_write_eof()
        if possible:
            self._transport.write_eof()
        return possible

    def reset_unless_closed(self) -> None:
        """Let nothing but `close` end the connection cleanly, not even the death of this process."""
        self._resets = True
        reset_on_close(self._transport)

    def finish(self, *, keep_alive: bool) -> None:
        """End the exchange: its response is written."""
        self._handler = None
        worker = self._worker
        nothing_follows = self._ended and not self._held and not self._consuming
        if not keep_alive or self._body is not None or worker.draining or nothing_follows:
            self.close(linger=worker.draining)  # it may have sent another request before it read this answer
            return
        self._deadline = 0.0  # the next sweep sets it
        if self._pauses:
            self._resume(_HANDLER)
            self._consume_held()

    def close(self, *, linger: bool = False) -> None:
        """Close once what is written has left; drain a client that may still be sending, or with `linger`."""
        if self._closing:
            return
        lingering = not self._ended and (linger or self._body is not None or self._held != b"")
        if self._resets:
            reset_on_close(self._transport, wanted=False)
        self._closing = True
        self._handler = None
        self._body = None
        self._held = b""
        self._abort_at = self._worker.clock() + self._worker.idle_s  # for a device that reads slowly
        self._unsent = True
        if lingering and self._transport.can_write_eof():
            self._deadline = self._worker.clock() + _LINGER_S
            self._transport.write_eof()
            self._resume(_HELD | _HANDLER)
        else:
            self._deadline = self._abort_at
            self._transport.close()

    def reset(self) -> None:
        """Break the connection off, so that a half-sent response can't be taken for a whole one."""
        self._closing = True
        self._lose_client()
        reset_on_close(self._transport)
        self._transport.abort()

    # What the worker calls.

    def sweep(self, now: float) -> None:
        """Enforce the deadlines of this connection or of its request."""
        if (self._full or self._unsent) and self._reads_too_slowly(now):
            self._give_up_reader()
        elif self._handler is not None:
            self._handler.sweep(now)
        elif not self._deadline:
            self._deadline = now + self._worker.keep_alive_idle_s
            self.idle_at = now
            self._worker.idled(self)
            self._unsent = self._transport.get_write_buffer_size() > 0
        elif now >= self._deadline:
            if self._closing:
                if not self._transport.get_write_buffer_size():
                    self._transport.abort()
                elif now >= self._abort_at:
                    self.reset()
            elif not self._reader.idle:
                error = BadRequestError(408, Reason.HEAD_TIMEOUT, f"more than {self._worker.head_read_s} s")
                self._worker.refuse(self, error)
            elif self._held:  # and will stay so: its client reads no answers
                self.close()
            else:
                self.close_idle()

    def _reads_too_slowly(self, now: float) -> bool:
        """Tell whether a device with an answer to read has read too little in the window that ends now."""
        if not self._transport.get_write_buffer_size():
            self._unsent, self._window_at = False, 0.0
            return False
        if self._window_at and now - self._window_at < self._worker.rate_window_s:
            return False
        begun, before = self._window_at, self._window_acked
        self._window_at, self._window_acked = now, bytes_acked(self._transport)
        enough = self.min_response_bytes_per_s * self._worker.rate_window_s
        return begun > 0.0 and self._window_acked - before < enough

    def _give_up_reader(self) -> None:
        self._worker.dropped("reader_too_slow")
        if self._handler is not None:
            self._handler.request_broken(BadRequestError(408, Reason.READER_TOO_SLOW, "min_response_bytes_per_s"))
        self.reset()

    def close_idle(self, *, linger: bool = False) -> bool:
        """Close unless a request is in progress, or has come and is not read yet; return whether that was so."""
        if not self.idle or bytes_unread(self._transport):
            return False
        self.close(linger=linger)
        return True

    # The reading loop.

    def _consume(self, data: bytes) -> None:
        self._consuming = True
        requests = 0
        while data and not self._closing:
            body = self._body
            if body is not None:
                data = self._consume_body(body, data)
                if data and self._body is body:  # a flood of tiny chunks
                    self._continue_later(data)
                    break
            elif self._handler is not None or self._full:
                self._held = data
                self._pause(_HELD)
                break
            elif requests >= _REQUESTS_AT_ONCE:  # each answered on the spot: a refusal, say
                self._continue_later(data)
                break
            else:
                if self._worker.rejecting and self._reader.idle:
                    answer = self._worker.reject(self, data)
                    if answer:
                        self.write(answer)
                        self._deadline = 0.0
                        break
                try:
                    read = self._reader.feed(data)
                except BadRequestError as error:
                    self._worker.refuse(self, error)
                    break
                if read is None:
                    self._await_head()
                    break
                self._head_begun = False
                requests += 1
                head, data = read
                self._body = head.body
                self._handler = handler = self._worker.open(self, head)
                handler.start()
        self._consuming = False
        if self._ended and self._handler is None and not self._held:
            self.close()

    def _continue_later(self, data: bytes) -> None:
        """Let other connections have their turn."""
        self._held = data
        self._pause(_HELD)
        self._worker.soon(self._consume_held)

    def _await_head(self) -> None:
        """Give a head that came in part its time, counted from its first byte."""
        if not self._head_begun:
            self._head_begun = True
            self._deadline = self._worker.clock() + self._worker.head_read_s

    def _consume_body(self, body: BodyReader, data: bytes) -> bytes:
        pieces: list[bytes] = []
        handler = self._handler
        if handler is None:
            raise AssertionError("a body without a request")
        try:
            rest = body.feed(data, pieces)
        except BadChunkingError as error:
            handler.request_broken(BadRequestError(400, Reason.AMBIGUOUS_FRAMING, str(error)))
            return b""
        if pieces:  # as one: a flood of tiny chunks must not become a flood of calls and writes
            handler.request_body(pieces[0] if len(pieces) == 1 else b"".join(pieces))
        if body.complete and self._handler is handler:
            self._body = None
            handler.request_end(body.trailers)
        return rest

    def _consume_held(self) -> None:
        if self._held and not self._consuming and (not self._full or self._body is not None):
            data, self._held = self._held, b""
            self._resume(_HELD)
            self._consume(data)

    def _pause(self, why: int) -> None:
        if not self._pauses:
            self._transport.pause_reading()
        self._pauses |= why

    def _resume(self, why: int) -> None:
        if self._pauses:
            self._pauses &= ~why
            if not self._pauses and not self._transport.is_closing():
                self._transport.resume_reading()

    def _lose_client(self) -> None:
        handler, self._handler = self._handler, None
        if handler is not None:
            handler.client_gone()

    def __repr__(self) -> str:
        state = "closing" if self._closing else "busy" if self._handler is not None else "idle"
        return f"Downstream({state}, {'full' if self._full else 'writable'}, pauses {self._pauses})"
