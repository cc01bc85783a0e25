"""The key ring of a service: from the KMS or its snapshot, and asked about unknown keys no more than it helps."""

import asyncio
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from edgepb.kms.v1 import kms_pb2
from structlog.testing import capture_logs

from passport.kms import KmsClient
from services.kit.keys import FreshRing, KeysConfig, fresh_ring
from services.kit.process import StartError
from tests.clients.serving import Service, serving
from tests.processes import eventually
from tokens.envelope import seal
from tokens.keys.ring import Place

TOKEN = "token-canary-" * 3


def files(directory: Path) -> list[str]:
    return [path.name for path in directory.iterdir()]


STORE = os.urandom(16)


def answer(revision: int, first: int = 1) -> bytes:
    """Return what a KMS says that has a new primary at each revision, and lists those before, from `first` on."""
    versions = [
        kms_pb2.KeyVersion(
            key_id=1000 + number,
            state=kms_pb2.ACTIVE if number == revision else kms_pb2.DEACTIVATED,
            material=STORE + number.to_bytes(16),
            created=1,
            primary=number == revision,
        )
        for number in range(first, revision + 1)
    ]
    key_set = kms_pb2.KeySet(purpose="cookie", versions=versions)
    return kms_pb2.GetKeySetsResponse(key_sets=[key_set], revision=revision).SerializeToString()


@asynccontextmanager
async def ring(
    service: Service, session: aiohttp.ClientSession, var: Path, refresh_s: float = 3600.0, max_age_s: float = 3600.0
) -> AsyncIterator[FreshRing]:
    file = KeysConfig(snapshot_max_age_s=max_age_s).file(var, TOKEN, "cookie", "live")
    client = KmsClient(session, service.url, TOKEN, timeout_s=20.0)
    async with fresh_ring(client, ["cookie"], refresh_s, file) as keys:
        yield keys


async def test_k1_with_the_kms_down_a_service_starts_from_its_snapshot_and_heals(tmp_path: Path) -> None:
    async with serving() as (service, session):
        service.body = answer(1)
        async with ring(service, session, tmp_path) as before:
            assert before.health()["source"] == "kms"
        assert files(tmp_path) == ["keys.cookie.snapshot"]
        service.status = 503
        begun = time.monotonic()
        with capture_logs() as log:
            async with ring(service, session, tmp_path) as keys:
                assert time.monotonic() - begun < 3.0
                assert keys.ring.primary("cookie") is not None
                health = keys.health()
                assert health["source"] == "snapshot"
                assert float(health["age_s"]) < 30
                service.status, service.body = 200, answer(2)

                async def newer() -> bool:
                    return keys.ring.revision == 2 and keys.health()["source"] == "kms"

                await eventually(newer, "the KMS's keys are in use")
        assert log[0]["event"] == "keys_from_snapshot"


async def test_k1_a_kms_that_does_not_answer_costs_a_service_half_a_second(tmp_path: Path) -> None:
    async with serving() as (service, session):
        service.body = answer(1)
        async with ring(service, session, tmp_path):
            pass
        service.hang, begun = True, time.monotonic()
        async with ring(service, session, tmp_path) as keys:
            assert time.monotonic() - begun < 3.0
            assert keys.ring.revision == 1


async def test_k2_without_a_snapshot_a_service_waits_and_says_why(tmp_path: Path) -> None:
    async with serving() as (service, session):
        service.body = answer(1)
        async with ring(service, session, tmp_path, max_age_s=0):
            pass
        assert files(tmp_path) == []
        service.status = 503
        keys = FreshRing(KmsClient(session, service.url, TOKEN), ["cookie"], 60.0)
        with capture_logs() as log:
            starting = asyncio.create_task(keys.start())
            while len(log) < 2:
                service.asked.clear()
                await service.asked.wait()
            assert not starting.done()
            assert not keys.ring.has_keys("cookie")
        assert {(entry["event"], entry["snapshot"]) for entry in log} == {("waiting_for_keys", "missing")}
        service.status = 200
        await starting
        assert keys.ring.has_keys("cookie")


async def test_k2_a_service_that_is_refused_does_not_start_from_its_snapshot(tmp_path: Path) -> None:
    async with serving() as (service, session):
        service.body = answer(1)
        async with ring(service, session, tmp_path):
            pass
        service.status, service.body = 403, kms_pb2.Error(reason="purpose_not_granted").SerializeToString()
        with pytest.raises(StartError, match="status 403"):
            async with ring(service, session, tmp_path):
                pass


async def test_k5_d1_a_flood_of_unknown_key_ids_asks_the_kms_once(tmp_path: Path) -> None:
    async with serving() as (service, session):
        service.body = answer(1)
        async with ring(service, session, tmp_path) as keys:
            assert await keys.current()  # it has just answered
            assert len(service.requests) == 1
            service.status = 503
            keys._current_until = 0.0  # as a moment later
            assert not any(await asyncio.gather(*(keys.current() for _ in range(1000))))
            assert len(service.requests) == 2
            service.status, service.body = 200, answer(2)
            assert not any([await keys.current() for _ in range(1000)])
            assert len(service.requests) == 2


async def test_k4_a_kms_that_has_lost_its_store_takes_no_key_from_a_service(tmp_path: Path) -> None:
    async with serving() as (service, session):
        service.body = answer(1)
        async with ring(service, session, tmp_path, refresh_s=0.05) as keys:
            before, service.body = keys.ring, answer(9, first=2)

            async def known() -> bool:
                return keys.health()["store_lost"] is True

            with capture_logs() as log:
                await eventually(known, "the service has noticed")
            assert ("kms_lost_keys", "error") in {(entry["event"], entry["log_level"]) for entry in log}
            assert keys.ring is before
            assert not await keys.current()
        async with ring(service, session, tmp_path) as keys:
            assert keys.health()["source"] == "snapshot"
            assert keys.ring.revision == 1
            service.body = answer(9)

            async def healed() -> bool:
                return keys.ring.revision == 9 and keys.health()["store_lost"] is False

            await eventually(healed, "the store was restored")
        service.body = answer(12, first=11)
        (tmp_path / "keys.cookie.snapshot").unlink()
        async with ring(service, session, tmp_path) as keys:
            assert keys.ring.revision == 12


async def test_a_refresh_that_fails_as_none_should_is_logged_and_not_the_last_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving() as (service, session):
        service.body = answer(1)
        failing = [True]
        whole = KmsClient.key_sets

        async def key_sets(client: KmsClient, purposes: list[str], **said: Any) -> kms_pb2.GetKeySetsResponse:
            if failing[0] and said["revision_held"]:
                failing[0] = False
                raise RuntimeError(TOKEN)
            return await whole(client, purposes, **said)

        monkeypatch.setattr(KmsClient, "key_sets", key_sets)
        with capture_logs() as log:
            async with ring(service, session, tmp_path, refresh_s=0.05) as keys:
                service.body = answer(2)

                async def newer() -> bool:
                    return keys.ring.revision == 2

                await eventually(newer, "the refreshes go on")
        assert not failing[0]
        assert ("key_refresh_failed", "RuntimeError") in [(entry["event"], entry.get("problem")) for entry in log]
        assert TOKEN not in str(log)


async def test_uses_are_told_to_the_kms_with_the_next_refresh(tmp_path: Path) -> None:
    async with serving() as (service, session):
        service.body = answer(1)
        async with ring(service, session, tmp_path, refresh_s=0.05) as keys:
            key = keys.ring.primary("cookie")
            assert key is not None
            service.body, service.hang = answer(2), True  # what the old key is used for while a new one is on its way
            asked = len(service.requests)
            while len(service.requests) == asked:
                service.asked.clear()
                await service.asked.wait()
            seal(key, Place("cookie", "EdgeId", "live"), b"x", bytes(12))
            service.hang = False
            service.released.set()

            async def told() -> bool:
                asked = [kms_pb2.GetKeySetsRequest.FromString(body) for _, _, body in service.requests]
                return any([(use.key_id, use.count) for use in one.uses] == [(1001, 1)] for one in asked)

            await eventually(told, "the use of the key is reported")
