"""What a reload can change, and what each of the other keys needs."""

from pathlib import Path

import pytest

from edge.control.load import load_config
from edge.control.reloadable import Unreloadable, unreloadable
from edge.control.snapshot import Snapshot


def snapshot(directory: Path, *overrides: str) -> Snapshot:
    loaded = load_config(directory, overrides)
    assert isinstance(loaded, Snapshot), loaded
    return loaded


@pytest.mark.parametrize(
    "key",
    [
        "edge.id=another",
        "limits.max_headers=50",
        "timeouts.drain_s=3",
        "cookies.cache_entries=5",
        "services.cookie.timeout_s=1",
        "origins.api.max_connections=3",
        "routes.0.path=/elsewhere",
        'listener.trusted_proxies=["10.0.0.0/8"]',
    ],
)
def test_most_keys_are_reloaded(directory: Path, key: str) -> None:
    assert unreloadable(snapshot(directory), snapshot(directory, key)) == Unreloadable((), ())


@pytest.mark.parametrize("key", ["edge.workers=7", 'listener.address="127.0.0.1:9"', 'admin.address="127.0.0.1:9"'])
def test_w4_what_the_supervisor_holds_needs_the_edge_started_anew(directory: Path, key: str) -> None:
    assert unreloadable(snapshot(directory), snapshot(directory, key)) == Unreloadable((key.partition("=")[0],), ())


@pytest.mark.parametrize(
    "key",
    [
        "listener.backlog=7",
        "services.kms.refresh_s=7",
        "keys.snapshot_max_age_s=7",
        "revocations.wait_s=7",
        "edge.environment=another",
        "services.cookie.url=http://127.0.0.1:9",
        "services.renewals.redis_url=redis://127.0.0.1:9",
        "access_log.path=off",
        "edge.certificate_check_s=7",
        "timeouts.loop_blocked_s=7",
    ],
)
def test_w4_what_a_worker_makes_once_needs_other_workers(directory: Path, key: str) -> None:
    assert unreloadable(snapshot(directory), snapshot(directory, key)) == Unreloadable((), (key.partition("=")[0],))


def test_the_texts_of_the_files_make_the_same_snapshot_whatever_the_disk_holds_by_then(directory: Path) -> None:
    first = snapshot(directory, "limits.max_headers=50")
    for path in directory.iterdir():
        path.write_text("broken: [")
    again = load_config(directory, ("limits.max_headers=50",), texts=first.made_of.texts)
    assert isinstance(again, Snapshot)
    assert again.limits == first.limits
    assert again.made_of.hash == first.made_of.hash


def test_the_hash_tells_configurations_apart(directory: Path) -> None:
    plain = snapshot(directory).made_of.hash
    assert plain == snapshot(directory).made_of.hash
    assert plain != snapshot(directory, "limits.max_headers=50").made_of.hash
    (directory / "routes.yaml").write_text((directory / "routes.yaml").read_text() + "# a comment\n")
    assert plain != snapshot(directory).made_of.hash
