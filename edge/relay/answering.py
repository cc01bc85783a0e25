"""The answer of one exchange: the origin's response, the outbound chain, delivery to the device."""

from typing import Final

from edge.contract.exchange import Response
from edge.contract.filters import CONTINUE, NOT_MINE, Answer, NeedBody, Refuse
from edge.contract.headers import Headers
from edge.contract.reasons import Reason
from edge.http1 import write
from edge.http1.response import ResponseHead
from edge.relay.chain import Pending, Stop
from edge.relay.ending import Ending
from edge.relay.flow import BodyFlow
from edge.relay.problem import tell_reason, whole
from edge.relay.writers import PLAIN, BodyWriter

_NEED_NO_BODY: Final = frozenset({b"GET", b"HEAD", b"DELETE", b"OPTIONS"})


class Answering(Ending):
    """The response side of a relay. `Relay` adds the request side."""

    __slots__ = ()

    # The origin's response, as `edge.net.upstream.Upstream` tells it.

    def interim(self, head: ResponseHead) -> None:
        """Pass on a 100 that was asked for, and early hints; other 1xx tell a device nothing."""
        if self._head.http10 or self._delivered:
            return
        if head.status == 100 and self._head.expect_continue:
            self._head.expect_continue = False
            self._downstream.write(write.CONTINUE_100)
        elif head.status == 103:
            links = Headers([field for field in head.headers.fields if field[0] == b"link"])
            hints = self._context.outbound.guard_trailers(self.exchange, links)  # what guards trailers guards hints
            if hints:
                self._downstream.write(write.response_head(103, hints, b""))

    def response_head(self, head: ResponseHead) -> None:
        """Run the outbound chain over the origin's response; deliver at once what is all here."""
        self._answered_at = now = self._context.clock()
        permit, self._permit = self._permit, 0
        if permit:
            working = head.status < 500
            self._guard.answered(permit, now - self._asked_at, working=working, telling=not self._context.late)
            self._answered_under = permit if working else 0
            self._end_retry("answered")
        response = self.exchange.response = Response(head.status, head.headers)
        self._length = head.length
        if head.status >= 500 and self._upstream is not None:
            self._origin_erred = True
            self._pool.failed(self._upstream, "status_5xx")
        stop = self._context.outbound.run(self.exchange)
        whole = head.whole
        if stop is None and whole is not None and response.body is None and response.transform is None:
            self._deliver_whole(response, whole)
            return
        self._flow = BodyFlow(None) if head.body is not None or whole is not None else None
        if stop is None:
            self._deliver()
        else:
            self._halt_outbound(stop)

    def response_body(self, piece: bytes) -> None:
        """Hold, collect or pass on a piece of the response body."""
        self._progress += 1
        if self._flow is None:
            return
        try:
            within = self._flow.take(piece)
        except Exception as error:  # noqa: BLE001 - a filter's transform failed: closed
            self._transform_failed(error)
            return
        if not within:
            self._fail(502, Reason.BODY_TOO_LARGE, "response to be buffered")

    def response_end(self, trailers: Headers | None, *, reusable: bool) -> None:
        """Give the connection back and end the exchange, or go on with a filter that wanted the whole body."""
        self._response_ended = True
        upstream, self._upstream = self._upstream, None
        if upstream is not None:
            if not self._origin_erred:
                self._pool.succeeded(upstream, self._answered_at - self._sent_at)
            if reusable and not self._abandoned and self._request_is_over():
                self._pool.release(upstream, self._context.clock())
            else:
                upstream.close()
        flow, response = self._flow, self.exchange.response
        if flow is not None:
            try:
                flow.end(self._context.outbound.guard_trailers(self.exchange, trailers))
            except Exception as error:  # noqa: BLE001 - as above
                self._transform_failed(error)
                return
            if flow.collecting and response is not None:
                response.body = flow.collected()
                self._run_outbound(self._resume_at)
                return
        if self._delivered:
            self._finish()

    def _request_is_over(self) -> bool:
        """Whether the origin has read the request to its end and will take the next bytes as another one.

        After trailers the connection is not used again: some servers add them to the next request's header. Nor after a
        body with a method that needs none: a server that does not look for it takes it for the next request.
        """
        inlet = self._inlet
        return inlet is None or (inlet.ended and not inlet.has_trailers and self._head.method not in _NEED_NO_BODY)

    # The outbound chain.

    def _run_outbound(self, start: int) -> None:
        stop = self._context.outbound.run(self.exchange, start)
        if stop is None:
            self._deliver()
        else:
            self._halt_outbound(stop)

    def _halt_outbound(self, stop: Stop) -> None:
        verdict = stop.verdict
        if isinstance(verdict, Refuse):
            by = self._context.outbound.filter_id(stop.index)
            self._note(verdict.status, verdict.reason, verdict.detail, by)
            self._replace(self._problem(verdict.status, verdict.reason), stop.index + 1)
        elif isinstance(verdict, Answer):
            self._replace(verdict.response, stop.index + 1)
        elif isinstance(verdict, NeedBody):
            self._collect_response(stop.index, verdict.max_bytes)
        else:
            if self._upstream is not None:
                self._upstream.hold_for_chain()
            self._task = self._context.spawn(self._settle_outbound(stop.index, verdict), self._task_failed)

    async def _settle_outbound(self, index: int, pending: Pending) -> None:
        verdict = await self._context.outbound.settle(index, pending)
        self._task = None
        if self._done:
            return
        if verdict is CONTINUE or verdict is NOT_MINE:
            self._run_outbound(index + 1)
        elif isinstance(verdict, Refuse | Answer | NeedBody):
            self._halt_outbound(Stop(index, verdict))
        self.flush()
        if self._upstream is not None and self._task is None:
            self._upstream.release_chain()

    def _replace(self, response: Response, following: int) -> None:
        """Send `response` instead of the origin's; the filters from `following` on see it."""
        self._drop_origin()
        response.local = True
        response.body = response.body or b""
        self.exchange.response = response
        self._run_outbound(following)

    def _collect_response(self, index: int, max_bytes: int) -> None:
        response, flow = self.exchange.response, self._flow
        max_bytes = min(max_bytes, self._context.max_buffered_body_bytes)
        self._resume_at = index
        if response is None or response.body is not None:
            self._fail(500, Reason.FILTER_ERROR, "asked for the body twice")
        elif flow is None:
            response.body = b""
            self._run_outbound(index)
        elif (self._length or 0) > max_bytes or not flow.collect(max_bytes):
            self._fail(502, Reason.BODY_TOO_LARGE, "response to be buffered")
        elif flow.ended:
            response.body = flow.collected()
            self._run_outbound(index)
        elif self._upstream is None:
            self._fail(502, Reason.ORIGIN_CUT, "while filters were at work")

    # Delivery.

    def _deliver(self) -> None:
        response, flow = self.exchange.response, self._flow
        if response is None:
            raise AssertionError("delivery without a response")
        if response.body is None and flow is not None and not flow.ended and self._upstream is None:
            # The origin broke off while filters were at work on its head.
            self._note(502, Reason.ORIGIN_CUT, self.exchange.route.origin)
            response = self.exchange.response = self._problem(502, Reason.ORIGIN_CUT)
        complete = self._inlet is None or self._inlet.ended
        self._keep_alive = self._head.keep_alive and complete and not self._abandoned and not self._context.draining
        self._delivered = True
        if response.body is not None:
            if self._upstream is not None:  # a filter has set a body without asking for the origin's
                self._drop_origin()
            if self.exchange.debug is not None and self.exchange.reason:
                tell_reason(response, self.exchange.reason, self.exchange.debug)
            to_head = self._head.method == b"HEAD"
            self._out.append(whole(response, to_head=to_head, connection=self._connection_line()))
            self._written_at = self._context.clock()
            self._finish()
            return
        framing, writer = self._response_framing(response)
        self._out.append(write.response_head(response.status, response.headers, framing + self._connection_line()))
        self._written_at = self._context.clock()
        if flow is not None:
            try:
                flow.pass_to(self._out.append, writer)
            except Exception as error:  # noqa: BLE001 - as above
                self._transform_failed(error)
                return
        if self._response_ended:
            self._finish()

    def _deliver_whole(self, response: Response, body: bytes) -> None:
        """Send head and body in one write and end the exchange: the fast path's last step."""
        complete = self._inlet is None or self._inlet.ended
        self._keep_alive = self._head.keep_alive and complete and not self._context.draining
        connection = b"" if self._keep_alive and not self._head.http10 else self._connection_line()
        self._downstream.write(write.whole_response(response.status, response.headers, connection, body))
        self._delivered = self._done = True
        self._written_at = now = self._context.clock()
        upstream, self._upstream = self._upstream, None
        if upstream is not None:
            if not self._origin_erred:
                self._pool.succeeded(upstream, self._answered_at - self._sent_at)
            if upstream.complete() and self._request_is_over():
                self._pool.release(upstream, now)
            else:
                upstream.close()
        inlet = self._inlet
        self._context.finished(
            self.exchange,
            status=response.status,
            outcome=self._outcome,
            edge_s=self._sent_at - self._started + now - self._answered_at,
            origin_s=self._answered_at - self._sent_at,
            bytes_in=inlet.size if inlet is not None else 0,
            bytes_out=len(body),
        )
        self._downstream.finish(keep_alive=self._keep_alive)

    def _response_framing(self, response: Response) -> tuple[bytes, BodyWriter]:
        length, transform = self._length, response.transform
        if self._flow is None:
            if length is None or transform is not None or response.status == 204:
                return b"", PLAIN
            return write.content_length(length), PLAIN
        if length is not None and transform is None:
            return write.content_length(length), PLAIN
        if self._head.http10:
            self._keep_alive = False
            self._downstream.reset_unless_closed()  # its end is the answer's
            return b"", BodyWriter(transform, chunked=False)
        return write.CHUNKED, BodyWriter(transform, chunked=True)

    def _connection_line(self) -> bytes:
        if not self._keep_alive:
            return write.CLOSE
        return write.KEEP_ALIVE if self._head.http10 else b""
