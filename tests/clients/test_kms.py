"""Key rings of a worker: fetched, refreshed, kept when the KMS fails."""

import asyncio
import os

import aiohttp
import pytest
from edgepb.kms.v1 import kms_pb2

from edge.clients.kms import KeyRings
from edge.telemetry.metrics import WorkerMetrics
from passport.kms import KmsClient, KmsRefused, KmsUnavailable
from tests.clients.serving import Service, breaker, serving
from tests.processes import eventually

PURPOSES = ("cookie", "passport-user")


def answer(revision: int, *, primaries: int = 1) -> bytes:
    sets = []
    for number, purpose in enumerate(PURPOSES):
        versions = [
            kms_pb2.KeyVersion(
                key_id=1000 * revision + 10 * number + extra,
                state=kms_pb2.ACTIVE,
                material=os.urandom(32),
                created=1,
                primary=True,
            )
            for extra in range(primaries)
        ]
        sets.append(kms_pb2.KeySet(purpose=purpose, versions=versions))
    return kms_pb2.GetKeySetsResponse(key_sets=sets, revision=revision).SerializeToString()


def rings(service: Service, session: aiohttp.ClientSession, *, refresh_s: float = 60.0) -> KeyRings:
    client = KmsClient(session, service.url, "token-canary")
    metrics = WorkerMetrics()
    return KeyRings(client, PURPOSES, refresh_s=refresh_s, breaker=breaker(metrics), metrics=metrics)


async def until(service: Service, calls: int) -> None:
    """Wait for the service to have been asked `calls` times in all."""
    while len(service.requests) < calls:
        service.asked.clear()
        await service.asked.wait()


async def test_before_the_first_fetch_nothing_opens_and_nothing_signs() -> None:
    async with serving() as (service, session):
        keys = rings(service, session)
        assert keys.ring.primary("cookie") is None
        assert keys.passport_keys.signer("passport-user") is None


async def test_start_fetches_both_kinds_of_keys() -> None:
    async with serving() as (service, session):
        service.body = answer(3)
        keys = rings(service, session)
        await keys.start(patience_s=5.0)
        assert keys.ring.revision == 3
        assert keys.ring.primary("cookie") is not None
        assert keys.passport_keys.signer("passport-user") is not None
        await keys.close()


async def test_start_tries_again_while_the_kms_is_away() -> None:
    async with serving() as (service, session):
        service.status, service.body = 503, answer(1)
        keys = rings(service, session)
        starting = asyncio.create_task(keys.start(patience_s=30.0))
        await until(service, 2)
        service.status = 200
        await starting
        assert keys.ring.revision == 1
        await keys.close()


async def test_start_gives_up_after_its_patience() -> None:
    async with serving() as (service, session):
        service.status = 503
        with pytest.raises(KmsUnavailable):
            await rings(service, session).start(patience_s=0.05)


async def test_start_does_not_insist_when_refused() -> None:
    async with serving() as (service, session):
        service.status = 403
        with pytest.raises(KmsRefused):
            await rings(service, session).start(patience_s=30.0)
        assert len(service.requests) == 1


async def test_a_refresh_takes_new_keys_without_being_asked() -> None:
    async with serving() as (service, session):
        service.body = answer(1)
        keys = rings(service, session, refresh_s=0.01)
        await keys.start(patience_s=5.0)
        service.body = answer(2)
        while keys.ring.revision != 2:
            service.asked.clear()
            await service.asked.wait()
        await keys.close()


async def test_an_unchanged_revision_keeps_the_very_same_objects() -> None:
    async with serving() as (service, session):
        service.body = answer(1)
        keys = rings(service, session)
        await keys.refresh()
        before = (keys.ring, keys.passport_keys)
        await keys.refresh()
        assert (keys.ring, keys.passport_keys) == before
        assert keys.ring is before[0]


async def test_a_refresh_that_fails_keeps_the_keys_and_goes_on_trying() -> None:
    async with serving() as (service, session):
        service.body = answer(1)
        keys = rings(service, session, refresh_s=0.01)
        await keys.start(patience_s=5.0)
        before = keys.ring
        service.status = 500
        await until(service, len(service.requests) + 3)
        assert keys.ring is before
        service.status, service.body = 200, answer(2)
        await until(service, len(service.requests) + 2)
        assert keys.ring.revision == 2
        await keys.close()


async def test_key_sets_that_contradict_themselves_change_nothing() -> None:
    async with serving() as (service, session):
        service.body = answer(1)
        keys = rings(service, session)
        await keys.refresh()
        service.body = answer(2, primaries=2)
        with pytest.raises(ValueError, match="more than one primary"):
            await keys.refresh()
        assert keys.ring.revision == 1
        assert keys.passport_keys.signer("passport-user") is not None


async def test_fetches_are_counted_and_the_ring_has_an_age() -> None:
    async with serving() as (service, session):
        metrics = WorkerMetrics()
        keys = KeyRings(
            KmsClient(session, service.url, "t"), PURPOSES, refresh_s=60.0, breaker=breaker(metrics), metrics=metrics
        )
        service.body = answer(5)
        await keys.refresh()
        service.status = 500
        with pytest.raises(KmsUnavailable):
            await keys.refresh()
        assert metrics.remote_calls == {("kms", "ok"): 1, ("kms", "unavailable"): 1}
        assert metrics.key_ring_revision == 5


async def test_the_repr_shows_no_token_and_no_key() -> None:
    async with serving() as (service, session):
        service.body = answer(1)
        keys = rings(service, session)
        await keys.refresh()
        assert "token-canary" not in repr(keys)
        assert "revision 1" in repr(keys)


async def test_rule_2_a_flood_of_unknown_key_ids_asks_the_kms_once() -> None:
    async with serving() as (service, session):
        service.body = answer(1)
        keys = rings(service, session)

        async def newer() -> bool:
            return keys.ring.revision == 2

        await keys.start(patience_s=5.0)
        service.body = answer(2)
        for _ in range(1000):
            keys.refresh_soon()
        await until(service, 2)
        await eventually(newer, "the newer ring is in use")
        for _ in range(1000):
            keys.refresh_soon()
        await keys.close()
        assert (keys.ring.revision, len(service.requests)) == (2, 2)


async def test_a_late_older_answer_never_replaces_a_newer_one() -> None:
    async with serving() as (service, session):
        service.body, service.hang = answer(1), True
        keys = rings(service, session)
        late = asyncio.create_task(keys.refresh())
        await until(service, 1)
        service.body, service.hang = answer(2), False
        newer = asyncio.create_task(keys.refresh())
        await asyncio.wait((newer,), timeout=0.1)  # asked beside the late one, it would be answered by then
        service.released.set()
        await asyncio.gather(late, newer)
        assert keys.ring.revision == 2


async def test_k3_a_kms_that_keeps_failing_is_left_alone_and_the_keys_stay() -> None:
    async with serving() as (service, session):
        service.body = answer(1)
        metrics = WorkerMetrics()
        client = KmsClient(session, service.url, "t")
        keys = KeyRings(client, PURPOSES, refresh_s=60.0, breaker=breaker(metrics, open_s=3600.0), metrics=metrics)
        await keys.refresh()
        ring = keys.ring
        service.status = 500
        for _ in range(20):
            with pytest.raises(KmsUnavailable):
                await keys.refresh()
        assert len(service.requests) < 10
        assert metrics.breaker_states == {"service:test": 2}
        assert keys.ring is ring


async def test_a_kms_that_refuses_this_edge_is_not_out_of_order() -> None:
    async with serving() as (service, session):
        service.status = 403
        keys = rings(service, session)
        for _ in range(10):
            with pytest.raises(KmsRefused):
                await keys.refresh()
        assert len(service.requests) == 10
