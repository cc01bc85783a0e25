"""config/dials.yaml: what it may say, and what is said of what it may not."""

from pathlib import Path

import pytest

from edge.contract.dials import BUCKETS, Dial, Feature
from edge.control.dial_answer import hints
from edge.control.dial_names import DialName, dial_table
from edge.control.errors import ConfigErrors
from edge.control.load import load_config
from edge.control.reloadable import Unreloadable, unreloadable
from edge.control.snapshot import Snapshot
from tests.control.conftest import SHIPPED
from tests.processes import write_secret

TERMINATE, SHADOW = Feature.TERMINATE_COOKIE, Feature.SHADOW_COOKIE


def loaded(directory: Path, text: str | None = None) -> Snapshot:
    if text is not None:
        (directory / "dials.yaml").write_text(text)
    found = load_config(directory)
    assert isinstance(found, Snapshot), str(found)
    return found


def test_the_shipped_file_says_what_holds_without_it(directory: Path) -> None:
    (directory / "dials.yaml").unlink()
    without, shipped = loaded(directory), loaded(SHIPPED)
    assert without.dials == shipped.dials
    assert without.dials.positions == {DialName(TERMINATE): BUCKETS, DialName(SHADOW): 0}
    assert without.made_of.hash != shipped.made_of.hash
    assert "dials.yaml" not in without.made_of.texts


def test_a_worker_that_is_told_of_no_such_file_reads_none_from_disk(directory: Path) -> None:
    texts = dict(loaded(directory).made_of.texts)
    (directory / "dials.yaml").write_text("dials: {terminate-cookie: {default: 1}}")
    del texts["dials.yaml"]
    found = load_config(directory, texts=texts)
    assert isinstance(found, Snapshot)
    assert found.dials.positions[DialName(TERMINATE)] == BUCKETS


def test_names_become_the_numbers_that_tokens_carry(directory: Path) -> None:
    snapshot = loaded(
        directory,
        """
dials:
  terminate-cookie:
    salt: tv-first
    default: 0.01
    device_types: {television: 12.34, unknown: 3}
    origins:
      api: {default: 50, device_types: {phone: 0.5}}
""",
    )
    assert snapshot.dials.salts == {TERMINATE: "tv-first", SHADOW: "shadow-cookie"}
    assert dial_table(7, snapshot.dials, snapshot.device_types).positions == {
        Dial(TERMINATE): 1,
        Dial(TERMINATE, None, 4): 1234,
        Dial(TERMINATE, None, 0): 300,
        Dial(TERMINATE, "api"): 5000,
        Dial(TERMINATE, "api", 2): 50,
        Dial(SHADOW): 0,
    }


def test_an_override_moves_a_dial_for_one_run(directory: Path) -> None:
    found = load_config(directory, ["dials.terminate-cookie.device_types.phone=2.5"])
    assert isinstance(found, Snapshot)
    assert found.dials.positions[DialName(TERMINATE, None, "phone")] == 250


@pytest.mark.parametrize(
    ("row", "place", "message"),
    [
        ("default: 12.345", "default", "at most two decimals"),
        ("default: 100.01", "default", "from 0 to 100"),
        ("default: -1", "default", "from 0 to 100"),
        ("default: '5'", "default", "must be a number"),
        ("default: true", "default", "must be a number"),
        ("default: .inf", "default", "must be a number"),
        ("device_types: {fone: 5}", "device_types.fone", "there is no device type 'fone': did you mean phone?"),
        ("origins: {apy: {default: 5}}", "origins.apy", "there is no origin 'apy': did you mean api?"),
        ("origins: {api: {device_types: {x: 5}}}", "origins.api.device_types.x", "there is no device type 'x'"),
        ("salt: ''", "salt", "must not be empty"),
        ("salt: a b", "salt", "must match the pattern"),
        ("percent: 5", "percent", "is not a known key: known are salt, default"),
    ],
)
def test_a_mistake_is_said_with_its_line(directory: Path, row: str, place: str, message: str) -> None:
    (directory / "dials.yaml").write_text(f"dials:\n  terminate-cookie:\n    {row}\n")
    found = load_config(directory)
    assert isinstance(found, ConfigErrors)
    (error,) = found.errors
    assert (error.line, error.place) == (3, f"dials.terminate-cookie.{place}")
    assert message in error.message


def test_an_unknown_feature_is_an_error(directory: Path) -> None:
    (directory / "dials.yaml").write_text("dials:\n  terminate-cooky:\n    default: 5\n")
    found = load_config(directory)
    assert isinstance(found, ConfigErrors)
    assert "dials.terminate-cooky: must be 'terminate-cookie' or 'shadow-cookie'" in str(found)


def test_the_name_of_devices_without_a_known_type_is_taken(directory: Path) -> None:
    (directory / "device_types.yaml").write_text("device_types: {1: unknown}")
    assert "is the name of type 0" in str(load_config(directory))


def test_a_dial_of_a_type_that_went_moves_nobody() -> None:
    snapshot = loaded(SHIPPED)
    dials = snapshot.dials._replace(positions={DialName(TERMINATE): 5, DialName(TERMINATE, None, "pager"): 7})
    assert dial_table(1, dials, snapshot.device_types).positions == {Dial(TERMINATE): 5, Dial(SHADOW): 0}


def test_an_operators_token_file_must_be_there_and_hold_more_than_can_be_guessed(tmp_path: Path) -> None:
    write_secret(tmp_path / "short.token", "0123456789")
    operators = "admin.operators={ann: missing.token, bob: short.token}"
    found = str(load_config(SHIPPED, [operators], var=tmp_path, token_files=True))
    assert f"admin.operators.ann: {tmp_path}/missing.token is not there: put a token there" in found
    assert f"admin.operators.bob: {tmp_path}/short.token holds less than 16 characters" in found
    assert "0123456789" not in found


def test_operators_and_dials_need_a_reload_and_no_restart(directory: Path) -> None:
    before = loaded(directory)
    (directory / "dials.yaml").write_text("dials: {shadow-cookie: {default: 1}}")
    after = load_config(directory, ["admin.operators={ann: ann.token}"])
    assert isinstance(after, Snapshot)
    assert unreloadable(before, after) == Unreloadable((), ())
    elsewhere = load_config(directory, ["admin.address=127.0.0.1:9999"])
    assert isinstance(elsewhere, Snapshot)
    assert unreloadable(before, elsewhere).edge == ("admin.address",)


@pytest.mark.parametrize(
    ("accepts", "positions", "hinted"),
    [
        ((), {DialName(TERMINATE): 0, DialName(SHADOW): 0}, [TERMINATE]),
        ((), {DialName(TERMINATE): BUCKETS, DialName(SHADOW): BUCKETS}, [SHADOW]),
        (
            (),
            {DialName(TERMINATE): BUCKETS, DialName(TERMINATE, None, "phone"): 500},
            ["terminate-cookie, device type phone"],
        ),
        (("api",), {DialName(TERMINATE): 0, DialName(TERMINATE, None, "phone"): 1, DialName(TERMINATE, "api"): 1}, []),
        (("api",), {DialName(TERMINATE): 0, DialName(TERMINATE, "ui"): 1}, [f"{TERMINATE}, origin ui"]),
        (("api",), {DialName(TERMINATE, "gone", "phone"): 1}, [f"{TERMINATE}, origin gone, device type phone"]),
    ],
)
def test_a_dial_that_moves_nobody_is_hinted_at(
    accepts: tuple[str, ...], positions: dict[DialName, int], hinted: list[str]
) -> None:
    snapshot = load_config(SHIPPED, [f"origins.{origin}.accepts_legacy=true" for origin in accepts])
    assert isinstance(snapshot, Snapshot)
    found = hints(positions, snapshot.origins)
    assert [hint.partition(" has no effect: ")[0] for hint in found] == hinted
    nobody = [hint for hint in found if "no origin has accepts_legacy: true in origins.yaml" in hint]
    assert len(nobody) == (0 if accepts else len(found))
