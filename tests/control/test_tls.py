"""The TLS keys of the configuration: what they may say, and that the files they name hold what they should."""

from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization

from edge.control.errors import ConfigErrors
from edge.control.load import load_config
from edge.control.reloadable import unreloadable
from edge.control.snapshot import Snapshot
from tests.certificates import TestAuthority
from tests.processes import REPOSITORY, make_secrets

CONFIG = REPOSITORY / "config"
PLAIN_OFF = "listener.local_plain_http=false"


@pytest.fixture
def authority(tmp_path: Path) -> TestAuthority:
    made = TestAuthority(tmp_path / "certs")
    made.issue("edge", ["localhost"])
    return made


def errors(*overrides: str, var: Path | str = "var", files: bool = False) -> dict[str, str]:
    loaded = load_config(CONFIG, overrides, var=var, token_files=files)
    return {error.place: error.message for error in loaded.errors} if isinstance(loaded, ConfigErrors) else {}


def shown(*rows: str) -> str:
    return f"listener.tls.certificates=[{', '.join('{' + row + '}' for row in rows)}]"


ROW = '"certificate_file": "a.crt", "key_file": "a.key"'


def test_relative_certificate_files_are_under_var(tmp_path: Path) -> None:
    snapshot = load_config(CONFIG, (PLAIN_OFF, shown(ROW)), var=tmp_path)
    assert isinstance(snapshot, Snapshot)
    assert snapshot.listener.tls.certificates[0].certificate_file == tmp_path / "a.crt"


@pytest.mark.parametrize(
    ("override", "key"),
    [
        ("listener.tls.min_version='1.3'", "listener.tls.min_version"),
        ("listener.tls.client_certificates=required", "listener.tls.client_certificates"),
        ("listener.tls.client_ca_file=ca.crt", "listener.tls.client_ca_file"),
    ],
)
def test_a7_tls_options_without_a_certificate_are_refused(override: str, key: str) -> None:
    assert "without a certificate" in errors(override)[key]


def test_a7_client_certificates_need_a_ca_and_a_ca_needs_them() -> None:
    assert (
        "say whose"
        in errors(PLAIN_OFF, shown(ROW), "listener.tls.client_certificates=optional")["listener.tls.client_ca_file"]
    )
    assert (
        "means nothing"
        in errors(PLAIN_OFF, shown(ROW), "listener.tls.client_ca_file=ca.crt")["listener.tls.client_ca_file"]
    )


def test_a_name_has_one_certificate() -> None:
    named = ROW + ', "server_names": ["a.test"]'
    assert "certificates[0]" in errors(PLAIN_OFF, shown(named, named))["listener.tls.certificates[1].server_names"]


@pytest.mark.parametrize("name", ["A.test", "a.*.test", "*", "a..test", "a.test.", "a b"])
def test_a_server_name_that_can_never_match_is_refused(name: str) -> None:
    found = errors(PLAIN_OFF, shown(ROW + f', "server_names": ["{name}"]'))
    assert "listener.tls.certificates[0].server_names[0]" in found


def test_a_listener_that_speaks_tls_is_no_plain_http() -> None:
    assert "TLS" in errors(shown(ROW))["listener.local_plain_http"]


def test_an_old_version_of_tls_is_not_to_be_had() -> None:
    assert "listener.tls.min_version" in errors(PLAIN_OFF, shown(ROW), "listener.tls.min_version='1.1'")


def test_certificate_files_are_checked_where_the_edge_runs(authority: TestAuthority, tmp_path: Path) -> None:
    make_secrets(tmp_path / "secrets")
    good = (PLAIN_OFF, shown(authority.pair("edge")))
    assert errors(*good, var=tmp_path, files=True) == {}
    other = TestAuthority(tmp_path / "other")
    other.issue("edge")
    (authority.directory / "edge.key").write_bytes((other.directory / "edge.key").read_bytes())
    assert "is of another certificate" in errors(*good, var=tmp_path, files=True)["listener.tls"]
    (authority.directory / "edge.key").unlink()
    assert "cannot be read: No such file" in errors(*good, var=tmp_path, files=True)["listener.tls"]
    (authority.directory / "edge.crt").write_text("nothing")
    assert "no PEM certificate" in errors(*good, var=tmp_path, files=True)["listener.tls"]
    assert errors(*good, var=tmp_path) == {}


def test_a_key_with_a_password_is_refused_without_asking_for_it(authority: TestAuthority, tmp_path: Path) -> None:
    make_secrets(tmp_path / "secrets")
    _, key = authority.authority.issue("locked")
    sealed = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"x")
    )
    (authority.directory / "edge.key").write_bytes(sealed)
    found = errors(PLAIN_OFF, shown(authority.pair("edge")), var=tmp_path, files=True)
    assert "no usable private key" in found["listener.tls"]


@pytest.mark.parametrize(
    ("overrides", "place"),
    [
        (("origins.api.tls.ca_file=ca.crt",), "origins.api.tls.ca_file"),
        (("origins.api.tls.enabled=true", "origins.api.tls.key_file=a.key"), "origins.api.tls.certificate_file"),
        (("origins.api.tls.enabled=true", "origins.api.tls.certificate_file=a.crt"), "origins.api.tls.key_file"),
        (("origins.api.tls.enabled=true", "origins.api.tls.crl_file=a.crl"), "origins.api.tls.ca_file"),
        (("origins.api.tls.enabled=true", "origins.api.tls.server_name=A B"), "origins.api.tls.server_name"),
        (("origins.api.tls.enabled=true", "origins.api.tls.verify=false"), "origins.api.tls.verify"),
    ],
)
def test_a7_tls_to_an_origin_is_said_as_a_whole(overrides: tuple[str, ...], place: str) -> None:
    assert place in errors(*overrides)


def test_the_certificate_files_of_origins_are_checked_where_the_edge_runs(tmp_path: Path) -> None:
    make_secrets(tmp_path / "secrets")
    overrides = ("origins.api.tls.enabled=true", "origins.api.tls.ca_file=nowhere.crt")
    assert "cannot be read" in errors(*overrides, var=tmp_path, files=True)["origins.api.tls"]


def test_plain_http_beside_tls_needs_two_addresses() -> None:
    beside = "listener.tls.address=127.0.0.1:8443"
    assert errors(shown(ROW), beside) == {}
    assert "taken already" in errors(shown(ROW), "listener.tls.address=127.0.0.1:8080")["listener.tls.address"]
    assert "taken already" in errors(shown(ROW), "listener.tls.address=127.0.0.1:8081")["listener.tls.address"]
    assert "without a certificate" in errors(beside)["listener.tls.address"]


def test_the_addresses_of_a_running_edge_stay_and_its_certificates_need_new_workers() -> None:
    def loaded(*overrides: str) -> Snapshot:
        found = load_config(CONFIG, (shown(ROW), *overrides))
        assert isinstance(found, Snapshot), found
        return found

    before = loaded("listener.tls.address=127.0.0.1:8443")
    moved = unreloadable(before, loaded("listener.tls.address=127.0.0.1:9443"))
    assert moved.edge == ("listener.tls.address",)
    other = unreloadable(before, loaded("listener.tls.address=127.0.0.1:8443", "listener.tls.min_version='1.3'"))
    assert (other.edge, other.workers) == ((), ("listener.tls",))
