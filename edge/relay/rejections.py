"""Which requests are answered on their head alone: too many of one client, or for the worker, or for an origin."""

import contextlib
from typing import Final

from edge.contract.route import Priority, Route
from edge.control.snapshot import Snapshot
from edge.guard.shedding import NOTHING_SHED
from edge.http1.errors import BadRequestError
from edge.http1.limits import HeadLimits
from edge.http1.request import RequestReader, plain_request
from edge.net.downstream import Downstream
from edge.relay.context import Context
from edge.relay.finding import find_route
from edge.relay.load import Load
from edge.relay.shed import ORIGIN_OVERLOADED, OVERLOADED, TOO_MANY, Prepared
from edge.telemetry.telemetry import Telemetry

_MAX_SHEDDABLE: Final = 1024
_LATE_S: Final = 0.01
_REJECTING: Final = 3  # one in so many requests
_PRIORITY_NAMES: Final = tuple(priority.name.lower() for priority in Priority)


class Rejections:
    """Decides for one worker, by what `load` measures of it and by the state of the origins.

    `asks` says that each request must be asked about; without it only those that come after `due`, when the loop
    should have been measured again. While `rejecting`, so many are rejected that each is looked at before it is read.
    """

    def __init__(self, load: Load, telemetry: Telemetry, due: float) -> None:
        self.load = load
        self.due = due
        self.seen_at = 0.0  # when the loop last came round: never, while the process stands by
        self.asks = self.shedding = self.rejecting = False
        self._telemetry = telemetry
        self._shed_from: int = NOTHING_SHED  # until the next pulse
        self._shed = 0
        self._let_in = False
        self._asked = self._rejected = 0  # since the last pulse

    def serve(self, context: Context, snapshot: Snapshot, limits: HeadLimits) -> None:
        """Go by a configuration from now on."""
        self._context = context
        self._routes = snapshot.routes
        self._limits = limits
        self._sheddable: dict[tuple[bytes, bytes], Route | None] = {}
        self._limits_requests = self.asks = snapshot.limits.max_requests_per_client_per_s is not None
        self._sheds = snapshot.shedding.enabled
        self._shed_from = NOTHING_SHED
        self.load.limit(snapshot.shedding)

    def pulse(self, now: float) -> None:
        """Take how late the loop is, and decide by that until the next pulse."""
        self._shed_from = self.load.shed_from
        context = self._context
        context.late = now - self.due > _LATE_S
        if context.origin_full:
            context.origin_full = any(not each.limit.has_room(Priority.BULK) for each in context.guards.values())
        self.shedding = self.load.overloaded or context.origin_full
        self.asks = self.shedding or self._limits_requests
        self.rejecting = self.rejecting and self.shedding and self._rejected * _REJECTING >= self._asked
        self._asked = self._rejected = 0

    def unread(self, connection: Downstream, data: bytes, now: float) -> bytes:
        """While `rejecting`: return the answer to what came, if it is one request that is shed; else nothing.

        What a rejection costs decides how much is served, so it is recognised by what precedes the query and by its
        field section, without parsing either. A request that is served pays for it with half as much as it saves.
        """
        self._let_in = False
        key = None if self._limits_requests else plain_request(data, self._limits.max_target_bytes)
        if key is None:
            return b""
        try:
            route = self._sheddable[key]
        except KeyError:
            route = self._learn(key)
        if route is None:
            return b""
        answer = self._overloaded(connection, route, now)
        if answer is None:
            self._let_in = True
            return b""
        return answer.whole

    def of(self, connection: Downstream, route: Route, now: float) -> Prepared | None:
        """Count a request of the connection's client; return the answer if it is too much, of this client or of all."""
        if self._let_in:
            self._let_in = False
            return None
        client = connection.client
        if self._limits_requests and client is not None and client.left <= 0:
            client.left -= 1
            self._telemetry.too_many_requests(route.id)
            return TOO_MANY
        return self._overloaded(connection, route, now)

    def _learn(self, key: tuple[bytes, bytes]) -> Route | None:
        """Return the route of all requests like this one; None for those that are to be read, whatever the load."""
        route = None
        with contextlib.suppress(BadRequestError):
            read = RequestReader(self._limits).feed(b"%b HTTP/1.1\r\nhost: %b\r\n\r\n" % key)
            if read is not None and read[0].method != b"HEAD" and b"://" not in key[0]:
                found = find_route(self._routes, read[0])
                route = None if isinstance(found, BadRequestError) else found[1]
        if len(self._sheddable) >= _MAX_SHEDDABLE:
            self._sheddable.clear()
        self._sheddable[key] = route
        return route

    def _overloaded(self, connection: Downstream, route: Route, now: float) -> Prepared | None:
        """Count a request as one of its client; return the answer if it is not to be served.

        A client that takes more than its share of an overloaded worker is served as if what it asks for were bulk.
        """
        priority, client, late_s = route.priority, connection.client, now - self.due
        if client is not None:
            client.left -= 1
            if client.left < 0:
                priority = Priority.BULK
        self._asked += 1
        if late_s > 0.0:
            self.seen_at = now  # the loop does turn
            self.asks = self.shedding = self._sheds or self.asks  # until the next pulse
        asked = self._sheds and (late_s > 0.0 or priority >= self._shed_from)
        if asked and self.load.shedding.rejects(priority, late_s):
            self._shed += 1
            self._telemetry.shed(route.id, _PRIORITY_NAMES[route.priority], noisy=priority is not route.priority)
            self._note_rejection()
            return OVERLOADED[self._shed % len(OVERLOADED)]
        if self._context.origin_full and not self._context.guards[route.origin].limit.has_room(priority):
            self._telemetry.origin_full(route.id, route.origin)
            self._note_rejection()
            return ORIGIN_OVERLOADED
        return None

    def _note_rejection(self) -> None:
        self._rejected += 1
        self.rejecting = self._rejected * _REJECTING >= self._asked
