"""Taking connections on a listening socket: plain or over TLS, directly or through proxies that name the client."""

import asyncio
import contextlib
import socket
from typing import Final, Protocol

from edge.net.proxy_listener import ProxyListener, ProxyPeers
from edge.net.proxy_protocol import ProxyHeader
from edge.net.tls_listener import ListenerCertificates

# A device that reads slowly has this long for what is left, and to say goodbye (`close_notify`), once we have.
_SHUTDOWN_S: Final = 30.0
_SETTLE_S: Final = 1.0


class Acceptor(Protocol):
    """Whose connections these become."""

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


async def take_queued(
    acceptor: Acceptor,
    sock: socket.socket,
    certificates: ListenerCertificates | None,
    proxies: ProxyPeers | None = None,
) -> None:
    """Take the connections that wait in the kernel: those still there when the last listener closes are reset.

    Returns once each is a connection of the acceptor's or refused, or after a while: the rest may still become one.
    """
    hand_over = _HandOver(acceptor, certificates)
    arrivals: set[asyncio.Future[None]] = set()
    if proxies is None:
        with contextlib.suppress(OSError):  # there is none any more, or no descriptor is left
            while True:
                hand_over.begin(sock.accept()[0])
    else:
        listener = ProxyListener(sock.dup(), proxies, hand_over.begin, acceptor.dropped)
        listener.take_queued()
        listener.close()
        arrivals = listener.arrivals

    async def settled() -> None:
        for pending in (arrivals, hand_over.tasks):
            if pending:
                await asyncio.wait(pending)

    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(settled(), _SETTLE_S)


async def listen(
    acceptor: Acceptor,
    sock: socket.socket,
    backlog: int,
    certificates: ListenerCertificates | None,
    proxies: ProxyPeers | None = None,
) -> Listening:
    """Take connections on `sock`: over TLS if there are certificates, after a PROXY header if there are proxies."""
    if proxies is not None:
        sock.listen(backlog)
        return ProxyListener(sock, proxies, _HandOver(acceptor, certificates).begin, acceptor.dropped)
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
    """Gives accepted sockets, whose header is read if there is one, to the event loop."""

    def __init__(self, acceptor: Acceptor, certificates: ListenerCertificates | None) -> None:
        self._acceptor = acceptor
        self._certificates = certificates
        self.tasks: set[asyncio.Task[None]] = set()

    def begin(self, connection: socket.socket, header: ProxyHeader | None = None) -> None:
        """Take a connection."""
        connection.setblocking(False)
        task = asyncio.get_running_loop().create_task(self._hand_over(connection, header))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

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
