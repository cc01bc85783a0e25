"""Updates of sessions: what a pair says changes, how long it lives does not; no older token brings back what was."""

import asyncio
from base64 import urlsafe_b64encode
from dataclasses import dataclass
from typing import NoReturn

import pytest
from edgepb.cookie.v1 import cookie_service_pb2 as pb
from edgepb.kms.v1 import kms_pb2
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from services.cookie.presented import Renewal
from services.cookie.renewal import Renewer
from services.cookie.revocation import Known
from services.cookie.session_update import SessionUpdate, full, unacceptable
from services.cookie.store import Store
from services.cookie.subscriber import Membership, Standing
from services.cookie.updating import Updater
from services.kit.database_calls import DatabaseUnavailable
from tests.services.databases import rows
from tests.services.sessions import (
    CONFIG,
    DAY,
    ISSUER,
    KEYS,
    START,
    Clock,
    Keys,
    Members,
    full_token,
    opened,
    renewed,
    revoke,
    stand_in_of,
    value,
)
from tests.tokens.rings import claims, ring_of, version
from tokens.cookie import Claims
from tokens.keys.ring import KeyRing

ALIVE = START - 100
FIELDS = ("customer_id", "account_owner_id", "profile_id", "esn", "device_type", "level")


def updater_of(store: Store, clock: Clock) -> Updater:
    return Updater(ISSUER, KEYS, store, clock, overlap_s=600)


def renewer_of(store: Store, clock: Clock) -> Renewer:
    return Renewer(ISSUER, KEYS, store, Members(), clock, overlap_s=600)


def request_of(insecure: bytes, **fields: int | str) -> pb.UpdateRequest:
    request = pb.UpdateRequest(insecure=insecure)
    for name, said in fields.items():
        setattr(request, name, said)
    return request


async def updated(updater: Updater, insecure: bytes, **fields: int | str) -> Claims:
    """Return what the pair says that a token is updated to."""
    update = await updater.update(request_of(insecure, **fields))
    assert (update.outcome, update.detail) == (pb.UPDATED, "")
    assert update.pair is not None
    made = ISSUER.open(KEYS.ring, update.pair.insecure, START)
    assert isinstance(made, Claims)
    assert (update.pair.expires_at, update.pair.generation) == (made.expires_at, made.generation)
    return made


async def test_an_update_changes_what_it_says_and_nothing_else_but_the_generation(store: Store, clock: Clock) -> None:
    token = full_token(ALIVE)._replace(profile_id="adult", level=2, device_type=3)
    made = await updated(updater_of(store, clock), value(token), profile_id="child")
    assert made == token._replace(profile_id="child", generation=2)


async def test_every_field_of_a_session_can_be_updated(store: Store, clock: Clock) -> None:
    said: dict[str, int | str] = {
        "customer_id": 2,
        "account_owner_id": 3,
        "profile_id": "p",
        "esn": "OTHER",
        "device_type": 9,
        "level": 1,
    }
    made = await updated(updater_of(store, clock), value(full_token(ALIVE)), **said)
    assert {name: getattr(made, name) for name in FIELDS} == said
    assert (made.session_id, made.generation) == ("session", 2)


async def test_an_update_is_no_renewal_and_the_pair_lives_no_longer_however_often_it_is_updated(
    store: Store, clock: Clock
) -> None:
    token = full_token(ALIVE)
    made = token
    for number in range(5):
        clock.now += 1000
        made = await updated(updater_of(store, clock), value(made), profile_id=f"profile-{number}")
    assert made.generation == 6
    assert (made.issued_at, made.renew_after, made.expires_at) == (
        token.issued_at, token.renew_after, token.expires_at,
    )  # fmt: skip


async def test_an_expired_token_is_updated_and_stays_expired(store: Store, clock: Clock) -> None:
    made = await updated(updater_of(store, clock), value(full_token()), profile_id="child")
    assert made.expired(clock.now)
    assert (await renewed(renewer_of(store, clock), value(made), clock.now)).profile_id == "child"


@pytest.mark.parametrize(
    ("sealed", "asked", "made"), [(3, 3, 2), (3, None, 2), (2, 3, 2), (2, 1, 1), (1, 3, 1), (1, 1, 1)]
)
async def test_no_update_raises_a_level_and_highest_is_in_no_cookie(
    store: Store, clock: Clock, sealed: int, asked: int | None, made: int
) -> None:
    token = full_token(ALIVE)._replace(level=sealed)
    fields = {} if asked is None else {"level": asked}
    assert (await updated(updater_of(store, clock), value(token), **fields)).level == made


async def test_a_level_that_was_lowered_is_not_got_back_with_an_older_token(store: Store, clock: Clock) -> None:
    old = value(full_token(ALIVE)._replace(level=2))
    await updated(updater_of(store, clock), old, level=1)
    for _ in range(2):
        assert (await renewed(renewer_of(store, clock), old, clock.now)).level == 1
        assert (await updated(updater_of(store, clock), old, level=3)).level == 1


async def test_an_update_that_changes_nothing_makes_a_pair_and_remembers_nothing(
    store: Store, clock: Clock, database_url: str
) -> None:
    token = full_token(ALIVE)._replace(profile_id="adult")
    made = await updated(updater_of(store, clock), value(token), profile_id="adult", customer_id=1, level=3)
    assert made == token._replace(generation=2, level=2)
    assert rows(database_url, "SELECT * FROM session_updates") == []


# What is presented.


_values = st.binary(max_size=300)
_ours = _values.map(lambda raw: urlsafe_b64encode(b"\x01\0\0\0\x01" + raw).rstrip(b"="))  # as under our key


@given(insecure=st.one_of(_values, _values.map(urlsafe_b64encode), _ours))
@settings(max_examples=50)
def test_c1_what_is_no_token_of_ours_is_refused_unseen_by_the_database(insecure: bytes) -> None:
    updater = Updater(ISSUER, KEYS, Untouched(), Clock(), overlap_s=600)
    assert asyncio.run(updater.update(request_of(insecure, profile_id="p"))).outcome == pb.REFUSED


class Untouched:
    """A memory that nobody may ask."""

    async def known(self, customer_id: int, session_id: str, esn: str) -> Known:
        raise AssertionError

    async def remember_rescheduled_renewal(self, session_id: str, generation: int) -> None:
        raise AssertionError

    async def succeed_rescheduled_renewals(self, session_id: str, generation: int) -> None:
        raise AssertionError

    async def remember_update(self, session_id: str, update: SessionUpdate) -> None:
        raise AssertionError


async def test_a_token_of_no_user_is_refused(clock: Clock) -> None:
    token = value(full_token(ALIVE)._replace(customer_id=0))
    updater = Updater(ISSUER, KEYS, Untouched(), clock, overlap_s=600)
    assert await updater.update(request_of(token, customer_id=1)) == Renewal(pb.REFUSED, "no_user")


async def test_k4_a_token_under_a_key_that_may_be_newer_than_ours_is_not_called_forged(clock: Clock) -> None:
    class Old(Keys):
        ring: KeyRing = ring_of(version(7))

        async def current(self) -> bool:
            return False

    updater = Updater(ISSUER, Old(), Untouched(), clock, overlap_s=600)
    update = await updater.update(request_of(value(full_token(ALIVE)), profile_id="p"))
    assert update.outcome == pb.UNAVAILABLE


@pytest.mark.parametrize(
    ("reason", "fields"),
    [
        (pb.SIGN_OUT_EVERYWHERE, {}),
        (pb.PASSWORD_CHANGED, {}),
        (pb.LOGOUT, {"session_id": "session"}),
        (pb.DEVICE_REMOVED, {"esn": "ESN"}),
    ],
)
async def test_c11_a_revoked_token_is_not_updated_and_what_it_asked_for_is_forgotten(
    store: Store, clock: Clock, database_url: str, reason: pb.RevocationReason, fields: dict[str, str]
) -> None:
    token = full_token(ALIVE)
    await revoke(store, reason, 1, **fields)
    for presented in (value(token), stand_in_of(token, START)):
        update = await updater_of(store, clock).update(request_of(presented, profile_id="p", customer_id=2))
        assert update == Renewal(pb.REVOKED)
    assert rows(database_url, "SELECT * FROM session_updates") == []


async def test_c11_the_session_that_a_password_change_spares_is_updated_and_stays_spared(
    store: Store, clock: Clock
) -> None:
    token = full_token(ALIVE)
    await revoke(store, pb.PASSWORD_CHANGED, except_session_id="session")
    made = await updated(updater_of(store, clock), value(token), profile_id="p")
    assert made.issued_at == token.issued_at
    assert (await renewed(renewer_of(store, clock), value(made), clock.now)).profile_id == "p"


# Rescheduled tokens.


async def test_rule_15_what_is_made_of_a_rescheduled_token_is_as_old_as_the_full_one_it_stands_for(
    store: Store, clock: Clock
) -> None:
    token = full_token()
    stand_in = stand_in_of(token.rescheduled(START - 300, 300, 0), START)
    made = await updated(updater_of(store, clock), stand_in, profile_id="child")
    assert (made.generation, made.profile_id, made.rescheduled_count) == (2, "child", 0)
    assert (made.issued_at, made.expires_at) == (token.issued_at, token.expires_at)
    assert made.expired(clock.now)
    # As before: due, renewed when the services are back, covered by what was revoked since the full token.
    assert (await renewed(renewer_of(store, clock), value(made), clock.now)).profile_id == "child"
    await revoke(store, pb.SIGN_OUT_EVERYWHERE)
    assert (await renewer_of(store, clock).renew(value(made))).outcome == pb.REVOKED


async def test_r5_s7_a_rescheduled_token_that_was_updated_is_used_up_once_its_owner_shows_what_came_of_that(
    store: Store, clock: Clock
) -> None:
    updater, renewer, stand_in = updater_of(store, clock), renewer_of(store, clock), stand_in_of(full_token(), START)
    made = await updated(updater, stand_in, profile_id="child")
    clock.now += DAY
    assert (await renewed(renewer, stand_in, clock.now)).profile_id == "child"  # the answer may have been lost
    await updated(updater, value(made), profile_id="another")
    clock.now += 601
    assert await renewer.renew(stand_in) == Renewal(pb.REFUSED, "reused")
    assert await updater.update(request_of(stand_in, profile_id="p")) == Renewal(pb.REFUSED, "reused")


# Older tokens.


async def test_r4_no_older_token_of_the_session_brings_back_what_was_before_the_update(
    store: Store, clock: Clock
) -> None:
    updater, renewer = updater_of(store, clock), renewer_of(store, clock)
    old = full_token(ALIVE)._replace(profile_id="adult")
    renewed_before = await renewed(renewer, value(old), clock.now)
    older = old._replace(issued_at=old.issued_at - 7200, generation=0)
    await updated(updater, value(old), profile_id="child", device_type=8)
    clock.now += 30 * DAY
    for straggler in (value(old), value(renewed_before), value(older), stand_in_of(older, clock.now)):
        made = await renewed(renewer, straggler, clock.now)
        assert (made.profile_id, made.device_type, made.esn) == ("child", 8, "ESN")
    # The last word counts, whichever token it came with.
    await updated(updater, value(old), profile_id="another")
    assert (await renewed(renewer, value(renewed_before), clock.now)).profile_id == "another"


async def test_r4_an_update_with_an_older_token_keeps_what_others_said_meanwhile(store: Store, clock: Clock) -> None:
    updater, old = updater_of(store, clock), value(full_token(ALIVE)._replace(profile_id="adult"))
    await updated(updater, old, profile_id="child")
    made = await updated(updater, old, device_type=8)
    assert (made.profile_id, made.device_type) == ("child", 8)


async def test_another_session_is_not_touched(store: Store, clock: Clock) -> None:
    other = full_token(ALIVE)._replace(session_id="other", profile_id="adult")
    await updated(updater_of(store, clock), value(full_token(ALIVE)), profile_id="child", customer_id=2)
    assert (await renewed(renewer_of(store, clock), value(other), clock.now)).profile_id == "adult"


async def test_what_instances_say_at_once_of_different_fields_is_all_remembered(
    clock: Clock, database_url: str
) -> None:
    old = value(full_token(ALIVE))
    said: list[dict[str, int | str]] = [{"profile_id": "p"}, {"device_type": 8}, {"level": 1}, {"esn": "OTHER"}]
    with opened(database_url, clock) as one, opened(database_url, clock) as another:
        updaters = [updater_of(store, clock) for store in (one, another)]
        # As they were read before the first of them was remembered.
        requests = [(updater, fields) for fields in said for updater in updaters]
        await asyncio.gather(*(updated(updater, old, **fields) for updater, fields in requests))
        made = await renewed(renewer_of(one, clock), old, clock.now)
    assert (made.profile_id, made.device_type, made.level, made.esn) == ("p", 8, 1, "OTHER")


async def test_updates_are_remembered_for_as_long_as_configured_from_the_last_one_on(
    store: Store, clock: Clock
) -> None:
    updater, old = updater_of(store, clock), full_token(ALIVE)._replace(profile_id="adult")
    await updated(updater, value(old), profile_id="child")
    clock.now += CONFIG.keep_s
    await updated(updater, value(old), device_type=8)
    clock.now += CONFIG.keep_s
    assert await store.prune(CONFIG.keep_s, CONFIG.keep_s) == 0
    assert (await renewed(renewer_of(store, clock), value(old), clock.now)).profile_id == "child"
    clock.now += 1
    assert await store.prune(CONFIG.keep_s, CONFIG.keep_s) == 1
    assert (await renewed(renewer_of(store, clock), value(old), clock.now)).profile_id == "adult"


# Another customer, another device.


@dataclass(slots=True)
class Asked:
    """A subscriber service that knows some members, and who was asked for."""

    members: frozenset[int]
    asked: list[int]

    async def membership(self, customer_id: int) -> Membership:
        self.asked.append(customer_id)
        standing = Standing.MEMBER if customer_id in self.members else Standing.NOT_A_MEMBER
        return Membership(standing, customer_id + 100)


async def test_an_older_token_of_a_session_that_has_become_anothers_is_renewed_as_theirs(
    store: Store, clock: Clock
) -> None:
    old = value(full_token(ALIVE))
    made = await updated(updater_of(store, clock), old, customer_id=2, account_owner_id=9, profile_id="p")
    subscribers = Asked(frozenset({2}), [])
    renewer = Renewer(ISSUER, KEYS, store, subscribers, clock, overlap_s=600)
    renewal = await renewer.renew(old)
    assert (renewal.outcome, renewal.moved_to, subscribers.asked) == (pb.RENEWED, 2, [1, 2])
    theirs = ISSUER.open(KEYS.ring, renewal.pair.insecure if renewal.pair else b"", clock.now)
    assert isinstance(theirs, Claims)
    assert (theirs.customer_id, theirs.account_owner_id, theirs.profile_id) == (2, 102, "p")
    again = await renewer.renew(value(made))
    assert (again.outcome, again.moved_to) == (pb.RENEWED, 0)
    subscribers.members = frozenset({1})
    assert await renewer.renew(old) == Renewal(pb.NOT_A_MEMBER)


@pytest.mark.parametrize("moved", [{"customer_id": 2}, {"customer_id": 2, "esn": "OTHER"}])
async def test_c11_what_was_revoked_of_the_new_customer_before_ends_nothing_and_what_is_revoked_after_does(
    store: Store, clock: Clock, moved: dict[str, int | str]
) -> None:
    updater, renewer = updater_of(store, clock), renewer_of(store, clock)
    token = full_token(ALIVE)
    before = await revoke(store, pb.SIGN_OUT_EVERYWHERE, customer_id=2)
    made = await updated(updater, value(token), **moved)
    assert made.issued_at == before.revoked_at + 1
    assert (made.renew_after, made.expires_at) == (token.renew_after, token.expires_at)
    for presented in (value(token), value(made)):
        assert (await renewer.renew(presented)).outcome == pb.RENEWED
    clock.now += 60
    await revoke(store, pb.LOGOUT, customer_id=2, session_id="session")
    for presented in (value(token), value(made)):
        assert await renewer.renew(presented) == Renewal(pb.REVOKED)
        assert await updater.update(request_of(presented, profile_id="p")) == Renewal(pb.REVOKED)


async def test_c11_a_session_that_its_new_customer_has_left_is_not_moved_there_again(
    store: Store, clock: Clock, database_url: str
) -> None:
    token = full_token(ALIVE)
    await revoke(store, pb.LOGOUT, customer_id=2, session_id="session")
    assert await updater_of(store, clock).update(request_of(value(token), customer_id=2)) == Renewal(pb.REVOKED)
    assert rows(database_url, "SELECT * FROM session_updates") == []


async def test_an_expired_token_that_changes_hands_gets_no_life_but_the_second_that_a_token_must_have(
    store: Store, clock: Clock
) -> None:
    before = await revoke(store, pb.SIGN_OUT_EVERYWHERE, customer_id=2)
    made = await updated(updater_of(store, clock), value(full_token()), customer_id=2)
    assert (made.issued_at, made.expires_at) == (before.revoked_at + 1, before.revoked_at + 2)


async def test_c11_a_device_that_was_removed_under_its_new_number_before_is_good_and_ends_when_it_is_removed_again(
    store: Store, clock: Clock
) -> None:
    updater, renewer, token = updater_of(store, clock), renewer_of(store, clock), full_token(ALIVE)
    await revoke(store, pb.DEVICE_REMOVED, esn="NEW")
    made = await updated(updater, value(token), esn="NEW")
    assert (await renewed(renewer, value(token), clock.now)).esn == "NEW"
    clock.now += 60
    await revoke(store, pb.DEVICE_REMOVED, esn="NEW")
    for presented in (value(token), value(made)):
        assert await renewer.renew(presented) == Renewal(pb.REVOKED)


# What cannot be found out, or remembered.


class Forgetful(Untouched):
    """A memory that knows, and cannot remember updates."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def known(self, customer_id: int, session_id: str, esn: str) -> Known:
        return await self._store.known(customer_id, session_id, esn)

    async def remember_update(self, session_id: str, update: SessionUpdate) -> None:
        raise DatabaseUnavailable("timeout")


class Away(Untouched):
    """A database that cannot be asked."""

    async def known(self, customer_id: int, session_id: str, esn: str) -> NoReturn:
        raise DatabaseUnavailable("OperationalError")


async def test_no_pair_is_made_while_what_it_says_cannot_be_remembered(store: Store, clock: Clock) -> None:
    updater = Updater(ISSUER, KEYS, Forgetful(store), clock, overlap_s=600)
    update = await updater.update(request_of(value(full_token(ALIVE)), profile_id="p"))
    assert update == Renewal(pb.UNAVAILABLE, "database: timeout")


async def test_no_pair_is_made_while_it_cannot_be_said_what_is_revoked(clock: Clock) -> None:
    updater = Updater(ISSUER, KEYS, Away(), clock, overlap_s=600)
    update = await updater.update(request_of(value(full_token(ALIVE)), profile_id="p"))
    assert update == Renewal(pb.UNAVAILABLE, "database: OperationalError")


async def test_without_a_key_to_seal_with_nothing_is_made_or_remembered(
    store: Store, clock: Clock, database_url: str
) -> None:
    class Retired(Keys):
        ring: KeyRing = ring_of(version(1, kms_pb2.DEACTIVATED, primary=False))

    updater = Updater(ISSUER, Retired(), store, clock, overlap_s=600)
    update = await updater.update(request_of(value(full_token(ALIVE)), profile_id="p"))
    assert update == Renewal(pb.UNAVAILABLE, "no_sealing_key")
    assert rows(database_url, "SELECT * FROM session_updates") == []


# What is asked for.


@pytest.mark.parametrize(
    ("field", "said"),
    [
        ("customer_id", 0),
        ("customer_id", -1),
        ("account_owner_id", -1),
        ("profile_id", "é" * 65),
        ("profile_id", "a\0b"),
        ("esn", "E" * 257),
        ("esn", "\0"),
        ("device_type", -1),
        ("level", 0),
        ("level", -1),
        ("level", 4),
    ],
)
def test_what_no_cookie_may_carry_is_named(field: str, said: int | str) -> None:
    assert unacceptable(request_of(b"", profile_id="p", customer_id=1)) == ""
    assert unacceptable(request_of(b"", **{field: said})) == field


_requests = st.fixed_dictionaries(
    {},
    optional={
        "customer_id": st.integers(-1, 2**63 - 1),
        "account_owner_id": st.integers(-1, 2**63 - 1),
        "profile_id": st.text(max_size=130),
        "esn": st.text(max_size=260),
        "device_type": st.integers(-1, 2**31 - 1),
        "level": st.integers(-1, 4),
    },
)


@given(said=_requests)
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_is_acceptable_is_made_remembered_and_opened_again(
    database_url: str, said: dict[str, int | str]
) -> None:
    assume(not unacceptable(request_of(b"", **said)))
    its_clock = Clock()

    async def play(store: Store) -> None:
        old = value(full_token(ALIVE)._replace(session_id=f"session {sorted(said.items())}"))
        made = await updated(updater_of(store, its_clock), old, **said)
        again = await renewed(renewer_of(store, its_clock), old, its_clock.now)
        for name in set(said) - {"account_owner_id", "level"}:
            assert getattr(made, name) == getattr(again, name) == said[name]
        assert again.level in {made.level, 3}  # a renewal keeps what was sealed at the sign-in

    with opened(database_url, its_clock) as its_store:
        asyncio.run(play(its_store))


def test_the_full_token_of_a_rescheduled_one_is_what_it_was_made_of() -> None:
    token = claims()
    due_at_once = token._replace(renew_after=token.issued_at)  # when it was due is not known any more
    stand_in = token.rescheduled(token.expires_at + 5, 300, 60)
    assert full(stand_in) == due_at_once
    assert full(stand_in.rescheduled(token.expires_at + 400, 300, 60)) == due_at_once
    assert full(token) is token
