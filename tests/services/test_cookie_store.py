"""The cookie service's store at times of the test's choosing, on both databases."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import NoReturn

import pytest
from edgepb.cookie.v1 import cookie_service_pb2 as pb
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from services.cookie.presented import Renewal, fresh_nonces
from services.cookie.renewal import Renewer
from services.cookie.revocation import Known, Revoked
from services.cookie.store import MAX_PAGE, MIGRATIONS, REVOKED, Store
from services.cookie.subscriber import Membership, Standing
from services.kit.breaker import BreakerConfig
from services.kit.database import Database, DatabaseConfig
from services.kit.database_calls import DatabaseCalls, DatabaseUnavailable
from tests.services.databases import connected, rows, run
from tests.services.sessions import (
    CONFIG,
    DAY,
    ISSUER,
    KEYS,
    START,
    Clock,
    Members,
    full_token,
    opened,
    renewed,
    revoke,
    stand_in_of,
    value,
)


class NoStandIns:
    """A memory that is told nothing of what was rescheduled."""

    async def remember_rescheduled_renewal(self, session_id: str, generation: int) -> None:
        raise AssertionError

    async def succeed_rescheduled_renewals(self, session_id: str, generation: int) -> None:
        raise AssertionError


async def test_a_long_feed_comes_in_pages(store: Store, database_url: str) -> None:
    first = int(START * 1e6)
    with connected(database_url) as connection:
        connection.execute(
            text("INSERT INTO revocations VALUES (:id, 1, 1, 7, '', '', '', 5, 'auth')"),
            [{"id": first + number} for number in range(MAX_PAGE + 5)],
        )
    page = await store.page(0)
    assert (len(page.revocations), page.more, page.cursor) == (MAX_PAGE, True, first + MAX_PAGE - 1)
    rest = await store.page(page.cursor)
    assert (len(rest.revocations), rest.more, rest.cursor) == (5, False, first + MAX_PAGE + 4)


async def test_ids_go_on_growing_when_the_clock_goes_back(store: Store, clock: Clock) -> None:
    first = await revoke(store, pb.SIGN_OUT_EVERYWHERE)
    clock.now -= 3600
    second = await revoke(store, pb.SIGN_OUT_EVERYWHERE, customer_id=2)
    assert second.id == first.id + 1
    assert list((await store.page(first.id)).revocations) == [second]


async def test_a_restored_database_gives_out_no_id_that_followers_have_passed(
    store: Store, clock: Clock, database_url: str
) -> None:
    kept = await revoke(store, pb.SIGN_OUT_EVERYWHERE)
    clock.now += 60
    lost = await revoke(store, pb.SIGN_OUT_EVERYWHERE, customer_id=2)
    run(database_url, "DELETE FROM revocations WHERE customer_id = 2")
    again = await store.page(lost.id)
    assert (list(again.revocations), again.cursor) == ([kept], kept.id)
    clock.now += 60
    new = await revoke(store, pb.SIGN_OUT_EVERYWHERE, customer_id=3)
    assert new.id > lost.id
    assert list((await store.page(lost.id)).revocations) == [new]


async def test_what_is_older_than_the_feed_is_not_in_it_and_is_revoked_all_the_same(store: Store, clock: Clock) -> None:
    revocation = await revoke(store, pb.SIGN_OUT_EVERYWHERE)
    clock.now += CONFIG.feed_s + 1
    assert list((await store.page(0)).revocations) == []
    assert (await store.revoked(1, "session", "")).covers(revocation.revoked_at)


async def test_rows_are_kept_as_long_as_configured_and_then_pruned(
    store: Store, clock: Clock, database_url: str
) -> None:
    await revoke(store, pb.SIGN_OUT_EVERYWHERE)
    run(
        database_url,
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2500) "
        "INSERT INTO rescheduled_renewals SELECT 'session', i, 1800000000, NULL FROM n",
    )
    clock.now += CONFIG.keep_s
    assert await store.prune(CONFIG.keep_s, CONFIG.keep_s) == 0
    await revoke(store, pb.SIGN_OUT_EVERYWHERE, customer_id=2)
    await store.remember_rescheduled_renewal("session", 9999)
    clock.now += 1
    assert await store.prune(CONFIG.keep_s, CONFIG.keep_s) == 2501
    assert rows(database_url, "SELECT customer_id FROM revocations") == [(2,)]
    assert rows(database_url, "SELECT generation FROM rescheduled_renewals") == [(9999,)]


async def test_what_is_used_up_is_not_forgotten_sooner_than_that_long_after_it_was(
    store: Store, clock: Clock, database_url: str
) -> None:
    for generation in (3, 4):
        await store.remember_rescheduled_renewal("session", generation)
    clock.now += CONFIG.keep_s - 10
    await store.succeed_rescheduled_renewals("session", 4)
    clock.now += CONFIG.keep_s
    assert await store.prune(CONFIG.keep_s, CONFIG.keep_s) == 1
    assert (await store.known(1, "session", "")).renewals == {3: int(clock.now) - CONFIG.keep_s}
    clock.now += 1
    assert await store.prune(CONFIG.keep_s, CONFIG.keep_s) == 1
    assert rows(database_url, "SELECT * FROM rescheduled_renewals") == []


async def test_the_renewals_of_rescheduled_tokens_are_known_for_each_generation(
    store: Store, clock: Clock, database_url: str
) -> None:
    async def renewals(session_id: str) -> Mapping[int, int | None]:
        return (await store.known(1, session_id, "")).renewals

    assert await renewals("session") == {}
    await asyncio.gather(*(store.remember_rescheduled_renewal("session", 3) for _ in range(10)))
    for session_id, generation in (("session", 4), ("session", 5), ("other", 3)):
        await store.remember_rescheduled_renewal(session_id, generation)
    assert (await renewals("session"), await renewals("other")) == ({3: None, 4: None, 5: None}, {3: None})
    await store.succeed_rescheduled_renewals("session", 5)
    clock.now += 600
    await asyncio.gather(*(store.succeed_rescheduled_renewals("session", each) for each in (4, 5, 6, 7)))
    await store.remember_rescheduled_renewal("session", 3)
    first, now = int(START), int(clock.now)
    assert (await renewals("session"), await renewals("other")) == ({3: first, 4: first, 5: now}, {3: None})
    assert rows(database_url, "SELECT max(renewed_at) FROM rescheduled_renewals") == [(now,)]


async def test_instances_that_remember_at_once_remember_all_and_the_first_time(clock: Clock, database_url: str) -> None:
    with opened(database_url, clock) as one, opened(database_url, clock) as another:
        sessions = [f"session-{number}" for number in range(200)]

        async def all_of(store: Store, sessions: list[str]) -> None:
            await asyncio.gather(*(store.remember_rescheduled_renewal(each, 1) for each in sessions))
            await asyncio.gather(
                *(store.succeed_rescheduled_renewals(each, 2) for each in sessions),
                *(store.remember_rescheduled_renewal(each, 1) for each in sessions),
                *(store.remember_rescheduled_renewal(each, 2) for each in sessions),
            )

        await asyncio.gather(all_of(one, sessions), all_of(another, sessions[::-1]))
        clock.now += 60
        await asyncio.gather(*(store.succeed_rescheduled_renewals(sessions[0], 3) for store in (one, another) * 10))
    found = rows(database_url, "SELECT generation, succeeded_at, count(*) FROM rescheduled_renewals GROUP BY 1, 2")
    assert sorted(found, key=str) == [(1, int(START), 200), (2, int(START) + 60, 1), (2, None, 199)]


async def test_renewals_that_cannot_be_remembered_all_say_so_and_the_next_ones_can(
    store: Store, database_url: str
) -> None:
    run(database_url, "ALTER TABLE rescheduled_renewals RENAME TO mislaid")
    failed = await asyncio.gather(
        *(store.remember_rescheduled_renewal(f"session-{n}", 1) for n in range(20)), return_exceptions=True
    )
    assert {type(each) for each in failed} == {DatabaseUnavailable}
    run(database_url, "ALTER TABLE mislaid RENAME TO rescheduled_renewals")
    await asyncio.gather(*(store.remember_rescheduled_renewal(f"session-{n}", 2) for n in range(500)))
    assert rows(database_url, "SELECT count(*), max(generation) FROM rescheduled_renewals") == [(500, 2)]


async def test_c11_a_pair_that_was_being_made_when_its_user_was_revoked_is_revoked_with_it(
    store: Store, clock: Clock
) -> None:
    class Slow(NoStandIns):
        """Answers an hour after it was asked; the revocation is stored in between."""

        async def known(self, customer_id: int, session_id: str, esn: str) -> Known:
            found = await store.known(customer_id, session_id, esn)
            looked_up.set()
            return found

        async def membership(self, customer_id: int) -> Membership:
            await looked_up.wait()
            if not ended:
                ended.append(await revoke(store, pb.SIGN_OUT_EVERYWHERE))
            clock.now += 3600
            return Membership(Standing.MEMBER, customer_id)

    looked_up, ended, slow = asyncio.Event(), list[pb.Revocation](), Slow()
    issuer = ISSUER
    renewer = Renewer(issuer, KEYS, slow, slow, clock, overlap_s=600)
    request = pb.CreateRequest(customer_id=1, esn="ESN", level=3)
    first = issuer.seal(KEYS.ring, issuer.first(request, "session", START - 60, 0), fresh_nonces())
    renewed = await renewer.renew(first.insecure)
    assert renewed.pair is not None
    assert (await renewer.renew(renewed.pair.insecure)).outcome == pb.REVOKED


@pytest.mark.parametrize("next_is_stand_in", [False, True])
async def test_r5_rule_15_s7_a_stand_in_is_used_up_when_its_owner_shows_what_came_after_and_a_full_token_never_is(
    store: Store, clock: Clock, next_is_stand_in: bool
) -> None:
    renewer = Renewer(ISSUER, KEYS, store, Members(), clock, overlap_s=600)
    full = full_token()
    stand_in, old = stand_in_of(full, START), value(full)
    claims = await renewed(renewer, stand_in, START)
    assert (claims.generation, claims.rescheduled_count, claims.original_issued_at) == (2, 0, 0)
    clock.now += 3 * 3600
    after = stand_in_of(claims, clock.now) if next_is_stand_in else value(claims)
    assert (await renewed(renewer, after, clock.now)).generation == 3
    clock.now += 600  # requests that were under way with it
    assert (await renewed(renewer, stand_in, clock.now)).generation == 2
    for away_s in (1, *[3600] * 24):
        clock.now += away_s
        assert await renewer.renew(stand_in) == Renewal(pb.REFUSED, "reused")
        assert (await renewer.renew(stand_in_of(full, clock.now))).detail == "reused"
        assert (await renewer.renew(old)).outcome == pb.RENEWED
        # That its owner shows what came after again and again makes it no better.
        assert (await renewer.renew(after)).outcome == pb.RENEWED
    later = claims._replace(generation=5)
    assert (await renewer.renew(stand_in_of(later, clock.now))).outcome == pb.RENEWED


async def test_a_stand_in_that_was_renewed_before_there_were_successions_is_not_known_to_be_used_up(
    clock: Clock, database_url: str
) -> None:
    config = DatabaseConfig(url=database_url)
    before = Database(config, Path("/nonexistent/none.sqlite"))
    before.upgrade(MIGRATIONS, to="cookie0001")
    before.close()
    full, renewed_at = full_token(), int(START) - DAY
    run(database_url, f"INSERT INTO rescheduled_renewals VALUES ('session', {full.generation}, {renewed_at})")  # noqa: S608
    with opened(database_url, clock) as store:
        renewer = Renewer(ISSUER, KEYS, store, Members(), clock, overlap_s=600)
        after = await renewed(renewer, stand_in_of(full, clock.now), clock.now)
        await renewed(renewer, value(after), clock.now)
        clock.now += 601
        assert await renewer.renew(stand_in_of(full, clock.now)) == Renewal(pb.REFUSED, "reused")


async def test_r5_s1_s2_a_stand_in_whose_answer_was_lost_is_renewed_however_late_its_owner_comes_back(
    store: Store, clock: Clock
) -> None:
    renewer = Renewer(ISSUER, KEYS, store, Members(), clock, overlap_s=600)
    full = full_token()
    stand_in = stand_in_of(full, START)
    for away_s in (601, DAY, 30 * DAY, 360 * DAY, 400 * DAY):
        assert (await renewed(renewer, stand_in, clock.now)).generation == 2
        # What is no later than the stand-in says nothing of its renewal, nor does another session.
        await renewed(renewer, value(full), clock.now)
        await renewed(renewer, value(full._replace(session_id="other", generation=9)), clock.now)
        clock.now += away_s
        await store.prune(CONFIG.keep_s, CONFIG.keep_s)
    assert (await renewed(renewer, stand_in, clock.now)).generation == 2


async def test_s7_what_the_owner_showed_before_the_first_renewal_counts_from_the_next_time_on(
    store: Store, clock: Clock
) -> None:
    renewer = Renewer(ISSUER, KEYS, store, Members(), clock, overlap_s=600)
    full = full_token()
    following = value(full._replace(generation=2))
    await renewed(renewer, following, clock.now)
    await renewed(renewer, stand_in_of(full, clock.now), clock.now)
    clock.now += 3600
    await renewed(renewer, stand_in_of(full, clock.now), clock.now)
    await renewed(renewer, following, clock.now)
    clock.now += 601
    assert await renewer.renew(stand_in_of(full, clock.now)) == Renewal(pb.REFUSED, "reused")


async def test_a_renewal_writes_only_where_a_rescheduled_token_before_it_was_renewed_and_then_once(
    store: Store, clock: Clock
) -> None:
    class Counting:
        """Passes on, and counts what is written."""

        def __init__(self) -> None:
            self.written: list[tuple[str, int]] = []
            self.known = store.known

        async def remember_rescheduled_renewal(self, session_id: str, generation: int) -> None:
            self.written.append(("remember", generation))
            await store.remember_rescheduled_renewal(session_id, generation)

        async def succeed_rescheduled_renewals(self, session_id: str, generation: int) -> None:
            self.written.append(("succeed", generation))
            await store.succeed_rescheduled_renewals(session_id, generation)

    memory = Counting()
    renewer = Renewer(ISSUER, KEYS, memory, Members(), clock, overlap_s=600)
    full = full_token()
    for generation in range(1, 4):
        await renewed(renewer, value(full._replace(generation=generation)), clock.now)
    assert memory.written == []
    await renewed(renewer, stand_in_of(full._replace(generation=4), clock.now), clock.now)
    for generation in range(3, 8):
        await renewed(renewer, value(full._replace(generation=generation)), clock.now)
    assert memory.written == [("remember", 4), ("succeed", 5)]


async def test_nothing_is_renewed_while_that_its_owner_got_it_cannot_be_remembered(
    store: Store, clock: Clock, database_url: str
) -> None:
    renewer = Renewer(ISSUER, KEYS, store, Members(), clock, overlap_s=600)
    full = full_token()
    after = value(await renewed(renewer, stand_in_of(full, clock.now), clock.now))
    if database_url.startswith("sqlite"):
        refuse = "CREATE TRIGGER refuse BEFORE UPDATE ON rescheduled_renewals BEGIN SELECT RAISE(ABORT, 'no'); END"
    else:
        refuse = "ALTER TABLE rescheduled_renewals ADD CONSTRAINT refuse CHECK (succeeded_at IS NULL)"
    run(database_url, refuse)
    assert (await renewer.renew(after)).outcome == pb.UNAVAILABLE


async def test_s1_answers_that_come_too_late_for_an_hour_sign_nobody_out(store: Store, clock: Clock) -> None:
    renewer = Renewer(ISSUER, KEYS, store, Members(), clock, overlap_s=600)
    full = full_token()
    for _ in range(12):
        assert (await renewer.renew(stand_in_of(full, clock.now))).outcome == pb.RENEWED
        clock.now += 300


async def test_rule_15_a_revocation_covers_what_was_rescheduled_after_it(store: Store, clock: Clock) -> None:
    renewer = Renewer(ISSUER, KEYS, store, Members(), clock, overlap_s=600)
    full = full_token()
    await revoke(store, pb.PASSWORD_CHANGED)
    clock.now += 3600
    stand_in = full.rescheduled(clock.now, 300, 0)
    assert stand_in.issued_at > clock.now - 60
    for number in range(3):
        assert (await renewer.renew(stand_in_of(stand_in, clock.now + number))).outcome == pb.REVOKED


async def test_rule_15_s5_a_revocation_ends_the_renewals_of_a_stand_in_that_nobody_has_succeeded(
    store: Store, clock: Clock
) -> None:
    renewer = Renewer(ISSUER, KEYS, store, Members(), clock, overlap_s=600)
    stand_in = stand_in_of(full_token(), START)
    assert (await renewer.renew(stand_in)).outcome == pb.RENEWED
    clock.now += DAY
    assert (await renewer.renew(stand_in)).outcome == pb.RENEWED
    await revoke(store, pb.LOGOUT, session_id="session")
    assert (await renewer.renew(stand_in)).outcome == pb.REVOKED


async def test_a_stand_in_is_not_renewed_while_that_it_was_cannot_be_remembered(store: Store, clock: Clock) -> None:
    class Forgetful(NoStandIns):
        async def known(self, customer_id: int, session_id: str, esn: str) -> Known:
            return await store.known(customer_id, session_id, esn)

        async def remember_rescheduled_renewal(self, session_id: str, generation: int) -> None:
            raise DatabaseUnavailable("timeout")

    renewer = Renewer(ISSUER, KEYS, Forgetful(), Members(), clock, overlap_s=600)
    full = full_token()
    outcome = await renewer.renew(stand_in_of(full, START))
    assert outcome == Renewal(pb.UNAVAILABLE, "database: timeout")


class Away(DatabaseCalls):
    """A database that says no, and is counted."""

    def __init__(self) -> None:
        self.asked = 0

    async def reading(self, call: object) -> NoReturn:
        self.asked += 1
        raise DatabaseUnavailable("OperationalError")


async def test_s2_a_database_that_keeps_failing_is_left_alone_and_holds_up_no_renewal(clock: Clock) -> None:
    away, breaker = Away(), BreakerConfig(window_s=600.0, min_calls=10, open_s=60.0, max_open_s=60.0)
    store = Store(away, clock, CONFIG, breaker.breaker("database"))
    for _ in range(10):
        with pytest.raises(DatabaseUnavailable, match="OperationalError"):
            await store.revoked(1, "session", "")
    for _ in range(100):
        with pytest.raises(DatabaseUnavailable, match="breaker open"):
            await store.revoked(1, "session", "")
        with pytest.raises(DatabaseUnavailable, match="breaker open"):
            await store.remember_rescheduled_renewal("session", 1)
    assert (away.asked, store.health()) == (10, "open")
    with pytest.raises(DatabaseUnavailable, match="OperationalError"):
        await store.page(0)  # the feed asks for itself: it is how revocations reach the edges


async def test_many_logouts_of_one_customer_do_not_slow_a_renewal(store: Store, database_url: str) -> None:
    run(
        database_url,
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 50000) "
        "INSERT INTO revocations SELECT i, 2, 3, 1, 'session-' || i, '', '', 5, 'edge' FROM n",
        "ANALYZE",
    )
    sqlite = database_url.startswith("sqlite")
    with connected(database_url) as connection:
        wanted = REVOKED.params(customer_ids=[1, 2], session_ids=["", "session-7", "session-8"])
        query = wanted.compile(connection, compile_kwargs={"literal_binds": True})
        plan = connection.exec_driver_sql(f"{'EXPLAIN QUERY PLAN' if sqlite else 'EXPLAIN'} {query}").all()
    looked_for = "(customer_id=? AND session_id=?)" if sqlite else "AND ((session_id)::text = ANY"
    assert looked_for in str(plan)
    assert await store.revoked(1, "session-7", "ESN") == Revoked(session=True)
    assert await store.revoked(1, "session-0", "ESN") == Revoked()


async def test_what_is_asked_together_is_answered_to_each_for_itself(store: Store) -> None:
    await revoke(store, pb.SIGN_OUT_EVERYWHERE, 1)
    await revoke(store, pb.LOGOUT, 2, session_id="out")
    await revoke(store, pb.DEVICE_REMOVED, 3, esn="LOST")
    kept = (await revoke(store, pb.PASSWORD_CHANGED, 4, except_session_id="mine")).revoked_at
    asked = [(customer, session, esn) for customer in range(6) for session in ("out", "mine") for esn in ("LOST", "")]
    answers = await asyncio.gather(*(store.revoked(*each) for each in asked * 10))
    for (customer, session, esn), revoked in zip(asked * 10, answers, strict=True):
        over = customer == 1 or (customer, session) in {(2, "out"), (4, "out")} or (customer, esn) == (3, "LOST")
        assert revoked.covers(int(START)) is over, (customer, session, esn)
        assert (revoked.newest == kept) is (customer in {1, 4} or (customer, esn) == (3, "LOST"))


@dataclass(slots=True)
class Token:
    """A token, and whether something that ends it was stored after it was issued."""

    session: int
    issued_at: int
    over: bool = False


class Customer:
    """What happens to one customer, and an oracle that knows the order of it and no times."""

    numbers = count(1)

    def __init__(self, store: Store, clock: Clock) -> None:
        self.store = store
        self.clock = clock
        self.id = next(self.numbers)
        self.devices: list[str] = []
        self.tokens: list[Token] = []

    async def login(self, device: str) -> None:
        self.devices.append(device)
        await self._issue(len(self.devices) - 1)

    async def renew(self, number: int) -> None:
        session = number % max(len(self.devices), 1)
        if any(token.session == session and not token.over for token in self.tokens):
            await self._issue(session)

    async def everywhere(self, _: object) -> None:
        await self._end(pb.SIGN_OUT_EVERYWHERE, set(range(len(self.devices))))

    async def everywhere_but(self, session: int) -> None:
        others = set(range(len(self.devices))) - {session}
        await self._end(pb.PASSWORD_CHANGED, others, except_session_id=f"session-{session}")

    async def logout(self, session: int) -> None:
        await self._end(pb.LOGOUT, {session}, session_id=f"session-{session}")
        # It is not begun again: every login has a session of its own.
        self.devices += ["", ""][: max(session + 1 - len(self.devices), 0)]

    async def remove(self, device: str) -> None:
        ended = {session for session, name in enumerate(self.devices) if name == device}
        await self._end(pb.DEVICE_REMOVED, ended, esn=device)

    async def time(self, offset_s: float) -> None:
        """Go on at an instance whose clock is that far from the true time."""
        self.clock.now = START + offset_s

    async def covered(self, token: Token) -> bool:
        return (await self._revoked(token.session)).covers(token.issued_at)

    async def _issue(self, session: int) -> None:
        newest = (await self._revoked(session)).newest
        self.tokens.append(Token(session, max(int(self.clock.now), newest + 1)))

    async def _end(self, reason: pb.RevocationReason, sessions: set[int], **fields: str) -> None:
        await revoke(self.store, reason, self.id, **fields)
        for token in self.tokens:
            token.over = token.over or token.session in sessions

    async def _revoked(self, session: int) -> Revoked:
        return await self.store.revoked(self.id, f"session-{session}", self.devices[session])


_half = CONFIG.margin_s / 2
_actions = st.one_of(
    st.tuples(st.sampled_from(["login", "remove"]), st.sampled_from(["A", "B"])),
    st.tuples(st.sampled_from(["renew", "everywhere", "everywhere_but"]), st.integers(0, 4)),
    st.tuples(st.just("logout"), st.integers(0, 1)),
    st.tuples(st.just("time"), st.floats(-_half, _half)),
)


@given(actions=st.lists(_actions, max_size=20))
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_c11_c12_exactly_what_was_issued_before_is_revoked_whatever_the_clocks_say(
    database_url: str, actions: list[tuple[str, object]]
) -> None:
    async def play(customer: Customer) -> None:
        for action, argument in actions:
            await getattr(customer, action)(argument)
        assert [await customer.covered(token) for token in customer.tokens] == [t.over for t in customer.tokens]

    its_clock = Clock()
    with opened(database_url, its_clock) as its_store:
        asyncio.run(play(Customer(its_store, its_clock)))
