"""Every way an exchange can end, and what a relay keeps about it.

Whoever ends an exchange calls `_finish`, `_fail` or `client_gone`, once; what comes later finds `_done` set. Until
the response head is written (`_delivered`) a failure is a clean error page; after that the connection is reset, so
that a device never takes half a response for a whole one.
"""

import asyncio
from abc import ABC, abstractmethod

from edge.contract.exchange import Exchange, Response
from edge.contract.reasons import Reason
from edge.guard.origin import OriginGuard
from edge.http1.request import RequestHead
from edge.net.downstream import Downstream
from edge.net.upstream import Upstream
from edge.relay.context import Context
from edge.relay.flow import BodyFlow
from edge.relay.problem import problem_response
from edge.upstream.pool import Avoided, OriginPool


class Ending(ABC):
    """The state of one exchange and its end. `Answering` adds the response side, `Relay` the request side."""

    __slots__ = (
        "_abandoned",
        "_answered_at",
        "_answered_under",
        "_asked_at",
        "_avoided",
        "_backing_off",
        "_context",
        "_delivered",
        "_device_lagged",
        "_done",
        "_downstream",
        "_flow",
        "_guard",
        "_head",
        "_inlet",
        "_keep_alive",
        "_length",
        "_origin_erred",
        "_out",
        "_outcome",
        "_permit",
        "_pool",
        "_progress",
        "_progress_at",
        "_progress_seen",
        "_response_ended",
        "_resume_at",
        "_retries",
        "_retry_after_s",
        "_retrying",
        "_sent_at",
        "_started",
        "_task",
        "_upstream",
        "_written_at",
        "exchange",
    )

    def __init__(
        self, context: Context, downstream: Downstream, head: RequestHead, exchange: Exchange, now: float
    ) -> None:
        self._context = context
        self._downstream = downstream
        self._head = head
        self.exchange = exchange
        origin = exchange.route.origin
        self._pool: OriginPool = context.pools[origin]
        self._guard: OriginGuard = context.guards[origin]
        self._inlet = BodyFlow(exchange.route.max_request_body_bytes) if head.body is not None else None
        self._flow: BodyFlow | None = None
        self._length: int | None = None  # of the origin's response, as announced
        self._upstream: Upstream | None = None
        self._task: asyncio.Task[None] | None = None
        self._permit = 0  # to ask the origin, while it is held
        self._answered_under = 0  # the permit it was given back for, when the answer was one of a working origin
        self._backing_off: asyncio.TimerHandle | None = None  # before another attempt
        self._avoided: Avoided = ()  # the addresses that have failed this request
        self._retries = 0
        self._retry_after_s = 0.0
        self._out: list[bytes] = []
        self._outcome = "ok"
        self._resume_at = 0  # where a chain goes on once a filter has the body it asked for
        self._started = self._progress_at = now
        self._sent_at = self._asked_at = self._answered_at = self._written_at = 0.0
        self._progress = self._progress_seen = 0
        self._keep_alive = self._origin_erred = self._retrying = False
        self._abandoned = self._delivered = self._device_lagged = self._response_ended = self._done = False

    def flush(self) -> None:
        """Write everything gathered in one go."""
        if self._out and self._delivered:
            data = b"".join(self._out)
            self._out.clear()
            self._downstream.write(data)

    def client_gone(self) -> None:
        """Let go of everything: nobody waits for the answer."""
        if not self._done:
            self._outcome = "client_gone"
            self.exchange.reason = self.exchange.reason or Reason.CLIENT_GONE
            self._let_go()

    def _finish(self) -> None:
        self._done = True
        self.flush()
        self._record()
        self._downstream.finish(keep_alive=self._keep_alive)

    def _fail(self, status: int, reason: Reason, detail: str, decided_by: str = "") -> None:
        """End with an error page, or by breaking the connection off when a response is under way."""
        if self._done:
            return
        self._note(status, reason, detail, decided_by)
        if self._delivered:
            self._outcome = "cut"
            self._let_go()
            self._downstream.reset()
            return
        answering = self.exchange.response is not None
        self._abandon_request()
        self._cancel_task()
        self._drop_origin()
        self.exchange.response = self._problem(status, reason)
        if answering:
            self._deliver()
        else:
            self._run_outbound(0)

    def _abandon_request(self) -> None:
        """Keep nothing more of a request body that nobody will read."""
        if self._inlet is not None and not self._inlet.ended:
            self._abandoned = True
        self._inlet = None

    def _note(self, status: int, reason: Reason, detail: str, decided_by: str = "") -> None:
        """Keep why the edge answers itself, and the id of the filter that decided, if one did."""
        if self.exchange.debug is not None:
            self.exchange.debug = decided_by
        self._outcome = "refused" if status < 500 else "failed"
        self.exchange.reason = reason
        self.exchange.reason_detail = detail

    def _problem(self, status: int, reason: Reason) -> Response:
        return problem_response(status, reason, self.exchange.id, self.exchange.now, self._retry_after_s)

    def _transform_failed(self, error: Exception) -> None:
        self._context.report("transform", error)
        self._fail(500, Reason.FILTER_ERROR, "transform")

    def _task_failed(self, _error: BaseException) -> None:
        self._task = None
        self._fail(500, Reason.INTERNAL_ERROR, "task")

    def _let_go(self) -> None:
        self._done = True
        self._record()
        self._cancel_task()
        self._drop_origin()

    def _cancel_task(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            task.cancel()

    def _drop_origin(self) -> None:
        upstream, self._upstream = self._upstream, None
        permit, self._permit = self._permit, 0
        if permit:
            self._guard.released(permit)
        if upstream is not None:
            upstream.close()
        elif permit:  # only who holds one can be waiting
            self._pool.cancel(self)
        if self._backing_off is not None:
            self._backing_off.cancel()
            self._backing_off = None
        self._end_retry("given_up")
        self._flow = None

    def _end_retry(self, outcome: str) -> None:
        """Count what came of a retry, if one is under way."""
        if self._retrying:
            self._retrying = False
            self._context.retried(self.exchange.route.origin, outcome)

    @abstractmethod
    def _run_outbound(self, start: int) -> None:
        """Run the outbound chain from a position over `exchange.response`, and deliver it."""

    @abstractmethod
    def _deliver(self) -> None:
        """Send `exchange.response` as it is."""

    @abstractmethod
    def connection_ready(self, connection: Upstream) -> None:
        """Send the request on a reserved connection."""

    @abstractmethod
    def connection_failed(self, reason: Reason) -> None:
        """Answer for an origin that can't be reached."""

    def _record(self) -> None:
        exchange, inlet, flow = self.exchange, self._inlet, self._flow
        response = exchange.response
        origin_s = 0.0
        if self._answered_at:
            origin_s = self._answered_at - self._sent_at
            edge_s = self._sent_at - self._started + max(self._written_at - self._answered_at, 0.0)
        else:
            edge_s = (self._sent_at or self._context.clock()) - self._started
        whole_body = response.body if response is not None else None
        self._context.finished(
            exchange,
            status=response.status if response is not None and self._delivered else 0,
            outcome=self._outcome,
            edge_s=edge_s,
            origin_s=origin_s,
            bytes_in=inlet.size if inlet is not None else 0,
            bytes_out=flow.size if flow is not None else len(whole_body or b""),
        )
