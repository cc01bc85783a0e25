"""Where a renewal cannot be done: the user stays, the device gets a pair for a short time, and nobody gains by it."""

import asyncio
from dataclasses import replace

import pytest

from edge.clients.sign_outs import SignOuts
from edge.contract.change import Revoked, TokenChange, TokenEffect
from edge.contract.exchange import Exchange, TokenKind
from edge.contract.filters import CONTINUE, Refuse
from edge.contract.identity import Level
from edge.contract.ports import CookiePair, RenewalOutcome, Revocation, RevocationReason
from edge.guard.revoked import RevokedTokens
from filters.adapters.cookie import CookieAdapter
from filters.inbound.authorise import AuthoriseFilter
from filters.inbound.cookie import CookieFilter
from filters.inbound.renew import RenewalLimits, RenewFilter
from filters.outbound.tokens import TokensFilter
from filters.renewals import Renewals
from tests.filters.cookies import CookieServiceAtThePort, Rings, asking, pair_of
from tests.filters.exchanges import ANYBODY, with_response
from tests.tokens.rings import ENVIRONMENT, NAMES, NOW, both_rings, claims
from tokens.cookie import Claims, open_pair
from tokens.set_cookie import CookieAttributes

EXPIRED = NOW + 14_400
SOON = EXPIRED + 60
DUE = NOW + 8000
RING = both_rings()
FULL = pair_of(claims(), RING)
GONE = {"EdgeId": b"", "SecureEdgeId": b""}
LOGOUT = TokenChange(TokenEffect.CLEAR, None, None, frozenset({Revoked.SESSION}))


class Edge:
    """All three filters of cookies of one worker, over a service at the port. Chance always says `chance`."""

    def __init__(self, chance: float = 0.5, **limits: float) -> None:
        self.rings = Rings(RING)
        self.service = CookieServiceAtThePort(self.rings)
        self.service.outcome = RenewalOutcome.UNAVAILABLE
        self.cookie = CookieFilter(self.rings, NAMES, ENVIRONMENT, 100)
        bounds = RenewalLimits(**limits)  # type: ignore[arg-type]
        renewals = Renewals()
        self.renew = RenewFilter(
            self.service, self.rings, NAMES, ENVIRONMENT, bounds, renewals=renewals, random=lambda: chance
        )
        self.sign_outs = SignOuts(self.service)
        cookie = CookieAdapter(CookieAttributes(NAMES), self.service, renewals, self._session_of, wait_s=0.01)
        self.tokens = TokensFilter({TokenKind.COOKIE: cookie}, self.sign_outs)

    def _session_of(self, pair: CookiePair, customer_id: int, now: float) -> str | None:
        opened = open_pair(RING, NAMES, ENVIRONMENT, (pair.insecure, pair.secure), now)
        return opened.session_id if isinstance(opened, Claims) and opened.customer_id == customer_id else None

    async def inbound(self, exchange: Exchange) -> Exchange:
        self.service.now = int(exchange.now)
        assert self.cookie.inbound(exchange) is CONTINUE
        verdict = self.renew.inbound(exchange)
        assert (await verdict if asyncio.iscoroutine(verdict) else verdict) is CONTINUE
        return exchange

    async def outbound(self, exchange: Exchange) -> dict[str, bytes]:
        """Return the cookies that the response sets."""
        with_response(exchange)
        verdict = self.tokens.outbound(exchange)
        assert (await verdict if asyncio.iscoroutine(verdict) else verdict) is CONTINUE
        assert exchange.response is not None
        lines = exchange.response.headers.get_all(b"set-cookie")
        return {name.decode(): rest.split(b";")[0] for name, _, rest in (line.partition(b"=") for line in lines)}

    async def run(self, pair: tuple[bytes, bytes], now: float, **others: object) -> tuple[Exchange, Claims | None]:
        """Return the exchange and what the pair says that its device was given."""
        exchange = await self.inbound(asking(*pair, now=now, **others))  # type: ignore[arg-type]
        cookies = await self.outbound(exchange)
        if not cookies:
            return exchange, None
        given = open_pair(RING, NAMES, ENVIRONMENT, (cookies["EdgeId"], cookies["SecureEdgeId"]), now)
        assert isinstance(given, Claims)
        return exchange, given


async def test_an_expired_token_is_honoured_at_its_level_and_replaced_for_a_short_time() -> None:
    exchange, given = await Edge().run(FULL, SOON)
    assert exchange.user is not None
    assert (exchange.user.level, exchange.user.rescheduled) == (Level.HIGH, True)
    assert exchange.resolution == ("cookie", "unavailable", "remote")
    assert exchange.actions == ["cookie:rescheduled"]
    assert given is not None
    assert (given.rescheduled_count, given.rescheduled_since, given.full_until) == (1, SOON, EXPIRED)
    assert (given.renew_after, given.expires_at) == (SOON + 150, SOON + 300)


@pytest.mark.parametrize("ahead_s", [86_400, 3600, 61])
async def test_c10_a_stand_in_of_a_clock_that_was_ahead_signs_nobody_out(ahead_s: int) -> None:
    """A full token from the future is refused; what an edge gave in an outage of its own clock is renewed first."""
    edge = Edge()
    _, given = await edge.run(FULL, SOON + ahead_s)
    assert given is not None
    stand_in = pair_of(given, RING)
    for worker in (edge, Edge()):
        exchange, again = await worker.run(stand_in, SOON)  # the clock is right again, and the service still away
        assert exchange.user is not None
        assert exchange.resolution == ("cookie", "unavailable", "remote")
        assert again is not None
        assert (again.issued_at, again.rescheduled_count) == (SOON, 2)
        worker.service.outcome = RenewalOutcome.RENEWED
        fresh = Edge()
        fresh.service.outcome = RenewalOutcome.RENEWED
        exchange, full = await fresh.run(stand_in, SOON)
        assert exchange.resolution == ("cookie", "renewed", "remote")
        assert full is not None
        assert (full.rescheduled_count, full.generation) == (0, claims().generation + 1)


@pytest.mark.parametrize(("chance", "life_s"), [(0.0, 240), (1.0, 360)])
async def test_its_life_has_jitter_and_its_renewal_is_due_at_any_time_of_it(chance: float, life_s: int) -> None:
    _, given = await Edge(chance).run(FULL, SOON)
    assert given is not None
    assert given.expires_at - SOON == life_s
    assert given.renew_after - SOON == life_s * chance


async def test_the_edge_id_alone_is_replaced_alone_and_stays_low() -> None:
    edge = Edge()
    exchange = await edge.inbound(asking(FULL[0], now=SOON))
    assert exchange.user is not None
    assert exchange.user.level is Level.LOW
    assert list(await edge.outbound(exchange)) == ["EdgeId"]


async def test_rule_14_it_counts_on_and_is_never_a_sign_out_however_often_and_old() -> None:
    edge, pair, now = Edge(), FULL, float(SOON)
    for count in range(1, 40):
        exchange, given = await edge.run(pair, now)
        assert exchange.user is not None
        assert exchange.user.customer_id == 4711
        assert given is not None
        assert (given.rescheduled_count, given.rescheduled_since, given.full_until) == (count, SOON, EXPIRED)
        assert exchange.rescheduled_count == count
        pair, now = pair_of(given, RING), given.expires_at + 3600.0 * count
    assert now - EXPIRED > 30 * 86_400


async def test_r10_past_the_routes_staleness_the_user_is_low_and_a_route_that_needs_more_refuses() -> None:
    edge = Edge()
    strict = replace(ANYBODY, user=Level.HIGH, max_staleness_s=600.0)
    for now, level in ((EXPIRED + 600, Level.HIGH), (EXPIRED + 601, Level.LOW)):
        exchange, given = await edge.run(FULL, now, auth=strict)
        assert exchange.user is not None
        assert exchange.user.level is level
        verdict = AuthoriseFilter().inbound(exchange)
        assert (verdict is CONTINUE) is (level is Level.HIGH)
        assert level is Level.HIGH or isinstance(verdict, Refuse)
        assert given is not None
        # What stands in for it earns no more than it does.
        again, _ = await edge.run(pair_of(given, RING), now, auth=strict)
        assert again.user is not None
        assert (again.user.level, again.user.rescheduled) == (level, True)
        assert again.resolution == ("cookie", "rescheduled", "local")


async def test_rule_14_a_payment_route_takes_no_stand_in_at_all() -> None:
    _, given = await Edge().run(FULL, SOON)
    assert given is not None
    payment = replace(ANYBODY, user=Level.HIGH, max_staleness_s=0.0)
    exchange, _ = await Edge().run(pair_of(given, RING), SOON, auth=payment)
    assert isinstance(AuthoriseFilter().inbound(exchange), Refuse)


async def test_rule_15_a_stand_in_that_is_due_is_renewed_beside_the_call_and_an_expired_one_first() -> None:
    edge = Edge()
    _, given = await edge.run(FULL, SOON)
    assert given is not None
    stand_in = pair_of(given, RING)
    edge.service.outcome = RenewalOutcome.RENEWED
    early, nothing = await edge.run(stand_in, given.renew_after - 1)
    assert (early.renewal, nothing) == (None, None)
    _, beside = await edge.run(stand_in, given.renew_after)
    another_worker = Edge()
    another_worker.service.outcome = RenewalOutcome.RENEWED
    _, after = await another_worker.run(stand_in, given.expires_at)
    for full in (beside, after):
        assert full is not None
        assert (full.rescheduled_count, full.generation) == (0, claims().generation + 1)


async def test_s4_all_who_show_the_token_get_one_stand_in_after_one_call() -> None:
    edge = Edge()
    edge.service.gate.clear()
    waiting = [asyncio.ensure_future(edge.inbound(asking(*FULL, now=SOON))) for _ in range(50)]
    await edge.service.called.wait()
    edge.service.gate.set()
    exchanges = await asyncio.gather(*waiting)
    later = await edge.inbound(asking(*FULL, now=SOON + 100))
    assert later.resolution == ("cookie", "unavailable", "local")
    assert len({id(exchange.stand_in) for exchange in [*exchanges, later]}) == 1
    assert len(edge.service.renewals) == 1


async def test_the_token_is_tried_again_once_its_stand_in_is_due() -> None:
    edge = Edge()
    await edge.run(FULL, SOON)
    edge.service.outcome = RenewalOutcome.RENEWED
    _, given = await edge.run(FULL, SOON + 150)
    assert given is not None
    assert given.rescheduled_count == 0


async def test_r4_who_waited_for_the_origin_gets_the_newer_pair_and_not_the_stand_in() -> None:
    edge = Edge()
    slow = await edge.inbound(asking(*FULL, now=SOON))
    edge.service.outcome = RenewalOutcome.RENEWED
    quick = await edge.inbound(asking(*FULL, now=SOON + 150))
    assert await edge.outbound(slow) == await edge.outbound(quick)
    assert slow.actions == ["cookie:renewed"]


@pytest.mark.parametrize(
    ("outcome", "set_late", "done"),
    [
        (RenewalOutcome.NOT_A_MEMBER, GONE, "cookie:cleared"),
        (RenewalOutcome.REVOKED, {}, "cookie:revoked_meanwhile"),
    ],
)
async def test_s5_a_definitive_answer_that_comes_late_ends_the_session_after_all(
    outcome: RenewalOutcome, set_late: dict[str, bytes], done: str
) -> None:
    edge = Edge(wait_s=0.01)
    edge.service.gate.clear()
    edge.service.outcome = outcome
    exchange = await edge.inbound(asking(*FULL, now=SOON))
    assert exchange.stand_in is not None
    assert exchange.renewal is not None
    edge.service.gate.set()
    await exchange.renewal
    assert await edge.outbound(exchange) == set_late
    assert exchange.actions == [done]
    again = await edge.inbound(asking(*FULL, now=SOON))
    assert again.user is None
    assert await edge.outbound(again) == GONE


async def test_r4_a_late_word_of_a_revocation_leaves_a_session_that_has_begun_meanwhile() -> None:
    edge = Edge()
    edge.service.outcome = RenewalOutcome.REVOKED
    edge.service.gate.clear()
    slow = await edge.inbound(asking(*FULL, now=DUE))  # meanwhile another request of the device resets the password
    assert slow.user is not None
    assert slow.renewal is not None
    edge.service.gate.set()
    await slow.renewal
    assert await edge.outbound(slow) == {}
    assert slow.actions == ["cookie:revoked_meanwhile"]
    begun = claims(session_id="begun", issued_at=DUE)
    after = await edge.inbound(asking(*pair_of(begun, RING), now=DUE + 1))
    assert after.user is not None
    assert await edge.outbound(after) == {}


async def test_r4_a_long_poll_that_was_honoured_leaves_a_session_that_has_begun_meanwhile() -> None:
    """Also with an expired token: the one who was honoured looks to the device as valid as any other."""
    edge = Edge()
    slow = await edge.inbound(asking(*FULL, now=SOON))
    assert slow.user is not None
    assert slow.user.level is Level.HIGH
    edge.service.outcome = RenewalOutcome.REVOKED
    other = await edge.inbound(asking(*FULL, now=SOON + 150))  # beside the one that begins a session
    assert (other.user, await edge.outbound(other)) == (None, GONE)
    assert await edge.outbound(slow) == {}
    assert slow.actions == ["cookie:revoked_meanwhile"]
    again = await edge.inbound(asking(*FULL, now=SOON + 151))
    assert (again.user, again.resolution) == (None, ("cookie", "revoked", "local"))
    assert await edge.outbound(again) == GONE


def test_d9_what_is_remembered_of_revoked_tokens_is_bounded() -> None:
    renewals = Renewals()
    assert not Renewals().any_revoked
    for number in range(20_000):
        renewals.revoke(b"canary-%d" % number)
    assert renewals.any_revoked
    assert renewals.is_revoked(b"canary-19999")
    assert not renewals.is_revoked(b"canary-0")
    assert len(renewals._revoked) <= 8192
    assert "canary" not in repr(renewals)


@pytest.mark.parametrize("overlap_s", [10.0, 0.0])
async def test_r10_who_shows_a_token_again_that_a_renewal_beside_found_revoked_is_out_at_once(overlap_s: float) -> None:
    edge = Edge(overlap_s=overlap_s)
    edge.service.outcome = RenewalOutcome.REVOKED
    first = await edge.inbound(asking(*FULL, now=DUE))
    assert first.renewal is not None
    await first.renewal
    for now in (DUE, DUE + 1, EXPIRED - 1, SOON):
        again = await edge.inbound(asking(*FULL, now=now))
        assert (again.user, again.resolution[1]) == (None, "revoked")
        assert again.device is not None
        assert await edge.outbound(again) == GONE
    assert len(edge.service.renewals) == 1


@pytest.mark.parametrize("outcome", [RenewalOutcome.NOT_A_MEMBER, RenewalOutcome.REVOKED])
async def test_a_member_who_left_is_out_at_the_next_renewal_also_if_the_edge_once_rescheduled(
    outcome: RenewalOutcome,
) -> None:
    edge = Edge()
    _, given = await edge.run(FULL, SOON)
    assert given is not None
    edge.service.outcome = outcome
    exchange = await edge.inbound(asking(*pair_of(given, RING), now=given.expires_at))
    assert exchange.user is None
    assert await edge.outbound(exchange) == GONE


async def test_a_due_token_whose_renewal_failed_is_put_off_to_a_random_time_of_its_life() -> None:
    edge = Edge(chance=0.25)
    exchange, nothing = await edge.run(FULL, DUE)
    assert exchange.renewal is not None
    assert nothing is None
    put_off_until = DUE + (EXPIRED - DUE) * 0.25
    for now, calls in ((DUE + 1, 1), (put_off_until - 1, 1), (put_off_until, 2)):
        await edge.run(FULL, now)
        assert len(edge.service.renewals) == calls


async def test_s2_a_token_near_its_end_is_not_tried_ever_more_often() -> None:
    edge = Edge(chance=0.25)
    for now, calls in ((EXPIRED - 40, 1), (EXPIRED - 40 + 0.25 * 40, 1), (EXPIRED - 1, 1), (EXPIRED, 2)):
        await edge.run(FULL, now)
        assert len(edge.service.renewals) == calls, now


async def test_d9_what_is_remembered_of_failures_is_bounded() -> None:
    edge = Edge(remembered=10)
    for number in range(50):
        await edge.run(pair_of(claims(customer_id=number + 1), RING), SOON)
        await edge.run(pair_of(claims(customer_id=number + 1), RING), DUE)
    assert len(edge.renew._renewals.stand_ins) <= 20
    assert len(edge.renew._renewals.put_off) <= 20


async def test_without_a_key_to_seal_it_with_the_user_stays_and_nothing_is_set() -> None:
    edge = Edge()
    edge.rings.ring = Rings().ring
    exchange, given = await edge.run(pair_of(claims()), SOON)
    assert exchange.user is not None
    assert given is None


@pytest.mark.parametrize("bad", ["forged", "truncated", "of another environment"])
async def test_s6_rule_16_what_is_not_authentic_is_refused_and_never_rescheduled(bad: str) -> None:
    edge = Edge()
    texts = {
        "forged": FULL[0][:-4] + b"AAAA",
        "truncated": FULL[0][:80],
        "of another environment": FULL[0],
    }
    if bad == "of another environment":
        edge.cookie = CookieFilter(edge.rings, NAMES, "other", 100)
    exchange = asking(texts[bad], now=SOON)
    assert isinstance(edge.cookie.inbound(exchange), Refuse)
    assert edge.renew.inbound(exchange) is CONTINUE
    assert exchange.stand_in is None
    assert edge.service.renewals == []


async def test_a_stand_in_is_kept_by_no_cache_and_shown_in_no_repr() -> None:
    edge = Edge()
    exchange = await edge.inbound(asking(*FULL, now=SOON))
    cookies = await edge.outbound(exchange)
    assert exchange.response is not None
    assert exchange.response.headers.get_all(b"cache-control") == [b"no-store"]
    shown = repr(exchange.stand_in) + repr(exchange)
    assert cookies["EdgeId"].decode()[:20] not in shown


async def test_r10_a_revoked_user_is_out_at_once_also_when_expired_and_the_service_is_away() -> None:
    edge = Edge()
    revoked = RevokedTokens(86_400, 1000, NOW)
    edge.cookie = CookieFilter(edge.rings, NAMES, ENVIRONMENT, 100, revocations=revoked)
    _, given = await edge.run(FULL, SOON)
    assert given is not None
    stand_in = pair_of(given, RING)
    before = await edge.inbound(asking(*FULL, now=NOW + 5))
    assert before.user is not None
    revoked.customer(NOW, 4711, NOW + 10)
    calls = len(edge.service.renewals)
    for pair, now in ((FULL, NOW + 20), (FULL, SOON), (stand_in, SOON), (stand_in, SOON + 3600)):
        exchange = await edge.inbound(asking(*pair, now=now))
        assert (exchange.user, exchange.renewal, exchange.stand_in) == (None, None, None)
        assert exchange.device is not None
        assert exchange.resolution == ("cookie", "revoked", "local")
        assert await edge.outbound(exchange) == GONE
    assert len(edge.service.renewals) == calls
    assert edge.service.revoked == []
    after = await edge.inbound(asking(*pair_of(claims(issued_at=NOW + 11), RING), now=NOW + 20))
    assert after.user is not None


async def test_f4_a_token_that_is_remembered_is_asked_for_once_after_each_revocation() -> None:
    class Counting(RevokedTokens):
        asked = 0

        def covers(self, customer_id: int, session_id: str, esn: str, vouched_at: int) -> bool:
            self.asked += 1
            return super().covers(customer_id, session_id, esn, vouched_at)

    edge, revoked = Edge(), Counting(86_400, 1000, NOW)
    edge.cookie = CookieFilter(edge.rings, NAMES, ENVIRONMENT, 100, revocations=revoked)
    for customer in (1, 2):
        for _ in range(5):
            await edge.inbound(asking(*FULL, now=NOW + 5))
        revoked.customer(NOW, customer, NOW)
    assert revoked.asked == 2


async def test_c11_a_sign_out_revokes_its_session_beside_the_response() -> None:
    edge = Edge()
    exchange = await edge.inbound(asking(*FULL, now=NOW + 5))
    exchange.change = LOGOUT
    assert await edge.outbound(exchange) == GONE
    await edge.sign_outs.first_tries()
    assert edge.service.revoked == [Revocation(RevocationReason.LOGOUT, 4711, session_id="5e5510f0")]


async def test_s3_a_session_is_ended_once_at_a_time_so_that_one_cookie_cannot_keep_others_from_signing_in() -> None:
    edge = Edge()
    for many in (1, 2):
        for _ in range(200):
            exchange = await edge.inbound(asking(*FULL, now=NOW + 5))
            exchange.change = LOGOUT
            assert await edge.outbound(exchange) == GONE
        await edge.sign_outs.first_tries()
        assert len(edge.service.revoked) == many
