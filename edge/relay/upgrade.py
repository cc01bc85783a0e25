"""An exchange that asks for another protocol, and the two connections when the origin agrees (RFC 9110 §7.8).

Theory of operation. Until the origin answers, this is an exchange like any other: the inbound chain decides on its
head. Anything but a 101 is a normal answer. A 101 that is what was asked for passes the outbound chain; from then on
each side's bytes are a body that only that side's end ends, streamed by the flows that carry all bodies, so counts,
back-pressure and progress are theirs. Neither connection carries HTTP again.
"""

import hashlib
from base64 import b64encode
from typing import Final

from edge.contract.exchange import Exchange
from edge.contract.headers import Headers
from edge.contract.reasons import Reason
from edge.contract.route import UpgradePolicy
from edge.http1 import write
from edge.http1.body import TunnelBody
from edge.http1.request import RequestHead
from edge.http1.response import ResponseHead
from edge.net.downstream import Downstream
from edge.net.upstream import State, Upstream
from edge.relay.context import Context
from edge.relay.flow import BodyFlow
from edge.relay.relay import Relay
from edge.relay.writers import PLAIN

_BEFORE_DRAIN_ENDS_S: Final = 0.5  # two sweeps: what is still open at a drain's end is reset
_ACCEPT_SALT: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 §1.3


class UpgradeRelay(Relay):
    """Takes one request for an upgrade through the edge, and what follows it."""

    __slots__ = ("_counted_in", "_counted_out", "_over", "_policy", "_protocol", "_switched", "_tunnel")

    def __init__(
        self,
        context: Context,
        downstream: Downstream,
        head: RequestHead,
        exchange: Exchange,
        now: float,
        *,
        protocol: bytes,
        policy: UpgradePolicy,
    ) -> None:
        super().__init__(context, downstream, head, exchange, now)
        self._protocol = protocol
        self._policy = policy
        self._switched = False  # the origin has sent a 101
        self._tunnel = False  # so has the edge
        self._over = False  # one side has ended, and the other can't go on alone
        self._counted_in = self._counted_out = 0

    # Asking.

    def _ask_origin(self) -> None:
        request = self.exchange.request
        if self._context.draining:
            self._fail(503, Reason.DRAINING, "upgrade")
        elif request.body or request.transform is not None:
            self._fail(500, Reason.FILTER_ERROR, "a body for an upgrade")
        else:
            request.headers.set(b"connection", b"upgrade")
            request.headers.set(b"upgrade", self._protocol)
            super()._ask_origin()

    def connection_ready(self, connection: Upstream) -> None:
        """Send the request; its answer may be a 101."""
        connection.allow_upgrade()
        super().connection_ready(connection)

    def _request_is_over(self) -> bool:
        """Whether the origin takes the next bytes as a request: one that was asked to upgrade may not."""
        return False

    # The origin's answer.

    def response_head(self, head: ResponseHead) -> None:
        """Take a 101 that was asked for, or any other answer as usual."""
        body, upstream = head.body, self._upstream
        if isinstance(body, TunnelBody):
            if upstream is not None and not self._agreed(body.protocol, head.headers):
                upstream.close()
                self.origin_failed(Reason.ORIGIN_PROTOCOL_ERROR, unanswered=False)
                return
            self._switched = True
        super().response_head(head)

    def _agreed(self, protocol: bytes, headers: Headers) -> bool:
        """Whether a 101 answers this request; that of a WebSocket proves that it has read its key (RFC 6455 §4.2.2)."""
        if protocol != self._protocol:
            return False
        if protocol != b"websocket":
            return True
        keys = self.exchange.request.headers.get_all(b"sec-websocket-key")
        return len(keys) == 1 and headers.get_all(b"sec-websocket-accept") == [_accept(keys[0])]

    def response_end(self, trailers: Headers | None, *, reusable: bool) -> None:
        """Take the end of an answer; of a tunnel, the origin's end."""
        if not self._switched:
            super().response_end(trailers, reusable=reusable)
            return
        upstream, flow = self._upstream, self._flow
        if upstream is None or flow is None or self._response_ended:
            return
        self._response_ended = True
        flow.end(None)
        if upstream.state is State.CLOSED:
            self._over = True
        if self._tunnel:
            self._pass_origins_end()

    def _collect_response(self, index: int, max_bytes: int) -> None:
        if self._switched:
            self._fail(500, Reason.FILTER_ERROR, "asked for the body of an upgrade")
        else:
            super()._collect_response(index, max_bytes)

    def _deliver(self) -> None:
        response, upstream, flow = self.exchange.response, self._upstream, self._flow
        if not self._switched or response is None or response.local:
            super()._deliver()
        elif upstream is None or flow is None:
            self._fail(502, Reason.ORIGIN_CUT, self.exchange.route.origin)
        elif response.status != 101 or response.body is not None or response.transform is not None:
            self._fail(500, Reason.FILTER_ERROR, "changed the answer to an upgrade")
        else:
            framing = b"connection: upgrade\r\nupgrade: %b\r\n" % self._protocol
            self._out.append(write.response_head(101, response.headers, framing))
            self._delivered = self._tunnel = True
            self._written_at = self._context.clock()
            self._pool.succeeded(upstream, self._answered_at - self._sent_at)
            self._context.upgrades.opened(self.exchange.route.id)
            flow.pass_to(self._out.append, PLAIN)
            self.flush()
            inlet = self._inlet = BodyFlow(None)
            inlet.pass_to(upstream.send, PLAIN)
            self._downstream.upgrade(self._protocol)
            if self._response_ended:
                self._pass_origins_end()

    # The tunnel.

    def request_end(self, trailers: Headers | None) -> None:  # noqa: ARG002 - a tunnel has none
        """Pass the device's end on; the origin may go on."""
        inlet, upstream = self._inlet, self._upstream
        if inlet is not None and upstream is not None and not inlet.ended:
            inlet.end(None)
            if not upstream.half_close():
                self._over = True
            self._settle()

    def _pass_origins_end(self) -> None:
        self.flush()
        if not self._downstream.half_close():
            self._over = True
        self._settle()

    def _settle(self) -> None:
        """End when both sides have, and all is sent."""
        inlet, upstream = self._inlet, self._upstream
        ended = self._over or (self._response_ended and inlet is not None and inlet.ended)
        if ended and not self._done and (upstream is None or upstream.all_sent):
            self._finish()

    def origin_failed(self, reason: Reason, *, unanswered: bool) -> None:
        """Break off; what becomes of a tunnel says nothing of how well the origin answers."""
        if self._tunnel:
            self._upstream = None
            self._fail(502, reason, self.exchange.route.origin)
        else:
            super().origin_failed(reason, unanswered=unanswered)

    def client_gone(self) -> None:
        """Let go of everything; a device that had ended before is not missed."""
        if self._tunnel and self._inlet is not None and self._inlet.ended and not self._done:
            self._finish()
        else:
            super().client_gone()

    def sweep(self, now: float) -> None:
        """Enforce the deadlines: those of an exchange, then those of a tunnel."""
        if not self._tunnel:
            super().sweep(now)
            return
        self._count_bytes()
        if self._progress != self._progress_seen:
            self._progress_seen, self._progress_at = self._progress, now
        if now - self._started > self._policy.life_s:
            self._end(Reason.UPGRADE_EXPIRED)
        elif now > self._context.drain_ends_at - _BEFORE_DRAIN_ENDS_S:
            self._end(Reason.DRAINING)
        elif now - self._progress_at > self._idle_limit():
            self._end(Reason.UPGRADE_IDLE)
        else:
            self._settle()

    def _idle_limit(self) -> float:
        """One side alone gets no longer than a body would."""
        half = self._response_ended or (self._inlet is not None and self._inlet.ended)
        idle_s = self._policy.idle_timeout_s
        return min(idle_s, self.exchange.route.idle_timeout_s) if half else idle_s

    # The end.

    def _end(self, reason: Reason) -> None:
        """Close both connections in order: what was relayed arrives, or the end is a reset."""
        self._outcome = "cut"
        self.exchange.reason = reason
        self._finish()

    def _finish(self) -> None:
        upstream = self._upstream
        super()._finish()
        if self._tunnel and upstream is not None:
            self._upstream = None
            if upstream.all_sent:
                upstream.close()
            else:
                upstream.reset()

    def _drop_origin(self) -> None:
        if self._tunnel and self._upstream is not None:
            self._upstream.reset()
            self._upstream = None
        super()._drop_origin()

    def _record(self) -> None:
        super()._record()
        if self._tunnel:
            self._count_bytes()
            self._context.upgrades.closed(self.exchange.route.id, self.exchange.reason or "closed")

    def _count_bytes(self) -> None:
        bytes_in = self._inlet.size if self._inlet is not None else 0
        bytes_out = self._flow.size if self._flow is not None else 0
        self._context.upgrades.relayed(
            self.exchange.route.id, bytes_in - self._counted_in, bytes_out - self._counted_out
        )
        self._counted_in, self._counted_out = bytes_in, bytes_out


def _accept(key: bytes) -> bytes:
    return b64encode(hashlib.sha1(key + _ACCEPT_SALT, usedforsecurity=False).digest())
