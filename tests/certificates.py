"""A CA for one test, certificates of it, good and bad, and client contexts that trust it."""

import datetime
import ssl
from collections.abc import Sequence
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from edge.up.dev_certs import Authority, write_pair


class TestAuthority:
    """Writes what it issues below `directory`."""

    __test__ = False

    def __init__(self, directory: Path, name: str = "ca") -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self.authority = Authority(f"Test {name}")
        self._issued: dict[str, x509.Certificate] = {}
        write_pair(directory / name, self.authority.certificate, self.authority.key)
        self.ca_file = directory / f"{name}.crt"

    def issue(self, name: str, hosts: Sequence[str] = (), *, days: int = 30, uri: str = "") -> str:
        """Write `name.crt` and `name.key`, over what was there; return the JSON of both keys of the configuration."""
        certificate, key = self.authority.issue(name, hosts, days=days, uri=uri)
        self._issued[name] = certificate
        write_pair(self.directory / name, certificate, key)
        return self.pair(name)

    def issue_unreadable(self, name: str) -> str:
        """Write a pair as `issue` does, good to TLS, whose alternative name is of a kind that nobody reads."""
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        key = ec.generate_private_key(ec.SECP256R1())
        now = datetime.datetime.now(datetime.UTC)
        made = x509.CertificateBuilder(
            subject_name=subject,
            issuer_name=self.authority.certificate.subject,
            public_key=key.public_key(),
            serial_number=x509.random_serial_number(),
            not_valid_before=now - datetime.timedelta(hours=1),
            not_valid_after=now + datetime.timedelta(days=1),
        )
        edi_party_name = bytes.fromhex("3009a507a1050c03616263")
        made = made.add_extension(
            x509.UnrecognizedExtension(x509.SubjectAlternativeName.oid, edi_party_name), critical=False
        )
        write_pair(self.directory / name, made.sign(self.authority.key, hashes.SHA256()), key)
        return self.pair(name)

    def pair(self, name: str) -> str:
        """Return certificate_file and key_file as JSON without braces."""
        stem = self.directory / name
        return f'"certificate_file": "{stem}.crt", "key_file": "{stem}.key"'

    def serial(self, name: str) -> int:
        """Return the serial number of what was last issued under that name."""
        return self._issued[name].serial_number

    def revocations(self, *names: str) -> Path:
        """Write a list that revokes what was issued under these names; return its file."""
        now = datetime.datetime.now(datetime.UTC)
        made = x509.CertificateRevocationListBuilder(
            issuer_name=self.authority.certificate.subject,
            last_update=now - datetime.timedelta(hours=1),
            next_update=now + datetime.timedelta(days=1),
            revoked_certificates=[
                x509.RevokedCertificateBuilder(self.serial(name), now - datetime.timedelta(hours=1)).build()
                for name in names
            ],
        )
        path = self.directory / "revoked.crl"
        signed = made.sign(self.authority.key, hashes.SHA256())
        path.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
        return path

    def client(self, *, certificate: str = "") -> ssl.SSLContext:
        """Return a context of a device that trusts this CA, and shows what was issued as `certificate`."""
        context = ssl.create_default_context(cafile=self.ca_file)
        if certificate:
            stem = self.directory / certificate
            context.load_cert_chain(f"{stem}.crt", f"{stem}.key")
        return context

    def server(self, certificate: str, *, clients: bool = False) -> ssl.SSLContext:
        """Return a context of an origin that shows `certificate`, and asks for one of this CA if `clients`."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        stem = self.directory / certificate
        context.load_cert_chain(f"{stem}.crt", f"{stem}.key")
        if clients:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(self.ca_file)
        return context
