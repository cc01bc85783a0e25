"""The worker's data plane: takes requests from connections, finds their route, and gives them to a relay."""

import asyncio
import contextlib
import ssl
from binascii import hexlify
from collections.abc import Awaitable, Callable, Coroutine
from math import inf
from random import randbytes, random
from typing import Final
from weakref import WeakSet

from edge.contract.exchange import Exchange, Request
from edge.contract.reasons import Reason
from edge.contract.route import Route
from edge.control.snapshot import Snapshot
from edge.http1 import write
from edge.http1.errors import BadRequestError
from edge.http1.limits import HeadLimits
from edge.http1.request import RequestHead
from edge.http1.target import Target
from edge.net.client_certificate import client_certificate
from edge.net.downstream import Downstream
from edge.net.proxy_protocol import ProxyHeader
from edge.net.roles import Arrival, StreamHandler
from edge.net.tls import outdated
from edge.relay.admission import Admission, connections_within
from edge.relay.chain import Chain
from edge.relay.context import Context
from edge.relay.finding import find_route
from edge.relay.load import Load
from edge.relay.origins import Guards, Origins, Pools
from edge.relay.problem import problem_response, whole
from edge.relay.refusal import EarlyRefusal
from edge.relay.rejections import Rejections
from edge.relay.relay import Relay
from edge.relay.shed import Shed
from edge.relay.sweep import Sweep
from edge.relay.upgrade import UpgradeRelay
from edge.telemetry.metrics import WorkerMetrics, count
from edge.telemetry.telemetry import Telemetry
from edge.upstream.tls import OriginTls
from edge.upstream.watch import OriginWatch

SWEEP_INTERVAL_S = 0.25
PULSE_S, SHEDDING_PULSE_S = 0.025, 0.01
IDLE_GRACE_S = 2.0  # of a drain

_OTHER_DESCRIPTORS = 128  # of services, log, control channel, certificates being read, libraries
_ID_BYTES: Final = 16
_IDS_AT_ONCE: Final = 64
_MAX_KNOWN_TARGETS = 4096
_MAX_KNOWN_TARGET_BYTES = 256


class Engine:
    """Everything one worker needs to serve; made by `edge.wiring`.

    Connections, tasks and time belong to the worker. What follows from the configuration is a `Context`: `prepare`
    makes another one beside the one that serves, `adopt` puts it in its place. Exchanges end on the one they began on.
    """

    def __init__(
        self,
        snapshot: Snapshot,
        *,
        inbound: Chain,
        outbound: Chain,
        telemetry: Telemetry,
        loop: asyncio.AbstractEventLoop,
        clock: Callable[[], float],
        wall: Callable[[], float],
        report: Callable[[str, BaseException], None],
        watch: OriginWatch,
        descriptors: int | None = None,
    ) -> None:
        self.write_buffer_bytes = 65536
        self.draining = False
        self.clock = clock
        self.connections: set[Downstream] = set()
        self._telemetry = telemetry
        self._loop = loop
        self._wall = wall
        self._report = report
        self._tasks: set[asyncio.Task[None]] = set()
        self.arriving: WeakSet[object] = WeakSet()
        self._emptied = asyncio.Event()
        self._arrived_by = inf  # once the door is closed
        self._pulser: asyncio.TimerHandle | None = None
        self._sweep = Sweep(self.connections, report)
        self.rejections = Rejections(Load(clock), telemetry, clock() + SWEEP_INTERVAL_S)
        self._ids: list[bytes] = []  # of requests to come
        self.take_more: Callable[[], None] | None = None
        """Takes connections that wait; called where the loop is late, which takes one itself in each turn."""
        self._descriptors = descriptors
        self._admission = Admission(self.connections, clock, telemetry.dropped)
        self._contexts: WeakSet[Context] = WeakSet()  # those that an exchange or this engine still holds
        self._origins = Origins(loop, clock, telemetry.metrics, self.spawn, watch)
        self.adopt(self.prepare(snapshot, inbound, outbound))

    # Configuration.

    def prepare(self, snapshot: Snapshot, inbound: Chain, outbound: Chain) -> Context:
        """Return what would serve `snapshot`, with the pools of unchanged origins; changes nothing."""
        pools, guards = self._origins.prepare(snapshot.origins, _head_limits(snapshot), self.write_buffer_bytes)
        return Context(
            snapshot=snapshot,
            inbound=inbound,
            outbound=outbound,
            pools=pools,
            guards=guards,
            finished=self._telemetry.finished,
            spawn=self.spawn,
            report=self._report,
            clock=self.clock,
            wall=self._wall,
            random=random,
            call_later=self._loop.call_later,
            retried=self._telemetry.metrics.retried,
            max_buffered_body_bytes=snapshot.limits.max_buffered_body_bytes,
            upgrades=self._telemetry.metrics.upgrades,
        )

    def adopt(self, context: Context) -> None:
        """Serve what comes from now on with `context`. On the loop's thread, between two callbacks: none sees half."""
        snapshot = context.snapshot
        context.draining = self.draining
        self._contexts.add(context)
        self._context = context
        self._origins.serve(snapshot.origins, _head_limits(snapshot), context.pools, context.guards)
        self._routes = snapshot.routes
        self._known_targets: dict[tuple[bytes, bytes, bytes], tuple[Target, Route]] = {}
        self._plain_is_secure = snapshot.listener.local_plain_http
        self._admission.limit(snapshot, self._connections_within(snapshot))
        # Read by connections; those that are open keep the limits that they began with.
        self.limits = _head_limits(snapshot)
        self.rejections.serve(context, snapshot, self.limits)
        self.head_read_s = snapshot.timeouts.head_read_s
        self.keep_alive_idle_s = snapshot.timeouts.keep_alive_idle_s
        self.idle_s = snapshot.timeouts.idle_s
        self.rate_window_s = snapshot.timeouts.rate_window_s
        self.min_response_bytes_per_s = snapshot.limits.min_response_bytes_per_s
        self.drain_s = snapshot.timeouts.drain_s

    def discard(self, context: Context) -> None:
        """Let go of what was prepared and will not serve."""
        self._origins.discard(context.pools)

    def _connections_within(self, snapshot: Snapshot) -> int:
        """Return how many device connections this worker may hold: what is configured, or what descriptors allow."""
        wanted = snapshot.limits.max_connections
        if self._descriptors is None:
            return wanted
        others = sum(origin.max_connections for origin in snapshot.origins.values()) + _OTHER_DESCRIPTORS
        return connections_within(self._descriptors, wanted, others)

    @property
    def max_connections(self) -> int:
        """How many device connections may be open."""
        return self._admission.max_connections

    def origin_certificates(self) -> list[OriginTls]:
        """Return what the serving pools connect with."""
        return self._origins.certificates()

    @property
    def pools(self) -> Pools:
        """The pools of the origins that are served now, by id."""
        return self._context.pools

    @property
    def guards(self) -> Guards:
        """Their guards, by id."""
        return self._context.guards

    # Connections.

    def accept(self, *, secure: bool = False, proxied: ProxyHeader | None = None) -> Downstream:
        """Return the protocol of a new connection: the listener's factory."""
        if secure:
            count(self._telemetry.metrics.tls_handshakes, ("device", "started"))
        connection = Downstream(self, secure=secure, proxied=proxied)
        connection.arrival = arrival = Arrival()
        self.arriving.add(arrival)
        return connection

    def admit(self, connection: Downstream, peername: object, session: object) -> bool:
        """Name the peer of a new connection; return whether it may stay."""
        connection.arrival = None
        if isinstance(session, ssl.SSLObject) and not self._handshaken(connection, session):
            return False
        return self._admission.admit(connection, peername)

    def _handshaken(self, connection: Downstream, session: ssl.SSLObject) -> bool:
        """Name the client certificate; return False for one that cannot be read, or was verified by older files."""
        count(self._telemetry.metrics.tls_handshakes, ("device", "completed"))
        certificate = session.getpeercert(binary_form=True)
        if certificate is not None:
            if outdated(session):
                self.dropped("tls_session_outdated")
                return False
            try:
                connection.client_certificate = client_certificate(certificate)
            except ValueError:
                return False
        return True

    def forget(self, connection: Downstream) -> None:
        """Let go of a connection that is closed."""
        self.connections.discard(connection)
        self._admission.forget(connection)
        if self.draining:
            self._note_emptied()

    def idled(self, connection: Downstream) -> None:
        """Take note of a connection that has begun to be idle."""
        self._admission.idled(connection)

    def dropped(self, why: str) -> None:
        """Count a connection that was refused or given up."""
        self._telemetry.dropped(why)

    # Requests.

    def open(self, connection: Downstream, head: RequestHead) -> StreamHandler:
        """Return what handles a request: a relay on its route, or a refusal."""
        key = (head.target, head.host, head.method)
        known = self._known_targets.get(key)
        if known is None:
            found = find_route(self._routes, head)
            if isinstance(found, BadRequestError):
                return EarlyRefusal(self, connection, head, found)
            known = found
            if len(head.target) <= _MAX_KNOWN_TARGET_BYTES:
                if len(self._known_targets) >= _MAX_KNOWN_TARGETS:
                    self._known_targets.clear()
                self._known_targets[key] = known
        target, route = known
        if target.authority is not None and target.authority.lower() != head.authority:
            error = BadRequestError(400, Reason.BAD_HOST, "absolute-form differs from Host")
            return EarlyRefusal(self, connection, head, error)
        now = self.clock()
        rejections = self.rejections
        if now > rejections.due or rejections.asks:
            answer = rejections.of(connection, route, now)
            if answer is not None:
                return Shed(connection, head, answer, draining=self.draining)
        request = Request(
            head.method,
            target.origin_form,
            target.path,
            head.host,
            head.headers,
            authority=head.authority,
            scheme="https" if connection.secure else "http",
            peer=connection.peer,
            peer_trusted=connection.peer_trusted,
        )
        secure = connection.secure or self._plain_is_secure
        exchange = Exchange(self._new_id(), self._wall(), request, route, secure=secure)
        exchange.client_certificate = connection.client_certificate
        if head.upgrade and route.upgrade is not None:
            for protocol in head.upgrade:
                if protocol in route.upgrade.protocols:
                    return UpgradeRelay(
                        self._context, connection, head, exchange, now, protocol=protocol, policy=route.upgrade
                    )
        return Relay(self._context, connection, head, exchange, now)

    @property
    def rejecting(self) -> bool:
        """Whether so many requests are rejected that each is to be looked at before it is read."""
        return self.rejections.rejecting

    def reject(self, connection: Downstream, data: bytes) -> bytes:
        """While `rejecting`: return the answer to what came, if it is one request that is shed; else nothing."""
        return b"" if self.draining else self.rejections.unread(connection, data, self.clock())

    def refuse(self, connection: Downstream, error: BadRequestError) -> None:
        """Answer something that is not a request, and close: nothing after it can be trusted (THREATS S4)."""
        self.answer_early(connection, error, to_head=False, line=write.CLOSE)
        connection.close(linger=True)

    def answer_early(self, connection: Downstream, error: BadRequestError, *, to_head: bool, line: bytes) -> None:
        """Write an error page for a request that never got a route."""
        now = self._wall()
        response = problem_response(error.status, error.reason, self._new_id(), now)
        if error.allow:
            response.headers.add(b"allow", b", ".join(error.allow))
        connection.write(whole(response, to_head=to_head, connection=line))
        self._telemetry.refused_early(
            error.reason, status=error.status, now=now, peer=connection.peer, detail=error.detail
        )

    def _new_id(self) -> bytes:
        """Return a request id. Made many at a time, which costs a tenth."""
        if not self._ids:
            self._ids = _new_ids()
        return self._ids.pop()

    # Tasks and time.

    def spawn(
        self, work: Coroutine[None, None, None], failed: Callable[[BaseException], None] | None = None
    ) -> asyncio.Task[None]:
        """Start a task, keep it until it ends, and tell `failed` and the log if it raises."""
        task = self._loop.create_task(work)
        self._tasks.add(task)

        def done(ended: asyncio.Task[None]) -> None:
            self._tasks.discard(ended)
            error = None if ended.cancelled() else ended.exception()
            if isinstance(error, Exception):
                self._report("task", error)
                if failed is not None:
                    failed(error)

        task.add_done_callback(done)
        return task

    def soon(self, callback: Callable[[], None]) -> None:
        """Call back in the loop's next round."""
        self._loop.call_soon(callback)

    def start(self) -> None:
        """Start the sweep that keeps every deadline, and the watch over origins."""
        self._origins.start()
        self.rejections.seen_at = self.clock()
        self.rejections.load.start()
        self._pulse_again()

    def _pulse_again(self) -> None:
        pulse_s = SHEDDING_PULSE_S if self.rejections.shedding else PULSE_S
        self.rejections.due = self.clock() + pulse_s
        self._pulser = self._loop.call_later(pulse_s, self._pulse)

    def _pulse(self) -> None:
        rejections = self.rejections
        now = rejections.seen_at = self.clock()
        try:
            rejections.load.pulse(now, rejections.due)
            self._keep_deadlines(now)
            rejections.pulse(now)
            if self._context.late and self.take_more is not None:
                self.take_more()
        finally:
            self._pulse_again()

    def _keep_deadlines(self, now: float) -> None:
        passed = (now - self.rejections.load.swept_at) / SWEEP_INTERVAL_S
        self._sweep.go_on(now, passed)
        if passed >= 1.0:
            self._end_sweep(now)

    def _end_sweep(self, now: float) -> None:
        """Do what is due once an interval, and begin the next sweep."""
        self._origins.sweep(now, [context.pools for context in self._contexts], self._report)
        if self.draining:
            self._note_emptied()  # what was arriving may have gone without a word
        self._telemetry.sweep()
        load = self.rejections.load
        load.sweep(now, sum(context.waiting for context in self._contexts))
        self._admission.sweep(SWEEP_INTERVAL_S, overloaded=load.overloaded)
        for context in self._contexts:
            context.waiting = 0
        self._sweep.begin()

    @property
    def turn(self) -> float:
        """What changes as long as the loop turns, for the watchdog's thread to see."""
        return self.rejections.seen_at

    @property
    def running_filter(self) -> str:
        """The id of the filter that runs now, or ""; any thread may ask."""
        return self._context.inbound.running or self._context.outbound.running

    @property
    def origin_connections(self) -> int:
        """How many origin connections are open."""
        return self._origins.open_connections

    def observe_origins(self, metrics: WorkerMetrics) -> None:
        """Set the gauges of every origin that is in use."""
        self._origins.observe(metrics)

    async def drain(
        self,
        at_most_s: float,
        close_door: Callable[[], Awaitable[None]] | None = None,
        *,
        grace_s: float = IDLE_GRACE_S,
    ) -> None:
        """Tell every client with its next answer to close, close who is idle for `grace_s`, wait for who is not.

        `close_door` stops taking connections: after a while, so that nobody is refused who has just been sent away.

        A client that closes because it was told to loses nothing; one whose idle connection is closed under the
        request that it is just sending does. So who was taken at the last moment has `grace_s` for its handshake, and
        for its request.
        """
        self.draining, ends_at = True, self.clock() + at_most_s
        for context in self._contexts:
            context.draining, context.drain_ends_at = True, ends_at
        grace_s = min(grace_s, at_most_s / 2)
        await self._emptied_within(grace_s)
        if close_door is not None:
            await close_door()
        self._sweep.close_idle_after_s, self._arrived_by = grace_s, self.clock() + grace_s  # the next sweep sees to it
        await self._emptied_within(ends_at - self.clock())

    def _note_emptied(self) -> None:
        if not self.connections and (not self.arriving or self.clock() >= self._arrived_by):
            self._emptied.set()

    async def _emptied_within(self, seconds: float) -> None:
        self._emptied.clear()
        if self.connections or self.arriving:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._emptied.wait(), seconds)

    async def close(self) -> None:
        """Break off what is left."""
        if self._pulser is not None:
            self._pulser.cancel()
        await self._origins.close()
        for connection in tuple(self.connections):
            connection.reset()
        self._origins.close_connections()
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _head_limits(snapshot: Snapshot) -> HeadLimits:
    limits = snapshot.limits
    return HeadLimits(limits.max_target_bytes, limits.max_head_bytes, limits.max_headers)


def _new_ids() -> list[bytes]:
    """Return request ids, 32 hex digits each: unique, not secret, so a fast generator does."""
    digits = hexlify(randbytes(_IDS_AT_ONCE * _ID_BYTES))  # noqa: S311
    return [digits[begin : begin + 2 * _ID_BYTES] for begin in range(0, len(digits), 2 * _ID_BYTES)]
