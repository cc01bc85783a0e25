"""The shipped configuration loads; what it leaves out has the documented defaults; nothing in it can be changed."""

import time
from dataclasses import FrozenInstanceError
from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError

from edge.contract.identity import Level
from edge.contract.on_bad_token import OnBadToken
from edge.control.edge_file import Filters
from edge.control.errors import ConfigErrors
from edge.control.load import load_config
from edge.control.snapshot import Snapshot
from edge.control.token_file import HeldTokens
from edge.control.values import Address
from filters.order import INBOUND, OUTBOUND
from tests.control.conftest import SHIPPED
from tests.processes import write_secret


def loaded(directory: Path, *overrides: str) -> Snapshot:
    found = load_config(directory, overrides, var="/srv/var")
    assert isinstance(found, Snapshot), str(found)
    return found


def test_the_shipped_configuration_is_valid() -> None:
    snapshot = loaded(SHIPPED)
    assert snapshot.listener.address == Address("127.0.0.1", 8080)
    assert snapshot.admin.address == ("127.0.0.1", 8081)
    assert snapshot.origins["api"].addresses == (("127.0.0.1", 8094),)
    assert snapshot.grants.keys() == {"passport-auth"}
    assert snapshot.grants["passport-auth"].parts == {"user"}
    assert snapshot.grants["passport-auth"].actions >= {"USER_LOGIN", "USER_LOGOUT"}
    assert snapshot.device_types[1] == "browser"
    assert set(snapshot.filters) == set(Filters.model_fields)


def test_the_shipped_routes_ask_for_what_the_login_story_needs() -> None:
    auth = {route.id: route.auth for route in loaded(SHIPPED).routes.all}
    assert auth["account"].user is Level.HIGH
    assert auth["browse"].user is Level.LOW
    assert auth["root"].user is Level.UNSPECIFIED
    assert auth["root"].on_bad_token is OnBadToken.ANONYMOUS
    assert auth["echo"].on_bad_token is OnBadToken.REFUSE


def test_the_shipped_services_and_the_edge_agree() -> None:
    """A cookie made for another environment or name does not open, and a key set that is not granted does not come."""
    snapshot = loaded(SHIPPED)
    cookie, kms = (yaml.safe_load((SHIPPED / name).read_text()) for name in ("cookie.yaml", "kms.yaml"))
    assert cookie["environment"] == snapshot.edge.environment
    assert cookie["names"] == {"insecure": snapshot.cookies.insecure_name, "secure": snapshot.cookies.secure_name}
    assert set(snapshot.services.kms.purposes) <= set(kms["identities"]["edge"]["grants"])
    assert set(snapshot.grants) <= set(snapshot.services.kms.purposes)


def test_what_is_left_out_has_its_default() -> None:
    snapshot = loaded(SHIPPED)
    assert snapshot.limits.max_target_bytes == 8192
    assert snapshot.limits.max_request_body_bytes == 2 * 1024**3
    assert snapshot.timeouts.connect_s == 0.5
    assert snapshot.services.cookie.timeout_s == 0.3
    assert snapshot.passport.integrity_version == 2
    assert snapshot.access_log.path == "stdout"


def test_routes_and_origins_take_what_they_leave_out_from_edge_yaml(directory: Path) -> None:
    snapshot = loaded(
        directory, "timeouts.connect_s=0.2", "timeouts.request_s=7", "limits.max_request_body_bytes=9",
        "routes.upload.max_request_body_bytes=0", "routes.upload.request_timeout_s=1",
    )  # fmt: skip
    assert snapshot.origins["api"].connect_timeout_s == 0.2
    assert snapshot.routes.by_id["echo"].request_timeout_s == 7
    assert snapshot.routes.by_id["echo"].max_request_body_bytes == 9
    assert snapshot.routes.by_id["upload"].request_timeout_s == 1
    assert snapshot.routes.by_id["upload"].max_request_body_bytes == 0


def test_relative_paths_of_secrets_and_state_are_under_var(directory: Path) -> None:
    snapshot = loaded(directory, "access_log.path=log/access.json", "services.cookie.token_file=/run/token")
    assert snapshot.services.kms.token_file == Path("/srv/var/secrets/edge.token")
    assert snapshot.services.cookie.token_file == Path("/run/token")
    assert snapshot.access_log.path == "/srv/var/log/access.json"
    assert loaded(directory, "access_log.path=off").access_log.path == "off"


def test_a_snapshot_cannot_be_changed() -> None:
    snapshot = loaded(SHIPPED)
    with pytest.raises(FrozenInstanceError):
        snapshot.var = Path()  # type: ignore[misc]
    with pytest.raises(ValidationError, match="frozen"):
        snapshot.limits.max_headers = 5
    with pytest.raises(TypeError):
        snapshot.origins["x"] = snapshot.origins["api"]  # type: ignore[index]


def test_every_filter_has_a_config_section() -> None:
    ids = {vars(each)["id"] for each, _ in (*INBOUND, *OUTBOUND)}
    assert ids == set(Filters.model_fields)


def test_a_thousand_routes_load_in_no_time_worth_mention(directory: Path) -> None:
    rows = "".join(
        f"  - {{id: r{n}, path: /p/{n}, origin: api, auth: {{user: low, device: none}}}}\n" for n in range(1000)
    )
    (directory / "routes.yaml").write_text(f"routes:\n{rows}")
    started = time.process_time()
    snapshot = loaded(directory)
    assert time.process_time() - started < 20  # a second where nothing else runs
    assert len(snapshot.routes.all) == 1000


@pytest.mark.parametrize(
    ("held", "problem"),
    [
        (None, "is not there: put a key there"),
        ("two words", "holds no token"),
        ("fifteen-of-them", "holds less than 16 characters"),
    ],
)
def test_a_debug_key_file_must_hold_a_key(held: str | None, problem: str, tmp_path: Path) -> None:
    key_file = tmp_path / "debug.key"
    if held is not None:
        key_file.write_text(held)
    found = load_config(SHIPPED, ("debug.key_file=debug.key",), var=tmp_path, token_files=True)
    assert isinstance(found, ConfigErrors)
    messages = [error.message for error in found.errors if error.place == "debug.key_file"]
    assert len(messages) == 1
    assert problem in messages[0]
    assert "two words" not in messages[0]
    assert "fifteen" not in messages[0]


@pytest.mark.parametrize(
    ("held", "problem"), [(None, "is not there"), ("", "holds no token"), ("two words", "holds no token")]
)
def test_a_password_file_of_redis_must_hold_a_password(held: str | None, problem: str, tmp_path: Path) -> None:
    if held is not None:
        (tmp_path / "redis.password").write_text(held)
    keys = ("services.renewals.redis_url=redis://127.0.0.1:6379", "services.renewals.password_file=redis.password")
    found = load_config(SHIPPED, keys, var=tmp_path, token_files=True)
    assert isinstance(found, ConfigErrors)
    (message,) = [error.message for error in found.errors if error.place == "services.renewals.password_file"]
    assert problem in message
    assert "the password of Redis" in message
    assert "two words" not in message


def test_a_redis_needs_its_client_installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("edge.control.token_file.find_spec", lambda _: None)
    key = "services.renewals.redis_url=redis://127.0.0.1:6379"
    found = load_config(SHIPPED, (key,), var=tmp_path, token_files=True)
    assert isinstance(found, ConfigErrors)
    assert ["edge-passport[redis]" in error.message for error in found.errors if "renewals" in error.place] == [True]


def test_the_certificates_shown_to_redis_are_checked_before_anything_starts(tmp_path: Path) -> None:
    keys = ("services.renewals.redis_url=rediss://redis.internal:6380", "services.renewals.tls.ca_file=nowhere.crt")
    found = load_config(SHIPPED, keys, var=tmp_path, token_files=True)
    assert isinstance(found, ConfigErrors)
    (message,) = [error.message for error in found.errors if error.place == "services.renewals.tls"]
    assert "nowhere.crt" in message


def test_rule_24_a_snapshot_keeps_what_its_token_files_held_and_does_not_show_it(tmp_path: Path) -> None:
    write_secret(tmp_path / "one.token", "token-canary")
    files = tuple(f"services.{service}.token_file=one.token" for service in ("kms", "cookie"))
    checked = load_config(SHIPPED, files, var=tmp_path, token_files=True)
    assert isinstance(checked, Snapshot)
    (tmp_path / "one.token").unlink()
    assert checked.tokens.get(tmp_path / "one.token") == "token-canary"
    assert checked.tokens.get(tmp_path / "other.token") is None
    handed_down = load_config(SHIPPED, files, var=tmp_path, tokens=HeldTokens(checked.tokens.for_a_worker()))
    assert isinstance(handed_down, Snapshot)
    assert handed_down.tokens.get(tmp_path / "one.token") == "token-canary"
    assert "token-canary" not in repr(checked)
    assert handed_down.made_of.hash == checked.made_of.hash
