"""TLS to an origin: its certificate and name are always verified, and before that no byte of a request leaves."""

import asyncio
import socket
import ssl
from collections.abc import Callable
from typing import Final

import structlog

from edge.control.tls import OriginTlsRow
from edge.net.certificate_watch import CertificateFiles, signature
from edge.net.upstream import Upstream
from edge.telemetry.metrics import WorkerMetrics, count

_SAY_AGAIN_S: Final = 60.0
_SHUTDOWN_S: Final = 2.0
# By OpenSSL's X509_V_ERR_…: every other one is `certificate_refused`.
_VERIFICATION: Final = {
    3: "no_revocation_list",
    9: "not_yet_valid",
    10: "expired",
    12: "revocation_list_expired",
    18: "self_signed",
    19: "unknown_ca",
    20: "unknown_ca",
    21: "unknown_ca",
    23: "revoked",
    62: "wrong_name",
    64: "wrong_name",
}
_log = structlog.get_logger("edge.origins")


class TlsFailedError(OSError):
    """The handshake with an origin failed; `problem` is a short id: the metric's label."""

    def __init__(self, problem: str, text: str) -> None:
        super().__init__(text)
        self.problem = problem


class OriginTls(CertificateFiles):
    """Opens TLS connections to one origin; `load` takes its certificate files anew.

    `trusted` is another value once the files that say whom to trust are others.
    """

    def __init__(self, origin: str, settings: OriginTlsRow, metrics: WorkerMetrics) -> None:
        """Load the files; raises BadCertificateError."""
        self._origin = origin
        self._settings = settings
        self._metrics = metrics
        self._said: dict[tuple[str, int, str], float] = {}  # what was logged, and when
        pair, trust = settings.pair, settings.trust
        self._trust_files = [path for path in (trust.ca_file, trust.crl_file) if path is not None]
        own = () if pair is None else (pair.certificate_file,)
        super().__init__(own, (None if pair is None else pair.key_file, trust.ca_file, trust.crl_file))

    def _make(self) -> Callable[[], None]:
        trusted = signature(self._trust_files)
        context = self._settings.context()

        def use() -> None:
            self.context, self.trusted = context, trusted

        return use

    def server_name(self, host: str) -> str:
        """Return the name that the certificate at an address must hold."""
        return self._settings.server_name or host

    async def connect(
        self,
        loop: asyncio.AbstractEventLoop,
        make: Callable[[], Upstream],
        address: tuple[str, int],
        connect_timeout_s: float,
    ) -> tuple[asyncio.Transport, Upstream]:
        """Return a connection whose handshake is done, and its transport.

        Raises TimeoutError when the address does not accept in time, OSError when it refuses, TlsFailedError when the
        handshake fails or stalls.
        """
        trusted = self.trusted
        async with asyncio.timeout(connect_timeout_s):
            sock = await _connected(loop, *address)
        try:
            opened = await loop.create_connection(
                make,
                sock=sock,
                ssl=self.context,
                server_hostname=self.server_name(address[0]),
                ssl_handshake_timeout=self._settings.handshake_timeout_s,
                ssl_shutdown_timeout=_SHUTDOWN_S,
            )
        except OSError as error:
            sock.close()
            problem = _problem(error)
            count(self._metrics.tls_handshakes, ("origin", problem))
            self._say(address, problem, _text(error), loop.time())
            raise TlsFailedError(problem, _text(error)) from None
        except BaseException:
            sock.close()
            raise
        count(self._metrics.tls_handshakes, ("origin", "completed"))
        if trusted != self.trusted:  # meanwhile
            opened[0].abort()
            return await self.connect(loop, make, address, connect_timeout_s)
        return opened

    def _say(self, address: tuple[str, int], problem: str, text: str, now: float) -> None:
        """Log a failure, but the same one of an address once a minute at most."""
        key = (*address, problem)
        if self._said.get(key, float("-inf")) + _SAY_AGAIN_S <= now:
            self._said[key] = now
            where = f"{address[0]}:{address[1]}"
            _log.error("origin_tls_failed", origin=self._origin, address=where, problem=problem, text=text)


async def _connected(loop: asyncio.AbstractEventLoop, host: str, port: int) -> socket.socket:
    """Return a socket that is connected to the first of the host's addresses that accepts."""
    refused = OSError(f"{host} has no address")
    for family, kind, protocol, _, address in await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM):
        sock = socket.socket(family, kind, protocol)
        sock.setblocking(False)
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await loop.sock_connect(sock, address)
        except OSError as error:
            sock.close()
            refused = error
        except BaseException:
            sock.close()
            raise
        else:
            return sock
    raise refused


def _problem(error: OSError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return _VERIFICATION.get(error.verify_code, "certificate_refused")
    if isinstance(error, ssl.SSLError):
        return "protocol"
    return "timeout" if isinstance(error, ConnectionAbortedError) else "closed"


def _text(error: OSError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return error.verify_message
    return str(error.reason) if isinstance(error, ssl.SSLError) else type(error).__name__
