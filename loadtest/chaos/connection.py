"""One connection of the client: a request at a time, and the check that an answer is the one that was asked for."""

import asyncio
import time
from typing import Protocol, cast

import httptools

from loadtest.chaos.jar import Jar
from loadtest.chaos.outcomes import Ending, Outcome
from loadtest.chaos.plan import Stream

KEPT_BYTES = 512


class Request:
    """One request and what has come back for it so far."""

    __slots__ = (
        "body", "cleared", "connection", "cookie", "due", "echo", "framed", "given", "id", "jar", "length", "reason",
        "retry_after", "reused", "shown", "status", "stream",
    )  # fmt: skip

    def __init__(self, request_id: str, stream: Stream, due: float, cookie: bytes, jar: Jar | None = None) -> None:
        self.jar = jar
        self.shown = 0 if jar is None else jar.version
        self.id = request_id
        self.stream = stream
        self.due = due
        self.cookie = cookie
        self.connection: Connection | None = None
        self.reused = False
        self.forget()

    def forget(self) -> None:
        """Drop what an interim answer said."""
        self.status = 0
        self.reason = ""
        self.echo = b""
        self.body = b""
        self.length = 0
        self.framed = False
        self.retry_after = False
        self.cleared = False
        self.given: list[bytes] = []

    def bytes(self) -> bytes:
        """Return the request as it is sent."""
        stream = self.stream
        query = f"id={self.id}&size={stream.size}"
        query += f"&wait_ms={stream.wait_ms}" if stream.wait_ms else ""
        query += f"&work_ms={stream.work_ms}" if stream.work_ms else ""
        query += "&chunked=1" if stream.chunked else ""
        head = f"{stream.method} {stream.path}?{query} HTTP/1.1\r\nhost: chaos.test\r\n".encode()
        if self.cookie:
            head += self.cookie + b"\r\n"
        if stream.fresh:
            head += b"connection: close\r\n"
        if stream.method == "POST":
            return head + b"content-length: %d\r\n\r\n" % stream.body_bytes + b"b" * stream.body_bytes
        return head + b"\r\n"

    def outcome(self, ending: Ending, now: float) -> Outcome:
        """Return what became of it, at `now` (monotonic seconds)."""
        return Outcome(
            id=self.id,
            stream=self.stream.name,
            method=self.stream.method,
            due=self.due,
            latency_ms=(now - self.due) * 1000,
            kind=ending,
            status=self.status,
            reason=self.reason,
            retry_after=self.retry_after,
            cleared=self.cleared,
            reused=self.reused,
            device=-1 if self.jar is None else self.jar.device,
            shown=self.shown,
            worker="" if self.connection is None else self.connection.worker,
        )

    def verdict(self) -> Ending:
        """Return what a complete answer is worth."""
        wanted = self.id.encode()
        named, first = self.echo, self.body.partition(b"\n")[0]
        if named in {b"", wanted} and not (self.status == 200 or named):
            return Ending.REFUSED
        if named == wanted and first == wanted:
            if self.status == 413 or self.length == self.stream.size:
                return Ending.OK if self.status == 200 else Ending.ORIGIN_ERROR
            return Ending.TRUNCATED
        if wanted in {named, first}:
            return Ending.TRUNCATED if named == wanted and self.length < self.stream.size else Ending.ALTERED
        return Ending.CROSSED if b"-" in named and named.rpartition(b"-")[2].isdigit() else Ending.ALTERED


class Owner(Protocol):
    """Who gets the verdicts."""

    open: int

    def finish(self, request: Request, kind: Ending) -> None:
        """Keep what became of a request."""
        ...

    def take_back(self, connection: "Connection") -> None:
        """Keep a connection for the next request."""
        ...


class Connection(asyncio.Protocol):
    """HTTP/1.1 from the client's side."""

    def __init__(self, owner: Owner, source: int) -> None:
        self.source = source
        self.usable = True
        self.worker = ""  # as an answer has named it: it is the same for all
        self._owner = owner
        self._transport: asyncio.Transport | None = None
        self._request: Request | None = None
        self._requests = 0
        self._parser = httptools.HttpResponseParser(self)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for the first request."""
        self._transport = cast(asyncio.Transport, transport)

    def send(self, request: Request) -> None:
        """Send a request; the connection must be usable."""
        self._request, request.connection = request, self
        request.reused = self._requests > 0
        self._requests += 1
        if self._transport is not None and self.usable:
            self._transport.write(request.bytes())
        else:
            self._end(Ending.CLOSED)

    def abort(self) -> None:
        """Give up."""
        self.usable = False
        self._request = None
        if self._transport is not None:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        """Parse an answer; an unasked or unreadable one is no answer of an origin."""
        if self._request is None:
            self.usable = False
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._end(Ending.ALTERED)
            self.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail the request under way, unless the end of the connection is the end of its answer."""
        self.usable = False
        self._owner.open -= 1
        request = self._request
        if request is None:
            return
        if not request.status:
            self._end(Ending.CLOSED)
        elif exc is None and not request.framed:
            self._end(request.verdict())
        else:
            self._end(Ending.CUT)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep what the checks need."""
        request = self._request
        if request is None:
            return
        match name.lower():
            case b"x-chaos-id":
                request.echo = value
            case b"content-length" | b"transfer-encoding":
                request.framed = True
            case b"retry-after":
                request.retry_after = True
            case b"set-cookie":
                request.cleared = request.cleared or b"max-age=0" in value.lower()
                request.given.append(value)
            case b"x-chaos-worker":
                self.worker = value.decode("ascii", "replace")

    def on_headers_complete(self) -> None:
        """Keep the status."""
        if self._request is not None:
            self._request.status = self._parser.get_status_code()

    def on_body(self, data: bytes) -> None:
        """Count the body and keep its beginning."""
        request = self._request
        if request is not None:
            request.length += len(data)
            if len(request.body) < KEPT_BYTES:
                request.body += data[:KEPT_BYTES]

    def on_message_complete(self) -> None:
        """Judge the answer, and keep the connection if both sides want to."""
        request = self._request
        if request is None:
            return
        if request.status < 200:
            request.forget()
            return
        if request.jar is not None and request.given:
            request.jar.take(request.given, time.monotonic())
        keep = self._parser.should_keep_alive() and not request.stream.fresh
        self._end(request.verdict())
        if keep and self.usable:
            self._owner.take_back(self)
        else:
            self.usable = False
            if self._transport is not None:
                self._transport.close()

    def _end(self, kind: Ending) -> None:
        request, self._request = self._request, None
        if request is not None:
            if kind is Ending.REFUSED:
                request.reason = request.body.partition(b'"reason":"')[2].partition(b'"')[0].decode("ascii", "replace")
            self._owner.finish(request, kind)
