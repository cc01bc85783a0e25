"""TLS termination: which certificate a device is shown, by the name it asks for.

One context listens for as long as the worker lives and keeps the key of its session tickets; its callback puts the
newest context of the asked name in its own place. So certificates change without a connection, a ticket or the
listening socket being touched.
"""

import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from edge.net.certificate_watch import CertificateFiles
from edge.net.tls import KeyPair, MinVersion, Trust, Verification, dns_names, server_context


@dataclass(slots=True, frozen=True)
class ServerCertificate:
    """A certificate and the names it is shown for: host names or `*.suffix`; none: the DNS names it holds."""

    pair: KeyPair
    server_names: tuple[str, ...] = ()


@dataclass(slots=True, frozen=True)
class TlsSettings:
    """How a listener speaks TLS. The first certificate is shown to who asks for no name, or one that none has."""

    certificates: tuple[ServerCertificate, ...]
    client_certificates: Verification = "none"
    client_trust: Trust | None = None
    min_version: MinVersion = "1.2"
    handshake_timeout_s: float = 5.0


class ListenerCertificates(CertificateFiles):
    """The contexts of a listener; `load` replaces them all, or none."""

    _default: ssl.SSLContext
    _by_name: Mapping[str, ssl.SSLContext]

    def __init__(self, settings: TlsSettings) -> None:
        """Load the certificates; raises BadCertificateError."""
        self._settings = settings
        self.handshake_timeout_s = settings.handshake_timeout_s
        pairs, trust = [each.pair for each in settings.certificates], settings.client_trust or Trust()
        super().__init__(
            [pair.certificate_file for pair in pairs],
            [*(pair.key_file for pair in pairs), trust.ca_file, trust.crl_file],
        )
        self.context = self._context(pairs[0])
        self.context.sni_callback = self._choose

    def _make(self) -> Callable[[], None]:
        default, by_name = self._contexts()

        def use() -> None:
            self._default, self._by_name = default, by_name

        return use

    def _contexts(self) -> tuple[ssl.SSLContext, Mapping[str, ssl.SSLContext]]:
        by_name: dict[str, ssl.SSLContext] = {}
        contexts = []
        for certificate in self._settings.certificates:
            context = self._context(certificate.pair)
            contexts.append(context)
            for name in certificate.server_names or dns_names(certificate.pair.certificate_file):
                by_name.setdefault(name, context)
        return contexts[0], by_name

    def _context(self, pair: KeyPair) -> ssl.SSLContext:
        settings = self._settings
        return server_context(
            pair,
            min_version=settings.min_version,
            clients=settings.client_certificates,
            trust=settings.client_trust,
        )

    def _choose(self, session: ssl.SSLObject, server_name: str | None, _: ssl.SSLContext) -> None:
        """Set the session's context: that of the exact name, of the wildcard one label up, or the default."""
        name = (server_name or "").lower()
        found = self._by_name.get(name)
        if found is None:
            found = self._by_name.get("*." + name.partition(".")[2], self._default)
        session.context = found
