"""Edges and workers that start while the KMS is down: from the sealed snapshot, or not at all."""

import json
import os
import signal
import stat
from collections.abc import Mapping
from pathlib import Path

import aiohttp
import pytest

from tests.edge_process.cookies import cookie_header
from tests.edge_process.edge import ALONE, Edge, running_edge
from tests.edge_process.origin import origin_running
from tests.edge_process.test_worker import ends_unserved
from tests.edge_process.worker import started_worker
from tests.processes import eventually, free_port, make_secrets
from tests.services.kms_calls import kms_running

PATIENT = "services.kms.start_patience_s=3600"  # who waits for the KMS is not there in time


def mode(path: Path) -> int | None:
    """Return who may do what with a file; None when there is none."""
    return stat.S_IMODE(path.stat().st_mode) if path.exists() else None


async def status(edge: Edge, cookies: str) -> int:
    """Ask, as somebody who is known, for what nobody else gets."""
    return (await answered(edge, cookies))[0]


async def answered(edge: Edge, cookies: str) -> tuple[int, str, Mapping[str, str]]:
    """The same, with the body and the fields."""
    url = f"http://{edge.address[0]}:{edge.address[1]}/account"
    async with aiohttp.ClientSession() as session, session.get(url, headers={"Cookie": cookies}) as response:
        return response.status, await response.text(), response.headers


async def keys_from(edge: Edge, source: str) -> None:
    """Wait until all workers have keys from there, as /health and the metrics say."""

    async def they_are() -> bool:
        keys = (await edge.health())["keys"]
        return keys is not None and keys["source"] == source

    await eventually(they_are, f"the keys are from the {source}")
    assert await edge.metric(f'edge_key_ring_age_seconds{{source="{source}"}}') is not None


@pytest.mark.timeout(180)  # an edge that is started twice: a busy machine takes its time
async def test_k1_with_the_kms_down_an_edge_starts_and_replaces_workers_from_the_snapshot(tmp_path: Path) -> None:
    async with origin_running() as origin, kms_running(tmp_path / "kms") as kms:
        cookies = await cookie_header(kms)
        async with running_edge(kms, tmp_path, origin.address, ALONE, workers=1) as edge:
            await keys_from(edge, "kms")
            var = edge.var

            async def written() -> bool:
                return mode(var / "keys.edge.snapshot") == 0o600

            await eventually(written, "the snapshot is written")
        assert await kms.move(await kms.add("cookie"), "ACTIVE", force=True) == 200
        newer = await cookie_header(kms)
        await kms.process.kill()

        async with running_edge(kms, tmp_path, origin.address, ALONE, PATIENT, workers=1, var=var) as edge:
            assert await status(edge, cookies) == 200
            await keys_from(edge, "snapshot")
            code, body, fields = await answered(edge, newer)
            assert (code, json.loads(body)["reason"]) == (503, "keys_stale")
            assert "Retry-After" in fields
            assert "Set-Cookie" not in fields
            pids = await edge.pids()
            os.kill(pids[0], signal.SIGKILL)

            async def replaced() -> bool:
                return pids[0] not in await edge.pids()

            await eventually(replaced, "another worker serves in the place of the dead one")
            assert (await edge.command("restart"))[0] == 0
            assert await status(edge, cookies) == 200
            assert edge.process.output().count("keys_from_snapshot") >= 2

            async with kms_running(tmp_path / "kms", listen=kms.process.address):
                await keys_from(edge, "kms")
                assert await status(edge, cookies) == 200
                assert await status(edge, newer) == 200


@pytest.mark.timeout(180)  # as above
async def test_k5_s6_a_token_under_a_key_that_was_forced_into_use_is_not_turned_away_for_good(tmp_path: Path) -> None:
    async with origin_running() as origin, kms_running(tmp_path / "kms") as kms:
        rarely = "services.kms.refresh_s=300"
        async with running_edge(kms, tmp_path, origin.address, ALONE, rarely, workers=1) as edge:
            assert await kms.move(await kms.add("cookie"), "ACTIVE", force=True) == 200
            newer = await cookie_header(kms)
            code, body, fields = await answered(edge, newer)
            assert (code, json.loads(body)["reason"]) == (503, "keys_stale")
            assert "Retry-After" in fields

            async def known() -> bool:
                code = await status(edge, newer)
                assert code in {200, 503}
                return code == 200

            await eventually(known, "the edge has fetched the key")
            assert await kms.move(await kms.add("cookie"), "ACTIVE", force=True) == 200
            assert await status(edge, await cookie_header(kms)) == 401  # it asks once a minute


@pytest.mark.timeout(180)  # an edge and two key services: a busy machine takes its time
async def test_k4_an_edge_keeps_its_keys_from_a_kms_that_lost_its_store_until_an_operator_takes_the_new_one(
    tmp_path: Path,
) -> None:
    async with origin_running() as origin, kms_running(tmp_path / "kms") as kms:
        cookies = await cookie_header(kms)
        often = "services.kms.refresh_s=1"
        async with running_edge(kms, tmp_path, origin.address, ALONE, often, workers=1) as edge:
            snapshot = edge.var / "keys.edge.snapshot"

            async def written() -> bool:
                return snapshot.exists()

            async def keys() -> dict[str, object]:
                return (await edge.health())["keys"] or {}  # None until a worker has told of them

            async def store_lost() -> bool:
                return (await keys()).get("store_lost") is True

            async def taken() -> bool:
                return (await keys()).get("store_lost") is False

            await eventually(written, "the snapshot is written")
            await eventually(taken, "the edge works with the keys of the store")
            await kms.process.kill()
            for path in kms.var.glob("kms.sqlite*"):
                path.unlink()
            async with kms_running(tmp_path / "kms", listen=kms.process.address) as empty:
                await eventually(store_lost, "the edge has noticed")
                assert await edge.metric("edge_key_store_lost") == 1
                assert await status(edge, cookies) == 200
                newer = await cookie_header(empty)
                code, body, _ = await answered(edge, newer)
                assert (code, json.loads(body)["reason"]) == (503, "keys_stale")

                assert (await edge.command("restart"))[0] == 0  # alone, that changes nothing
                assert await status(edge, cookies) == 200
                snapshot.unlink()
                assert (await edge.command("restart"))[0] == 0
                await eventually(taken, "the edge works with the keys of the new store")
                assert await status(edge, newer) == 200
                assert await status(edge, cookies) != 200


@pytest.mark.parametrize(("content", "why"), [(None, "missing"), (b"EPKS\x01 not a snapshot", "damaged")])
async def test_k2_without_a_good_snapshot_a_worker_serves_nobody_and_says_why(
    tmp_path: Path, content: bytes | None, why: str
) -> None:
    make_secrets(tmp_path / "secrets")
    if content is not None:
        (tmp_path / "keys.edge.snapshot").write_bytes(content)
    nobody = f"http://127.0.0.1:{free_port()}"
    async with started_worker(nobody, tmp_path, "services.kms.start_patience_s=0.3") as worker:
        said = await ends_unserved(worker, 3)
    assert f"snapshot: {why}" in said
    assert ("key_snapshot_unusable" in said) is (content is not None)


async def test_k2_an_edge_without_keys_is_not_ready_and_accepts_nobody(tmp_path: Path) -> None:
    make_secrets(tmp_path / "secrets")
    nobody = f"http://127.0.0.1:{free_port()}"
    async with started_worker(nobody, tmp_path, "services.kms.start_patience_s=60") as worker:
        await worker.process.said("waiting_for_keys")
        assert '"snapshot": "missing"' in worker.process.output()
        assert not worker.control.ready
        assert await worker.process.stop() == 0
