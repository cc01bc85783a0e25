"""The TLS sections of edge.yaml and origins.yaml. Paths are relative to --var, as those of secrets are."""

import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import Field

from edge.control.errors import Place
from edge.control.values import Flag, ListenAddress, ListOf, Seconds, Section, VarPath
from edge.net.tls import KeyPair, Trust, client_context
from edge.net.tls_listener import ServerCertificate, TlsSettings

_LABEL: Final = r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9])?"
_HOST_NAME: Final = rf"^{_LABEL}(\.{_LABEL})*$"
_SERVER_NAME: Final = rf"^(\*\.)?{_LABEL}(\.{_LABEL})*$"

_Version = Annotated[Literal["1.2", "1.3"], Field(description="The oldest version of TLS that is spoken.")]
_Problem = tuple[Place, str]


class CertificateRow(Section):
    """A certificate that the listener shows."""

    certificate_file: Annotated[VarPath, Field(description="PEM: the certificate, then its intermediates.")]
    key_file: Annotated[VarPath, Field(description="PEM: its private key, without a password.")]
    server_names: Annotated[
        tuple[Annotated[str, Field(pattern=_SERVER_NAME)], ...],
        Field(description="Lower-case names, or *.suffix, that it is shown for; none: the DNS names it holds."),
        ListOf,
    ] = ()


class ListenerTls(Section):
    """How devices connect with TLS. Without a certificate there is none."""

    certificates: Annotated[
        tuple[CertificateRow, ...],
        Field(description="The first is shown to a device that asks for no name, or for one that none has."),
        ListOf,
    ] = ()
    address: Annotated[
        ListenAddress | None,
        Field(description="IP address and port for TLS beside plain HTTP; null: listener.address speaks TLS only."),
    ] = None
    min_version: _Version = "1.2"
    client_certificates: Annotated[
        Literal["none", "optional", "required"],
        Field(description="Whether devices are asked for a certificate, and may go on without one."),
    ] = "none"
    client_ca_file: Annotated[
        VarPath | None, Field(description="PEM: the CAs whose client certificates are good; no others are.")
    ] = None
    client_crl_file: Annotated[
        VarPath | None, Field(description="PEM: what these CAs have revoked. With it, each issuing CA needs its list.")
    ] = None

    def settings(self, handshake_timeout_s: float) -> TlsSettings | None:
        """Return what the listener is built from, or None when it speaks no TLS."""
        if not self.certificates:
            return None
        return TlsSettings(
            certificates=tuple(
                ServerCertificate(KeyPair(row.certificate_file, row.key_file), row.server_names)
                for row in self.certificates
            ),
            client_certificates=self.client_certificates,
            client_trust=Trust(self.client_ca_file, self.client_crl_file) if self.client_ca_file else None,
            min_version=self.min_version,
            handshake_timeout_s=handshake_timeout_s,
        )


class OriginTlsRow(Section):
    """TLS to an origin. Its certificate and name are always verified."""

    enabled: Annotated[Flag, Field(description="Whether its addresses speak TLS.")] = False
    ca_file: Annotated[
        VarPath | None, Field(description="PEM: the CAs whose certificates are good; null: those of the system.")
    ] = None
    crl_file: Annotated[
        VarPath | None, Field(description="PEM: what these CAs have revoked. With it, each issuing CA needs its list.")
    ] = None
    server_name: Annotated[
        str | None,
        Field(pattern=_HOST_NAME, description="The name its certificate must hold; null: the host of each address."),
    ] = None
    certificate_file: Annotated[
        VarPath | None, Field(description="PEM: the certificate that the edge shows, then its intermediates.")
    ] = None
    key_file: Annotated[VarPath | None, Field(description="PEM: its private key, without a password.")] = None
    min_version: _Version = "1.2"
    handshake_timeout_s: Annotated[Seconds, Field(description="From the connection to the end of the handshake.")] = 2

    @property
    def trust(self) -> Trust:
        """Who vouches for the origin."""
        return Trust(self.ca_file, self.crl_file)

    @property
    def pair(self) -> KeyPair | None:
        """What the edge shows to it."""
        return _pair(self.certificate_file, self.key_file)

    def context(self) -> ssl.SSLContext:
        """Return a new context to connect with; raises BadCertificateError."""
        return client_context(self.trust, self.pair, min_version=self.min_version)


class ServiceTls(Section):
    """TLS to a service of the edge's own, whose URL is https."""

    ca_file: Annotated[
        VarPath | None, Field(description="PEM: the CAs whose certificates are good; null: those of the system.")
    ] = None
    certificate_file: Annotated[
        VarPath | None, Field(description="PEM: the certificate that the edge shows, then its intermediates.")
    ] = None
    key_file: Annotated[VarPath | None, Field(description="PEM: its private key, without a password.")] = None

    @property
    def pair(self) -> KeyPair | None:
        """What the edge shows to it."""
        return _pair(self.certificate_file, self.key_file)

    def context(self) -> ssl.SSLContext:
        """Return a new context to connect with; raises BadCertificateError."""
        return client_context(Trust(self.ca_file), self.pair)


def check_service_tls(tls: ServiceTls, url: str) -> Iterator[_Problem]:
    """Check what the keys say of each other and of the service's URL; places are relative to the section."""
    if not url.startswith("https:"):
        for name in sorted(tls.model_fields_set):
            yield (name,), "means nothing for an http URL: make it https, or remove this"
    yield from _check_pair(tls.certificate_file, tls.key_file)


def check_redis_tls(tls: ServiceTls, url: str) -> Iterator[_Problem]:
    """Check what the keys say of each other and of the Redis's URL; places are relative to the section."""
    if not url.startswith("rediss:"):
        for name in sorted(tls.model_fields_set):
            yield (name,), "means nothing for a redis URL: make it rediss, or remove this"
    yield from _check_pair(tls.certificate_file, tls.key_file)


def _pair(certificate: Path | None, key: Path | None) -> KeyPair | None:
    return None if certificate is None or key is None else KeyPair(certificate, key)


def _check_pair(certificate: Path | None, key: Path | None) -> Iterator[_Problem]:
    if certificate is None and key is not None:
        yield ("certificate_file",), "is missing beside key_file"
    if certificate is not None and key is None:
        yield ("key_file",), "is missing beside certificate_file"


def check_origin_tls(tls: OriginTlsRow) -> Iterator[_Problem]:
    """Check what the keys say of each other; places are relative to the section."""
    if not tls.enabled:
        for name in sorted(set(tls.model_fields_set) - {"enabled"}):
            yield (name,), "means nothing while enabled is false: set it to true, or remove this"
    yield from _check_pair(tls.certificate_file, tls.key_file)
    if tls.crl_file is not None and tls.ca_file is None:
        yield ("ca_file",), "is missing beside crl_file: name the CAs whose list it is"


def check_listener_tls(tls: ListenerTls) -> Iterator[_Problem]:
    """Check what the keys say of each other; places are relative to the section."""
    given = set(tls.model_fields_set) - {"certificates"}
    if not tls.certificates:
        for name in sorted(given):
            yield (name,), "means nothing without a certificate: add one to certificates, or remove this"
        return
    if tls.client_certificates != "none" and tls.client_ca_file is None:
        yield (
            ("client_ca_file",),
            f"is missing, and client_certificates is {tls.client_certificates}: say whose",
        )
    if tls.client_certificates == "none":
        for name in sorted(given & {"client_ca_file", "client_crl_file"}):
            yield (name,), "means nothing while client_certificates is none"
    seen: dict[str, int] = {}
    for index, row in enumerate(tls.certificates):
        for name in row.server_names:
            if name in seen:
                yield ("certificates", index, "server_names"), f"names {name}, which certificates[{seen[name]}] has too"
            seen.setdefault(name, index)
