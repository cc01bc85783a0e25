"""The certificate that a device has proved to hold, as the exchange shows it."""

import hashlib

from cryptography import x509

from edge.contract.identity import ClientCertificate
from edge.net.tls import UNREADABLE


def client_certificate(der: bytes) -> ClientCertificate:
    """Return the identity in a certificate that TLS has verified; ValueError when it cannot be read."""
    certificate = x509.load_der_x509_certificate(der)
    dns: tuple[str, ...] = ()
    uris: tuple[str, ...] = ()
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        dns = tuple(names.get_values_for_type(x509.DNSName))
        uris = tuple(names.get_values_for_type(x509.UniformResourceIdentifier))
    except x509.ExtensionNotFound:
        pass
    except UNREADABLE as error:
        raise ValueError("its extensions cannot be read") from error
    return ClientCertificate(
        subject=certificate.subject.rfc4514_string(),
        dns_names=dns,
        uris=uris,
        fingerprint=hashlib.sha256(der).hexdigest(),
        not_after=int(certificate.not_valid_after_utc.timestamp()),
    )
