"""Taking connections on a listening socket: plain or over TLS, directly or through proxies that name the client."""

import asyncio
import contextlib
import itertools
import socket
from collections.abc import MutableSet
from typing import Final, Protocol
from weakref import WeakSet

from edge.net.last_call import call_again
from edge.net.proxy_listener import ProxyListener, ProxyPeers
from edge.net.proxy_protocol import ProxyHeader
from edge.net.tls_listener import ListenerCertificates

# A device that reads slowly has this long for what is left, and to say goodbye (`close_notify`), once we have.
_SHUTDOWN_S: Final = 30.0


class Acceptor(Protocol):
    """Whose connections these become. `arriving` holds what is on the way to become one, and may still fail."""

    arriving: WeakSet[object]

    def accept(self, *, secure: bool, proxied: ProxyHeader | None = None) -> asyncio.Protocol:
        """Return the protocol of a new connection.

        `secure` says that its bytes come over TLS, `proxied` what a trusted proxy said of the client.
        """
        ...

    def dropped(self, why: str) -> None:
        """Count a connection that was refused."""
        ...


class Listening(Protocol):
    """What takes connections until it is closed."""

    def close(self) -> None:
        """Take no more."""
        ...


def take_queued(
    acceptor: Acceptor,
    sock: socket.socket,
    certificates: ListenerCertificates | None,
    proxies: ProxyPeers | None = None,
    *,
    at_most: int | None = None,
) -> None:
    """Take the connections that wait in the kernel: those still there when the last listener closes are reset.

    `at_most` bounds how many are taken, where there are no proxies: `ProxyListener` takes many at a time anyway.
    """
    if proxies is not None:
        listener = ProxyListener(sock.dup(), proxies, _HandOver(acceptor, certificates))
        listener.take_queued()
        listener.close()
        return
    hand_over = _HandOver(acceptor, certificates)
    for _ in itertools.count() if at_most is None else range(at_most):
        try:
            connected, _ = sock.accept()
        except OSError:  # there is none, or no descriptor is left
            return
        connected.setblocking(False)
        hand_over.begin(connected)


async def listen(
    acceptor: Acceptor,
    sock: socket.socket,
    backlog: int,
    certificates: ListenerCertificates | None,
    proxies: ProxyPeers | None = None,
) -> Listening:
    """Take connections on `sock`: over TLS if there are certificates, after a PROXY header if there are proxies."""
    call_again(sock)
    if proxies is not None:
        sock.listen(backlog)
        return ProxyListener(sock, proxies, _HandOver(acceptor, certificates))
    loop = asyncio.get_running_loop()
    if certificates is None:
        return await loop.create_server(lambda: acceptor.accept(secure=False), sock=sock, backlog=backlog)
    return await loop.create_server(
        lambda: acceptor.accept(secure=True),
        sock=sock,
        backlog=backlog,
        ssl=certificates.context,
        ssl_handshake_timeout=certificates.handshake_timeout_s,
        ssl_shutdown_timeout=_SHUTDOWN_S,
    )


class _HandOver:
    """Gives accepted sockets, their PROXY header read, to the event loop."""

    def __init__(self, acceptor: Acceptor, certificates: ListenerCertificates | None) -> None:
        self._acceptor = acceptor
        self._certificates = certificates
        self._tasks: set[asyncio.Task[None]] = set()
        self.arriving: MutableSet[object] = acceptor.arriving

    def begin(self, connection: socket.socket, header: ProxyHeader | None = None) -> None:
        """Take a connection."""
        task = asyncio.get_running_loop().create_task(self._hand_over(connection, header))
        self._tasks.add(task)
        self.arriving.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(self.arriving.discard)

    def dropped(self, why: str) -> None:
        """Count a connection that was closed instead."""
        self._acceptor.dropped(why)

    async def _hand_over(self, connection: socket.socket, header: ProxyHeader | None) -> None:
        loop, certificates = asyncio.get_running_loop(), self._certificates

        def accept() -> asyncio.Protocol:
            return self._acceptor.accept(secure=certificates is not None, proxied=header)

        with contextlib.suppress(OSError):  # the device went away, or its handshake failed
            if certificates is None:
                await loop.connect_accepted_socket(accept, connection)
            else:
                await loop.connect_accepted_socket(
                    accept,
                    connection,
                    ssl=certificates.context,
                    ssl_handshake_timeout=certificates.handshake_timeout_s,
                    ssl_shutdown_timeout=_SHUTDOWN_S,
                )
