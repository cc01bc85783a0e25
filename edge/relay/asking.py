"""The asking side of one exchange: admission, a connection, the head on its way, and another attempt where one is safe.

An attempt holds a permit of the origin's guard from `_ask_origin` until the answer's head, or until it is clear that
there will be none; a place in the concurrency limit from the end of the request on. Only what the origin may act upon
twice is sent again: docs/resilience.md, "Retries".
"""

from typing import Final

from edge.contract.reasons import Reason
from edge.guard.origin import OVERLOADED, UNAVAILABLE
from edge.http1 import write
from edge.net.upstream import Upstream
from edge.relay.answering import Answering
from edge.relay.writers import BodyWriter

_HOP: Final = b"via: 1.1 edge\r\nx-request-timeout-ms: %d\r\n"
_MAX_KNOWN_HOPS: Final = 256
_known_hops: Final[dict[int, bytes]] = {}  # nearly every request has the whole time of its route
_EXPECT: Final = b"expect: 100-continue\r\n"
_HAS_LENGTH_EVEN_IF_EMPTY: Final = {b"POST", b"PUT", b"PATCH"}
_REPLAYABLE: Final = {b"GET", b"HEAD", b"OPTIONS", b"PUT", b"DELETE"}
_MAX_KEPT_BYTES: Final = 65536  # of a body, for another attempt
_CROSSING_S: Final = 1.0  # a request and the end of its connection cross within a round trip, and what the loop is late
_ORIGIN_STATUS: Final = {
    Reason.ORIGIN_CONNECT_FAILED: 503,
    Reason.ORIGIN_CONNECT_TIMEOUT: 503,
    Reason.ORIGIN_POOL_EXHAUSTED: 503,
    Reason.ORIGIN_TLS_FAILED: 502,
}


class Asking(Answering):
    """The origin side of a relay's request. `Relay` adds the device's."""

    __slots__ = ()

    # One attempt: Waiter.

    def _ask_origin(self) -> None:
        inlet, request = self._inlet, self.exchange.request
        if inlet is not None and request.body is None and request.transform is None and request.method in _REPLAYABLE:
            inlet.keep(_MAX_KEPT_BYTES)
        permit = self._admitted()
        if permit <= UNAVAILABLE:
            self._turn_away(permit)
            return
        self._permit = permit
        self._guard.budget.request()
        connection = self._pool.acquire()
        if connection is not None:
            self.connection_ready(connection)
        else:
            self._hold_body()
            self._pool.request(self)

    def _admitted(self) -> int:
        inlet, route = self._inlet, self.exchange.route
        if route.long_poll:
            return self._guard.admit_long_poll(route.priority)
        if inlet is None or inlet.ended:
            return self._guard.admit(route.priority)
        return self._guard.admit_sending(route.priority)

    def _turn_away(self, refusal: int) -> None:
        reason = Reason.ORIGIN_UNAVAILABLE
        if refusal == OVERLOADED:
            reason = Reason.ORIGIN_OVERLOADED
            self._context.origin_full = True  # those that follow are refused on their heads
        self._retry_after_s = self._guard.breaker.retry_after_s
        self._fail(503, reason, self.exchange.route.origin)

    def _hold_body(self) -> None:
        """Read no more of the body for now; without one, go on reading, which is how a lost device is noticed."""
        if self._inlet is not None and not self._inlet.ended:
            self._downstream.pause_reading()

    def connection_ready(self, connection: Upstream) -> None:
        """Send the request on a reserved connection."""
        self._upstream = connection
        request, inlet = self.exchange.request, self._inlet
        self._sent_at = self._asked_at = now = self._context.clock()
        if inlet is not None:
            self._downstream.resume_reading()  # first: writing may fill the origin's buffer, which pauses it again
        connection.begin(self, request.method, self._request_head(now))
        if inlet is not None and request.body is None:
            chunked = self._head.length is None or request.transform is not None
            try:
                inlet.pass_to(connection.send, BodyWriter(request.transform, chunked=chunked))
            except Exception as error:  # noqa: BLE001 - whoever released the connection must not suffer
                self._transform_failed(error)

    def _request_head(self, now: float) -> bytes:
        """Return the head for an attempt that begins now, with the body if there is one that a filter has set."""
        request, head = self.exchange.request, self._head
        body = request.body
        left_ms = int((self.exchange.route.request_timeout_s - (now - self._started)) * 1000.0) + 1
        framing = _known_hops.get(left_ms) or _hop(left_ms)
        if head.body is not None or body or request.method != b"GET":
            framing += self._request_framing()
        sent = write.request_head(request.method, request.target, head.authority, request.headers, framing)
        return sent + body if body else sent

    def _request_framing(self) -> bytes:
        request, head = self.exchange.request, self._head
        if self._inlet is None or request.body is not None:
            if request.body or request.method in _HAS_LENGTH_EVEN_IF_EMPTY:
                return write.content_length(len(request.body or b""))
            return b""
        expect = _EXPECT if head.expect_continue else b""
        if head.length is None or request.transform is not None:
            return write.CHUNKED + expect
        return write.content_length(head.length) + expect

    def connection_failed(self, reason: Reason) -> None:
        """Answer for an origin that can't be reached: each of its addresses has been tried."""
        if self._done:
            return
        permit, self._permit = self._permit, 0
        if reason is Reason.ORIGIN_POOL_EXHAUSTED:
            self._guard.released(permit)
        else:
            self._guard.failed(permit)
        self._end_retry("failed")
        self._fail(_ORIGIN_STATUS[reason], reason, self.exchange.route.origin)

    def origin_failed(self, reason: Reason, *, unanswered: bool) -> None:
        """Take note of a broken connection; make another attempt, or fail."""
        connection, self._upstream = self._upstream, None
        # An origin that closes a kept connection as a request is sent on it has done nothing wrong.
        stale = unanswered and connection is not None and connection.requests > 1 and self._sent_just_now()
        blameless = stale or self._device_is_slow()
        if connection is not None and not blameless and not self._origin_erred:
            self._pool.failed(connection, reason)
        if self._done:
            return
        permit, self._permit = self._permit, 0
        if permit:
            if blameless:
                self._guard.released(permit)
            else:
                self._guard.failed(permit)
        elif not blameless:
            self._blame_broken_answer()
        self._end_retry("failed")
        if unanswered and connection is not None:
            # It may have idled before its first request, too.
            stale = stale or (connection.idle_since > 0.0 and self._sent_just_now())
            if self._may_ask_again(connection, stale=stale):
                self._ask_again(connection, reason, stale=stale)
                return
        if self._delivered or self._task is None:
            self._fail(502, reason, self.exchange.route.origin)

    def _sent_just_now(self) -> bool:
        """Whether the origin may have closed before the request came to it."""
        return self._context.clock() - self._sent_at < _CROSSING_S

    def _blame_broken_answer(self) -> None:
        """Tell the guard of an answer that began well and has not come to its end."""
        if self._answered_under:
            answered_s = self._context.clock() - self._answered_at
            self._guard.broke_off(self._answered_under, answered_s, stream=self._length is None)

    def _device_is_slow(self) -> bool:
        """Whether the origin may have lost patience with the device: nobody's slowness may open the breaker of all."""
        return self._device_lagged or (self._inlet is not None and not self._inlet.ended)

    # Another attempt.

    def _may_ask_again(self, connection: Upstream, *, stale: bool) -> bool:
        """Whether the request may be sent again, and the budget pays for it."""
        request, inlet, origin = self.exchange.request, self._inlet, self.exchange.route.origin
        if self._retries >= self.exchange.route.retries or request.method not in _REPLAYABLE:
            return False
        if inlet is not None and request.body is None and not inlet.kept:
            return False
        if not stale and not self._pool.has_other((*self._avoided, connection.address)):
            self._context.retried(origin, "no_address")
            return False
        if not self._guard.budget.allows():
            self._context.retried(origin, "no_budget")
            return False
        return True

    def _ask_again(self, connection: Upstream, reason: Reason, *, stale: bool) -> None:
        self._retries += 1
        self._retrying = True
        inlet = self._inlet
        if inlet is not None and self.exchange.request.body is None:
            inlet.rewind()
            self._hold_body()
        if stale:
            self._attempt(reason, fresh=True)
        else:
            self._avoided = (*self._avoided, connection.address)
            origin = self._context.snapshot.origins[self.exchange.route.origin]
            longest_s = origin.retry_backoff_s * 2.0 ** (self._retries - 1)
            wait_s = longest_s * self._context.random()
            self._backing_off = self._context.call_later(wait_s, lambda: self._attempt(reason))

    def _attempt(self, reason: Reason, *, fresh: bool = False) -> None:
        """Make the next attempt; `fresh`: not on a kept connection, which might be stale like the one before.

        `reason` is why the last one failed.
        """
        self._backing_off = None
        if not self._pool.has_other(self._avoided):  # any more
            self._end_retry("no_address")
            self._fail(502, reason, self.exchange.route.origin)
            return
        permit = self._admitted()
        if permit <= UNAVAILABLE:
            self._turn_away(permit)
            return
        self._permit = permit
        self._pool.request(self, self._avoided, fresh=fresh)

    # Back-pressure.

    def origin_full(self) -> None:
        """Read no more of the request body than the origin takes."""
        self._downstream.pause_reading()

    def origin_drained(self) -> None:
        """Read the request body again."""
        self._downstream.resume_reading()


def _hop(left_ms: int) -> bytes:
    """Return the lines that the edge adds as a hop: who it is, and how many milliseconds are left."""
    if len(_known_hops) >= _MAX_KNOWN_HOPS:
        _known_hops.clear()
    line = _known_hops[left_ms] = _HOP % max(left_ms, 1)
    return line
