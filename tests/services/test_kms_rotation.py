"""Rotation by age, and what is refused because it would harm who holds or uses a key."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path

import aiohttp
import pytest
from edgepb.kms.v1 import kms_pb2

from passport.kms import KmsClient
from services.kit.callers import read_token
from services.kit.config import read_config
from services.kit.database import Database, DatabaseConfig
from services.kms.access import Caller, Outcome
from services.kms.config import KmsConfig, Rotation
from services.kms.holders import Report, Use
from services.kms.rotation import Wait, pace_s
from services.kms.sealing import Sealer
from services.kms.states import State
from services.kms.store import Patience, Store
from tests.processes import eventually, make_secrets, process
from tests.services.databases import rows
from tests.services.kms_calls import CONFIG, Kms, kms_arguments, kms_running
from tokens.cookie import MAX_LIFE_S

NOWHERE = Path("/nonexistent/none.sqlite")
START = 1_000_000_000
DAY = 86_400
POLICY = {"cookie": Rotation(rotate_after_s=30 * DAY, distribute_s=3600, retire_after_s=10 * DAY)}
EDGE, OPERATOR = Caller("edge", "127.0.0.1"), Caller("operator", "127.0.0.1")


@contextmanager
def stored(url: str) -> Iterator[Store]:
    patience = Patience(live_s=300, unused_s=DAY)
    store = Store(Database(DatabaseConfig(url=url), NOWHERE), Sealer(b"1" * 32), 1000, START, patience)
    store.check()
    store.ensure_primaries(["cookie", "passport-user"], START)
    try:
        yield store
    finally:
        store.close()


def states(store: Store, now: float) -> list[State]:
    """Return the states of the cookie keys, oldest first."""
    return [each.version.state for each in store.listing(OPERATOR, ["cookie"], now).standings]


def ids(store: Store) -> list[int]:
    return [each.version.key_id for each in store.open_versions(["cookie"])[0]]


def seen(store: Store, now: float, name: str = "a", uses: Mapping[int, Use] | None = None) -> int:
    """Fetch as a holder does that has taken up the answer before; return the revision."""
    current = store.open_versions(["cookie"])[1]
    return store.fetch(EDGE, ["cookie"], Report(name, current, uses), now)[1]


def test_k4_a_key_is_rotated_by_age_through_all_states(database_url: str) -> None:
    with stored(database_url) as store:
        now = START + 30 * DAY
        assert store.rotate(POLICY, now - 1) == []
        assert states(store, now) == [State.ACTIVE]
        assert store.rotate(POLICY, now) == []
        assert states(store, now) == [State.ACTIVE, State.PRE_ACTIVE]
        store.rotate(POLICY, now + 3599)
        assert states(store, now) == [State.ACTIVE, State.PRE_ACTIVE]
        store.rotate(POLICY, now + 3600)
        assert states(store, now) == [State.DEACTIVATED, State.ACTIVE]
        store.rotate(POLICY, now + 3600 + 10 * DAY - 1)
        assert states(store, now) == [State.DEACTIVATED, State.ACTIVE]
        store.rotate(POLICY, now + 3600 + 10 * DAY)
        assert states(store, now) == [State.DESTROYED, State.ACTIVE]
        assert [len(each.material) for each in store.open_versions(["cookie"])[0]] == [0, 32]
        logged = rows(database_url, "SELECT action, subject FROM audit_log WHERE identity = '(rotation)' ORDER BY id")
        old, new = ids(store)
        assert logged == [
            ("add_version", f"cookie {new:08x}"),
            ("move_version", f"{new:08x} ACTIVE"),
            ("move_version", f"{old:08x} DESTROYED"),
        ]


def test_a_set_without_a_policy_is_left_alone(database_url: str) -> None:
    with stored(database_url) as store:
        store.rotate(POLICY, START + 900 * DAY)
        (only,) = store.listing(OPERATOR, ["passport-user"], START).standings
        assert only.version.state is State.ACTIVE


def test_a_set_whose_primary_was_taken_away_is_left_to_the_operator(database_url: str) -> None:
    with stored(database_url) as store:
        (only,) = ids(store)
        assert store.move(OPERATOR, only, State.DEACTIVATED, START).outcome is Outcome.GRANTED
        store.rotate({"cookie": Rotation(rotate_after_s=1)}, START + 30 * DAY)
        assert states(store, START) == [State.DEACTIVATED]


def test_rotation_waits_for_who_is_alive_and_has_not_fetched_the_version(database_url: str) -> None:
    with stored(database_url) as store:
        now = START + 30 * DAY
        old = seen(store, now, "slow")
        store.rotate(POLICY, now)
        later = now + 3600
        store.fetch(EDGE, ["cookie"], Report("slow", old), later)
        seen(store, later, "quick")
        primary, added = ids(store)
        assert store.rotate(POLICY, later) == [Wait(added, State.ACTIVE, Outcome.NOT_DISTRIBUTED)]
        standings = store.listing(OPERATOR, ["cookie"], later).standings
        assert [list(map(str, each.lagging)) for each in standings] == [[], ["edge/slow"]]
        seen(store, later + 30, "slow")
        assert store.rotate(POLICY, later + 30) == []
        assert states(store, later) == [State.DEACTIVATED, State.ACTIVE]
        assert primary != added


def test_rotation_does_not_wait_for_the_dead_nor_for_who_holds_other_keys(database_url: str) -> None:
    with stored(database_url) as store:
        now = START + 30 * DAY
        store.rotate(POLICY, now)
        store.fetch(EDGE, ["cookie"], Report("dead", 1), now + 3600 - 301)
        store.fetch(EDGE, ["passport-user"], Report("other", 1), now + 3600)
        store.fetch(EDGE, ["cookie"], Report("", 0), now + 3600)
        assert store.rotate(POLICY, now + 3600) == []
        assert states(store, now) == [State.DEACTIVATED, State.ACTIVE]


def test_a_holder_that_is_ahead_has_keys_of_a_lost_store_and_is_behind(database_url: str) -> None:
    with stored(database_url) as store:
        revision = seen(store, START)
        added = store.add_version(OPERATOR, "cookie", START).key_id
        store.fetch(EDGE, ["cookie"], Report("a", revision + 1000), START)
        assert store.move(OPERATOR, added, State.ACTIVE, START).outcome is Outcome.NOT_DISTRIBUTED


def test_a_revision_is_never_one_that_the_store_had_before_it_was_restored(database_url: str) -> None:
    with stored(database_url) as store:
        store.add_version(OPERATOR, "cookie", START + 50)
        assert store.open_versions(["cookie"])[1] == START + 50
        store.add_version(OPERATOR, "cookie", START + 50)
        assert store.open_versions(["cookie"])[1] == START + 51


def test_an_activation_is_refused_until_every_holder_has_the_version_unless_it_is_forced(database_url: str) -> None:
    with stored(database_url) as store:
        seen(store, START)
        added = store.add_version(OPERATOR, "cookie", START + 1).key_id
        refused = store.move(OPERATOR, added, State.ACTIVE, START + 1)
        assert refused.outcome is Outcome.NOT_DISTRIBUTED
        assert refused.standing is not None
        assert refused.standing.version.state is State.PRE_ACTIVE
        assert store.move(OPERATOR, added, State.ACTIVE, START + 1, force=True).outcome is Outcome.GRANTED
        moves = "SELECT subject, outcome FROM audit_log WHERE action = 'move_version' ORDER BY id"
        assert rows(database_url, moves) == [
            (f"{added:08x} ACTIVE", "not_distributed"),
            (f"{added:08x} ACTIVE forced", "granted"),
        ]


def test_a_destruction_is_refused_while_a_holder_may_still_protect_with_the_key(database_url: str) -> None:
    with stored(database_url) as store:
        (old,) = ids(store)
        added = store.add_version(OPERATOR, "cookie", START).key_id
        before = seen(store, START)
        assert store.move(OPERATOR, added, State.ACTIVE, START).outcome is Outcome.GRANTED
        store.fetch(EDGE, ["cookie"], Report("a", before), START + 10)
        assert store.move(OPERATOR, old, State.DESTROYED, START + 10).outcome is Outcome.NOT_DISTRIBUTED
        seen(store, START + 20)
        assert store.move(OPERATOR, old, State.DESTROYED, START + 20).outcome is Outcome.GRANTED


def test_a_destruction_is_refused_while_the_key_was_used_lately_unless_it_is_forced(database_url: str) -> None:
    with stored(database_url) as store:
        (old,) = ids(store)
        added = store.add_version(OPERATOR, "cookie", START).key_id
        assert store.move(OPERATOR, added, State.ACTIVE, START).outcome is Outcome.GRANTED
        seen(store, START + 100, "a", {old: Use(START + 90, 3), added: Use(START + 99, 1)})
        seen(store, START + 200, "b", {old: Use(START + 80, 4)})
        refused = store.move(OPERATOR, old, State.DESTROYED, START + 90 + DAY - 1)
        assert refused.outcome is Outcome.IN_USE
        assert refused.standing is not None
        assert refused.standing.use == Use(START + 90, 7, "edge/a")
        policy = {"cookie": Rotation(rotate_after_s=900 * DAY, retire_after_s=1)}
        assert store.rotate(policy, START + 1000) == [Wait(old, State.DESTROYED, Outcome.IN_USE)]
        assert store.move(OPERATOR, old, State.DESTROYED, START + 1000, force=True).outcome is Outcome.GRANTED
        other = store.add_version(OPERATOR, "cookie", START).key_id
        assert store.move(OPERATOR, other, State.ACTIVE, START, force=True).outcome is Outcome.GRANTED
        seen(store, START + DAY + 100)
        assert store.move(OPERATOR, added, State.DESTROYED, START + 99 + DAY).outcome is Outcome.GRANTED


def test_a_key_is_not_destroyed_while_a_worker_may_know_a_cookie_under_it_that_is_not_opened_again() -> None:
    assert read_config(CONFIG, KmsConfig).destroy_unused_s >= MAX_LIFE_S


def test_what_a_holder_says_of_keys_that_it_did_not_ask_for_or_of_the_future_is_not_believed(database_url: str) -> None:
    with stored(database_url) as store:
        (old,) = ids(store)
        store.fetch(EDGE, ["passport-user"], Report("a", 1, {old: Use(START, 5), 12345: Use(START, 5)}), START)
        assert [each.use for each in store.listing(OPERATOR, ["cookie"], START).standings] == [None]
        store.fetch(EDGE, ["cookie"], Report("a", 2**64 - 1, {old: Use(2**62, 2**32)}), START)
        assert [each.use for each in store.listing(OPERATOR, ["cookie"], START).standings] == [
            Use(START, 2**32, "edge/a")
        ]


def test_instances_that_rotate_at_once_make_one_new_version(database_url: str) -> None:
    with stored(database_url) as one, stored(database_url) as other, ThreadPoolExecutor(8) as pool:
        now = START + 30 * DAY
        list(pool.map(lambda number: (one, other)[number % 2].rotate(POLICY, now), range(16)))
        assert states(one, now) == [State.ACTIVE, State.PRE_ACTIVE]
        list(pool.map(lambda number: (one, other)[number % 2].rotate(POLICY, now + 3600), range(16)))
        assert states(other, now) == [State.DEACTIVATED, State.ACTIVE]


def test_holders_that_were_not_seen_for_a_day_are_forgotten(database_url: str) -> None:
    with stored(database_url) as store:
        store.fetch(EDGE, ["cookie"], Report("old", 1), START)
        store.fetch(EDGE, ["cookie"], Report("new", 1), START + DAY + 1)
        assert rows(database_url, "SELECT holder FROM holders") == [("new",)]


def test_one_identity_has_no_more_holders_than_its_limit(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.kms.holders._MOST_OF_ONE_IDENTITY", 3)
    with stored(database_url) as store:
        store.fetch(OPERATOR, ["cookie"], Report("another", 1), START)
        for number in range(5):
            store.fetch(EDGE, ["cookie"], Report(f"a{number}", 1), START + number)
        names = [str(each) for each in store.listing(OPERATOR, ["cookie"], START + 5).holders]
        assert names == ["edge/a2", "edge/a3", "edge/a4", "operator/another"]


def test_the_shortest_time_of_a_policy_sets_the_pace() -> None:
    assert pace_s(POLICY.values()) == 30.0
    assert pace_s([*POLICY.values(), Rotation(distribute_s=1)]) == 0.25


FAST = "rotation: {cookie: {rotate_after_s: 1, distribute_s: 1, retire_after_s: 1}}\n"


def fast_config() -> str:
    kept = CONFIG.read_text()
    start, end = kept.index("rotation:\n"), kept.index("# A holder that was seen")
    return kept[:start] + FAST + kept[end:]


async def test_k4_two_processes_on_one_database_rotate_by_age_and_agree(tmp_path: Path, database_url: str) -> None:
    secrets, config = make_secrets(tmp_path / "secrets"), tmp_path / "kms.yaml"
    config.write_text(f"{fast_config()}database: {{url: '{database_url}'}}\n")
    arguments = kms_arguments(secrets, tmp_path / "var", config)
    async with AsyncExitStack() as stack:
        session = await stack.enter_async_context(aiohttp.ClientSession())
        starting = [process("services.kms", *arguments) for _ in range(2)]
        instances = await asyncio.gather(*(stack.enter_async_context(each) for each in starting))
        token = read_token(secrets / "edge.token")
        clients = [KmsClient(session, each.url, token) for each in instances]

        async def destroyed() -> Sequence[kms_pb2.KeyVersion]:
            versions = (await clients[0].key_sets(["cookie"])).key_sets[0].versions
            return [each for each in versions if each.state == kms_pb2.DESTROYED]

        async def one_is() -> bool:
            return bool(await destroyed())

        await eventually(one_is, "a key has gone through all states", timeout_s=30)
        versions = (await clients[1].key_sets(["cookie"])).key_sets[0].versions
        assert sum(each.primary for each in versions) == 1
        assert sum(each.state == kms_pb2.PRE_ACTIVE for each in versions) <= 1
        assert all(len(each.material) == 32 for each in versions if each.state != kms_pb2.DESTROYED)


async def reported(kms: Kms, holder: str, revision: int, *uses: kms_pb2.KeyUse) -> kms_pb2.GetKeySetsResponse:
    request = kms_pb2.GetKeySetsRequest(purposes=["cookie"], holder=holder, revision_held=revision, uses=uses)
    return await kms.fetch(request)


async def test_over_http_a_move_that_would_harm_is_a_409_with_its_reason_and_who_it_would_harm(tmp_path: Path) -> None:
    async with kms_running(tmp_path) as kms:
        first = await reported(kms, "worker-1", 0)
        old = first.key_sets[0].versions[0].key_id
        added = await kms.add("cookie")
        path = f"/v1/keys/{added}/state"
        status, answer = await kms.operate(path, {"state": "ACTIVE"})
        assert (status, answer["reason"], answer["lagging"]) == (409, "not_distributed", ["edge/worker-1"])
        held = (await reported(kms, "worker-1", first.revision)).revision
        await reported(kms, "worker-1", held, kms_pb2.KeyUse(key_id=old, last_used=2**40, count=7))
        assert await kms.move(added, "ACTIVE") == 200
        held = (await reported(kms, "worker-1", held)).revision
        await reported(kms, "worker-1", held)
        path = f"/v1/keys/{old:08x}/state"
        status, answer = await kms.operate(path, {"state": "DESTROYED"})
        assert (status, answer["reason"], answer["last_used_by"], answer["uses"]) == (409, "in_use", "edge/worker-1", 7)
        assert (await kms.operate(path, {"state": "DESTROYED", "force": "yes"}))[0] == 400
        assert (await kms.operate(path, {"state": "DESTROYED", "force": True}))[0] == 200
        _, listing = await kms.operate("/v1/key-sets", method="GET")
        holders = listing["holders"]
        assert isinstance(holders, list)
        assert [(each["holder"], each["purposes"], each["revision_held"]) for each in holders] == [
            ("edge/worker-1", ["cookie"], held)
        ]


async def test_a_report_that_cannot_be_one_is_refused_with_400(tmp_path: Path) -> None:
    async with kms_running(tmp_path) as kms:
        headers = {"Authorization": f"Bearer {kms.token('edge')}", "Content-Type": "application/x-protobuf"}
        for request in (
            kms_pb2.GetKeySetsRequest(purposes=["cookie"], holder="a" * 65),
            kms_pb2.GetKeySetsRequest(purposes=["cookie"], holder="a b"),
            kms_pb2.GetKeySetsRequest(purposes=["cookie"], uses=[kms_pb2.KeyUse(key_id=1)] * 257),
            kms_pb2.GetKeySetsRequest(purposes=["cookie", "a,b"]),
            kms_pb2.GetKeySetsRequest(purposes=["cookie", "a\x00b"]),
        ):
            url, body = kms.process.url + "/v1/key-sets", request.SerializeToString()
            async with kms.session.post(url, data=body, headers=headers) as response:
                assert response.status == 400


async def test_each_identity_is_told_what_it_may_do_with_each_key_set(tmp_path: Path) -> None:
    protect, both = [kms_pb2.PROTECT], [kms_pb2.PROTECT, kms_pb2.OPEN]
    async with kms_running(tmp_path) as kms:
        for identity, purposes, uses in (
            ("edge", ["cookie-rescheduled", "cookie"], [both, [kms_pb2.OPEN]]),
            ("cookie", ["cookie", "cookie-rescheduled"], [both, [kms_pb2.OPEN]]),
            ("auth", ["passport-auth", "passport-user"], [protect, [kms_pb2.OPEN]]),
        ):
            answer = await kms.client(identity).key_sets(purposes)
            assert [list(each.uses) for each in answer.key_sets] == uses
