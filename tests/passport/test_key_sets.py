"""What a holder of keys tells the KMS, what it remembers, and that a destroyed key stays destroyed."""

from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio
from edgepb.kms.v1 import kms_pb2

from passport.key_sets import KeySets, holder
from passport.key_snapshot import KeySnapshot, SnapshotFile, SnapshotSealer, Unusable
from passport.key_uses import MAX_REPORTED, KeyUses
from passport.kms import KeysLost, KmsClient, KmsUnavailable
from tests.clients.serving import Service, serving
from tests.passport.samples import key_version

NOW = 1_790_000_000.0


@pytest_asyncio.fixture
async def service() -> AsyncIterator[tuple[Service, aiohttp.ClientSession]]:
    async with serving() as running:
        yield running


def answer(revision: int, *versions: kms_pb2.KeyVersion) -> bytes:
    key_set = kms_pb2.KeySet(purpose="passport-user", versions=versions or [key_version(1, "a")])
    return kms_pb2.GetKeySetsResponse(key_sets=[key_set], revision=revision).SerializeToString()


def sets_of(
    service: tuple[Service, aiohttp.ClientSession], path: Path | None = None, *purposes: str
) -> tuple[KeySets, list[str]]:
    running, session = service
    file = None if path is None else SnapshotFile(path / "snapshot", SnapshotSealer("t" * 40, "edge", "live"), 3600)
    sets = KeySets(KmsClient(session, running.url, "t" * 40), purposes or ["passport-user"], file, clock=lambda: NOW)
    results: list[str] = []
    sets.on_saved = lambda result, _: results.append(result)
    return sets, results


def asked(service: tuple[Service, aiohttp.ClientSession]) -> kms_pb2.GetKeySetsRequest:
    return kms_pb2.GetKeySetsRequest.FromString(service[0].requests[-1][2])


async def test_each_fetch_says_who_holds_what_and_what_it_was_used_for(
    service: tuple[Service, aiohttp.ClientSession],
) -> None:
    sets, _ = sets_of(service)
    service[0].body = answer(5)
    sets.uses.add(7, 3, NOW)
    fetched = await sets.fetch()
    first = asked(service)
    assert (first.holder.rpartition(":")[0], first.revision_held) == (holder().rpartition(":")[0], 0)
    assert list(first.uses) == [kms_pb2.KeyUse(key_id=7, last_used=int(NOW), count=3)]
    sets.taken(fetched, save=False)
    await sets.fetch()
    assert (asked(service).holder, asked(service).revision_held, len(asked(service).uses)) == (first.holder, 5, 0)


async def test_uses_that_could_not_be_reported_are_reported_later(
    service: tuple[Service, aiohttp.ClientSession],
) -> None:
    sets, _ = sets_of(service)
    sets.uses.add(7, 3, NOW)
    service[0].status = 503
    with pytest.raises(KmsUnavailable):
        await sets.fetch()
    sets.uses.add(7, 2, NOW + 9)
    service[0].status, service[0].body = 200, answer(1)
    await sets.fetch()
    assert list(asked(service).uses) == [kms_pb2.KeyUse(key_id=7, last_used=int(NOW) + 9, count=5)]


def test_a_holder_is_named_in_the_space_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: "h" * 64)
    assert 48 < len(holder()) <= 64


async def test_two_processes_of_one_host_name_and_process_id_are_two_holders(
    service: tuple[Service, aiohttp.ClientSession],
) -> None:
    names = []
    for _ in range(2):
        sets, _ = sets_of(service)
        service[0].body = answer(1)
        await sets.fetch()
        names.append(asked(service).holder)
    assert names[0] != names[1]
    assert names[0].rpartition(":")[0] == names[1].rpartition(":")[0]


def test_uses_of_more_keys_than_a_report_holds_are_told_in_turn() -> None:
    uses = KeyUses()
    for key_id in range(MAX_REPORTED + 10):
        uses.add(key_id, 1, NOW + key_id)
    told = uses.unreported()
    assert len(told) == MAX_REPORTED
    assert told[0].key_id == MAX_REPORTED + 9
    uses.add(told[0].key_id, 4, NOW + 1000)
    uses.reported(told)
    rest = {use.key_id: use.count for use in uses.unreported()}
    assert rest == {told[0].key_id: 4, **dict.fromkeys(range(10), 1)}


async def test_k1_what_was_taken_is_loaded_when_the_kms_is_away(
    service: tuple[Service, aiohttp.ClientSession], tmp_path: Path
) -> None:
    sets, results = sets_of(service, tmp_path)
    service[0].body = answer(5)
    fetched = await sets.fetch()
    sets.taken(fetched, save=True)
    await sets.close()
    assert results == ["saved"]
    assert await sets_of(service, tmp_path)[0].load() == fetched


async def test_k2_a_snapshot_without_all_purposes_is_not_started_from(
    service: tuple[Service, aiohttp.ClientSession], tmp_path: Path
) -> None:
    sets, _ = sets_of(service, tmp_path)
    assert await sets.load() is Unusable.MISSING
    service[0].body = answer(5)
    sets.taken(await sets.fetch(), save=True)
    await sets.close()
    assert await sets_of(service, tmp_path, "passport-user", "cookie")[0].load() is Unusable.INCOMPLETE
    assert await sets_of(service, None)[0].load() is Unusable.MISSING


async def test_a_disk_that_cannot_be_written_is_told_and_nothing_else(
    service: tuple[Service, aiohttp.ClientSession], tmp_path: Path
) -> None:
    sets, results = sets_of(service, tmp_path / "nowhere")
    service[0].body = answer(5)
    sets.taken(await sets.fetch(), save=True)
    await sets.close()
    assert results == ["failed"]


async def test_k4_a_destroyed_key_stays_destroyed_whatever_is_said_of_it_later(
    service: tuple[Service, aiohttp.ClientSession], tmp_path: Path
) -> None:
    sets, _ = sets_of(service, tmp_path)
    service[0].body = answer(5, key_version(1, "a", kms_pb2.DESTROYED, primary=False), key_version(2, "b"))
    sets.taken(await sets.fetch(), save=True)
    await sets.close()

    after_a_restart, _ = sets_of(service, tmp_path)
    assert isinstance(await after_a_restart.load(), KeySnapshot)
    assert after_a_restart.came_back == []
    service[0].body = answer(4, key_version(1, "a"), key_version(2, "b", kms_pb2.PRE_ACTIVE, primary=False))
    for each in (sets, after_a_restart):
        fetched = await each.fetch()
        assert each.came_back == [1]
        assert fetched.answer.key_sets[0].versions[0] == kms_pb2.KeyVersion(
            key_id=1, state=kms_pb2.DESTROYED, created=1
        )


async def test_k4_an_answer_that_no_longer_lists_a_key_that_is_held_is_that_of_a_lost_store(
    service: tuple[Service, aiohttp.ClientSession], tmp_path: Path
) -> None:
    held = (key_version(1, "a", kms_pb2.DEACTIVATED, primary=False), key_version(2, "b"))
    sets, _ = sets_of(service, tmp_path)
    service[0].body = answer(5, *held, key_version(3, "c", kms_pb2.DESTROYED, primary=False))
    await sets.fetch()
    service[0].body = answer(4, key_version(1, "a"))
    await sets.fetch()  # nothing was made of the other one, so nothing of it is held
    service[0].body = answer(5, *held)
    sets.taken(await sets.fetch(), save=True)
    await sets.close()

    after_a_restart, _ = sets_of(service, tmp_path)
    await after_a_restart.load()
    for each in (sets, after_a_restart):
        each.uses.add(2, 7, NOW)
        service[0].body = answer(6, key_version(1, "a", kms_pb2.DESTROYED, primary=False), key_version(9, "z"))
        with pytest.raises(KeysLost, match="00000002") as caught:
            await each.fetch()
        assert caught.value.key_ids == ["00000002"]
        service[0].body = answer(7, *held)  # nothing of that answer stays, and what it was told is told again
        fetched = await each.fetch()
        assert fetched.answer.key_sets[0].versions[0].state == kms_pb2.DEACTIVATED
        assert list(asked(service).uses) == [kms_pb2.KeyUse(key_id=2, last_used=int(NOW), count=7)]


async def test_a_save_under_way_is_not_waited_for_by_a_refresh(
    service: tuple[Service, aiohttp.ClientSession], tmp_path: Path
) -> None:
    sets, results = sets_of(service, tmp_path)
    service[0].body = answer(5)
    fetched = await sets.fetch()
    sets.taken(fetched, save=True)
    sets.taken(fetched, save=True)
    assert results == []
    await sets.close()
    assert results == ["saved"]
