"""Taking connections on a listening socket: plain, or after a TLS handshake."""

import asyncio
import contextlib
import socket
from typing import Final, Protocol

from edge.net.tls_listener import ListenerCertificates

# A device that reads slowly has this long for what is left, and to say goodbye (`close_notify`), once we have.
_SHUTDOWN_S: Final = 30.0


class Accept(Protocol):
    """Makes the protocol of a new connection."""

    def __call__(self, *, secure: bool) -> asyncio.Protocol:
        """Return it; `secure` says that its bytes come over TLS."""
        ...


async def take_queued(accept: Accept, sock: socket.socket, certificates: ListenerCertificates | None) -> None:
    """Take the connections that wait in the kernel: those still there when the last listener closes are reset."""
    loop = asyncio.get_running_loop()
    while True:
        try:
            connected, _ = sock.accept()
        except OSError:  # there is none, or no descriptor is left
            return
        connected.setblocking(False)
        with contextlib.suppress(OSError):  # it has gone meanwhile, or its handshake fails
            if certificates is None:
                await loop.connect_accepted_socket(lambda: accept(secure=False), connected)
            else:
                await loop.connect_accepted_socket(
                    lambda: accept(secure=True),
                    connected,
                    ssl=certificates.context,
                    ssl_handshake_timeout=certificates.handshake_timeout_s,
                    ssl_shutdown_timeout=_SHUTDOWN_S,
                )


async def listen(
    accept: Accept, sock: socket.socket, backlog: int, certificates: ListenerCertificates | None
) -> asyncio.AbstractServer:
    """Take connections on `sock`: over TLS if there are certificates, plain otherwise."""
    loop = asyncio.get_running_loop()
    if certificates is None:
        return await loop.create_server(lambda: accept(secure=False), sock=sock, backlog=backlog)
    return await loop.create_server(
        lambda: accept(secure=True),
        sock=sock,
        backlog=backlog,
        ssl=certificates.context,
        ssl_handshake_timeout=certificates.handshake_timeout_s,
        ssl_shutdown_timeout=_SHUTDOWN_S,
    )
