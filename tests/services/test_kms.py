"""The key management service as its callers see it: a real process, spoken to over its socket."""

import json
import stat
from collections.abc import AsyncIterator

import aiohttp
import pytest
import pytest_asyncio
from edgepb.kms.v1 import kms_pb2

from passport.kms import KmsClient, KmsRefused, KmsUnavailable
from tests.processes import free_port
from tests.services.databases import rows, run, stored_bytes
from tests.services.kms_calls import PURPOSES, Kms, kms_running
from tokens.envelope import Refusal, open_envelope, seal
from tokens.keys.ring import KeyRing, Place

PLACE = Place("cookie", "EdgeId", "local")

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=["sqlite", "postgresql"])
async def kms(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Kms]:
    """One service on each database for the whole module: its tests find keys that others have left."""
    url = request.getfixturevalue("postgres").new_database() if request.param == "postgresql" else None
    async with kms_running(tmp_path_factory.mktemp("kms"), database_url=url) as running:
        yield running


async def test_no_file_of_the_store_holds_raw_material_or_can_be_read_by_others(kms: Kms) -> None:
    answer = await kms.client("edge").key_sets(PURPOSES)
    stored = stored_bytes(kms.database_url)
    assert stored
    for key_set in answer.key_sets:
        assert all(version.material not in stored for version in key_set.versions if version.material)
    for path in kms.var.glob("*"):
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


async def test_metrics_tell_accesses_and_keys_by_state_and_age_and_name_no_key(kms: Kms) -> None:
    granted = 'kms_accesses_total{action="get_key_sets",outcome="granted"}'
    held, before = await kms.key_set("cookie"), await kms.metrics()
    await kms.key_set("cookie")
    with pytest.raises(KmsRefused, match="401"):
        await KmsClient(kms.session, kms.process.url, "x" * 43).key_sets(["cookie"])
    after = await kms.metrics()
    assert after[granted] == before[granted] + 1
    assert after['kms_accesses_total{action="get_key_sets",outcome="unknown_identity"}'] >= 1
    for state in ("PRE_ACTIVE", "ACTIVE", "DEACTIVATED"):
        count = sum(kms_pb2.KeyState.Name(version.state) == state for version in held)
        assert after[f'kms_key_versions{{key_set="cookie",state="{state}"}}'] == count
    assert 0 <= after['kms_primary_age_seconds{key_set="cookie"}'] < 600
    assert after["kms_failed_calls_total"] == 0
    assert after["kms_holders"] >= 0
    assert not any(f"{version.key_id:08x}" in series for series in after for version in held)


async def test_every_access_leaves_a_row_and_a_log_line_without_secrets(kms: Kms) -> None:
    before = rows(kms.database_url, "SELECT coalesce(max(id), 0) FROM audit_log")[0][0]
    lines_before = kms.process.output().count('"event": "access"')
    answer = await kms.client("edge").key_sets(["cookie", "passport-user"])
    with pytest.raises(KmsRefused):
        await kms.client("api").key_sets(["cookie"])
    with pytest.raises(KmsRefused):
        await KmsClient(kms.session, kms.process.url, "x" * 43).key_sets(["cookie"])
    added = await kms.add("cookie")
    assert await kms.move(added, "DEACTIVATED") == 409
    after = rows(kms.database_url, "SELECT * FROM audit_log WHERE id > :id ORDER BY id", id=before)
    assert [row[2:-1] for row in after] == [
        ("edge", "127.0.0.1", "get_key_sets", "cookie,passport-user", "granted"),
        ("api", "127.0.0.1", "get_key_sets", "cookie", "purpose_not_granted"),
        ("", "127.0.0.1", "get_key_sets", "", "unknown_identity"),
        ("operator", "127.0.0.1", "add_version", f"cookie {added}", "granted"),
        ("operator", "127.0.0.1", "move_version", f"{added} DEACTIVATED", "illegal_move"),
    ]
    output = kms.process.output()
    assert output.count('"event": "access"') == lines_before + 5
    lines = [json.loads(line) for line in output.splitlines() if '"event": "access"' in line]
    assert {(line["level"], line["outcome"] == "granted") for line in lines} == {("info", True), ("warning", False)}
    assert kms.token("edge") not in output
    assert kms.token("edge").encode() not in stored_bytes(kms.database_url)
    assert answer.key_sets[0].versions[0].material.hex() not in output


async def test_an_access_that_cannot_be_logged_is_not_answered(kms: Kms) -> None:
    run(kms.database_url, "ALTER TABLE audit_log RENAME TO mislaid")
    try:
        with pytest.raises(KmsUnavailable, match="500"):
            await kms.client("edge").key_sets(["cookie"])
    finally:
        run(kms.database_url, "ALTER TABLE mislaid RENAME TO audit_log")
    assert (await kms.primary("cookie")).primary


async def test_a_new_version_is_distributed_before_it_protects(kms: Kms) -> None:
    first = await kms.primary("cookie")
    added = int(await kms.add("cookie"), 16)
    versions = {version.key_id: version for version in await kms.key_set("cookie")}
    assert versions[first.key_id].primary
    assert versions[added].state == kms_pb2.PRE_ACTIVE
    assert not versions[added].primary
    assert len(versions[added].material) == 32


async def test_activating_makes_a_version_primary_and_the_former_one_opens_only(kms: Kms) -> None:
    first = await kms.primary("cookie")
    added = await kms.add("cookie")
    assert await kms.move(added, "ACTIVE") == 200
    versions = {version.key_id: version for version in await kms.key_set("cookie")}
    assert versions[int(added, 16)].state == kms_pb2.ACTIVE
    assert versions[int(added, 16)].primary
    assert versions[first.key_id].state == kms_pb2.DEACTIVATED
    assert not versions[first.key_id].primary
    assert versions[first.key_id].material == first.material


async def test_a_destroyed_version_is_gone_from_the_answer_and_from_the_disk(kms: Kms) -> None:
    first = await kms.primary("cookie")
    ((sealed,),) = rows(kms.database_url, "SELECT sealed FROM key_versions WHERE key_id = :id", id=first.key_id)
    assert isinstance(sealed, bytes)
    assert sealed in stored_bytes(kms.database_url)
    await kms.move(await kms.add("cookie"), "ACTIVE")
    assert await kms.move(f"{first.key_id:08x}", "DESTROYED") == 200
    versions = {version.key_id: version for version in await kms.key_set("cookie")}
    assert versions[first.key_id].state == kms_pb2.DESTROYED
    assert versions[first.key_id].material == b""
    assert sealed not in stored_bytes(kms.database_url)


async def test_through_a_rotation_each_snapshot_opens_what_its_neighbours_seal(kms: Kms) -> None:
    async def ring() -> KeyRing:
        answer = await kms.client("cookie").key_sets(["cookie"])
        return KeyRing.from_key_sets(answer.key_sets, answer.revision)

    def opens(reader: KeyRing, writer: KeyRing) -> bool:
        return not isinstance(open_envelope(reader, "cookie", PLACE, sealed(writer)), Refusal)

    def sealed(writer: KeyRing) -> bytes:
        key = writer.primary("cookie")
        assert key is not None
        return seal(key, PLACE, b"claims", b"n" * 12)

    former = f"{(await kms.primary('cookie')).key_id:08x}"
    snapshots = [await ring()]
    added = await kms.add("cookie")
    snapshots.append(await ring())
    assert await kms.move(added, "ACTIVE") == 200
    snapshots.append(await ring())
    assert await kms.move(former, "DESTROYED") == 200
    snapshots.append(await ring())
    assert [[opens(reader, writer) for writer in snapshots] for reader in snapshots] == [
        [True, True, False, False],
        [True, True, True, True],
        [True, True, True, True],
        [False, False, True, True],
    ]


async def test_moves_that_are_not_legal_change_nothing(kms: Kms) -> None:
    first = await kms.primary("cookie")
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
    first = await kms.primary("cookie")
    for method, path, body in (
        ("GET", "/v1/key-sets", None),
        ("POST", "/v1/key-sets/cookie/versions", None),
        ("POST", f"/v1/keys/{first.key_id:08x}/state", {"state": "DEACTIVATED"}),
    ):
        status, answer = await kms.operate(path, body, identity="edge", method=method)
        assert (status, answer) == (403, {"reason": "not_an_operator"})
        async with kms.session.request(method, kms.process.url + path, json=body) as response:
            assert response.status == 401
    assert await kms.primary("cookie") == first
    assert (await kms.operate("/v1/key-sets/no-such-set/versions"))[0] == 404


async def test_an_operator_sees_every_version_and_no_material(kms: Kms) -> None:
    answer = await kms.client("edge").key_sets(PURPOSES)
    status, listing = await kms.operate("/v1/key-sets", method="GET")
    assert status == 200
    assert listing["revision"] == answer.revision
    versions = listing["versions"]
    assert isinstance(versions, list)
    assert {version["purpose"] for version in versions} == set(PURPOSES)
    known = {
        "key_id",
        "purpose",
        "state",
        "primary",
        "created",
        "since",
        "lagging",
        "last_used",
        "last_used_by",
        "uses",
    }
    assert set(versions[0]) == known


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


async def test_an_unreachable_service_is_unavailable_and_no_text_holds_the_token() -> None:
    async with aiohttp.ClientSession() as session:
        client = KmsClient(session, f"http://127.0.0.1:{free_port()}", "s3cret-" * 6, timeout_s=1.0)
        with pytest.raises(KmsUnavailable) as caught:
            await client.key_sets(["cookie"])
    assert "s3cret" not in str(caught.value) + repr(client) + repr(caught.value)
