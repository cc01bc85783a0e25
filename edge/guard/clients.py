"""What one client address may take of a worker: connections at a time, requests per second. Pure.

Where requests are not limited, each address still has its fair share while the worker is overloaded: twice the mean of
those that ask. What is beyond it is the first to be shed.

IPv6 addresses count by their /64, which is what one customer has.
"""

import ipaddress
from typing import Final

UNLIMITED: Final = 1 << 60
_FAIR: Final = 2
_FAIR_AT_LEAST: Final = 16  # requests of an interval: below, whoever asks now and then would count as noisy


class Client:
    """One address with connections. `left` is how many more requests it may make for now."""

    __slots__ = ("allowed", "connections", "key", "left")

    def __init__(self, key: str, left: int) -> None:
        self.key = key
        self.allowed = self.left = left
        self.connections = 0

    def __repr__(self) -> str:
        return f"Client({self.connections} connections, {self.left} requests left)"


class Clients:
    """All addresses with connections to one worker. Nothing is limited before `limit` is called."""

    __slots__ = ("_allowed", "_clients", "_max_connections", "_max_requests_per_s", "exempt")

    def __init__(self) -> None:
        self._clients: dict[str, Client] = {}
        self._max_connections = UNLIMITED
        self._max_requests_per_s: int | None = None
        self._allowed = UNLIMITED  # requests of a client that is new
        self.exempt = Client("", UNLIMITED)
        """Stands for peers that carry many clients: proxies in front that are trusted."""

    def limit(self, max_connections: int, max_requests_per_s: int | None) -> None:
        """Set the limits; open connections stay. None: as many requests as come."""
        self._max_connections = max_connections
        self._max_requests_per_s = max_requests_per_s
        self._allow(UNLIMITED if max_requests_per_s is None else max_requests_per_s)

    def enter(self, address: str) -> Client | None:
        """Count a connection of an IP address; None when it has as many as it may."""
        key = _key(address)
        client = self._clients.get(key)
        if client is None:
            client = self._clients[key] = Client(key, self._allowed)
        if client.connections >= self._max_connections:
            return None
        client.connections += 1
        return client

    def leave(self, client: Client) -> None:
        """Count the end of a connection. A client that has made requests is kept until they are given back to it."""
        client.connections -= 1
        self._forget_if_gone(client)

    def refill(self, interval_s: float, *, overloaded: bool) -> None:
        """Give every client the requests of the interval that has passed; a second's worth may add up."""
        if self._max_requests_per_s is None:
            self._allow(self._fair_share() if overloaded else UNLIMITED)
        else:
            more = max(round(self._max_requests_per_s * interval_s), 1)
            for client in self._clients.values():
                client.left = min(max(client.left, 0) + more, client.allowed)
        for client in tuple(self._clients.values()):
            self._forget_if_gone(client)

    def _allow(self, requests: int) -> None:
        self._allowed = requests
        for client in self._clients.values():
            client.allowed = client.left = requests

    def _fair_share(self) -> int:
        made = [client.allowed - client.left for client in self._clients.values() if client.left < client.allowed]
        return max(_FAIR * sum(made) // len(made), _FAIR_AT_LEAST) if len(made) > 1 else UNLIMITED

    def _forget_if_gone(self, client: Client) -> None:
        if not client.connections and client.left >= client.allowed:
            self._clients.pop(client.key, None)

    def __len__(self) -> int:
        return len(self._clients)

    def __repr__(self) -> str:
        return f"Clients({len(self)})"


def _key(address: str) -> str:
    if ":" not in address:
        return address
    return str(ipaddress.IPv6Network((address, 64), strict=False).network_address)
