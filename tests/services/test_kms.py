"""The key management service as its callers see it: a real process, spoken to over its socket."""

import resource
import sqlite3
import stat
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import aiohttp
import pytest
from edgepb.kms.v1 import kms_pb2

from passport.kms import KmsClient, KmsRefused, KmsUnavailable
from tests.processes import free_port, make_secrets, started, write_secret
from tests.services.kms_calls import CONFIG, PURPOSES, Kms, kms_arguments, kms_running


@pytest.fixture
async def kms(tmp_path: Path) -> AsyncIterator[Kms]:
    async with kms_running(tmp_path) as running:
        yield running


def rows(var: Path, query: str, *values: object) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(var / "kms.sqlite")) as connection:
        return connection.execute(query, values).fetchall()


def stored_bytes(var: Path) -> bytes:
    return b"".join(path.read_bytes() for path in var.glob("kms.sqlite*"))


async def test_every_key_set_starts_with_one_active_primary_of_its_own(kms: Kms) -> None:
    answer = await kms.client("edge").key_sets(PURPOSES)
    assert [key_set.purpose for key_set in answer.key_sets] == list(PURPOSES)
    versions = [version for key_set in answer.key_sets for version in key_set.versions]
    assert len(versions) == len(PURPOSES)
    assert all(version.primary and version.state == kms_pb2.ACTIVE for version in versions)
    assert len({version.key_id for version in versions}) == len(PURPOSES)
    assert len({version.material for version in versions}) == len(PURPOSES)
    assert all(len(version.material) == 32 for version in versions)


async def test_a_killed_service_comes_back_with_the_same_keys_and_revision(tmp_path: Path) -> None:
    async with kms_running(tmp_path) as kms:
        added = await kms.add("cookie")
        before = await kms.client("edge").key_sets(PURPOSES)
        await kms.process.kill()
    async with kms_running(tmp_path) as kms:
        after = await kms.client("edge").key_sets(PURPOSES)
    assert after.SerializeToString(deterministic=True) == before.SerializeToString(deterministic=True)
    assert int(added, 16) in {version.key_id for version in after.key_sets[0].versions}


async def test_no_file_of_the_store_holds_raw_material_or_can_be_read_by_others(kms: Kms) -> None:
    answer = await kms.client("edge").key_sets(PURPOSES)
    stored = stored_bytes(kms.var)
    assert stored
    for key_set in answer.key_sets:
        assert key_set.versions[0].material not in stored
    for path in kms.var.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path.name


async def test_a_wrong_or_missing_token_is_refused_with_401(kms: Kms) -> None:
    with pytest.raises(KmsRefused, match="401"):
        await KmsClient(kms.session, kms.process.url, "x" * 43).key_sets(["cookie"])
    request = kms_pb2.GetKeySetsRequest(purposes=["cookie"]).SerializeToString()
    for headers in ({}, {"Authorization": ""}, {"Authorization": "Bearer "}, {"Authorization": "Basic YTpi"}):
        async with kms.session.post(kms.process.url + "/v1/key-sets", data=request, headers=headers) as response:
            assert response.status == 401
            assert kms_pb2.Error.FromString(await response.read()).reason == "unknown_identity"


@pytest.mark.parametrize(
    ("identity", "purposes"),
    [
        ("cookie", ["passport-user"]),
        ("cookie", ["cookie", "passport-user"]),
        ("api", ["passport-auth"]),
        ("operator", ["cookie"]),
        ("edge", ["cookie", "no-such-set"]),
    ],
)
async def test_one_purpose_that_is_not_granted_refuses_the_whole_request(
    kms: Kms, identity: str, purposes: list[str]
) -> None:
    with pytest.raises(KmsRefused, match="403"):
        await kms.client(identity).key_sets(purposes)


async def test_a_body_that_is_no_request_for_keys_is_refused_with_400(kms: Kms) -> None:
    headers = {"Authorization": f"Bearer {kms.token('edge')}", "Content-Type": "application/x-protobuf"}
    twice = kms_pb2.GetKeySetsRequest(purposes=["cookie", "cookie"]).SerializeToString()
    many = kms_pb2.GetKeySetsRequest(purposes=["cookie"] * 33).SerializeToString()
    for body in (b"", b"\xff\xff\xff", twice, many):
        async with kms.session.post(kms.process.url + "/v1/key-sets", data=body, headers=headers) as response:
            assert response.status == 400
            assert kms_pb2.Error.FromString(await response.read()).reason == "bad_request"


async def test_every_access_leaves_a_row_and_a_log_line_without_secrets(kms: Kms) -> None:
    answer = await kms.client("edge").key_sets(["cookie", "passport-user"])
    with pytest.raises(KmsRefused):
        await kms.client("api").key_sets(["cookie"])
    with pytest.raises(KmsRefused):
        await KmsClient(kms.session, kms.process.url, "x" * 43).key_sets(["cookie"])
    added = await kms.add("cookie")
    assert await kms.move(added, "DEACTIVATED") == 409
    assert rows(kms.var, "SELECT identity, action, subject, outcome FROM access_log ORDER BY id") == [
        ("edge", "get_key_sets", "cookie,passport-user", "granted"),
        ("api", "get_key_sets", "cookie", "purpose_not_granted"),
        ("", "get_key_sets", "", "unknown_identity"),
        ("operator", "add_version", f"cookie {added}", "granted"),
        ("operator", "move_version", f"{added} DEACTIVATED", "illegal_move"),
    ]
    assert rows(kms.var, "SELECT count(*) FROM access_log WHERE at > 1e9 AND peer = '127.0.0.1'") == [(5,)]
    output = kms.process.output()
    assert output.count('"event": "access"') == 5
    assert kms.token("edge") not in output
    assert answer.key_sets[0].versions[0].material.hex() not in output
    assert stored_bytes(kms.var).count(kms.token("edge").encode()) == 0


async def test_a_new_version_is_distributed_before_it_protects(kms: Kms) -> None:
    (first,) = await kms.key_set("cookie")
    added = int(await kms.add("cookie"), 16)
    versions = {version.key_id: version for version in await kms.key_set("cookie")}
    assert versions[first.key_id].primary
    assert versions[added].state == kms_pb2.PRE_ACTIVE
    assert not versions[added].primary
    assert len(versions[added].material) == 32


async def test_activating_makes_a_version_primary_and_the_former_one_opens_only(kms: Kms) -> None:
    (first,) = await kms.key_set("cookie")
    added = await kms.add("cookie")
    assert await kms.move(added, "ACTIVE") == 200
    versions = {version.key_id: version for version in await kms.key_set("cookie")}
    assert versions[int(added, 16)].state == kms_pb2.ACTIVE
    assert versions[int(added, 16)].primary
    assert versions[first.key_id].state == kms_pb2.DEACTIVATED
    assert not versions[first.key_id].primary
    assert versions[first.key_id].material == first.material


async def test_a_destroyed_version_is_gone_from_the_answer_and_from_the_disk(kms: Kms) -> None:
    (first,) = await kms.key_set("cookie")
    ((sealed,),) = rows(kms.var, "SELECT sealed FROM key_versions WHERE key_id = ?", first.key_id)
    assert isinstance(sealed, bytes)
    assert sealed in stored_bytes(kms.var)
    await kms.move(await kms.add("cookie"), "ACTIVE")
    assert await kms.move(f"{first.key_id:08x}", "DESTROYED") == 200
    versions = {version.key_id: version for version in await kms.key_set("cookie")}
    assert versions[first.key_id].state == kms_pb2.DESTROYED
    assert versions[first.key_id].material == b""
    assert sealed not in stored_bytes(kms.var)


async def test_moves_that_are_not_legal_change_nothing(kms: Kms) -> None:
    (first,) = await kms.key_set("cookie")
    primary, added = f"{first.key_id:08x}", await kms.add("cookie")
    before = await kms.client("edge").key_sets(PURPOSES)
    for key_id, state in ((primary, "ACTIVE"), (primary, "PRE_ACTIVE"), (primary, "DESTROYED"), (added, "DEACTIVATED")):
        assert await kms.move(key_id, state) == 409, (key_id, state)
    for key_id, state, status in (
        ("00000000", "ACTIVE", 404),
        ("0", "ACTIVE", 400),
        ("0000000G", "ACTIVE", 400),
        (primary, "active", 400),
        (primary, "", 400),
    ):
        assert await kms.move(key_id, state) == status, (key_id, state)
    assert await kms.client("edge").key_sets(PURPOSES) == before


async def test_only_an_operator_may_add_move_and_list_versions(kms: Kms) -> None:
    (first,) = await kms.key_set("cookie")
    for method, path, body in (
        ("GET", "/v1/key-sets", None),
        ("POST", "/v1/key-sets/cookie/versions", None),
        ("POST", f"/v1/keys/{first.key_id:08x}/state", {"state": "DEACTIVATED"}),
    ):
        status, answer = await kms.operate(path, body, identity="edge", method=method)
        assert (status, answer) == (403, {"reason": "not_an_operator"})
        async with kms.session.request(method, kms.process.url + path, json=body) as response:
            assert response.status == 401
    assert len(await kms.key_set("cookie")) == 1
    assert (await kms.operate("/v1/key-sets/no-such-set/versions"))[0] == 404


async def test_an_operator_sees_every_version_and_no_material(kms: Kms) -> None:
    answer = await kms.client("edge").key_sets(PURPOSES)
    status, listing = await kms.operate("/v1/key-sets", method="GET")
    assert status == 200
    assert listing["revision"] == answer.revision
    versions = listing["versions"]
    assert isinstance(versions, list)
    assert {version["purpose"] for version in versions} == set(PURPOSES)
    assert set(versions[0]) == {"key_id", "purpose", "state", "primary", "created"}


async def test_the_revision_changes_with_every_change_and_only_then(kms: Kms) -> None:
    async def revision() -> int:
        return (await kms.client("cookie").key_sets(["cookie"])).revision

    first = await revision()
    assert await revision() == first
    added = await kms.add("passport-user")
    second = await revision()
    await kms.move(added, "ACTIVE")
    third = await revision()
    assert first < second < third


async def test_an_answer_with_keys_may_not_be_kept_by_anyone(kms: Kms) -> None:
    headers = {"Authorization": f"Bearer {kms.token('edge')}", "Content-Type": "application/x-protobuf"}
    body = kms_pb2.GetKeySetsRequest(purposes=["cookie"]).SerializeToString()
    async with kms.session.post(kms.process.url + "/v1/key-sets", data=body, headers=headers) as response:
        assert response.headers["Cache-Control"] == "no-store"


async def test_health_answers_and_sigterm_ends_the_service_with_0(kms: Kms) -> None:
    async with kms.session.get(kms.process.url + "/health") as response:
        assert (response.status, await response.json()) == (200, {"status": "ok"})
    assert await kms.process.stop() == 0
    assert kms.process.output().startswith(f"kms listening on {kms.process.address}\n")


async def test_a_taken_port_is_said_in_one_line_and_exits_with_2(kms: Kms, tmp_path: Path) -> None:
    arguments = kms_arguments(kms.secrets, tmp_path / "other")
    async with started("services.kms", *arguments, listen=kms.process.address) as (second, _):
        assert await second.wait() == 2
        output = second.output()
    assert output.count("\n") == 1
    assert kms.process.address in output
    assert "taken" in output


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        ("master.key", "c2hvcnQ=", "holds no master key"),
        ("master.key", "*" * 44, "holds no master key"),
        ("edge.token", "short-secret", "holds no token"),
        ("edge.token", "", "holds no token"),
    ],
)
async def test_a_bad_secret_file_stops_the_start_and_is_named_without_its_content(
    tmp_path: Path, file: str, content: str, said: str
) -> None:
    secrets = make_secrets(tmp_path / "secrets")
    write_secret(secrets / file, content)
    async with started("services.kms", *kms_arguments(secrets, tmp_path / "var")) as (kms, _):
        assert await kms.wait() == 1
        assert f"{file} {said}" in kms.output()
        assert content == "" or content not in kms.output()


async def test_a_missing_token_file_stops_the_start(tmp_path: Path) -> None:
    secrets = make_secrets(tmp_path / "secrets", ["edge"])
    async with started("services.kms", *kms_arguments(secrets, tmp_path / "var")) as (kms, _):
        assert await kms.wait() == 1
        assert "cookie.token cannot be read" in kms.output()


async def test_another_master_key_stops_the_start_and_changes_nothing(tmp_path: Path) -> None:
    async with kms_running(tmp_path) as kms:
        before = await kms.client("edge").key_sets(PURPOSES)
    good = (kms.secrets / "master.key").read_text().strip()
    other = make_secrets(tmp_path / "other")
    async with started("services.kms", *kms_arguments(other, kms.var)) as (wrong, _):
        assert await wrong.wait() == 1
        assert "sealed under another master key" in wrong.output()
    assert (kms.secrets / "master.key").read_text().strip() == good
    async with kms_running(tmp_path) as kms:
        assert await kms.client("edge").key_sets(PURPOSES) == before


@pytest.mark.parametrize(
    ("line", "place"),
    [
        ("surprise: 1\n", "surprise"),
        ("access_log_max_rows: none\n", "access_log_max_rows"),
    ],
)
async def test_a_config_with_a_mistake_stops_the_start_and_its_place_is_named(
    tmp_path: Path, line: str, place: str
) -> None:
    text = "\n".join(each for each in CONFIG.read_text().splitlines() if not each.startswith("access_log_max_rows"))
    config = tmp_path / "kms.yaml"
    config.write_text(text + "\n" + line)
    secrets = make_secrets(tmp_path / "secrets")
    async with started("services.kms", *kms_arguments(secrets, tmp_path / "var", config)) as (kms, _):
        assert await kms.wait() == 1
        assert f"{config}: {place}" in kms.output()


async def test_an_unreachable_service_is_unavailable_and_no_text_holds_the_token() -> None:
    async with aiohttp.ClientSession() as session:
        client = KmsClient(session, f"http://127.0.0.1:{free_port()}", "s3cret-" * 6, timeout_s=1.0)
        with pytest.raises(KmsUnavailable) as caught:
            await client.key_sets(["cookie"])
    assert "s3cret" not in str(caught.value) + repr(client) + repr(caught.value)


async def test_the_process_leaves_no_core_dump(kms: Kms) -> None:
    assert resource.prlimit(kms.process.pid, resource.RLIMIT_CORE) == (0, 0)
