"""The sealed snapshot of the keys: opens for whom it was sealed, and for nobody else; written whole, newest wins."""

import os
import stat
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from edgepb.kms.v1 import kms_pb2
from hypothesis import given
from hypothesis import strategies as st

from passport.key_snapshot import KeySnapshot, SnapshotFile, SnapshotSealer, Unusable
from tests.passport.samples import key_sets, key_version, material

NOW = 1_790_000_000.0
TOKEN = "canary-" * 6
NONCE = b"twelve bytes"
WEEK_S = 604_800


def snapshot(revision: int = 3, fetched_at: float = NOW) -> KeySnapshot:
    return KeySnapshot(kms_pb2.GetKeySetsResponse(key_sets=key_sets(), revision=revision), fetched_at)


def sealer(token: str = TOKEN, identity: str = "edge", environment: str = "live") -> SnapshotSealer:
    return SnapshotSealer(token, identity, environment)


def file_in(directory: Path, *, max_age_s: float = WEEK_S, by: SnapshotSealer | None = None) -> SnapshotFile:
    return SnapshotFile(directory / "keys.edge.snapshot", by or sealer(), max_age_s)


def test_k1_what_was_saved_is_loaded(tmp_path: Path) -> None:
    assert file_in(tmp_path).save(snapshot())
    assert file_in(tmp_path).load(NOW + 5) == snapshot()


@pytest.mark.parametrize(
    ("whose", "why"),
    [
        ({"token": "another-" * 6}, Unusable.DAMAGED),
        ({"identity": "cookie"}, Unusable.OTHER_IDENTITY),
        ({"environment": "test"}, Unusable.OTHER_ENVIRONMENT),
    ],
)
def test_k2_a_snapshot_opens_for_no_other_token_identity_or_environment(
    tmp_path: Path, whose: dict[str, str], why: Unusable
) -> None:
    file_in(tmp_path).save(snapshot())
    assert file_in(tmp_path, by=sealer(**whose)).load(NOW) is why


def test_k2_names_that_were_changed_in_the_file_do_not_open_it() -> None:
    raw = sealer().seal(snapshot(), NONCE)
    assert sealer(identity="efge").open(raw.replace(b"edge", b"efge")) is Unusable.DAMAGED
    assert sealer(environment="test").open(raw.replace(b"live", b"test")) is Unusable.DAMAGED


def test_k2_no_bit_can_be_changed_and_no_byte_be_cut() -> None:
    raw = sealer().seal(snapshot(), NONCE)
    for place in range(len(raw)):
        for bit in (0x01, 0x80):
            changed = raw[:place] + bytes((raw[place] ^ bit,)) + raw[place + 1 :]
            assert isinstance(sealer().open(changed), Unusable), place
        assert isinstance(sealer().open(raw[:place]), Unusable), place
    assert sealer().open(raw + b"\0") is Unusable.DAMAGED


@given(st.binary(max_size=300))
def test_k2_a_file_of_any_bytes_is_damaged(raw: bytes) -> None:
    assert isinstance(sealer().open(raw), Unusable)
    assert isinstance(sealer().open(b"EPKS\x01" + raw), Unusable)


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (lambda path: path.unlink(), Unusable.MISSING),
        (lambda path: path.write_bytes(b""), Unusable.DAMAGED),
        (lambda path: path.write_bytes(b"\0" * ((2 << 20) + 1)), Unusable.DAMAGED),
        (lambda path: (path.unlink(), path.mkdir()), Unusable.UNREADABLE),
    ],
)
def test_k2_a_file_that_is_none_is_named_as_what_it_is(
    tmp_path: Path, spoil: Callable[[Path], object], why: Unusable
) -> None:
    file_in(tmp_path).save(snapshot())
    spoil(tmp_path / "keys.edge.snapshot")
    assert file_in(tmp_path).load(NOW) is why


@pytest.mark.parametrize(("age_s", "good"), [(59, True), (60, True), (61, False), (-60, True), (-61, False)])
def test_k2_a_snapshot_is_good_for_so_long_and_no_longer(tmp_path: Path, age_s: float, good: bool) -> None:
    file_in(tmp_path).save(snapshot())
    found = file_in(tmp_path, max_age_s=60).load(NOW + age_s)
    assert found == snapshot() if good else found is Unusable.TOO_OLD


def test_rule_24_the_file_holds_no_key_and_is_its_owner_s(tmp_path: Path) -> None:
    umask = os.umask(0)
    try:
        file_in(tmp_path).save(snapshot())
    finally:
        os.umask(umask)
    (path,) = tmp_path.iterdir()
    assert path.name == "keys.edge.snapshot"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    raw = path.read_bytes()
    assert all(material(seed)[:8] not in raw for seed in ("user", "device", "auth"))
    assert b"passport-user" not in raw
    assert b"canary" not in raw
    shown = f"{snapshot()!r} {sealer()!r} {file_in(tmp_path)!r}"
    assert not any(secret in shown for secret in ("canary", "user....", "material"))


def test_the_file_is_left_alone_as_long_as_it_says_the_same_and_is_fresh(tmp_path: Path) -> None:
    file = file_in(tmp_path)
    assert file.save(snapshot())
    assert not file.save(snapshot(fetched_at=NOW + 30))
    assert file.save(snapshot(fetched_at=NOW + 60))
    assert file.load(NOW + 60) == snapshot(fetched_at=NOW + 60)


def test_other_keys_or_other_grants_are_written_at_once(tmp_path: Path) -> None:
    file = file_in(tmp_path)
    file.save(snapshot())
    assert file.save(snapshot(4, NOW + 1))
    granted = snapshot(4, NOW + 2)
    granted.answer.key_sets[0].uses.append(kms_pb2.OPEN)
    assert file.save(granted)
    assert file.load(NOW) == granted


def test_an_older_answer_never_replaces_a_newer_one(tmp_path: Path) -> None:
    file = file_in(tmp_path)
    file.save(snapshot(4, NOW + 10))
    assert not file.save(snapshot(3, NOW))
    assert file.load(NOW) == snapshot(4, NOW + 10)


def test_a_clock_that_was_ahead_for_once_does_not_keep_the_file_from_being_written(tmp_path: Path) -> None:
    file = file_in(tmp_path)
    file.save(snapshot(fetched_at=NOW + 86_400))
    assert file.save(snapshot())


def test_a_file_that_cannot_be_used_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "keys.edge.snapshot").write_bytes(b"damaged")
    (tmp_path / ".keys.edge.snapshot.new").write_bytes(b"left by a process that was killed")
    assert file_in(tmp_path).save(snapshot())
    assert file_in(tmp_path).load(NOW) == snapshot()
    assert [path.name for path in tmp_path.iterdir()] == ["keys.edge.snapshot"]


def test_a_directory_that_is_not_there_is_an_error_that_says_so(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        file_in(tmp_path / "nowhere").save(snapshot())


def test_of_many_that_write_at_once_the_newest_answer_stays_and_the_file_is_always_whole(tmp_path: Path) -> None:
    def write(revision: int) -> bool:
        saved = file_in(tmp_path).save(snapshot(revision, NOW + revision / 10))
        return saved and isinstance(file_in(tmp_path).load(NOW), KeySnapshot)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(40, 0, -1)))
    found = file_in(tmp_path).load(NOW)
    assert isinstance(found, KeySnapshot)
    assert found.answer.revision == 40


def test_a_key_that_was_destroyed_is_so_in_the_snapshot(tmp_path: Path) -> None:
    said = snapshot()
    said.answer.key_sets[0].versions.append(key_version(7, "x", kms_pb2.DESTROYED, primary=False))
    file_in(tmp_path).save(said)
    found = file_in(tmp_path).load(NOW)
    assert isinstance(found, KeySnapshot)
    assert found.answer.key_sets[0].versions[1] == kms_pb2.KeyVersion(key_id=7, state=kms_pb2.DESTROYED, created=1)
