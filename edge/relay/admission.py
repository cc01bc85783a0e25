"""Which connections a worker takes: caps by address and in total, and who makes room for whom.

What the edge gives up it closes without an answer: over TLS none could be sent before the handshake, and what a
flood costs must not grow with it.
"""

import ipaddress
from collections import OrderedDict
from collections.abc import Callable, Set

from edge.control.snapshot import Snapshot
from edge.guard.clients import Clients
from edge.net.downstream import Downstream

SETTLED_S = 1.0
"""A connection has this long for its first request before it may have to make room."""


class Admission:
    """Decides for one worker. `connections` are all that are open; `dropped` is told why one is refused or closed.

    `clock` tells monotonic seconds.
    """

    def __init__(
        self, connections: Set[Downstream], clock: Callable[[], float], dropped: Callable[[str], None]
    ) -> None:
        self._connections = connections
        self._clock = clock
        self._dropped = dropped
        self._idle: OrderedDict[Downstream, None] = OrderedDict()  # the longest first; some are busy again
        self.max_connections = 0
        self.clients = Clients()

    def limit(self, snapshot: Snapshot, max_connections: int) -> None:
        """Go by a configuration from now on; `max_connections` is its own, or what the system allows."""
        self._trusted = snapshot.listener.trusted_proxies
        self.max_connections = max_connections
        limits = snapshot.limits
        self.clients.limit(limits.max_connections_per_client, limits.max_requests_per_client_per_s)

    def admit(self, connection: Downstream, peername: object) -> bool:
        """Name the peer of a new connection, which is among `connections` already; return whether it may stay."""
        connection.peer, connection.peer_trusted = self._peer(peername)
        if connection.proxied is not None and connection.proxied.client is None:
            # The proxy speaks for somebody it cannot name: nothing that one says of the client is the proxy's word.
            connection.peer_trusted = False
        known = connection.peer and not connection.peer_trusted
        client = connection.client = self.clients.enter(connection.peer) if known else self.clients.exempt
        if client is None:
            self._dropped("client_cap")
            return False
        if len(self._connections) > self.max_connections and not self._make_room():
            self._dropped("worker_cap")
            return False
        self._idle[connection] = None
        return True

    def idled(self, connection: Downstream) -> None:
        """Take note of a connection that has begun to be idle."""
        self._idle[connection] = None
        self._idle.move_to_end(connection)

    def forget(self, connection: Downstream) -> None:
        """Let go of a connection that is closed."""
        self._idle.pop(connection, None)
        client, connection.client = connection.client, None
        if client is not None and client is not self.clients.exempt:
            self.clients.leave(client)

    def sweep(self, interval_s: float, *, overloaded: bool) -> None:
        """Do what is due every `interval_s`."""
        self.clients.refill(interval_s, overloaded=overloaded)

    def _make_room(self) -> bool:
        """Close the connection that has been idle for longest; return whether there was one.

        Those that turn out to be busy, or to have been of late, are let go of: they come back once they are idle again.
        """
        settled_at = self._clock() - SETTLED_S
        while self._idle:
            connection = next(iter(self._idle))
            if connection.idle_at > settled_at:
                break
            del self._idle[connection]
            if not connection.answered_unswept and connection.close_idle():
                self._dropped("idle_evicted")
                return True
        return False

    def _peer(self, peername: object) -> tuple[str, bool]:
        """Return the peer's address in its one spelling, IPv4-mapped ones as IPv4, and whether it is trusted."""
        if not isinstance(peername, tuple) or not peername:
            return "", False  # a Unix socket has no address to trust
        address = ipaddress.ip_address(str(peername[0]).partition("%")[0])
        if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        return str(address), any(address in network for network in self._trusted)


def connections_within(descriptors: int, wanted: int, others: int) -> int:
    """Return how many device connections fit into a process's file descriptors beside `others`; half of all at least.

    `wanted` is what the configuration asks for.
    """
    return min(wanted, max(descriptors - others, descriptors // 2))
