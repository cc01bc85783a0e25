"""`--set KEY=VALUE` replaces one value before the whole is checked, and its errors name it."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.control.errors import ConfigError, ConfigErrors
from edge.control.load import load_config
from edge.control.overrides import apply_override, parse_override
from edge.control.snapshot import Snapshot
from edge.control.yaml_text import Value


def load(directory: Path, *overrides: str) -> Snapshot:
    found = load_config(directory, overrides)
    assert isinstance(found, Snapshot), str(found)
    return found


def error_of(directory: Path, *overrides: str) -> ConfigError:
    found = load_config(directory, overrides)
    assert isinstance(found, ConfigErrors)
    (error,) = found.errors
    return error


def test_a_value_is_replaced_in_whatever_file_it_stands(directory: Path) -> None:
    snapshot = load(
        directory, "edge.workers=3", 'origins.api.addresses=["127.0.0.1:9001", "[::1]:9002"]', "device_types.9=watch",
        "grants.passport-auth.actions=[USER_LOGOUT]", "listener.address=127.0.0.1:0", "filters.renew.deadline_s=0.5",
    )  # fmt: skip
    assert snapshot.edge.workers == 3
    assert snapshot.origins["api"].addresses == (("127.0.0.1", 9001), ("::1", 9002))
    assert snapshot.device_types[9] == "watch"
    assert snapshot.grants["passport-auth"].actions == {"USER_LOGOUT"}
    assert snapshot.listener.address.port == 0
    assert snapshot.filters["renew"] == (0.5, None)


def test_an_item_of_a_list_is_named_by_position_or_id(directory: Path) -> None:
    snapshot = load(directory, "routes.browse.auth.user=highest", "routes[0].max_request_body_bytes=7")
    assert snapshot.routes.by_id["browse"].auth.user.name == "HIGHEST"
    assert snapshot.routes.by_id["root"].max_request_body_bytes == 7


def test_a_section_may_be_made_and_a_later_override_wins(directory: Path) -> None:
    assert load(directory, "access_log.path=off", "access_log.path=stdout").access_log.path == "stdout"
    assert load(directory, "origins.other.addresses=['10.0.0.1:80']").origins["other"].max_connections == 256


def test_a_value_may_hold_an_equals_sign_and_be_empty_for_null(directory: Path) -> None:
    assert load(directory, "access_log.path=a=b").access_log.path.endswith("/a=b")
    assert load(directory, "cookies.domain=").cookies.domain is None


def test_an_error_names_the_override_and_not_the_file(directory: Path) -> None:
    error = error_of(directory, "edge.workers=many")
    assert (error.file, error.line, error.place) == ("--set edge.workers", 0, "edge.workers")
    assert str(error_of(directory, "edge.workers.x=1")).startswith("--set edge.workers.x: edge.workers: must be")


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("edge.workers", "must be KEY=VALUE"),
        ("", "must be KEY=VALUE"),
        ("=1", "must be KEY=VALUE"),
        ("edge..workers=1", "must be KEY=VALUE"),
        ("edge.workers=[", "the value is not valid YAML"),
        ("edg.workers=1", "did you mean edge?"),
        ("edge.worker=1", "did you mean workers?"),
        ("routes.nobody.path=/", "has no item nobody"),
        ("routes[99].path=/", "has no item 99"),
        ("edge.id.x=1", "nothing inside a plain value"),
    ],
)
def test_a_bad_override_is_an_error(directory: Path, override: str, says: str) -> None:
    assert says in error_of(directory, override).message


def test_an_override_does_not_hide_that_its_file_is_broken(directory: Path) -> None:
    (directory / "edge.yaml").write_text("edge: [")
    assert error_of(directory, "edge.workers=1").file.endswith("edge.yaml")


@given(st.text(max_size=40), st.sampled_from(["", "a.b=", "list[0].x=", "list.z.x=", "1="]))
def test_no_override_raises(text: str, start: str) -> None:
    parsed = parse_override(start + text)
    if isinstance(parsed, ConfigError):
        return
    document: dict[str | int, Value] = {"a": 1, "list": [{"id": "z"}, 5]}
    assert apply_override(document, *parsed)
