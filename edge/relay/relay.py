"""One exchange: the inbound chain, the request body on its way, and the deadlines.

Theory of operation. A Relay is told what happens by three parties: its device connection (`StreamHandler`), the pool
(`Waiter`) and its origin connection (`ResponseHandler`). On the fast path `start` runs the chain, takes an idle
connection and writes the head, all on the stack of one read; the response comes back the same way. A task exists
only while a filter awaits something.
"""

from typing import Final

from edge.contract.filters import CONTINUE, NOT_MINE, Answer, NeedBody, Refuse
from edge.contract.headers import Headers
from edge.contract.reasons import Reason
from edge.http1 import write
from edge.http1.errors import BadRequestError
from edge.relay.asking import Asking
from edge.relay.chain import Pending, Stop

_GOES_WELL_S: Final = 1.0  # an answer that has come for so long: its end may be hours away


class Relay(Asking):
    """Takes one request through the edge."""

    __slots__ = ()

    # The request: StreamHandler.

    def start(self) -> None:
        """Run the inbound chain and, if it lets the request through, ask the origin."""
        length = self._head.length
        if length is not None and length > self.exchange.route.max_request_body_bytes:
            self._fail(413, Reason.BODY_TOO_LARGE, "announced")
        else:
            stop = self._context.inbound.run(self.exchange)
            if stop is None:
                self._ask_origin()
            else:
                self._halt_inbound(stop)

    def request_body(self, piece: bytes) -> None:
        """Hold, collect or pass on a piece of the request body."""
        self._progress += 1
        if self._inlet is None:
            return
        self._head.expect_continue = False  # it waits for nothing any more
        try:
            within = self._inlet.take(piece)
        except Exception as error:  # noqa: BLE001 - a filter's transform failed: closed
            self._transform_failed(error)
            return
        if not within:
            self._fail(413, Reason.BODY_TOO_LARGE, "streamed")

    def request_end(self, trailers: Headers | None) -> None:
        """Pass on the end, or go on with the filter that wanted the whole body."""
        inlet = self._inlet
        if inlet is None:
            return
        try:
            inlet.end(self._context.inbound.guard_trailers(self.exchange, trailers))
        except Exception as error:  # noqa: BLE001 - as above
            self._transform_failed(error)
            return
        self._asked_at = self._context.clock()
        if self._permit:
            self._permit = self._guard.sent(self._permit)
        if inlet.collecting:
            self.exchange.request.body = inlet.collected()
            self._run_inbound(self._resume_at)

    def request_broken(self, error: BadRequestError) -> None:
        """Refuse a body whose framing is invalid."""
        self._fail(error.status, error.reason, error.detail)

    def client_full(self) -> None:
        """Read no more from the origin than the device takes, and the device is to take it at the route's pace."""
        self._device_lagged = True
        self._downstream.min_response_bytes_per_s = self.exchange.route.min_response_bytes_per_s
        if self._upstream is not None:
            self._upstream.hold_for_client()

    def client_drained(self) -> None:
        """Read from the origin again."""
        if self._upstream is not None:
            self._upstream.release_client()

    def sweep(self, now: float) -> None:
        """Enforce the deadlines of the request and of its bodies."""
        route = self.exchange.route
        if self._answered_at and self._upstream is not None and now - self._answered_at > _GOES_WELL_S:
            self._pool.goes_well(self._upstream)
        waiting_for_body = self._inlet is not None and not self._inlet.ended and not self._head.expect_continue
        if not self._delivered and not waiting_for_body and not route.long_poll:
            self._context.waiting += 1
        if waiting_for_body and self._body_is_slow(now):
            self._fail(408, Reason.BODY_TIMEOUT, "min_request_bytes_per_s")
        elif now - self._started > route.request_timeout_s:
            if not waiting_for_body:
                self._blame_slowness(now)
            self._fail(504, Reason.REQUEST_TIMEOUT, "request_timeout_s")
        elif self._progress != self._progress_seen or self._task is not None or self._downstream.full:
            self._progress_seen, self._progress_at = self._progress, now
        elif self._upstream is not None and not self._answered_at and not waiting_for_body:
            if now - max(self._sent_at, self._progress_at) > route.response_head_timeout_s:
                self._blame_slowness(now)
                self._fail(504, Reason.ORIGIN_TIMEOUT, "response_head_timeout_s")
        elif now - self._progress_at > route.idle_timeout_s:
            if waiting_for_body and self._downstream.reading:
                self._fail(408, Reason.BODY_TIMEOUT, "idle_timeout_s")
            else:
                self._blame_silence(now)
                self._fail(504, Reason.ORIGIN_TIMEOUT, "idle_timeout_s")

    def _body_is_slow(self, now: float) -> bool:
        window_s = self._context.snapshot.timeouts.rate_window_s
        rate, inlet = self.exchange.route.min_request_bytes_per_s, self._inlet
        return inlet is not None and inlet.is_slow(rate, window_s, now, reading=self._downstream.reading)

    def _blame_slowness(self, now: float) -> None:
        """Tell guard and pool that the origin has the request and has not answered in time."""
        permit = self._permit
        if permit and self._upstream is not None:
            self._permit = 0
            self._pool.failed(self._upstream, Reason.ORIGIN_TIMEOUT)
            self._guard.timed_out(permit, now - self._asked_at)

    def _blame_silence(self, now: float) -> None:
        """The same, or that its answer does not go on; one without a length may be a stream with nothing to say."""
        self._blame_slowness(now)
        upstream = self._upstream
        if upstream is not None and self._answered_under and self._length is not None and not self._device_is_slow():
            self._pool.failed(upstream, Reason.ORIGIN_TIMEOUT)
            self._blame_broken_answer()

    # The inbound chain.

    def _run_inbound(self, start: int) -> None:
        stop = self._context.inbound.run(self.exchange, start)
        if stop is None:
            self._ask_origin()
        else:
            self._halt_inbound(stop)

    def _halt_inbound(self, stop: Stop) -> None:
        verdict = stop.verdict
        if isinstance(verdict, Refuse):
            self._fail(verdict.status, verdict.reason, verdict.detail, self._context.inbound.filter_id(stop.index))
        elif isinstance(verdict, Answer):
            self._outcome = "answered"
            self._abandon_request()
            self._replace(verdict.response, 0)
        elif isinstance(verdict, NeedBody):
            self._collect_request(stop.index, verdict.max_bytes)
        else:
            self._hold_body()
            self._task = self._context.spawn(self._settle_inbound(stop.index, verdict), self._task_failed)

    async def _settle_inbound(self, index: int, pending: Pending) -> None:
        verdict = await self._context.inbound.settle(index, pending)
        self._task = None
        if self._done:
            return
        self._downstream.resume_reading()
        if verdict is CONTINUE or verdict is NOT_MINE:
            self._run_inbound(index + 1)
        elif isinstance(verdict, Refuse | Answer | NeedBody):
            self._halt_inbound(Stop(index, verdict))

    def _collect_request(self, index: int, max_bytes: int) -> None:
        request, inlet = self.exchange.request, self._inlet
        max_bytes = min(max_bytes, self._context.max_buffered_body_bytes)
        self._resume_at = index
        if request.body is not None:
            self._fail(500, Reason.FILTER_ERROR, "asked for the body twice")
        elif inlet is None:
            request.body = b""
            self._run_inbound(index)
        elif (self._head.length or 0) > max_bytes or not inlet.collect(max_bytes):
            self._fail(413, Reason.BODY_TOO_LARGE, "to be buffered")
        elif inlet.ended:
            request.body = inlet.collected()
            self._run_inbound(index)
        elif self._head.expect_continue:
            self._head.expect_continue = False
            self._downstream.write(write.CONTINUE_100)
