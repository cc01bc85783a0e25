"""The secrets of a first run."""

import base64
from pathlib import Path

from edge.up.secrets import IDENTITIES, make_secrets


def test_the_first_run_makes_a_master_key_and_a_token_for_each_identity(tmp_path: Path) -> None:
    directory = tmp_path / "var" / "secrets"
    made = make_secrets(directory)
    assert set(made) == {"master.key", *(f"{identity}.token" for identity in IDENTITIES)}
    assert len(base64.b64decode((directory / "master.key").read_text().strip(), validate=True)) == 32
    tokens = {(directory / f"{identity}.token").read_text() for identity in IDENTITIES}
    assert len(tokens) == len(IDENTITIES)
    assert all(len(token.strip()) == 43 and token.endswith("\n") for token in tokens)


def test_only_the_owner_reads_them_and_nothing_else_is_left(tmp_path: Path) -> None:
    directory = tmp_path / "secrets"
    made = make_secrets(directory)
    assert directory.stat().st_mode & 0o777 == 0o700
    assert {path.name for path in directory.iterdir()} == set(made)
    assert {path.stat().st_mode & 0o777 for path in directory.iterdir()} == {0o600}


def test_a_second_run_changes_nothing_and_makes_only_what_is_missing(tmp_path: Path) -> None:
    make_secrets(tmp_path)
    before = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert make_secrets(tmp_path) == []
    (tmp_path / "api.token").unlink()
    assert make_secrets(tmp_path) == ["api.token"]
    after = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert {name for name in before if before[name] != after[name]} == {"api.token"}
