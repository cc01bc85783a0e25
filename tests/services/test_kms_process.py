"""The key management service as a process: start, kill, stop, and what stops it from starting."""

import resource
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from aiohttp import ClientSession
from edgepb.kms.v1 import kms_pb2

from passport.kms import KmsClient, KmsRefused, KmsUnavailable
from services.kit.callers import Callers, read_token
from services.kit.config import read_config
from services.kit.database import Database, DatabaseConfig
from services.kit.process import Address, StartError
from services.kms.config import KmsConfig
from services.kms.master_key import read_master_key
from services.kms.sealing import Sealer, Unsealable
from services.kms.states import NEXT, State, may_move
from services.kms.store import Store
from tests.processes import make_secrets, process, started, write_secret
from tests.services.databases import run
from tests.services.kms_calls import CONFIG, PURPOSES, kms_arguments, kms_running


def database(path: Path) -> Database:
    return Database(DatabaseConfig(), path)


async def test_a_killed_service_comes_back_with_the_same_keys_and_revision(tmp_path: Path) -> None:
    async with kms_running(tmp_path) as kms:
        first = await kms.client("edge").key_sets(PURPOSES)
        assert [key_set.purpose for key_set in first.key_sets] == list(PURPOSES)
        versions = [version for key_set in first.key_sets for version in key_set.versions]
        assert all(version.primary and version.state == kms_pb2.ACTIVE for version in versions)
        assert all(len(version.material) == 32 for version in versions)
        assert len({version.key_id for version in versions}) == len(PURPOSES)
        assert len({version.material for version in versions}) == len(PURPOSES)
        added = await kms.add("cookie")
        before = await kms.client("edge").key_sets(PURPOSES)
        await kms.process.kill()
    async with kms_running(tmp_path) as kms:
        after = await kms.client("edge").key_sets(PURPOSES)
    assert after == before
    assert int(added, 16) in {version.key_id for version in after.key_sets[0].versions}


async def test_calls_that_the_store_fails_are_counted_and_metrics_go_on_without_it(tmp_path: Path) -> None:
    async with kms_running(tmp_path) as kms:
        run(kms.database_url, "ALTER TABLE key_versions RENAME TO gone")
        with pytest.raises(KmsUnavailable, match="500"):
            await kms.client("edge").key_sets(PURPOSES)
        metrics = await kms.metrics()
        assert metrics["kms_failed_calls_total"] >= 1
        assert not any(series.startswith("kms_key_versions") for series in metrics)


async def test_a_service_says_where_it_listens_answers_health_and_ends_with_0_on_sigterm(tmp_path: Path) -> None:
    async with kms_running(tmp_path) as kms:
        assert resource.prlimit(kms.process.pid, resource.RLIMIT_CORE) == (0, 0)
        async with kms.session.get(kms.process.url + "/health") as response:
            assert (response.status, await response.json()) == (200, {"status": "ok"})
        arguments = kms_arguments(kms.secrets, kms.var)
        async with started("services.kms", *arguments, listen=kms.process.address) as (second, _):
            assert await second.wait() == 2
            assert second.output().count("\n") == 1
            assert f"kms cannot listen on {kms.process.address}: the port is taken" in second.output()
        assert await kms.process.stop() == 0
        assert f"kms listening on {kms.process.address}\n" in kms.process.output()


async def test_a_service_told_to_log_warnings_only_leaves_routine_accesses_to_its_store(tmp_path: Path) -> None:
    secrets = make_secrets(tmp_path / "secrets")
    arguments = [*kms_arguments(secrets, tmp_path), "--log-level", "warning"]
    async with process("services.kms", *arguments) as quiet, ClientSession() as session:
        edge = KmsClient(session, quiet.url, read_token(secrets / "edge.token"))
        await edge.key_sets(PURPOSES)
        with pytest.raises(KmsRefused):
            await KmsClient(session, quiet.url, "x" * 43).key_sets(PURPOSES)
        await quiet.said('"outcome": "unknown_identity"')
        assert "granted" not in quiet.output()
    with closing(sqlite3.connect(tmp_path / "kms.sqlite")) as connection:
        kept = connection.execute(
            "SELECT identity, outcome FROM audit_log WHERE identity <> '(start)' ORDER BY id"
        ).fetchall()
    assert kept == [("edge", "granted"), ("", "unknown_identity")]


@pytest.mark.parametrize(
    ("text", "code", "said"),
    [
        (CONFIG.read_text(), 0, "{path} is valid\n"),
        ("key_sets: []\nsurprise: 1\n", 1, "{path}: key_sets: Tuple should have at least 1 item"),
        ('key_sets: [cookie]\nidentities: {edge: {}}\n"a\\nb\\e[31m": 1', 1, "{path}: a\\nb\\x1b[31m: "),
        ("key_sets: 2024-99-99", 1, "{path}: is not YAML: month must be in 1..12\n"),
    ],
)
async def test_a_service_checks_its_config_and_leaves(tmp_path: Path, text: str, code: int, said: str) -> None:
    path = tmp_path / "kms.yaml"
    path.write_text(text)
    async with started("services.kms", "--check-config", "--config", str(path)) as (checking, _):
        assert await checking.wait() == code
        assert checking.output().startswith(said.format(path=path))
        assert all(line.startswith(str(path)) for line in checking.output().splitlines())


async def test_another_master_key_stops_the_start_and_changes_nothing(tmp_path: Path) -> None:
    path, sealer = tmp_path / "kms.sqlite", Sealer(b"1" * 32)
    store = Store(database(path), sealer, 1000, 1e9)
    store.ensure_primaries(["cookie"], 1e9)
    before = store.open_versions(["cookie"])
    store.close()
    secrets = make_secrets(tmp_path / "secrets")
    async with started("services.kms", *kms_arguments(secrets, tmp_path)) as (wrong, _):
        assert await wrong.wait() == 1
        assert wrong.output().count("\n") == 1
        assert "kms.sqlite was sealed under another master key" in wrong.output()
    store = Store(database(path), sealer, 1000, 1e9)
    assert store.open_versions(["cookie"]) == before
    assert store.open_versions(PURPOSES[1:])[0] == []
    store.close()


async def test_a_store_that_is_no_database_stops_the_start_with_one_line(tmp_path: Path) -> None:
    (tmp_path / "kms.sqlite").write_bytes(b"not a database" * 100)
    secrets = make_secrets(tmp_path / "secrets")
    async with started("services.kms", *kms_arguments(secrets, tmp_path)) as (kms, _):
        assert await kms.wait() == 1
        assert kms.output().count("\n") == 1
        assert "kms.sqlite cannot be used" in kms.output()


def test_a_sealed_value_opens_only_under_its_own_purpose_key_id_and_bytes() -> None:
    sealer = Sealer(b"1" * 32)
    sealed = sealer.seal("cookie", 7, b"m" * 32)
    assert sealer.open("cookie", 7, sealed) == b"m" * 32
    flipped = [sealed[:i] + bytes([sealed[i] ^ 1]) + sealed[i + 1 :] for i in range(len(sealed))]
    wrong = [("cookies", 7, sealed), ("cookie", 8, sealed), *(("cookie", 7, value) for value in (b"", *flipped))]
    for purpose, key_id, value in wrong:
        with pytest.raises(Unsealable):
            sealer.open(purpose, key_id, value)


def test_a_version_only_ever_moves_forward_and_destroyed_is_the_end() -> None:
    order = list(State)
    legal = {(here, there) for here in State for there in State if may_move(here, there)}
    assert legal == {
        (State.PRE_ACTIVE, State.ACTIVE),
        (State.PRE_ACTIVE, State.DESTROYED),
        (State.ACTIVE, State.DEACTIVATED),
        (State.DEACTIVATED, State.DESTROYED),
    }
    assert all(order.index(here) < order.index(there) for here, there in legal)
    assert set(NEXT) == set(State)


@pytest.mark.parametrize("content", ["c2hvcnQ=", "*" * 44, "", "c2VjcmV0" * 8])
def test_a_master_key_that_is_none_is_refused_without_its_content(tmp_path: Path, content: str) -> None:
    write_secret(tmp_path / "master.key", content)
    with pytest.raises(StartError, match=r"master.key holds no master key") as caught:
        read_master_key(tmp_path / "master.key")
    assert not content or content not in str(caught.value)


@pytest.mark.parametrize("content", ["short-secret", "", "two words " * 5, "x" * 40 + "\x07"])
def test_a_token_that_is_none_is_refused_without_its_content(tmp_path: Path, content: str) -> None:
    write_secret(tmp_path / "edge.token", content)
    with pytest.raises(StartError, match=r"edge.token holds no token") as caught:
        read_token(tmp_path / "edge.token")
    assert not content or content not in str(caught.value)


def test_a_missing_token_and_one_that_two_share_stop_the_start(tmp_path: Path) -> None:
    secrets = make_secrets(tmp_path, ["edge"])
    with pytest.raises(StartError, match=r"cookie.token cannot be read"):
        Callers.from_directory(secrets, ["edge", "cookie"])
    write_secret(secrets / "cookie.token", read_token(secrets / "edge.token"))
    with pytest.raises(StartError, match="two identities have the same token"):
        Callers.from_directory(secrets, ["edge", "cookie"])


def test_the_repr_of_what_holds_secrets_shows_none(tmp_path: Path) -> None:
    store = Store(database(tmp_path / "kms.sqlite"), Sealer(b"1" * 32), 1000, 1e9)
    store.ensure_primaries(["cookie"], 1e9)
    (opened,), _ = store.open_versions(["cookie"])
    store.close()
    shown = repr(opened) + repr(Sealer(b"1" * 32)) + repr(Callers({"edge": "t" * 40}))
    assert repr(opened.material) not in shown
    assert "111" not in shown
    assert "ttt" not in shown


@pytest.mark.parametrize(
    ("before", "after", "place"),
    [
        ("key_sets:", "surprise: 1\nkey_sets:", "surprise: "),
        ("access_log_max_rows: 1000000", "access_log_max_rows: none", "access_log_max_rows: "),
        (
            "      cookie: [open]",
            "      cooky: [open]",
            "identities.edge is granted cooky, which",
        ),
        ("cookie: [protect, open]", "cookie: [sign]", "identities.cookie.grants.cookie.0: Input should be 'protect'"),
        ("cookie: [protect, open]", "cookie: []", "identities.cookie.grants.cookie: "),
        ("  passport-auth: {rotate", "  passport: {rotate", "rotation names passport, which is no key set"),
        ("distribute_s: 3600", "distribute_s: 0", "rotation.cookie.distribute_s: "),
        ("holder_live_s: 300", "holder_live_s: soon", "holder_live_s: "),
        ("key_sets:", "aws_kms: {region: eu-central-1}\nkey_sets:", "aws_kms.key_id: Field required"),
        ("  - cookie\n", "  - cookie\n  - cookie\n", "a key set is listed twice"),
        ("  - cookie\n", "  - ../cookie\n", "key_sets.0: "),
        ("key_sets:", "key_sets: {", "is not YAML"),
    ],
)
def test_a_mistake_in_the_config_is_named_with_its_place(tmp_path: Path, before: str, after: str, place: str) -> None:
    config, text = tmp_path / "kms.yaml", CONFIG.read_text()
    assert before in text
    config.write_text(text.replace(before, after, 1))
    with pytest.raises(StartError) as caught:
        read_config(config, KmsConfig)
    assert str(caught.value).startswith(str(config))
    assert place in str(caught.value)


@pytest.mark.parametrize("text", ["", "8090", "host:", ":8090", "host:-1", "host:65536", "host:x", "host:\u0661"])
def test_an_address_that_is_not_host_and_port_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not HOST:PORT"):
        Address.parse(text)


def test_an_ipv6_address_is_read_and_written_in_brackets() -> None:
    assert Address.parse("[::1]:8090") == Address("::1", 8090)
    assert str(Address("::1", 8090)) == "[::1]:8090"
