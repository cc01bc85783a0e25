"""What a worker remembers of renewals, once a session was updated: nobody is given what was before."""

import asyncio

import pytest

from edge.contract.exchange import Exchange
from edge.contract.identity import DeviceIdentity, Level, Source, UserIdentity
from edge.contract.ports import CookiePair, Renew, RenewalOutcome, RenewedCookie
from edge.contract.session_changes import SessionChanges
from filters.renewals import Renewals
from tests.filters import test_rescheduling
from tests.filters.cookies import asking, pair_of
from tests.filters.test_rescheduling import DUE, EXPIRED, FULL, RING
from tests.tokens.rings import ENVIRONMENT, NAMES, claims
from tokens.cookie import Claims, open_insecure

CHILD = SessionChanges(profile_id="child")


class Sharing:
    """Other workers, which are told."""

    def __init__(self) -> None:
        self.replaced: list[tuple[bytes, RenewedCookie, float]] = []

    async def once(self, presented: bytes, renew: Renew, keep_s: float) -> RenewedCookie:
        return await renew()

    async def replace(self, presented: bytes, updated: RenewedCookie, keep_s: float) -> None:
        self.replaced.append((presented, updated, keep_s))


class Edge(test_rescheduling.Edge):
    """The filters of cookies of one worker among others, over a service that works."""

    def __init__(self, **limits: float) -> None:
        super().__init__(**limits)
        self.service.outcome = RenewalOutcome.RENEWED
        self.sharing = Sharing()
        self.renewals = self.renew._renewals
        self.renewals.shared = self.sharing

    async def asked(self, now: float) -> Exchange:
        """Take a request with the old token up to its origin."""
        return await self.inbound(asking(*FULL, now=now))

    async def given(self, exchange: Exchange) -> Claims | None:
        """Answer it once its renewal is over; return what the EdgeId says that its device is given, None for none."""
        if exchange.renewal is not None:
            await asyncio.wait({exchange.renewal})
        value = (await self.outbound(exchange)).get("EdgeId")
        return opened(value, exchange.now) if value else None

    async def update(
        self, since: bytes, now: float, changes: SessionChanges = CHILD, *, shown: bytes = FULL[0]
    ) -> bytes:
        """Update what the token that was shown has become by now; return what that has made of it."""
        was, self.service.outcome = self.service.outcome, RenewalOutcome.RENEWED
        updated = await self.service.update(since, changes)
        self.service.outcome = was
        assert updated.pair is not None
        await self.renewals.replace(shown, updated, now)
        return updated.pair.insecure


def opened(value: bytes, now: float) -> Claims:
    said = open_insecure(RING, NAMES, ENVIRONMENT, value, now)
    assert isinstance(said, Claims)
    return said


def updated() -> RenewedCookie:
    """Return what an update makes of the old token."""
    made = claims(generation=2)._replace(profile_id="child")
    return RenewedCookie(RenewalOutcome.RENEWED, CookiePair(*pair_of(made, RING), made.expires_at, made.generation))


async def renewed(exchange: Exchange) -> bytes:
    assert exchange.renewal is not None
    pair = (await exchange.renewal).pair
    assert pair is not None
    return pair.insecure


@pytest.mark.parametrize("now", [DUE, EXPIRED])
async def test_r4_who_waits_for_an_origin_while_the_session_is_updated_is_given_the_updated_pair(now: int) -> None:
    edge = Edge()
    waiting, updating = await edge.asked(now), await edge.asked(now)
    made = opened(await edge.update(await renewed(updating), now), now)
    assert await edge.given(waiting) == made
    assert (made.profile_id, made.generation, made.issued_at) == ("child", 3, now)
    assert waiting.actions == ["cookie:renewed"]


async def test_r4_who_shows_the_old_token_after_the_update_is_given_the_updated_pair_without_a_call() -> None:
    edge = Edge()
    made = await edge.update(await renewed(await edge.asked(EXPIRED)), EXPIRED)
    straggler = await edge.asked(EXPIRED)
    assert straggler.user is not None
    assert (straggler.user.profile_id, straggler.user.level) == ("child", Level.HIGH)
    assert await edge.given(straggler) == opened(made, EXPIRED)
    assert len(edge.service.renewals) == 1


async def test_r4_a_renewal_that_is_under_way_during_the_update_brings_the_updated_pair() -> None:
    edge = Edge()
    edge.service.gate.clear()
    waiting, made = await edge.asked(DUE), updated()
    await edge.service.called.wait()
    await edge.renewals.replace(FULL[0], made, DUE)
    edge.service.gate.set()
    assert made.pair is not None
    assert await edge.given(waiting) == opened(made.pair.insecure, DUE)
    assert waiting.actions == ["cookie:renewed"]


@pytest.mark.parametrize(
    ("outcome", "done"),
    [(RenewalOutcome.REVOKED, "cookie:revoked_meanwhile"), (RenewalOutcome.NOT_A_MEMBER, "cookie:cleared")],
)
async def test_a_definitive_end_of_a_renewal_stands_whatever_was_updated_meanwhile(
    outcome: RenewalOutcome, done: str
) -> None:
    edge = Edge()
    edge.service.outcome = outcome
    edge.service.gate.clear()
    waiting = await edge.asked(DUE)
    await edge.service.called.wait()
    await edge.renewals.replace(FULL[0], updated(), DUE)
    edge.service.gate.set()
    assert await edge.given(waiting) is None
    assert waiting.actions == [done]


async def test_r4_the_next_update_reaches_those_who_wait_since_before_the_first() -> None:
    edge = Edge()
    waiting, updating = await edge.asked(EXPIRED), await edge.asked(EXPIRED)
    first = await edge.update(await renewed(updating), EXPIRED)
    await edge.update(first, EXPIRED, SessionChanges(profile_id="another"), shown=first)
    given = await edge.given(waiting)
    assert given is not None
    assert given.profile_id == "another"


async def test_a_renewal_that_began_after_the_update_is_newer_than_it() -> None:
    edge = Edge()
    await edge.update(FULL[0], DUE)
    given = await edge.given(await edge.asked(DUE))
    assert given is not None
    assert given.issued_at == DUE


async def test_r4_where_the_renewal_cannot_be_done_those_who_wait_are_given_the_updated_pair() -> None:
    edge = Edge()
    edge.service.outcome = RenewalOutcome.UNAVAILABLE
    waiting, updating = await edge.asked(EXPIRED), await edge.asked(EXPIRED)
    assert waiting.stand_in is updating.stand_in is not None
    made = opened(await edge.update(FULL[0], EXPIRED), EXPIRED)
    assert (made.profile_id, made.expires_at) == ("child", EXPIRED)
    for exchange in (waiting, await edge.asked(EXPIRED)):
        assert await edge.given(exchange) == made
        assert exchange.actions == ["cookie:rescheduled"]


async def test_r4_what_stands_in_for_an_updated_token_says_what_the_updates_said() -> None:
    edge = Edge()
    edge.service.outcome = RenewalOutcome.UNAVAILABLE
    first = await edge.update(FULL[0], DUE)
    await edge.update(first, DUE, SessionChanges(device_type=8), shown=first)
    exchange = await edge.asked(EXPIRED)
    # The request itself is who its token says.
    assert exchange.user is not None
    assert (exchange.user.profile_id, exchange.user.rescheduled) == ("profile-1", True)
    given = await edge.given(exchange)
    assert given is not None
    assert (given.profile_id, given.device_type, given.rescheduled_count) == ("child", 8, 1)
    assert given.full_until == EXPIRED


async def test_an_update_is_shared_with_other_workers_unless_its_pair_has_expired() -> None:
    edge, made = Edge(overlap_s=7.0), updated()
    await edge.renewals.replace(FULL[0], made, EXPIRED - 1)
    await edge.renewals.replace(FULL[0], made, EXPIRED)
    await edge.renewals.replace(FULL[0], RenewedCookie(RenewalOutcome.UNAVAILABLE), DUE)
    assert edge.sharing.replaced == [(FULL[0], made, 7.0)]


async def test_r7_other_workers_are_told_whose_the_session_has_become_by_renewal_or_update() -> None:
    edge = Edge()
    edge.service.customer_id = edge.service.moved_to = 4712
    await renewed(await edge.asked(DUE))
    for moved_to, told in ((0, 4712), (4713, 4713)):
        made = RenewedCookie(RenewalOutcome.RENEWED, updated().pair, moved_to)
        await edge.renewals.replace(FULL[0], made, DUE)
        assert edge.sharing.replaced.pop()[1].moved_to == told


async def test_updates_are_remembered_up_to_a_bound_and_show_in_no_repr() -> None:
    renewals = Renewals()
    for number in range(5000):
        pair = CookiePair(b"canary-%d" % (number + 1), b"canary", EXPIRED, 2)
        await renewals.replace(b"canary-%d" % number, RenewedCookie(RenewalOutcome.RENEWED, pair), DUE)
    assert renewals.newest(b"canary-4995") is pair
    assert renewals.newest(b"canary-0") is None
    assert len(renewals._updated) <= 2048
    assert "canary" not in repr(renewals)


USER = UserIdentity(Source.COOKIE, Level.HIGH, 11, 12, profile_id="p", session_id="s")
DEVICE = DeviceIdentity(Source.COOKIE, Level.HIGH, "ESN", 3)


def test_what_changes_is_what_came_back_otherwise_than_it_was_sent() -> None:
    other = UserIdentity(Source.USER_CREDENTIALS, Level.HIGHEST, 11, 13, profile_id="", session_id="other")
    device = DeviceIdentity(Source.COOKIE, Level.LOW, "ESN", 4)
    assert SessionChanges.between(USER, other, DEVICE, device) == SessionChanges(
        account_owner_id=13, profile_id="", device_type=4
    )
    assert SessionChanges.between(USER, USER, DEVICE, DEVICE) == SessionChanges()
    assert SessionChanges.between(USER, None, DEVICE, None) == SessionChanges()
    assert SessionChanges.between(None, None, None, DEVICE) == SessionChanges(esn="ESN", device_type=3)
    low = UserIdentity(Source.COOKIE, Level.UNSPECIFIED, 12, 12, profile_id="p")
    assert SessionChanges.between(USER, low, None, None) == SessionChanges(customer_id=12, level=Level.LOW)
    assert "12" not in repr(SessionChanges(customer_id=12))
