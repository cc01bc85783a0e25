"""Sessions with the edge's own services: over TLS where their URL says so."""

from collections.abc import Callable

import aiohttp

from edge.control.service_sections import CookieClient, KmsClient, RenewalSharing
from edge.net.certificate_watch import CertificateFiles


class ServiceTls(CertificateFiles):
    """What one service is called with. A new certificate is used from the next connection on.

    A CA that was added is believed from then on, too; one that was taken out of the file, until the next start.
    """

    def __init__(self, service: KmsClient | CookieClient | RenewalSharing) -> None:
        """Load the files; raises BadCertificateError."""
        self._tls = tls = service.tls
        self.context = tls.context()
        pair = tls.pair
        own = () if pair is None else (pair.certificate_file,)
        super().__init__(own, (None if pair is None else pair.key_file, tls.ca_file))

    def _make(self) -> Callable[[], None]:
        # aiohttp keeps the context it was given: what is good by itself is loaded into that.
        self._tls.context()
        return self._use

    def _use(self) -> None:
        if self._tls.pair is not None:
            self.context.load_cert_chain(self._tls.pair.certificate_file, self._tls.pair.key_file)
        if self._tls.ca_file is not None:
            self.context.load_verify_locations(self._tls.ca_file)


def service_tls(service: KmsClient | CookieClient | RenewalSharing) -> ServiceTls | None:
    """Return what the service is called with, None without TLS; raises BadCertificateError."""
    return ServiceTls(service) if service.url.startswith(("https:", "rediss:")) else None


def service_session(tls: ServiceTls | None) -> aiohttp.ClientSession:
    """Return a session for one service."""
    return aiohttp.ClientSession(connector=None if tls is None else aiohttp.TCPConnector(ssl=tls.context))
