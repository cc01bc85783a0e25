"""`edge keys` as an operator types it, against a real KMS."""

import asyncio
import json
import re
from pathlib import Path

import aiohttp
from edgepb.kms.v1 import kms_pb2
from typer.testing import CliRunner

from edge.cli import app
from passport.kms import KmsClient
from tests.cli.test_commands import CONFIG, kms
from tests.processes import Process, beside, eventually, free_port, write_secret
from tests.services.databases import run


async def edge(*arguments: str) -> tuple[int, str]:
    """Run the command beside this loop; return its exit code and all that it said."""
    result = await asyncio.to_thread(CliRunner().invoke, app, arguments)
    return result.exit_code, result.output


async def keys(running: Process, var: Path, *arguments: str) -> tuple[int, str]:
    return await edge("keys", *arguments, "--config", CONFIG, "--var", str(var), "--url", running.url)


async def fetched(running: Process, var: Path, revision: int, *uses: kms_pb2.KeyUse) -> kms_pb2.GetKeySetsResponse:
    """Fetch the cookie keys as a holder that works with a revision."""
    token = (var / "secrets" / "edge.token").read_text().strip()
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/x-protobuf"}
    request = kms_pb2.GetKeySetsRequest(purposes=["cookie"], holder="worker-1", revision_held=revision, uses=uses)
    async with (
        aiohttp.ClientSession() as session,
        session.post(running.url + "/v1/key-sets", data=request.SerializeToString(), headers=headers) as response,
    ):
        assert response.status == 200
        return kms_pb2.GetKeySetsResponse.FromString(await response.read())


async def versions(running: Process, var: Path) -> list[kms_pb2.KeyVersion]:
    async with aiohttp.ClientSession() as session:
        token = (var / "secrets" / "edge.token").read_text().strip()
        answer = await KmsClient(session, running.url, token).key_sets(["cookie"])
    return list(answer.key_sets[0].versions)


async def test_list_shows_every_version_and_who_holds_what(tmp_path: Path) -> None:
    async with kms(tmp_path) as running:
        answer = await fetched(running, tmp_path, 0)
        key = answer.key_sets[0].versions[0].key_id
        await fetched(running, tmp_path, answer.revision, kms_pb2.KeyUse(key_id=key, last_used=1_700_000_000, count=41))
        code, said = await keys(running, tmp_path, "list")
        assert code == 0
        row = rf"cookie +{key:08x} +ACTIVE, primary +\S+Z +41 +2023-11-14T22:13:20Z +edge/worker-1"
        assert re.search(row, said)
        assert re.search(rf"edge/worker-1 +\d+ s ago +{answer.revision} +cookie", said)
        code, said = await keys(running, tmp_path, "list", "--json")
        assert code == 0
        assert len(json.loads(said)["versions"]) == 5


async def test_k4_rotate_waits_for_who_is_behind_then_activates(tmp_path: Path) -> None:
    async with kms(tmp_path) as running:
        (old,) = await versions(running, tmp_path)
        held = (await fetched(running, tmp_path, 0)).revision
        async with beside(keys(running, tmp_path, "rotate", "cookie")) as rotating:

            async def is_distributed() -> bool:
                return len(await versions(running, tmp_path)) == 2

            await eventually(is_distributed, "the new version is there")
            now = (await fetched(running, tmp_path, held)).revision
            assert sorted(each.state for each in await versions(running, tmp_path)) == [
                kms_pb2.PRE_ACTIVE,
                kms_pb2.ACTIVE,
            ]
            await fetched(running, tmp_path, now)
            code, said = await rotating
        assert code == 0
        added = next(each for each in await versions(running, tmp_path) if each.primary)
        assert added.key_id != old.key_id
        assert f"added {added.key_id:08x} to cookie\nwaiting for edge/worker-1\n" in said
        assert f"{added.key_id:08x} is ACTIVE and protects cookie" in said


async def test_rotate_gives_up_with_the_version_left_as_it_is_and_activate_goes_on(tmp_path: Path) -> None:
    async with kms(tmp_path) as running:
        await fetched(running, tmp_path, 0)
        code, said = await keys(running, tmp_path, "rotate", "cookie", "--wait-s", "0")
        assert code == 1
        found = re.search(r"it stays PRE_ACTIVE; later: edge keys activate ([0-9a-f]{8})", said)
        assert found is not None
        code, said = await keys(running, tmp_path, "activate", found[1])
        assert code == 1
        assert "refused: not_distributed; not everyone who is alive knows its state: edge/worker-1; --force" in said
        code, said = await keys(running, tmp_path, "activate", found[1], "--force")
        assert (code, said) == (0, f"{found[1]} of cookie is ACTIVE\n")


async def test_destroy_is_refused_while_the_key_is_used_unless_it_is_forced(tmp_path: Path) -> None:
    async with kms(tmp_path) as running:
        (old,) = await versions(running, tmp_path)
        name = f"{old.key_id:08x}"
        code, said = await keys(running, tmp_path, "destroy", name)
        assert (code, said) == (1, f"refused: illegal_move; {name} is ACTIVE\n")
        assert (await keys(running, tmp_path, "rotate", "cookie", "--force"))[0] == 0
        held = (await fetched(running, tmp_path, 0)).revision
        await fetched(running, tmp_path, held, kms_pb2.KeyUse(key_id=old.key_id, last_used=2**40, count=1))
        code, said = await keys(running, tmp_path, "destroy", name)
        assert code == 1
        assert re.fullmatch(r"refused: in_use; last used \S+Z by edge/worker-1; --force .*\n", said)
        code, said = await keys(running, tmp_path, "destroy", name, "--force")
        assert (code, said) == (0, f"{name} of cookie is DESTROYED\n")


async def test_deactivate_leaves_a_set_without_a_key_that_protects(tmp_path: Path) -> None:
    async with kms(tmp_path) as running:
        (old,) = await versions(running, tmp_path)
        assert (await keys(running, tmp_path, "deactivate", f"{old.key_id:08x}"))[0] == 0
        assert [each.primary for each in await versions(running, tmp_path)] == [False]


async def test_audit_prints_the_newest_rows_and_verify_finds_what_was_changed(tmp_path: Path) -> None:
    async with kms(tmp_path) as running:
        await fetched(running, tmp_path, 0)
        code, said = await keys(running, tmp_path, "audit", "--limit", "2")
        assert code == 0
        assert re.fullmatch(
            r"5 \S+Z \(start\) - add_version passport-auth [0-9a-f]{8} granted\n"
            r"6 \S+Z edge 127\.0\.0\.1 get_key_sets cookie granted\n",
            said,
        )
        code, said = await keys(running, tmp_path, "audit", "--verify")
        assert code == 0
        found = re.fullmatch(r"7 rows are as they were written; the last is (7:[0-9a-f]{64})\n", said)
        assert found is not None
        code, said = await keys(running, tmp_path, "audit", "--verify", "--after", found[1])
        assert code == 0
        assert said.startswith("1 rows are as they were written; the last is 8:")
        run(
            f"sqlite:///{tmp_path / 'kms.sqlite'}",
            "DROP TRIGGER audit_log_holds",
            "DELETE FROM audit_log WHERE id = 6",
        )
        code, said = await keys(running, tmp_path, "audit", "--verify")
        assert code == 1
        assert said.startswith("rows 6 to 6 are missing\n8 rows were checked; the last is 9:")


async def test_what_cannot_be_done_is_said_with_an_exit_code_of_its_own(tmp_path: Path) -> None:
    async with kms(tmp_path) as running:
        for arguments, said in (
            (["rotate", "no-such-set"], "refused: no_such_key_set"),
            (["rotate", "../keys"], "refused: no_such_key_set"),
            (["activate", "00000000"], "refused: no_such_key"),
            (["activate", "cookie"], "refused: bad_request"),
            (["list", "--token-file", str(tmp_path / "secrets" / "edge.token")], "refused: not_an_operator"),
            (
                ["list", "--token-file", str(tmp_path / "none")],
                "none cannot be read: No such file",
            ),
        ):
            code, printed = await keys(running, tmp_path, *arguments)
            assert code == 2, printed
            assert said in printed
        write_secret(tmp_path / "empty", "")
        code, printed = await keys(running, tmp_path, "list", "--token-file", str(tmp_path / "empty"))
        assert (code, "holds no token" in printed) == (2, True)
        where = ("--config", CONFIG, "--var", str(tmp_path))
        code, printed = await edge("keys", "list", *where, "--url", f"http://127.0.0.1:{free_port()}")
        assert code == 3
        assert "cannot be reached" in printed
        code, printed = await edge("keys", "list", *where, "--url", "http://kms.example:1")
        assert code == 2
        assert "services.kms.url" in printed
        token = (tmp_path / "secrets" / "operator.token").read_text().strip()
        assert token not in printed
