"""Certificates for a scenario, good ones and bad ones, from a CA that is forgotten with it."""

import datetime
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

CA, OTHER_CA = "chaos CA", "another chaos CA"
DAY: Final = datetime.timedelta(days=1)
GOOD, EXPIRED, WRONG_NAME, SELF_SIGNED, OLD_TLS, STALLED = (
    "tls_good", "tls_expired", "tls_wrong_name", "tls_self_signed", "tls_old", "tls_stalled"
)  # fmt: skip
BAD: Final = (EXPIRED, WRONG_NAME, SELF_SIGNED, OLD_TLS, STALLED)
REVOKED, DISOWNED = WITHDRAWN = ("tls_revoked", "tls_disowned")  # good until `exchange_trust`
TRUSTED, LISTED = "trusted.crt", "revoked.crl"


@dataclass(slots=True, frozen=True)
class _Party:
    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey


def make_certificates(directory: Path) -> None:
    """Write `ca.crt`, and `NAME.crt` and `NAME.key` for GOOD and all of BAD and WITHDRAWN, into `directory`.

    TRUSTED has the CAs that issued GOOD and WITHDRAWN, LISTED what they have revoked.
    """
    directory.mkdir(mode=0o700)
    ca, other = _issue(CA, None), _issue(OTHER_CA, None)
    (directory / "ca.crt").write_bytes(_pem(ca))
    for name in (GOOD, *BAD, *WITHDRAWN):
        host = "elsewhere.test" if name == WRONG_NAME else "localhost"
        issuer = None if name == SELF_SIGNED else other if name == DISOWNED else ca
        party = _issue(host, issuer, -1 if name == EXPIRED else 1)
        write_pair(directory, name, party)
        if name == REVOKED:
            (directory / _later(LISTED)).write_bytes(_revocations(ca, party) + _revocations(other))
    (directory / LISTED).write_bytes(_revocations(ca) + _revocations(other))
    (directory / TRUSTED).write_bytes(_pem(ca) + _pem(other))
    (directory / _later(TRUSTED)).write_bytes(_pem(ca))


def exchange_trust(directory: Path) -> None:
    """Revoke the certificate of REVOKED and remove the CA of DISOWNED; or take both back."""
    for name in (TRUSTED, LISTED):
        now, later = directory / name, directory / _later(name)
        before = now.read_bytes()
        later.replace(now)
        later.write_bytes(before)


def write_pair(directory: Path, name: str, party: _Party) -> None:
    """Write a certificate and its key."""
    (directory / f"{name}.crt").write_bytes(_pem(party))
    key = directory / f"{name}.key"
    key.touch(mode=0o600)
    plain, pkcs8 = serialization.NoEncryption(), serialization.PrivateFormat.PKCS8
    key.write_bytes(party.key.private_bytes(serialization.Encoding.PEM, pkcs8, plain))


def _issue(host: str, issuer: _Party | None, days: int = 1) -> _Party:
    """Return a certificate for `host`, signed by `issuer` or by itself, that ends in so many days from now."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
    now = datetime.datetime.now(datetime.UTC)
    is_ca = host in {CA, OTHER_CA}
    names = [x509.DNSName("localhost" if is_ca else host)]
    address = [] if is_ca or host != "localhost" else [x509.IPAddress(IPv4Address("127.0.0.1"))]
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(issuer.certificate.subject if issuer else name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - 3 * DAY)
        .not_valid_after(now + days * DAY)
        .add_extension(x509.SubjectAlternativeName([*names, *address]), critical=False)
        .add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    signer = issuer.key if issuer else key
    if is_ca:
        builder = builder.add_extension(_ca_usage(), critical=True)
    else:
        identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key())
        builder = builder.add_extension(identifier, critical=False)
    return _Party(builder.sign(signer, hashes.SHA256()), key)


def _ca_usage() -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=False, content_commitment=False, key_encipherment=False, data_encipherment=False,
        key_agreement=False, key_cert_sign=True, crl_sign=True, encipher_only=False, decipher_only=False,
    )  # fmt: skip


def _revocations(ca: _Party, *revoked: _Party) -> bytes:
    now = datetime.datetime.now(datetime.UTC)
    serials = [one.certificate.serial_number for one in revoked]
    entries = [x509.RevokedCertificateBuilder(serial, now - DAY).build() for serial in serials]
    builder = x509.CertificateRevocationListBuilder(ca.certificate.subject, now - DAY, now + DAY, [], entries)
    return builder.sign(ca.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def _later(name: str) -> str:
    return f"later_{name}"


def _pem(party: _Party) -> bytes:
    return party.certificate.public_bytes(serialization.Encoding.PEM)
