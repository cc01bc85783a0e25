"""Key rings of a worker: fetched, refreshed, kept when the KMS fails."""

import asyncio
import os
import time
from collections.abc import Sequence
from pathlib import Path

import aiohttp
import pytest
from edgepb.kms.v1 import kms_pb2
from structlog.testing import capture_logs

from edge.clients.kms import KeyRings
from edge.telemetry.metrics import WorkerMetrics
from passport.key_snapshot import KeySnapshot, SnapshotFile, SnapshotSealer
from passport.kms import KeysLost, KmsClient, KmsRefused, KmsUnavailable
from tests.clients.serving import Service, breaker, serving
from tests.processes import eventually
from tokens.envelope import seal
from tokens.keys.ring import Place

PURPOSES = ("cookie", "passport-user")


STORE = os.urandom(16)
REFUSAL = kms_pb2.Error(reason="purpose_not_granted").SerializeToString()


def version(key_id: int, state: kms_pb2.KeyState, store: bytes = STORE) -> kms_pb2.KeyVersion:
    material = store + key_id.to_bytes(16)
    return kms_pb2.KeyVersion(key_id=key_id, state=state, material=material, created=1, primary=state == kms_pb2.ACTIVE)


def answer(revision: int, *, primaries: int = 1, purposes: Sequence[str] = PURPOSES) -> bytes:
    """Return what a KMS says that has a new primary of each purpose at each revision, and lists those before."""
    sets = []
    for number, purpose in enumerate(purposes):
        older = [version(1000 * before + 10 * number, kms_pb2.DEACTIVATED) for before in range(1, revision)]
        newest = [version(1000 * revision + 10 * number + extra, kms_pb2.ACTIVE) for extra in range(primaries)]
        sets.append(kms_pb2.KeySet(purpose=purpose, versions=older + newest))
    return kms_pb2.GetKeySetsResponse(key_sets=sets, revision=revision).SerializeToString()


def rings(
    service: Service,
    session: aiohttp.ClientSession,
    *,
    refresh_s: float = 60.0,
    var: Path | None = None,
    metrics: WorkerMetrics | None = None,
    environment: str = "live",
    stale_after_s: float = 300.0,
) -> KeyRings:
    """Return rings that are not started; with `var`, their snapshot is there."""
    metrics = metrics or WorkerMetrics()
    file = None
    if var is not None:
        sealer = SnapshotSealer("token-canary", "edge", environment)
        file = SnapshotFile(var / "keys.edge.snapshot", sealer, max_age_s=3600)
    client = KmsClient(session, service.url, "token-canary", timeout_s=20.0)
    return KeyRings(
        client,
        PURPOSES,
        refresh_s=refresh_s,
        stale_after_s=stale_after_s,
        breaker=breaker(metrics),
        metrics=metrics,
        file=file,
    )


async def saved(service: Service, session: aiohttp.ClientSession, var: Path, revision: int = 1) -> KeyRings:
    """Leave the snapshot of a worker that got its keys from the KMS; return its rings."""
    service.status, service.body = 200, answer(revision)
    keys = rings(service, session, var=var)
    await keys.start(patience_s=5.0)
    await keys.close()
    return keys


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
        service.status, service.body = 403, REFUSAL
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


class FailingClient(KmsClient):
    """Fails, `failures` times, as no client is expected to."""

    failures = 0

    async def key_sets(
        self,
        purposes: Sequence[str],
        *,
        holder: str = "",
        revision_held: int = 0,
        uses: Sequence[kms_pb2.KeyUse] = (),
    ) -> kms_pb2.GetKeySetsResponse:
        if self.failures:
            self.failures -= 1
            raise RuntimeError("token-canary")
        return await super().key_sets(purposes, holder=holder, revision_held=revision_held, uses=uses)


async def test_a_refresh_that_fails_as_none_should_is_logged_and_not_the_last_one() -> None:
    async with serving() as (service, session):
        service.body, metrics = answer(1), WorkerMetrics()
        client = FailingClient(session, service.url, "token-canary")
        keys = KeyRings(
            client, PURPOSES, refresh_s=0.01, stale_after_s=300.0, breaker=breaker(metrics), metrics=metrics
        )

        async def newer() -> bool:
            return keys.ring.revision == 2

        with capture_logs() as log:
            await keys.start(patience_s=5.0)
            client.failures, service.body = 3, answer(2)
            await eventually(newer, "the refreshes go on")
        failed = [entry for entry in log if entry["event"] == "key_refresh_failed"]
        assert [(entry["log_level"], entry["problem"]) for entry in failed] == [("error", "RuntimeError")] * 3
        assert "token-canary" not in str(log)
        assert metrics.remote_calls["kms", "failed"] == 3

        client.failures = 1
        keys.refresh_soon()  # nor does one that was asked for end in silence
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


async def test_each_key_that_is_held_has_an_age_by_its_id_and_state() -> None:
    async with serving() as (service, session):
        metrics = WorkerMetrics()
        service.body = answer(5)
        await rings(service, session, metrics=metrics).refresh()
        ages = dict(metrics.snapshot(61.0).values["edge_key_age_seconds"])
        assert set(ages.values()) == {60.0}
        assert {purpose for purpose, _, state in ages if state == "primary"} == set(PURPOSES)
        assert all(len(key) == 8 for _, key, _ in ages)


async def test_fetches_are_counted_and_the_ring_has_an_age() -> None:
    async with serving() as (service, session):
        metrics = WorkerMetrics()
        keys = rings(service, session, metrics=metrics)
        service.body = answer(5)
        await keys.refresh()
        service.status = 500
        with pytest.raises(KmsUnavailable):
            await keys.refresh()
        assert metrics.remote_calls == {("kms", "ok"): 1, ("kms", "unavailable"): 1}
        assert metrics.keys.ring_revision == 5


async def test_the_repr_shows_no_token_and_no_key() -> None:
    async with serving() as (service, session):
        service.body = answer(1)
        keys = rings(service, session)
        await keys.refresh()
        assert "token-canary" not in repr(keys)
        assert "revision 1" in repr(keys)


async def test_k5_d1_rule_2_a_flood_of_unknown_key_ids_asks_the_kms_once() -> None:
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


@pytest.mark.parametrize(("status", "revision"), [(200, 2), (503, 1)])
async def test_k5_s6_d1_an_unknown_key_proves_nothing_until_the_refresh_that_it_asked_for_has_ended(
    status: int, revision: int
) -> None:
    async with serving() as (service, session):
        service.body = answer(1)
        keys = rings(service, session)
        await keys.refresh()
        assert not keys.stale()
        service.status, service.body, service.hang = status, answer(2), True
        for _ in range(1000):
            keys.refresh_soon()
            assert keys.stale()
        await until(service, 2)
        assert keys.stale()
        service.hang = False
        service.released.set()

        async def ended() -> bool:
            return not keys.stale()

        await eventually(ended, "the refresh has ended, well or not")
        assert keys.ring.revision == revision
        for _ in range(1000):  # nor do forged ids make it last: there is one such refresh a minute
            keys.refresh_soon()
            assert not keys.stale()
        await keys.close()
        assert len(service.requests) == 2


async def test_k5_s6_a_refresh_that_is_not_answered_is_not_waited_for_longer_than_its_deadline() -> None:
    async with serving() as (service, session):
        service.body, metrics = answer(1), WorkerMetrics()
        client = KmsClient(session, service.url, "t", timeout_s=0.2)
        keys = KeyRings(
            client, PURPOSES, refresh_s=60.0, stale_after_s=300.0, breaker=breaker(metrics), metrics=metrics
        )
        await keys.refresh()
        service.hang = True
        keys.refresh_soon()
        assert keys.stale()

        async def ended() -> bool:
            return not keys.stale()

        await eventually(ended, "the deadline has passed")
        assert not service.released.is_set()
        await keys.close()


async def test_k1_s6_keys_are_stale_until_the_kms_has_answered_and_some_time_after_its_last_answer(
    tmp_path: Path,
) -> None:
    async with serving() as (service, session):
        await saved(service, session, tmp_path)
        service.status = 503
        keys = rings(service, session, var=tmp_path, refresh_s=3600.0, stale_after_s=3600.0)
        assert keys.stale()
        await keys.start(patience_s=30.0)
        assert keys.stale(), "from the snapshot, whatever its age"
        service.status = 200
        await keys.refresh()
        assert not keys.stale()
        service.status = 503
        with pytest.raises(KmsUnavailable):
            await keys.refresh()
        assert not keys.stale(), "the KMS waits with new keys for those that were there a moment ago"
        await keys.close()

        service.status = 200
        keys = rings(service, session, refresh_s=3600.0, stale_after_s=0.01)
        await keys.start(patience_s=30.0)
        service.status = 503

        async def stale() -> bool:
            return keys.stale()

        await eventually(stale, "the last answer is too long ago")
        await keys.close()


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
        left_alone = breaker(metrics, open_s=3600.0)
        keys = KeyRings(client, PURPOSES, refresh_s=60.0, stale_after_s=300.0, breaker=left_alone, metrics=metrics)
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
        service.status, service.body = 403, REFUSAL
        keys = rings(service, session)
        for _ in range(10):
            with pytest.raises(KmsRefused):
                await keys.refresh()
        assert len(service.requests) == 10


async def test_k1_with_the_kms_down_a_worker_starts_from_the_snapshot_at_once(tmp_path: Path) -> None:
    async with serving() as (service, session):
        before = await saved(service, session, tmp_path)
        service.status, metrics = 503, WorkerMetrics()
        keys = rings(service, session, var=tmp_path, metrics=metrics)
        begun = time.monotonic()
        with capture_logs() as log:
            await keys.start(patience_s=30.0)
        assert time.monotonic() - begun < 3.0
        was, now = before.ring.primary("cookie"), keys.ring.primary("cookie")
        assert was is not None
        assert now is not None
        assert was.id == now.id
        assert repr(keys.passport_keys) == repr(before.passport_keys)
        assert [entry["event"] for entry in log] == ["keys_from_snapshot"]
        assert "503" in log[0]["problem"]
        ((labels, age_s),) = metrics.snapshot(time.time() + 100).values["edge_key_ring_age_seconds"]
        assert labels == ("snapshot",)
        assert 100 <= age_s < 130
        await keys.close()


async def test_k1_a_kms_that_does_not_answer_costs_half_a_second(tmp_path: Path) -> None:
    async with serving() as (service, session):
        await saved(service, session, tmp_path)
        service.hang = True
        keys = rings(service, session, var=tmp_path)
        begun = time.monotonic()
        await keys.start(patience_s=30.0)
        assert time.monotonic() - begun < 3.0
        assert keys.ring.revision == 1
        await keys.close()


async def test_k1_a_worker_that_started_from_the_snapshot_takes_the_kms_s_keys_once_it_is_back(tmp_path: Path) -> None:
    async with serving() as (service, session):
        await saved(service, session, tmp_path)
        service.status, metrics = 503, WorkerMetrics()
        keys = rings(service, session, var=tmp_path, metrics=metrics, refresh_s=3600.0)
        await keys.start(patience_s=30.0)
        service.status, service.body = 200, answer(2)

        async def newer() -> bool:
            return keys.ring.revision == 2

        await eventually(newer, "the KMS's keys are in use")
        assert metrics.keys.ring_source == "kms"
        await keys.close()
        assert metrics.keys.snapshots == {("saved",): 1}


async def test_k1_the_same_keys_from_the_kms_leave_the_ring_of_the_snapshot_in_its_place(tmp_path: Path) -> None:
    async with serving() as (service, session):
        await saved(service, session, tmp_path)
        service.status = 503
        keys = rings(service, session, var=tmp_path)
        await keys.start(patience_s=30.0)
        ring, service.status = keys.ring, 200
        await keys.refresh()
        assert keys.ring is ring
        await keys.close()


async def test_a_kms_that_is_there_is_asked_whatever_the_snapshot_says(tmp_path: Path) -> None:
    async with serving() as (service, session):
        await saved(service, session, tmp_path)
        service.body = answer(2)
        keys = rings(service, session, var=tmp_path)
        await keys.start(patience_s=5.0)
        assert keys.ring.revision == 2
        await keys.close()


async def test_k2_without_a_snapshot_the_error_says_so(tmp_path: Path) -> None:
    async with serving() as (service, session):
        service.status = 503
        with pytest.raises(KmsUnavailable, match=r"status 503; snapshot: missing"):
            await rings(service, session, var=tmp_path).start(patience_s=0.05)


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        ("other_environment", "other_environment"),
        ("damaged", "damaged"),
        ("too_old", "too_old"),
        ("incomplete", "incomplete"),
    ],
)
async def test_k2_from_a_snapshot_that_is_not_good_nothing_starts_and_the_log_says_why(
    tmp_path: Path, spoil: str, why: str
) -> None:
    async with serving() as (service, session):
        await saved(service, session, tmp_path)
        path, sealer = tmp_path / "keys.edge.snapshot", SnapshotSealer("token-canary", "edge", "live")
        said = kms_pb2.GetKeySetsResponse.FromString(answer(1, purposes=PURPOSES[: 1 if spoil == "incomplete" else 2]))
        aged = KeySnapshot(said, time.time() - (7200 if spoil == "too_old" else 0))
        path.write_bytes(sealer.seal(aged, os.urandom(12))[: -1 if spoil == "damaged" else None])
        environment = "test" if spoil == "other_environment" else "live"
        service.status = 503
        keys = rings(service, session, var=tmp_path, environment=environment)
        with capture_logs() as log, pytest.raises(KmsUnavailable, match=f"snapshot: {why}"):
            await keys.start(patience_s=0.05)
        assert [(entry["event"], entry["reason"]) for entry in log] == [("key_snapshot_unusable", why)]
        assert not keys.ring.has_keys("cookie")

        service.status = 200  # and nothing of that stays
        await keys.start(patience_s=5.0)
        await keys.close()
        service.status = 503
        after = rings(service, session, var=tmp_path, environment=environment)
        await after.start(patience_s=0.05)
        assert after.ring.revision == 1
        await after.close()


async def test_k2_a_kms_that_refuses_this_edge_is_not_gone_round_with_a_snapshot(tmp_path: Path) -> None:
    async with serving() as (service, session):
        await saved(service, session, tmp_path)
        service.status, service.body = 403, REFUSAL
        keys = rings(service, session, var=tmp_path)
        with pytest.raises(KmsRefused):
            await keys.start(patience_s=30.0)
        assert not keys.ring.has_keys("cookie")


@pytest.mark.parametrize("status", [400, 401, 403, 404])
async def test_k1_whoever_answers_in_the_place_of_the_kms_does_not_keep_a_worker_from_its_snapshot(
    tmp_path: Path, status: int
) -> None:
    async with serving() as (service, session):
        await saved(service, session, tmp_path)
        service.status, service.body = status, b"<html><body>Who are you?</body></html>"
        keys = rings(service, session, var=tmp_path)
        await keys.start(patience_s=30.0)
        assert keys.ring.revision == 1
        assert keys.stale()
        await keys.close()


async def test_k4_a_key_that_was_destroyed_is_not_brought_back_by_a_kms_that_was(tmp_path: Path) -> None:
    async with serving() as (service, session):
        older = answer(1)
        newer = kms_pb2.GetKeySetsResponse.FromString(older)
        (version,) = newer.key_sets[0].versions
        version.state, version.primary, version.material = kms_pb2.DESTROYED, False, b""
        newer.revision = 2
        service.body = newer.SerializeToString()
        keys = rings(service, session, var=tmp_path)
        await keys.start(patience_s=5.0)
        await keys.close()
        for status in (503, 200):  # from the snapshot, and then from the KMS
            service.status, service.body = status, older
            again = rings(service, session, var=tmp_path)
            with capture_logs() as log:
                await again.start(patience_s=0.05)
            assert again.ring.find("cookie", version.key_id.to_bytes(4)) is None
            assert again.ring.primary("cookie") is None
            assert ("destroyed_keys_came_back" in {entry["event"] for entry in log}) is (status == 200)
            await again.close()


def another_store(revision: int) -> bytes:
    """Return what a KMS says that has begun anew, or that is another one: not one key id in common."""
    sets = [
        kms_pb2.KeySet(purpose=purpose, versions=[version(7_000_000 + number, kms_pb2.ACTIVE, b"another store...")])
        for number, purpose in enumerate(PURPOSES)
    ]
    return kms_pb2.GetKeySetsResponse(key_sets=sets, revision=revision).SerializeToString()


def an_empty_store(revision: int) -> bytes:
    sets = [kms_pb2.KeySet(purpose=purpose) for purpose in PURPOSES]
    return kms_pb2.GetKeySetsResponse(key_sets=sets, revision=revision).SerializeToString()


@pytest.mark.parametrize(
    "lost",
    [another_store(9), another_store(1), an_empty_store(9), answer(1)],
    ids=["another", "another_of_a_lower_revision", "an_empty_one", "an_older_copy"],
)
async def test_k4_a_kms_that_has_lost_its_store_takes_no_key_from_a_worker_that_runs(lost: bytes) -> None:
    async with serving() as (service, session):
        service.body, metrics = answer(2), WorkerMetrics()
        keys = rings(service, session, metrics=metrics)
        await keys.refresh()
        before = (keys.ring, keys.passport_keys)
        assert not keys.stale()
        service.body = lost
        for _ in range(10):  # not a fault that the breaker is for: each time it is asked, and told
            with capture_logs() as log, pytest.raises(KeysLost):
                await keys.refresh()
            assert [(entry["event"], entry["log_level"]) for entry in log] == [("kms_lost_keys", "error")]
            assert "000007d0" in log[0]["keys"]
        assert (keys.ring, keys.passport_keys) == before
        assert keys.stale(), "what others made of that store is unknown here, and may be good"
        assert metrics.remote_calls == {("kms", "ok"): 1, ("kms", "lost_keys"): 10}
        assert metrics.snapshot(0.0).values["edge_key_store_lost"] == [((), 1)]

        service.body = answer(3)  # the store was restored, and lived on
        await keys.refresh()
        assert keys.ring.revision == 3
        assert not keys.stale()
        assert metrics.snapshot(0.0).values["edge_key_store_lost"] == [((), 0)]


async def test_k4_with_a_lost_store_a_worker_starts_from_the_snapshot_and_leaves_it_until_an_operator_removes_it(
    tmp_path: Path,
) -> None:
    async with serving() as (service, session):
        await saved(service, session, tmp_path)
        path, service.body = tmp_path / "keys.edge.snapshot", another_store(9)
        content = path.read_bytes()
        keys = rings(service, session, var=tmp_path)
        with capture_logs() as log:
            await keys.start(patience_s=30.0)
        assert keys.ring.revision == 1
        assert keys.stale()
        assert {entry["event"] for entry in log} == {"kms_lost_keys", "keys_from_snapshot"}
        await keys.close()
        assert path.read_bytes() == content

        path.unlink()
        keys = rings(service, session, var=tmp_path)
        await keys.start(patience_s=30.0)
        assert keys.ring.revision == 9
        assert not keys.stale()
        await keys.close()
        assert path.exists()


async def test_uses_are_counted_for_the_metrics_and_told_to_the_kms() -> None:
    async with serving() as (service, session):
        service.body, metrics = answer(1), WorkerMetrics()
        keys = rings(service, session, metrics=metrics)
        await keys.refresh()
        key = keys.ring.primary("cookie")
        assert key is not None
        for number in range(3):
            seal(key, Place("cookie", "EdgeId", "live"), b"x", number.to_bytes(12))
        key_id = int.from_bytes(key.id)
        assert metrics.snapshot(0.0).values["edge_key_uses_total"] == [(("cookie", f"{key_id:08x}"), 3)]
        service.body = answer(2)  # the ring that counted is replaced
        await keys.refresh()
        asked = [kms_pb2.GetKeySetsRequest.FromString(body) for _, _, body in service.requests]
        assert [(one.revision_held, [(use.key_id, use.count) for use in one.uses]) for one in asked] == [
            (0, []),
            (1, [(key_id, 3)]),
        ]
        assert asked[0].holder == asked[1].holder != ""
        await keys.close()


async def test_uses_of_the_old_keys_while_new_ones_are_on_their_way_are_told_with_the_next_refresh() -> None:
    async with serving() as (service, session):
        service.body = answer(1)
        keys = rings(service, session)
        await keys.refresh()
        key = keys.ring.primary("cookie")
        assert key is not None
        service.body, service.hang = answer(2), True
        refreshing = asyncio.create_task(keys.refresh())
        await until(service, 2)
        seal(key, Place("cookie", "EdgeId", "live"), b"x", bytes(12))
        service.hang = False
        service.released.set()
        await refreshing
        await keys.refresh()
        last = kms_pb2.GetKeySetsRequest.FromString(service.requests[-1][2])
        assert [(use.key_id, use.count) for use in last.uses] == [(int.from_bytes(key.id), 1)]


async def test_a_grant_that_changes_is_taken_up_though_the_keys_are_the_same() -> None:
    async with serving() as (service, session):
        said = kms_pb2.GetKeySetsResponse.FromString(answer(1))
        service.body = said.SerializeToString()
        keys = rings(service, session)
        await keys.refresh()
        assert keys.ring.primary("cookie") is not None
        said.key_sets[0].uses.append(kms_pb2.OPEN)
        service.body = said.SerializeToString()
        await keys.refresh()
        assert keys.ring.primary("cookie") is None
        assert keys.ring.has_keys("cookie")


async def test_a_snapshot_that_cannot_be_written_costs_nothing_and_is_told(tmp_path: Path) -> None:
    async with serving() as (service, session):
        service.body, metrics = answer(1), WorkerMetrics()
        keys = rings(service, session, var=tmp_path / "nowhere", metrics=metrics)
        with capture_logs() as log:
            await keys.start(patience_s=5.0)
            await keys.close()
        assert keys.ring.revision == 1
        assert metrics.keys.snapshots == {("failed",): 1}
        assert [(entry["event"], entry["problem"]) for entry in log] == [
            ("key_snapshot_not_saved", "No such file or directory")
        ]


async def test_a_new_token_is_shown_to_the_kms_at_once_and_seals_the_snapshot(tmp_path: Path) -> None:
    async with serving() as (service, session):
        await saved(service, session, tmp_path)
        keys = rings(service, session, var=tmp_path)
        await keys.start(patience_s=5.0)
        keys.take_token("token-canary")
        keys.take_token("another-token")
        await until(service, 3)
        path = tmp_path / "keys.edge.snapshot"
        new = SnapshotSealer("another-token", "edge", "live")

        async def sealed_anew() -> bool:
            return isinstance(new.open(path.read_bytes()), KeySnapshot)

        await eventually(sealed_anew, "the snapshot is sealed under the new token")
        await keys.close()
        shown = [authorization for _, authorization, _ in service.requests]
        assert shown == ["Bearer token-canary", "Bearer token-canary", "Bearer another-token"]
        assert "another-token" not in repr(keys)
