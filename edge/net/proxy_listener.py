"""A listening socket behind a load balancer: every connection begins with a PROXY header, from a trusted peer only.

The header is read off the socket, to its last byte and no further, before the event loop is given the connection; so
what follows, a TLS handshake or a request, begins where it should.
"""

import asyncio
import socket
from collections.abc import MutableSet, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Final, Protocol

from edge.net.proxy_protocol import MAX_BYTES, BadProxyHeader, ProxyHeader, read_proxy_header
from edge.net.reset import reset

_OUT_OF_FILES_S: Final = 0.2
_AT_ONCE: Final = 64


@dataclass(slots=True, frozen=True)
class ProxyPeers:
    """Who may say for whom a connection is, and how long it may take, in seconds."""

    trusted: Sequence[IPv4Network | IPv6Network]
    header_timeout_s: float = 5.0


class Receiver(Protocol):
    """Who gets the connections. Those whose header is being read are among `arriving`."""

    arriving: MutableSet[object]

    def begin(self, connection: socket.socket, header: ProxyHeader) -> None:
        """Take a connection whose header is read."""
        ...

    def dropped(self, why: str) -> None:
        """Count a connection that was closed instead."""
        ...


class ProxyListener:
    """Accepts, reads headers, and hands connections over; closed like a server."""

    def __init__(self, sock: socket.socket, peers: ProxyPeers, receiver: Receiver) -> None:
        """Take a socket that listens already."""
        self._sock = sock
        self._peers = peers
        self._receiver = receiver
        self._loop = asyncio.get_running_loop()
        self._paused: asyncio.TimerHandle | None = None
        sock.setblocking(False)
        self._loop.add_reader(sock, self._accept)

    def close(self) -> None:
        """Accept no more; who is sending its header may still finish."""
        if self._paused is not None:
            self._paused.cancel()
        self._loop.remove_reader(self._sock)
        self._sock.close()

    def take_queued(self) -> None:
        """Accept all that wait in the kernel."""
        while self._accept_one():
            pass

    def _accept(self) -> None:
        for _ in range(_AT_ONCE):
            if not self._accept_one():
                return

    def _accept_one(self) -> bool:
        """Return whether there may be more."""
        try:
            connection, peer = self._sock.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return False
        except OSError:  # no more file descriptors or memory: the queue waits, and the loop does not spin on it
            self._loop.remove_reader(self._sock)
            self._paused = self._loop.call_later(_OUT_OF_FILES_S, self._resume)
            return False
        connection.setblocking(False)
        if self._trusts(peer):
            _Arrival(self._loop, connection, self._peers.header_timeout_s, self._receiver)
        else:
            self._receiver.dropped("proxy_untrusted")
            reset(connection)
        return True

    def _resume(self) -> None:
        self._paused = None
        self._loop.add_reader(self._sock, self._accept)

    def _trusts(self, peer: object) -> bool:
        if not isinstance(peer, tuple):
            return False
        address = ip_address(str(peer[0]).partition("%")[0])
        if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        return any(address in network for network in self._peers.trusted)


class _Arrival:
    """A connection whose header is being read."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, connection: socket.socket, timeout_s: float, receiver: Receiver
    ) -> None:
        self._loop = loop
        self._connection = connection
        self._receiver = receiver
        self._read = b""
        receiver.arriving.add(self)
        loop.add_reader(connection, self._readable)
        self._timer = loop.call_later(timeout_s, self._refuse, "proxy_timeout")

    def _readable(self) -> None:
        try:
            seen = self._connection.recv(MAX_BYTES, socket.MSG_PEEK)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            seen = b""
        if not seen:
            self._refuse("proxy_header")
            return
        header = read_proxy_header(self._read + seen)
        if isinstance(header, BadProxyHeader):
            self._refuse("proxy_header")
        elif header is None:
            self._read += self._connection.recv(len(seen))  # all of it is header
        else:
            self._connection.recv(header.size - len(self._read))
            self._leave()
            self._receiver.begin(self._connection, header)

    def _refuse(self, why: str) -> None:
        self._leave()
        self._receiver.dropped(why)
        reset(self._connection)

    def _leave(self) -> None:
        self._receiver.arriving.discard(self)
        self._timer.cancel()
        self._loop.remove_reader(self._connection)
