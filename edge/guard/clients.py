"""What one client address may take of a worker: connections at a time, requests per second. Pure.

IPv6 addresses count by their /64, which is what one customer has.
"""

import ipaddress
from typing import Final

UNLIMITED: Final = 1 << 60


class Client:
    """One address with connections. `left` is how many more requests it may make for now."""

    __slots__ = ("connections", "key", "left")

    def __init__(self, key: str, left: int) -> None:
        self.key = key
        self.left = left
        self.connections = 0

    def __repr__(self) -> str:
        return f"Client({self.connections} connections, {self.left} requests left)"


class Clients:
    """All addresses with connections to one worker. Nothing is limited before `limit` is called."""

    __slots__ = ("_clients", "_max_connections", "_max_requests_per_s", "exempt")

    def __init__(self) -> None:
        self._clients: dict[str, Client] = {}
        self._max_connections = UNLIMITED
        self._max_requests_per_s: int | None = None
        self.exempt = Client("", UNLIMITED)
        """Stands for peers that carry many clients: proxies in front that are trusted."""

    def limit(self, max_connections: int, max_requests_per_s: int | None) -> None:
        """Set the limits; open connections stay. None: as many requests as come."""
        self._max_connections = max_connections
        self._max_requests_per_s = max_requests_per_s
        for client in self._clients.values():
            client.left = self._burst

    def enter(self, address: str) -> Client | None:
        """Count a connection of an IP address; None when it has as many as it may."""
        key = _key(address)
        client = self._clients.get(key)
        if client is None:
            client = self._clients[key] = Client(key, self._burst)
        if client.connections >= self._max_connections:
            return None
        client.connections += 1
        return client

    def leave(self, client: Client) -> None:
        """Count the end of a connection."""
        client.connections -= 1
        if not client.connections and client.left >= self._burst:
            self._clients.pop(client.key, None)

    def refill(self, interval_s: float) -> None:
        """Give every client the requests of the interval that has passed; a second's worth may add up.

        A client without connections is forgotten only then: connecting anew does not begin a new second.
        """
        if self._max_requests_per_s is not None:
            more, burst = max(round(self._max_requests_per_s * interval_s), 1), self._burst
            for client in tuple(self._clients.values()):
                client.left = min(max(client.left, 0) + more, burst)
                if not client.connections and client.left >= burst:
                    del self._clients[client.key]

    @property
    def _burst(self) -> int:
        return UNLIMITED if self._max_requests_per_s is None else self._max_requests_per_s

    def __len__(self) -> int:
        return len(self._clients)

    def __repr__(self) -> str:
        return f"Clients({len(self)})"


def _key(address: str) -> str:
    if ":" not in address:
        return address
    return str(ipaddress.IPv6Network((address, 64), strict=False).network_address)
