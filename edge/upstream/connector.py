"""Opens connections to the addresses of an origin."""

import asyncio
import errno
import socket
from typing import Final

from edge.contract.reasons import Reason
from edge.http1.limits import HeadLimits
from edge.net.upstream import Owner, Peer, Upstream
from edge.upstream.tls import OriginTls, TlsFailedError

# What this machine has run out of says nothing about an origin.
_OURS: Final = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EADDRNOTAVAIL}


class NoResourcesError(OSError):
    """This machine has no more sockets or memory to connect with."""


class Connector:
    """How one origin is connected to."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        limits: HeadLimits,
        *,
        timeout_s: float,
        write_buffer_bytes: int,
        receive_buffer_bytes: int | None,
        tls: OriginTls | None = None,
    ) -> None:
        self.tls = tls
        self._loop = loop
        self._limits = limits
        self._timeout_s = timeout_s
        self._write_buffer_bytes = write_buffer_bytes
        self._receive_buffer_bytes = receive_buffer_bytes

    async def open(self, peer: Peer, owner: Owner) -> Upstream | Reason:
        """Return a new connection, or why there is none; raises NoResourcesError when that is not the address's fault.

        It may have been closed again by the time this returns.
        """

        def make() -> Upstream:
            return Upstream(owner, peer, self._limits)

        try:
            if self.tls is not None:
                transport, connection = await self.tls.connect(
                    self._loop, make, (peer.host, peer.port), self._timeout_s
                )
            else:
                async with asyncio.timeout(self._timeout_s):
                    transport, connection = await self._loop.create_connection(make, peer.host, peer.port)
        except TimeoutError:
            return Reason.ORIGIN_CONNECT_TIMEOUT
        except TlsFailedError:
            return Reason.ORIGIN_TLS_FAILED
        except OSError as error:
            if error.errno in _OURS:
                raise NoResourcesError from error
            return Reason.ORIGIN_CONNECT_FAILED
        transport.set_write_buffer_limits(high=self._write_buffer_bytes)
        sock = transport.get_extra_info("socket")
        if self._receive_buffer_bytes is not None and not transport.is_closing():
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self._receive_buffer_bytes)
        return connection
