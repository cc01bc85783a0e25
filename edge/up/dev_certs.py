"""A CA and certificates for development: made once, kept in `certs` of --var, worth nothing anywhere else."""

import datetime
import os
from collections.abc import Sequence
from ipaddress import ip_address
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

LOOPBACK: Final = ("localhost", "127.0.0.1", "::1")
SERVERS: Final = ("edge", "kms", "cookie", "origin")
CLIENTS: Final = ("device",)
_CURVE: Final = ec.SECP256R1
_CLOCKS_DIFFER: Final = datetime.timedelta(minutes=5)


class Authority:
    """A certificate authority: issues certificates that are valid for `days` from now, less than none if negative."""

    def __init__(self, name: str = "Edge Passport development CA", *, days: int = 365) -> None:
        self.key = ec.generate_private_key(_CURVE())
        self._days = days
        subject = _name(name)
        made = _builder(subject, subject, self.key.public_key(), days)
        made = made.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        made = made.add_extension(_usage(ca=True), critical=True)
        self.certificate = made.sign(self.key, hashes.SHA256())

    def issue(
        self, name: str, hosts: Sequence[str] = (), *, days: int | None = None, uri: str = ""
    ) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
        """Return a certificate for `hosts`, names or IP addresses, and its key; good as a server and as a client."""
        key = ec.generate_private_key(_CURVE())
        days = self._days if days is None else days
        made = _builder(_name(name), self.certificate.subject, key.public_key(), days)
        made = made.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        made = made.add_extension(_usage(ca=False), critical=True)
        made = made.add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False
        )
        made = made.add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), critical=False
        )
        names = [*map(_general_name, hosts), *([x509.UniformResourceIdentifier(uri)] if uri else [])]
        if names:
            made = made.add_extension(x509.SubjectAlternativeName(names), critical=False)
        return made.sign(self.key, hashes.SHA256()), key

    def __repr__(self) -> str:
        return f"Authority({self.certificate.subject.rfc4514_string()})"


def make_dev_certs(directory: Path, hosts: Sequence[str] = (), *, days: int = 365, force: bool = False) -> list[Path]:
    """Make `ca`, and a certificate for each of SERVERS and CLIENTS, as `.crt` and `.key`; return the files.

    `hosts` are names or addresses of the servers beside loopback's. Raises FileExistsError, and writes nothing, when
    one of the files is there and `force` is not set.
    """
    names = ("ca", *SERVERS, *CLIENTS)
    paths = [directory / f"{name}.{suffix}" for name in names for suffix in ("crt", "key")]
    there = [path for path in paths if path.exists()]
    if there and not force:
        raise FileExistsError(str(there[0]))
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    authority = Authority(days=days)
    write_pair(directory / "ca", authority.certificate, authority.key)
    for name in SERVERS:
        write_pair(directory / name, *authority.issue(name, (*LOOPBACK, *hosts)))
    for name in CLIENTS:
        write_pair(directory / name, *authority.issue(name))
    return paths


def how_to_use(directory: Path) -> str:
    """Return a few lines for who has just made them."""
    return f"""
For development only: whoever has {directory}/ca.key can pose as any of these.

To end TLS at the edge, in edge.yaml (paths are relative to --var):

  listener:
    local_plain_http: false
    tls:
      certificates:
        - {{certificate_file: certs/edge.crt, key_file: certs/edge.key}}

  curl --cacert {directory}/ca.crt https://localhost:8080/

To have devices show a certificate, add to listener.tls

      client_certificates: optional
      client_ca_file: certs/ca.crt

  curl --cacert {directory}/ca.crt --cert {directory}/device.crt --key {directory}/device.key https://localhost:8080/

docs/operating.md (TLS) says how origins and services use the others.""".strip()


def write_pair(stem: Path, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> None:
    """Write `stem.crt`, and `stem.key` which only its owner may read; each is replaced in one step."""
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    _replace(stem.with_name(stem.name + ".key"), private, 0o600)
    _replace(stem.with_name(stem.name + ".crt"), certificate.public_bytes(serialization.Encoding.PEM), 0o644)


def _replace(path: Path, content: bytes, mode: int) -> None:
    new = path.with_name(path.name + ".new")
    new.unlink(missing_ok=True)
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(content)
    new.replace(path)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, days: int
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    ends = now + datetime.timedelta(days=days)
    made = x509.CertificateBuilder(subject_name=subject, issuer_name=issuer, public_key=key)
    made = made.serial_number(x509.random_serial_number())
    made = made.not_valid_before(min(now, ends) - _CLOCKS_DIFFER).not_valid_after(ends)
    return made.add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _usage(*, ca: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=ca,
        crl_sign=ca,
        encipher_only=False,
        decipher_only=False,
    )
