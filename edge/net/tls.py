"""TLS contexts, and the certificate files that they are made of.

Protocols and cipher suites are those of Mozilla's intermediate configuration, guidelines version 5.8 (5.7 without the
finite-field DHE suites): TLS 1.2 and 1.3, forward secrecy and authenticated encryption only, the client's preference
among them. The groups are set by `GROUPS_FILE`, in processes that are started with it as OPENSSL_CONF.
"""

import ssl
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from cryptography import x509

CIPHERS: Final = ":".join(
    (
        "ECDHE-ECDSA-AES128-GCM-SHA256",
        "ECDHE-RSA-AES128-GCM-SHA256",
        "ECDHE-ECDSA-AES256-GCM-SHA384",
        "ECDHE-RSA-AES256-GCM-SHA384",
        "ECDHE-ECDSA-CHACHA20-POLY1305",
        "ECDHE-RSA-CHACHA20-POLY1305",
    )
)
UNREADABLE: Final = (ValueError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType)
"""What reading a certificate's extensions may raise."""
GROUPS_FILE: Final = Path(__file__).with_name("openssl.cnf")
ALPN: Final = ["http/1.1"]

MinVersion = Literal["1.2", "1.3"]
Verification = Literal["none", "optional", "required"]
_VERSIONS: Final = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}
_VERIFICATIONS: Final = {"none": ssl.CERT_NONE, "optional": ssl.CERT_OPTIONAL, "required": ssl.CERT_REQUIRED}


@dataclass(slots=True, frozen=True)
class KeyPair:
    """A certificate chain and its private key, both PEM files."""

    certificate_file: Path
    key_file: Path


@dataclass(slots=True, frozen=True)
class Trust:
    """Who vouches for the other side: CA certificates, and what they have revoked. None: the system's CAs, no CRL."""

    ca_file: Path | None = None
    crl_file: Path | None = None


class BadCertificateError(ValueError):
    """A certificate, key, CA or CRL file cannot be used; the text names the file and says why."""


class ServerContext(ssl.SSLContext):
    """A context to accept with, and when its files were loaded, in epoch seconds."""

    loaded_at = 0.0


def server_context(
    pair: KeyPair, *, min_version: MinVersion = "1.2", clients: Verification = "none", trust: Trust | None = None
) -> ServerContext:
    """Return a context to accept with. `trust` says whose client certificates are good, unless `clients` is none.

    Raises BadCertificateError.
    """
    context = ServerContext(ssl.PROTOCOL_TLS_SERVER)
    _set_up(context, min_version)
    context.options &= ~ssl.OP_CIPHER_SERVER_PREFERENCE
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.verify_mode = _VERIFICATIONS[clients]
    _load_pair(context, pair)
    if clients != "none" and trust is not None:
        _load_trust(context, trust)
    if clients != "none":  # tickets would outlive what has been revoked; a session by its id ends with a reset
        context.options |= ssl.OP_NO_TICKET
        context.num_tickets = 0
    context.loaded_at = time.time()
    return context


def outdated(session: ssl.SSLObject) -> bool:
    """Return whether a client's certificate was verified by files that are no longer in use.

    A session that is resumed brings the certificate that was shown, and verified, when it began.
    """
    if not session.session_reused:
        return False
    context, began = session.context, session.session
    return began is None or not isinstance(context, ServerContext) or began.time <= context.loaded_at


def client_context(trust: Trust, pair: KeyPair | None = None, *, min_version: MinVersion = "1.2") -> ssl.SSLContext:
    """Return a context to connect with: it verifies the server's chain and name, always. Raises BadCertificateError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    _set_up(context, min_version)
    _load_trust(context, trust)
    if pair is not None:
        _load_pair(context, pair)
    return context


def read_certificates(path: Path) -> list[x509.Certificate]:
    """Return the certificates in a PEM file, in its order. Raises BadCertificateError when there is none."""
    try:
        return x509.load_pem_x509_certificates(path.read_bytes())
    except OSError as error:
        raise BadCertificateError(f"{path} cannot be read: {error.strerror}") from None
    except ValueError:
        raise BadCertificateError(f"{path} holds no PEM certificate that can be read") from None


def not_after(path: Path) -> float:
    """Return when the first certificate of a file to expire does, in epoch seconds. Raises BadCertificateError."""
    return min(certificate.not_valid_after_utc.timestamp() for certificate in read_certificates(path))


def dns_names(path: Path) -> tuple[str, ...]:
    """Return the DNS names of a file's first certificate, in lower case. Raises BadCertificateError."""
    try:
        names = read_certificates(path)[0].extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return ()
    except UNREADABLE:
        raise BadCertificateError(f"{path} holds a certificate whose extensions cannot be read") from None
    return tuple(name.lower() for name in names.value.get_values_for_type(x509.DNSName))


def _set_up(context: ssl.SSLContext, min_version: MinVersion) -> None:
    context.minimum_version = _VERSIONS[min_version]
    context.set_ciphers(CIPHERS)
    context.set_alpn_protocols(ALPN)


def _load_pair(context: ssl.SSLContext, pair: KeyPair) -> None:
    read_certificates(pair.certificate_file)  # for the better message
    try:
        pair.key_file.read_bytes()
        # A password would be asked for on the terminal.
        context.load_cert_chain(pair.certificate_file, pair.key_file, password=_no_password)
    except ssl.SSLError as error:
        why = "is of another certificate" if error.reason == "KEY_VALUES_MISMATCH" else "holds no usable private key"
        raise BadCertificateError(f"{pair.key_file} {why} ({pair.certificate_file})") from None
    except OSError as error:
        raise BadCertificateError(f"{pair.key_file} cannot be read: {error.strerror}") from None


def _no_password() -> str:
    return ""


def _load_trust(context: ssl.SSLContext, trust: Trust) -> None:
    if trust.ca_file is None:
        context.load_default_certs(
            ssl.Purpose.SERVER_AUTH if context.protocol == ssl.PROTOCOL_TLS_CLIENT else ssl.Purpose.CLIENT_AUTH
        )
    else:
        read_certificates(trust.ca_file)
        _load_locations(context, trust.ca_file)
    if trust.crl_file is not None:
        _load_locations(context, trust.crl_file)
        context.verify_flags |= ssl.VERIFY_CRL_CHECK_LEAF


def _load_locations(context: ssl.SSLContext, path: Path) -> None:
    try:
        context.load_verify_locations(path)
    except ssl.SSLError:
        raise BadCertificateError(f"{path} holds no certificate or CRL that can be read") from None
    except OSError as error:
        raise BadCertificateError(f"{path} cannot be read: {error.strerror}") from None
