"""The connections of one worker to one origin: reused last-in-first-out, bounded, with a bounded and timed queue.

A request first tries `acquire`, which never waits. If no idle connection is there, it queues with `request`; each
waiter that may have a connection of its own starts a connect, and whichever comes first, that one or another
request's released connection, serves it. Callbacks, not futures: a waiter is told on the same stack.

Which address a connection is taken from or made to is the `Rotation`'s and the balancer's choice.
"""

from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from typing import Final, Protocol, TypeAlias

from edge.contract.reasons import Reason
from edge.control.snapshot import Origin
from edge.control.values import Address
from edge.net.upstream import Peer, State, Upstream
from edge.telemetry.metrics import WorkerMetrics, count
from edge.upstream.balancer import choose
from edge.upstream.connector import Connector, NoResourcesError
from edge.upstream.ejection import Standing
from edge.upstream.endpoint import Endpoint
from edge.upstream.rotation import Rotation
from edge.upstream.tls import OriginTls

_JITTER: Final = 0.2

Avoided: TypeAlias = tuple[Peer, ...]


class Waiter(Protocol):
    """A request that wants a connection."""

    def connection_ready(self, connection: Upstream) -> None:
        """Use this connection, reserved for you."""
        ...

    def connection_failed(self, reason: Reason) -> None:
        """There is none to be had."""
        ...


class OriginPool:
    """Connections to one origin."""

    def __init__(
        self,
        origin: Origin,
        connector: Connector,
        *,
        spawn: Callable[[Coroutine[None, None, None]], object],
        clock: Callable[[], float],
        random: Callable[[], float],
        metrics: WorkerMetrics,
    ) -> None:
        self._origin = origin
        self._connector = connector
        self._spawn = spawn
        self._clock = clock
        self._random = random
        self._metrics = metrics
        self._rotation = Rotation(origin.ejection, origin.warm_up_s, random)
        self._only: Endpoint | None = None  # when there is just one: the fast path
        self._waiting: deque[tuple[Waiter, float, Avoided, bool]] = deque()  # until when, avoiding whom, fresh
        self._all: set[Upstream] = set()
        self._connecting = 0
        self._trusted = None if connector.tls is None else connector.tls.trusted

    # The addresses.

    def set_addresses(self, addresses: Sequence[Address]) -> None:
        """Make these the origin's addresses; connections to those that went end with their request.

        New ones warm up. Without any, requests fail at once.
        """
        for endpoint in self._rotation.replace(addresses, self._clock()):
            self._retire(endpoint)
        endpoints = self._rotation.endpoints
        self._only = endpoints[0] if len(endpoints) == 1 else None
        self._connect_if_wanted()

    def mark_health(self, address: Address, healthy: bool) -> None:
        """Take the word of an active health check: an unhealthy address gets no request while another can have it."""
        endpoint = self._rotation.mark(address, healthy, self._clock())
        if endpoint is not None:
            self._retire(endpoint)

    # What a request calls.

    def acquire(self) -> Upstream | None:
        """Return the idle connection used last of the address chosen, reserved, or None."""
        if self._only is not None:
            return self._take(self._only)
        return self._acquire_balanced()

    def has_other(self, avoid: Avoided) -> bool:
        """Whether an address is in rotation that is none of these."""
        return bool(self._allowed(avoid))

    def request(self, waiter: Waiter, avoid: Avoided = (), *, fresh: bool = False) -> None:
        """Queue for a connection; a waiter that none can be opened for is failed at once when the queue is full.

        `avoid` are addresses (`Upstream.address`) that it never gets one to, even when no other is left. `fresh` asks
        for one that was never used: one that was kept may have been closed by the origin meanwhile.
        """
        allowed = self._allowed(avoid)
        if not allowed:
            waiter.connection_failed(Reason.ORIGIN_CONNECT_FAILED)
            return
        chosen = self._to_connect(avoid)
        if chosen is None:
            for endpoint in allowed:
                connection = None if fresh else self._take(endpoint)
                if connection is not None:
                    waiter.connection_ready(connection)
                    return
            if len(self._waiting) - self._under_way() >= self._origin.max_waiting:
                waiter.connection_failed(Reason.ORIGIN_POOL_EXHAUSTED)
                return
            self._make_room(avoid, fresh=fresh)
        self._waiting.append((waiter, self._clock() + self._origin.wait_timeout_s, avoid, fresh))
        if chosen is not None and avoid:  # what is under way may be to one of these, and hang
            self._begin_connect(chosen, self._connect(chosen))
        else:
            self._connect_if_wanted()

    def cancel(self, waiter: Waiter) -> None:
        """Forget a waiter that needs no connection any more."""
        self._waiting = deque(entry for entry in self._waiting if entry[0] is not waiter)

    def succeeded(self, connection: Upstream, seconds: float) -> None:
        """Count a good answer for the connection's address; `seconds` until its head. To be told before `release`."""
        if self._only is not None:
            return
        endpoint = _endpoint(connection)
        if endpoint.probe is connection:
            self._rotation.returned(endpoint, self._clock())
        endpoint.record.succeeded(seconds)

    def goes_well(self, connection: Upstream) -> None:
        """Let an address return whose probe is a long answer, without waiting for its end."""
        endpoint = _endpoint(connection)
        if endpoint.probe is connection:
            self._rotation.returned(endpoint, self._clock())

    def failed(self, connection: Upstream, cause: str) -> None:
        """Count an error against the connection's address; `cause` is a reason's id, or names the status."""
        self._failed(_endpoint(connection), cause, connection)

    def release(self, connection: Upstream, now: float) -> None:
        """Take a connection back whose response is complete and which may carry another request."""
        if connection.state is State.CLOSED:
            return
        endpoint = _endpoint(connection)
        endpoint.in_flight -= 1
        connection.lent = False
        if now >= connection.retire_at or connection.requests >= connection.max_requests:
            connection.close()
        else:
            self._settle(endpoint, connection, now)

    def connection_closed(self, connection: Upstream) -> None:
        """Forget a connection; whoever waits may get a new one in its place."""
        endpoint = _endpoint(connection)
        if connection in self._all:
            self._all.discard(connection)
            endpoint.opened -= 1
        if connection.lent:
            connection.lent = False
            endpoint.in_flight -= 1
            if endpoint.probe is connection:  # its request was given up: no verdict
                self._rotation.postpone(endpoint, 0.0, self._clock())
        elif connection in endpoint.idle:
            endpoint.idle.remove(connection)
        self._connect_if_wanted()

    # Time.

    def sweep(self, now: float) -> None:
        """Fail waiters whose time is up, close connections that are idle or old, let addresses return.

        Connections that were opened when others were trusted end with their request.
        """
        tls = self._connector.tls
        if tls is not None and tls.trusted != self._trusted:
            self._trusted = tls.trusted
            for endpoint in self._rotation.endpoints:
                self._retire(endpoint)
        reason = Reason.ORIGIN_POOL_EXHAUSTED if self._all else Reason.ORIGIN_CONNECT_TIMEOUT
        while self._waiting and self._waiting[0][1] <= now:
            self._waiting.popleft()[0].connection_failed(reason)
        oldest = now - self._origin.idle_timeout_s
        for endpoint in self._rotation.endpoints:
            for connection in [c for c in endpoint.idle if c.idle_since < oldest or c.retire_at <= now]:
                endpoint.idle.remove(connection)
                connection.close()
        for endpoint in self._rotation.sweep(now):
            self._begin_connect(endpoint, self._probe(endpoint))
        self._connect_if_wanted()

    def close(self) -> None:
        """Close every idle connection; those in use close with their response."""
        for endpoint in self._rotation.endpoints:
            for connection in endpoint.idle:
                connection.close()
            endpoint.idle.clear()

    def observe(self, metrics: WorkerMetrics) -> None:
        """Set this origin's gauges."""
        origin, endpoints = self._origin.id, self._rotation.endpoints
        ejected = sum(endpoint.standing is not Standing.ACTIVE for endpoint in endpoints)
        metrics.origin_addresses[origin, "known"] = len(endpoints)
        metrics.origin_addresses[origin, "ejected"] = ejected
        metrics.origin_addresses[origin, "unhealthy"] = sum(not endpoint.healthy for endpoint in endpoints)
        metrics.origin_connections[origin] = self.open_connections
        metrics.origin_waiting[origin] = len(self._waiting)

    @property
    def tls(self) -> OriginTls | None:
        """What its connections are opened with, if they speak TLS."""
        return self._connector.tls

    @property
    def open_connections(self) -> int:
        """How many connections are open or being opened."""
        return len(self._all) + self._connecting

    # Choosing.

    def _take(self, endpoint: Endpoint) -> Upstream | None:
        idle = endpoint.idle
        while idle:
            connection = idle.pop()
            if connection.state is State.IDLE:
                connection.state = State.RESERVED
                connection.lent = True
                endpoint.in_flight += 1
                return connection
        return None

    def _acquire_balanced(self) -> Upstream | None:
        rotation = self._rotation
        if rotation.ready:
            connection = self._take_probe()
            if connection is not None:
                return connection
        active = rotation.active
        if not active:
            return None
        chosen = choose(active, self._random())
        connection = self._take(chosen)
        if connection is None and len(active) > 1:
            # Use another's connection for this request, and have one of the chosen address for the next.
            connection = self._take(choose(active, self._random(), chosen))
            if connection is not None and not chosen.connecting and self._has_room(chosen):
                self._begin_connect(chosen, self._connect(chosen))
        return connection

    def _take_probe(self) -> Upstream | None:
        endpoint = self._rotation.ready.pop()
        connection = self._take(endpoint)
        if connection is None:
            self._rotation.postpone(endpoint, 0.0, self._clock())
        endpoint.probe = connection
        return connection

    def _allowed(self, avoid: Avoided) -> list[Endpoint]:
        """Return the addresses in rotation but for these."""
        active = self._rotation.active
        return [each for each in active if each not in avoid] if avoid else active

    def _to_connect(self, avoid: Avoided) -> Endpoint | None:
        """Return the address that the next connect goes to, None when there is no room for one."""
        allowed = self._allowed(avoid)
        if not allowed or self.open_connections >= self._origin.max_connections:
            return None
        chosen = choose(allowed, self._random())
        if self._has_room(chosen):
            return chosen
        return min(filter(self._has_room, allowed), key=_load, default=None)

    def _has_room(self, endpoint: Endpoint) -> bool:
        most = self._origin.max_connections_per_address
        return self.open_connections < self._origin.max_connections and (
            most is None or endpoint.opened + endpoint.connecting < most
        )

    def _make_room(self, avoid: Avoided, *, fresh: bool) -> None:
        """Give up an idle connection that a waiter may not use, so that it gets one it may."""
        useless = [each for each in self._rotation.endpoints if each.idle and (fresh or each in avoid)]
        if useless:
            min(useless, key=lambda each: each in avoid).idle.pop(0).close()

    # Connecting.

    def _connect_if_wanted(self) -> None:
        while self._waiting:
            under_way = self._under_way()
            if under_way >= len(self._waiting):
                return
            waiter, _, avoid, _ = self._waiting[under_way]
            endpoint = self._to_connect(avoid)
            if endpoint is not None:
                self._begin_connect(endpoint, self._connect(endpoint))
            elif not self._allowed(avoid):  # those that were left have gone out of rotation
                del self._waiting[under_way]
                waiter.connection_failed(Reason.ORIGIN_CONNECT_FAILED)
            else:
                return

    def _under_way(self) -> int:
        """Count the connects that somebody who waits can hope for."""
        return sum(endpoint.connecting for endpoint in self._rotation.active)

    def _begin_connect(self, endpoint: Endpoint, work: Coroutine[None, None, None]) -> None:
        self._note_connecting(endpoint, 1)
        self._spawn(work)

    def _note_connecting(self, endpoint: Endpoint, change: int) -> None:
        self._connecting += change
        endpoint.connecting += change
        endpoint.in_flight += change

    async def _connect(self, endpoint: Endpoint) -> None:
        """Connect to an address, and to the others in turn when it fails, for as long as somebody waits."""
        tried: list[Endpoint] = []
        while True:
            opened = await self._open(endpoint)
            if isinstance(opened, Upstream):
                if endpoint in self._rotation.active:
                    self._settle(endpoint, opened, self._clock())
                else:  # removed or ejected meanwhile
                    opened.close()
                break
            tried.append(endpoint)
            if self._under_way() >= len(self._waiting):
                break
            untried = [each for each in self._rotation.active if each not in tried and each not in self._waiting[0][2]]
            if not untried:
                self._waiting.popleft()[0].connection_failed(opened)
                break
            untried = [each for each in untried if self._has_room(each)]
            if not untried:
                break
            endpoint = min(untried, key=_load)
            self._note_connecting(endpoint, 1)
        self._connect_if_wanted()

    async def _probe(self, endpoint: Endpoint) -> None:
        """Connect to a returning address: no request waits for it."""
        opened = await self._open(endpoint)
        if not isinstance(opened, Upstream):
            self._rotation.unreachable(endpoint, self._clock())
        elif not endpoint.known or endpoint.standing is not Standing.RETURNING:
            opened.close()
        else:
            opened.state = State.IDLE
            opened.idle_since = self._clock()
            endpoint.idle.append(opened)
            self._rotation.ready.append(endpoint)

    async def _open(self, endpoint: Endpoint) -> Upstream | Reason:
        connection: Upstream | Reason
        try:
            connection = await self._connector.open(endpoint, self)
        except NoResourcesError:
            return Reason.ORIGIN_CONNECT_FAILED
        finally:
            self._note_connecting(endpoint, -1)
        if not isinstance(connection, Upstream):
            self._failed(endpoint, connection, None)
            return connection
        if connection.state is State.CLOSED:  # as soon as it was accepted
            self._failed(endpoint, Reason.ORIGIN_CONNECT_FAILED, None)
            return Reason.ORIGIN_CONNECT_FAILED
        self._all.add(connection)
        endpoint.opened += 1
        origin = self._origin
        if origin.max_connection_age_s is not None:
            connection.retire_at = self._clock() + origin.max_connection_age_s * self._jitter()
        if origin.max_requests_per_connection is not None:
            connection.max_requests = max(1, round(origin.max_requests_per_connection * self._jitter()))
        return connection

    def _jitter(self) -> float:
        """Spread what would else come all at once."""
        return 1.0 - _JITTER * self._random()

    # Handing connections and verdicts on.

    def _settle(self, endpoint: Endpoint, connection: Upstream, now: float) -> None:
        """Give a connection to whoever waits longest and may have it, or let it idle."""
        if self._waiting:
            under_way = self._under_way()
            for place, (waiter, _, avoid, fresh) in enumerate(self._waiting):
                if fresh and connection.requests:
                    if place >= under_way:  # and there is no room for a connect
                        connection.close()
                        self.connection_closed(connection)  # its place is free now, lest the next one end for it, too
                        return
                elif endpoint not in avoid:
                    del self._waiting[place]
                    connection.state = State.RESERVED
                    connection.lent = True
                    endpoint.in_flight += 1
                    waiter.connection_ready(connection)
                    return
        connection.state = State.IDLE
        connection.idle_since = now
        endpoint.idle.append(connection)

    def _failed(self, endpoint: Endpoint, cause: str, connection: Upstream | None) -> None:
        if self._only is not None:
            return
        probe = connection is not None and endpoint.probe is connection
        if self._rotation.failed(endpoint, probe=probe, connecting=connection is None, now=self._clock()):
            count(self._metrics.ejections, (self._origin.id, str(endpoint.address), cause))
            self._retire(endpoint)
            self._connect_if_wanted()

    def _retire(self, endpoint: Endpoint) -> None:
        """Close an address's idle connections now, and the others with their request."""
        idle, endpoint.idle = endpoint.idle, []
        for connection in idle:
            connection.close()
        for connection in self._all:
            if connection.address is endpoint:
                connection.retire_at = 0.0

    def __repr__(self) -> str:
        idle = sum(len(endpoint.idle) for endpoint in self._rotation.endpoints)
        return (
            f"OriginPool({idle} idle, {self.open_connections} open of {self._origin.max_connections}, "
            f"{len(self._waiting)} waiting)"
        )


def _load(endpoint: Endpoint) -> float:
    return (endpoint.in_flight + 1) / endpoint.share


def _endpoint(connection: Upstream) -> Endpoint:
    address = connection.address
    if not isinstance(address, Endpoint):
        raise AssertionError("a connection of another pool")  # noqa: TRY004 - a bug, not a wrong argument
    return address
