"""`edge dev-certs`: what it makes, that it verifies, and that it never overwrites unasked."""

import stat
from pathlib import Path

import pytest
from cryptography import x509
from typer.testing import CliRunner

from edge.cli import app
from edge.net.tls import KeyPair, Trust, client_context, server_context
from edge.up.dev_certs import CLIENTS, SERVERS


def dev_certs(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["dev-certs", *arguments])
    return result.exit_code, result.output


def content(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def test_it_makes_a_ca_and_certificates_whose_keys_only_their_owner_reads(tmp_path: Path) -> None:
    code, said = dev_certs("--var", str(tmp_path))
    assert code == 0
    names = ("ca", *SERVERS, *CLIENTS)
    assert set(content(tmp_path / "certs")) == {f"{name}.{end}" for name in names for end in ("crt", "key")}
    for name in names:
        key = tmp_path / "certs" / f"{name}.key"
        assert stat.S_IMODE(key.stat().st_mode) == 0o600
        assert str(key) in said
    assert "--cacert" in said
    assert "PRIVATE" not in said


def test_every_certificate_is_of_the_ca_and_can_be_used(tmp_path: Path) -> None:
    dev_certs("--var", str(tmp_path), "--name", "edge.test", "--name", "192.0.2.7", "--days", "3")
    ca = x509.load_pem_x509_certificate((tmp_path / "certs" / "ca.crt").read_bytes())
    for name in (*SERVERS, *CLIENTS):
        pair = KeyPair(tmp_path / "certs" / f"{name}.crt", tmp_path / "certs" / f"{name}.key")
        certificate = x509.load_pem_x509_certificate(pair.certificate_file.read_bytes())
        certificate.verify_directly_issued_by(ca)
        assert (certificate.not_valid_after_utc - certificate.not_valid_before_utc).days == 3
        server_context(pair)
        client_context(Trust(tmp_path / "certs" / "ca.crt"), pair)
        if name in SERVERS:
            names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
            assert names.get_values_for_type(x509.DNSName) == ["localhost", "edge.test"]
            assert [str(ip) for ip in names.get_values_for_type(x509.IPAddress)] == ["127.0.0.1", "::1", "192.0.2.7"]


@pytest.mark.parametrize("left", ["ca.key", "device.crt"])
def test_it_overwrites_nothing_unless_told_to(tmp_path: Path, left: str) -> None:
    dev_certs("--var", str(tmp_path))
    directory = tmp_path / "certs"
    for path in directory.iterdir():
        if path.name != left:
            path.unlink()
    before = content(directory)
    code, said = dev_certs("--var", str(tmp_path))
    assert code == 1
    assert left in said
    assert content(directory) == before
    code, _ = dev_certs("--var", str(tmp_path), "--force")
    assert code == 0
    assert content(directory)[left] != before[left]
