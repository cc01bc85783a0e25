"""Renewal: once per token, shared by all who wait, checked before it is believed, never a sign-out by accident."""

import asyncio
from collections.abc import Coroutine

import pytest
from edgepb.kms.v1 import kms_pb2

from edge.contract.exchange import Exchange
from edge.contract.filters import CONTINUE, Refuse, Verdict
from edge.contract.identity import Level, Source
from edge.contract.ports import CookiePair, Renew, RenewalOutcome, RenewedCookie
from edge.contract.reasons import Reason
from filters.inbound.cookie import CookieFilter
from filters.inbound.renew import RenewalLimits, RenewFilter
from filters.renewals import Renewals
from tests.filters.cookies import ANONYMOUS_ON_BAD, CookieServiceAtThePort, Rings, asking, pair_of
from tests.tokens.rings import ENVIRONMENT, NAMES, NOW, claims, key_id_of, ring_of, version

LATER = NOW + 86_400 * 30
DUE = NOW + 8000


class Edge:
    """The cookie and the renew filter of one worker, over a service at the port."""

    def __init__(self, rings: Rings | None = None, renewals: Renewals | None = None, **limits: float) -> None:
        self.rings = rings or Rings()
        self.service = CookieServiceAtThePort(self.rings)
        self.service.now = LATER
        self.renewals = renewals or Renewals()
        self.cookie = CookieFilter(self.rings, NAMES, ENVIRONMENT, 100)
        self.reload(**limits)

    def reload(self, **limits: float) -> None:
        """Make the filter anew, as a reload does."""
        bounds = RenewalLimits(**limits)  # type: ignore[arg-type]
        self.renew = RenewFilter(self.service, self.rings, NAMES, ENVIRONMENT, bounds, renewals=self.renewals)

    def start(self, exchange: Exchange) -> Verdict | Coroutine[None, None, Verdict]:
        assert self.cookie.inbound(exchange) is CONTINUE
        return self.renew.inbound(exchange)

    async def run(self, exchange: Exchange) -> Verdict:
        verdict = self.start(exchange)
        return await verdict if asyncio.iscoroutine(verdict) else verdict


PAIR = pair_of(claims())


async def test_a_valid_token_costs_no_call_and_no_task() -> None:
    edge = Edge()
    exchange = asking(*PAIR)
    assert edge.start(exchange) is CONTINUE
    assert exchange.renewal is None
    assert edge.service.renewals == []


async def test_an_expired_token_waits_for_its_renewal_and_gets_its_level_back() -> None:
    edge = Edge()
    exchange = asking(*PAIR, now=LATER)
    assert await edge.run(exchange) is CONTINUE
    assert exchange.user is not None
    assert (exchange.user.customer_id, exchange.user.level) == (4711, Level.HIGH)
    assert exchange.device is not None
    assert exchange.device.level is Level.HIGH
    assert exchange.resolution == ("cookie", "renewed", "remote")
    assert exchange.renewal is not None
    assert exchange.renewal.result().outcome is RenewalOutcome.RENEWED


async def test_c13_renewing_edge_id_alone_does_not_raise_the_level() -> None:
    edge = Edge()
    exchange = asking(PAIR[0], now=LATER)
    assert await edge.run(exchange) is CONTINUE
    assert exchange.user is not None
    assert (exchange.user.source, exchange.user.level) == (Source.COOKIE_INSECURE, Level.LOW)


async def test_a_due_token_is_renewed_beside_the_origin_call() -> None:
    edge = Edge()
    edge.service.now = DUE
    edge.service.gate.clear()
    exchange = asking(*PAIR, now=DUE)
    assert edge.start(exchange) is CONTINUE
    assert exchange.user is not None
    assert exchange.user.level is Level.HIGH
    assert exchange.resolution == ("cookie", "ok", "local")
    assert exchange.renewal is not None
    assert not exchange.renewal.done()
    edge.service.gate.set()
    assert (await exchange.renewal).outcome is RenewalOutcome.RENEWED


async def test_c6_a_token_under_an_old_key_is_renewed_at_its_usual_time_and_comes_back_under_the_newest() -> None:
    edge = Edge(Rings(ring_of(version(1, kms_pb2.DEACTIVATED, primary=False), version(2))))
    edge.service.now = DUE
    early, due = asking(*PAIR), asking(*PAIR, now=DUE)
    assert edge.start(early) is CONTINUE
    assert early.renewal is None
    assert edge.start(due) is CONTINUE
    assert due.renewal is not None
    pair = (await due.renewal).pair
    assert pair is not None
    assert (key_id_of(pair.insecure), key_id_of(pair.secure)) == (2, 2)


async def test_r1_a_hundred_parallel_requests_make_one_call_and_get_the_same_cookie() -> None:
    edge = Edge()
    edge.service.gate.clear()
    exchanges = [asking(*PAIR, now=LATER) for _ in range(100)]
    running = [asyncio.ensure_future(edge.run(exchange)) for exchange in exchanges]
    await edge.service.called.wait()
    edge.service.gate.set()
    assert set(await asyncio.gather(*running)) == {CONTINUE}
    assert edge.service.renewals == [PAIR[0]]
    pairs = {exchange.renewal.result().pair.insecure for exchange in exchanges if exchange.renewal}  # type: ignore[union-attr]
    assert len(pairs) == 1
    assert all(exchange.user and exchange.user.level is Level.HIGH for exchange in exchanges)


async def test_r1_a_straggler_with_the_old_token_gets_the_same_cookie_without_a_call() -> None:
    edge = Edge()
    first, straggler = asking(*PAIR, now=LATER), asking(*PAIR, now=LATER)
    await edge.run(first)
    await edge.run(straggler)
    assert len(edge.service.renewals) == 1
    assert first.renewal is straggler.renewal


async def test_r1_after_the_overlap_the_old_token_is_renewed_again() -> None:
    edge = Edge(overlap_s=0.0)
    await edge.run(asking(*PAIR, now=LATER))
    await edge.run(asking(*PAIR, now=LATER))
    assert len(edge.service.renewals) == 2


async def test_r1_different_tokens_are_renewed_apart() -> None:
    edge = Edge()
    other = pair_of(claims(customer_id=4712))
    mine, theirs = asking(*PAIR, now=LATER), asking(*other, now=LATER)
    await asyncio.gather(edge.run(mine), edge.run(theirs))
    assert len(edge.service.renewals) == 2
    assert mine.user is not None
    assert theirs.user is not None
    assert (mine.user.customer_id, theirs.user.customer_id) == (4711, 4712)


async def test_r2_followers_are_answered_when_the_leader_is_cancelled() -> None:
    edge = Edge(wait_s=30)
    edge.service.gate.clear()
    leader = asyncio.ensure_future(edge.run(asking(*PAIR, now=LATER)))
    await edge.service.called.wait()
    followers = [asyncio.ensure_future(edge.run(asking(*PAIR, now=LATER))) for _ in range(5)]
    await asyncio.sleep(0)
    leader.cancel()
    followers[0].cancel()
    for cancelled in (leader, followers[0]):
        with pytest.raises(asyncio.CancelledError):
            await cancelled
    edge.service.gate.set()
    assert await asyncio.gather(*followers[1:]) == [CONTINUE] * 4
    assert len(edge.service.renewals) == 1
    assert edge.renewals.waiting == 0
    assert edge.renewals.running == {}


async def test_r2_a_renewal_that_all_have_left_still_serves_the_next_request() -> None:
    edge = Edge(wait_s=30)
    edge.service.gate.clear()
    leader = asyncio.ensure_future(edge.run(asking(*PAIR, now=LATER)))
    await edge.service.called.wait()
    leader.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leader
    edge.service.gate.set()
    exchange = asking(*PAIR, now=LATER)
    assert await edge.run(exchange) is CONTINUE
    assert exchange.resolution == ("cookie", "renewed", "remote")
    assert len(edge.service.renewals) == 1


@pytest.mark.parametrize("outcome", [RenewalOutcome.NOT_A_MEMBER, RenewalOutcome.REVOKED])
async def test_r6_a_definitive_no_ends_the_user_and_leaves_the_device(outcome: RenewalOutcome) -> None:
    edge = Edge()
    edge.service.outcome = outcome
    exchange = asking(*PAIR, now=LATER)
    assert await edge.run(exchange) is CONTINUE
    assert exchange.user is None
    assert exchange.user_cleared
    assert exchange.device is not None
    assert exchange.device.esn == "NFANDROID1-PXA-0001"
    assert exchange.resolution == ("cookie", outcome.value, "remote")


def assert_honoured_at_low(exchange: Exchange, where: str = "remote") -> None:
    assert exchange.user is not None
    assert (exchange.user.customer_id, exchange.user.level) == (4711, Level.LOW)
    assert not exchange.user_cleared
    assert exchange.resolution == ("cookie", "unavailable", where)


async def test_r6_an_unavailable_service_never_signs_anyone_out() -> None:
    edge = Edge()
    edge.service.outcome = RenewalOutcome.UNAVAILABLE
    exchange = asking(*PAIR, now=LATER)
    assert await edge.run(exchange) is CONTINUE
    assert_honoured_at_low(exchange)


async def test_r6_a_failure_is_not_remembered() -> None:
    edge = Edge()
    edge.service.outcome = RenewalOutcome.UNAVAILABLE
    await edge.run(asking(*PAIR, now=LATER))
    edge.service.outcome = RenewalOutcome.RENEWED
    exchange = asking(*PAIR, now=LATER)
    await edge.run(exchange)
    assert exchange.resolution == ("cookie", "renewed", "remote")


async def test_r6_a_slow_service_holds_a_request_for_a_bounded_time_and_helps_the_next_one() -> None:
    edge = Edge(wait_s=0.01)
    edge.service.gate.clear()
    slow = asking(*PAIR, now=LATER)
    assert await edge.run(slow) is CONTINUE
    assert_honoured_at_low(slow)
    edge.service.gate.set()
    assert slow.renewal is not None
    await slow.renewal
    after = asking(*PAIR, now=LATER)
    await edge.run(after)
    assert after.resolution == ("cookie", "renewed", "remote")
    assert len(edge.service.renewals) == 1


async def test_r6_a_client_that_raises_is_an_unavailable_service(caplog: pytest.LogCaptureFixture) -> None:
    edge = Edge()
    edge.service.raises = RuntimeError("secret in a message")
    exchange = asking(*PAIR, now=LATER)
    assert await edge.run(exchange) is CONTINUE
    assert_honoured_at_low(exchange)
    assert "RuntimeError" in caplog.text
    assert "secret" not in caplog.text


@pytest.mark.parametrize(
    "wrong", [{"customer_id": 4712}, {"session_id": "another"}, {"generation_step": 0}, {"generation_step": -1}]
)
async def test_r7_r4_another_users_or_an_older_cookie_is_not_believed(wrong: dict[str, int | str]) -> None:
    edge = Edge()
    for name, value in wrong.items():
        setattr(edge.service, name, value)
    exchange = asking(*PAIR, now=LATER)
    assert await edge.run(exchange) is CONTINUE
    assert_honoured_at_low(exchange)
    assert exchange.renewal is not None
    assert exchange.renewal.result().pair is None


async def test_a_token_that_the_service_refuses_is_a_bad_token() -> None:
    edge = Edge()
    edge.service.outcome = RenewalOutcome.REFUSED
    exchange = asking(*PAIR, now=LATER)
    assert await edge.run(exchange) == Refuse(401, Reason.TOKEN_REFUSED, "renewal_refused")
    anonymous = asking(*PAIR, now=LATER, auth=ANONYMOUS_ON_BAD)
    assert await edge.run(anonymous) is CONTINUE
    for nobody in (exchange, anonymous):
        assert nobody.user is None
        assert nobody.device is None


@pytest.mark.parametrize("now", [DUE, LATER])
async def test_d8_a_refused_token_that_is_shown_again_and_again_takes_no_more_places_than_a_good_one(
    now: float,
) -> None:
    edge = Edge()
    edge.service.outcome = RenewalOutcome.REFUSED
    for _ in range(5):
        exchange = asking(*PAIR, now=now)
        verdict = await edge.run(exchange)
        assert exchange.renewal is not None
        assert (await exchange.renewal).outcome is RenewalOutcome.REFUSED
        assert (verdict is CONTINUE) == (now == DUE)
    assert len(edge.service.renewals) == 1
    edge.reload(overlap_s=0.0)
    await edge.run(asking(*PAIR, now=LATER))
    assert len(edge.service.renewals) == 2


async def test_d8_renewals_and_waiters_are_bounded_and_overflow_is_no_sign_out() -> None:
    edge = Edge(max_renewals=1, max_waiting=2, wait_s=30)
    edge.service.gate.clear()
    waiting = [asyncio.ensure_future(edge.run(asking(*PAIR, now=LATER))) for _ in range(2)]
    await edge.service.called.wait()
    no_place, no_renewal = asking(*PAIR, now=LATER), asking(*pair_of(claims()), now=LATER)
    for extra, where in ((no_place, "remote"), (no_renewal, "local")):
        assert await edge.run(extra) is CONTINUE
        assert_honoured_at_low(extra, where)
    edge.service.gate.set()
    assert await asyncio.gather(*waiting) == [CONTINUE] * 2
    assert len(edge.service.renewals) == 1


async def test_rule_19_parallel_tabs_with_old_and_new_cookies_stay_signed_in() -> None:
    edge = Edge()
    first = asking(*PAIR, now=DUE)
    edge.service.now = DUE
    assert edge.start(first) is CONTINUE
    assert first.renewal is not None
    pair = (await first.renewal).pair
    assert pair is not None
    for insecure, secure in (PAIR, (pair.insecure, pair.secure), (pair.insecure, PAIR[1]), (PAIR[0], pair.secure)):
        tab = asking(insecure, secure, now=DUE + 5)
        assert await edge.run(tab) is CONTINUE
        assert tab.user is not None
        assert tab.user.level is Level.HIGH


async def test_w3_a_renewal_under_way_and_what_it_brought_outlive_a_reload() -> None:
    edge = Edge(wait_s=30)
    edge.service.gate.clear()
    before = asyncio.ensure_future(edge.run(asking(*PAIR, now=LATER)))
    await edge.service.called.wait()
    edge.reload(wait_s=30)
    after = asyncio.ensure_future(edge.run(asking(*PAIR, now=LATER)))
    await asyncio.sleep(0)
    edge.service.gate.set()
    assert set(await asyncio.gather(before, after)) == {CONTINUE}
    edge.reload()
    straggler = asking(*PAIR, now=LATER)
    assert await edge.run(straggler) is CONTINUE
    assert straggler.resolution == ("cookie", "renewed", "remote")
    assert len(edge.service.renewals) == 1


async def test_w3_d9_a_reload_changes_how_much_is_remembered() -> None:
    edge = Edge(remembered=10)
    edge.service.outcome = RenewalOutcome.UNAVAILABLE
    for remembered, at_most in ((10, 20), (3, 6)):
        edge.reload(remembered=remembered)
        for number in range(50):
            exchange = asking(*pair_of(claims(customer_id=number + 1)), now=DUE)
            await edge.run(exchange)
            assert exchange.renewal is not None
            await exchange.renewal
        assert 0 < len(edge.renewals.put_off) <= at_most


class Sharing:
    """What other workers brought, or None: this one renews."""

    def __init__(self, result: RenewedCookie | None = None) -> None:
        self.result = result
        self.asked: list[tuple[bytes, float]] = []

    async def once(self, presented: bytes, renew: Renew, keep_s: float) -> RenewedCookie:
        self.asked.append((presented, keep_s))
        return await renew() if self.result is None else self.result

    async def replace(self, presented: bytes, updated: RenewedCookie, keep_s: float) -> None:
        raise AssertionError


async def test_r1_a_renewal_is_shared_with_other_workers_once_for_all_who_wait_here() -> None:
    sharing = Sharing()
    edge = Edge(renewals=Renewals(sharing), overlap_s=7.0)
    edge.service.gate.clear()
    exchanges = [asking(*PAIR, now=LATER) for _ in range(50)]
    running = [asyncio.ensure_future(edge.run(exchange)) for exchange in exchanges]
    await edge.service.called.wait()
    edge.service.gate.set()
    assert set(await asyncio.gather(*running)) == {CONTINUE}
    assert (sharing.asked, edge.service.renewals) == ([(PAIR[0], 7.0)], [PAIR[0]])


async def test_r1_what_another_worker_brought_is_used_without_a_call() -> None:
    new = claims(issued_at=LATER, generation=claims().generation + 1)
    brought = CookiePair(*pair_of(new), new.expires_at, new.generation)
    edge = Edge(renewals=Renewals(Sharing(RenewedCookie(RenewalOutcome.RENEWED, brought))))
    exchange = asking(*PAIR, now=LATER)
    await edge.run(exchange)
    assert exchange.resolution == ("cookie", "renewed", "remote")
    assert edge.service.renewals == []


@pytest.mark.parametrize("wrong", [{"customer_id": 4712}, {"session_id": "another"}, {"generation": 1}])
async def test_r7_r4_what_another_worker_brought_is_believed_no_more_than_what_the_service_says(
    wrong: dict[str, int | str],
) -> None:
    fields: dict[str, int | str] = {"issued_at": LATER, "generation": claims().generation + 1, **wrong}
    new = claims(**fields)  # type: ignore[arg-type]
    brought = CookiePair(*pair_of(new), new.expires_at, new.generation)
    edge = Edge(renewals=Renewals(Sharing(RenewedCookie(RenewalOutcome.RENEWED, brought))))
    exchange = asking(*PAIR, now=LATER)
    await edge.run(exchange)
    assert_honoured_at_low(exchange)


async def test_r7_another_customer_is_believed_only_where_the_service_says_that_the_session_has_become_theirs() -> None:
    for said, believed in ((0, False), (4711, False), (4713, False), (4712, True)):
        edge = Edge()
        edge.service.customer_id, edge.service.moved_to = 4712, said
        exchange = asking(*PAIR, now=LATER)
        assert await edge.run(exchange) is CONTINUE
        assert exchange.user is not None
        assert exchange.user.customer_id == (4712 if believed else 4711)
        assert exchange.resolution[1] == ("renewed" if believed else "unavailable")


async def test_r7_what_the_service_said_wrongly_is_given_to_no_other_worker() -> None:
    class Noting(Sharing):
        async def once(self, presented: bytes, renew: Renew, keep_s: float) -> RenewedCookie:
            self.result = await renew()
            return self.result

    sharing = Noting()
    edge = Edge(renewals=Renewals(sharing))
    edge.service.customer_id = 4712
    await edge.run(asking(*PAIR, now=LATER))
    assert sharing.result == RenewedCookie(RenewalOutcome.UNAVAILABLE)


@pytest.mark.parametrize("skew_s", [-60, 0, 60])
async def test_r8_a_service_whose_clock_is_a_minute_off_is_believed(skew_s: int) -> None:
    edge = Edge()
    edge.service.now = LATER + skew_s
    exchange = asking(*PAIR, now=LATER)
    assert await edge.run(exchange) is CONTINUE
    assert exchange.resolution == ("cookie", "renewed", "remote")
    assert exchange.renewal is not None
    pair = exchange.renewal.result().pair
    assert pair is not None
    again = asking(pair.insecure, pair.secure, now=LATER)
    assert await edge.run(again) is CONTINUE
    assert again.user is not None
    assert again.user.level is Level.HIGH
    assert len(edge.service.renewals) == 1


@pytest.mark.parametrize("skew_s", [86_400, 120])
async def test_r8_a_service_whose_clock_is_far_ahead_is_not_believed_and_signs_nobody_out(skew_s: int) -> None:
    edge = Edge()
    edge.service.now = LATER + skew_s
    exchange = asking(*PAIR, now=LATER)
    assert await edge.run(exchange) is CONTINUE
    assert_honoured_at_low(exchange)


async def test_r8_a_token_that_expires_while_its_request_is_under_way_is_what_it_was_when_that_came() -> None:
    edge = Edge()
    edge.service.now = DUE
    edge.service.gate.clear()
    last_second = claims().expires_at - 1
    exchange = asking(*PAIR, now=last_second)
    assert edge.start(exchange) is CONTINUE
    late = asyncio.ensure_future(edge.run(asking(*PAIR, now=last_second + 2)))
    await edge.service.called.wait()
    edge.service.gate.set()
    assert await late is CONTINUE
    assert exchange.renewal is not None
    assert (await exchange.renewal).outcome is RenewalOutcome.RENEWED
    assert exchange.user is not None
    assert exchange.user.level is Level.HIGH
    assert len(edge.service.renewals) == 1


@pytest.mark.parametrize(
    "text",
    [b"A" * 5000, PAIR[0] + b" X-Renew: yes", PAIR[0] + b"\x00", PAIR[0] + "é".encode(), PAIR[0] + b"=", b"%" * 64],
)
async def test_f2_no_device_can_make_the_call_to_the_service_a_bad_one(text: bytes) -> None:
    edge = Edge()
    exchange = asking(text, now=LATER)
    assert isinstance(edge.cookie.inbound(exchange), Refuse)
    assert edge.renew.inbound(exchange) is CONTINUE
    assert (exchange.user, exchange.device, exchange.stand_in) == (None, None, None)
    assert edge.service.renewals == []


async def test_d8_many_who_show_one_token_are_one_renewal_and_all_places_come_back() -> None:
    edge = Edge(max_waiting=100, wait_s=30)
    edge.service.gate.clear()
    running = [asyncio.ensure_future(edge.run(asking(*PAIR, now=LATER))) for _ in range(1000)]
    await edge.service.called.wait()
    assert edge.renewals.waiting <= 100
    edge.service.gate.set()
    assert set(await asyncio.gather(*running)) == {CONTINUE}
    assert (edge.renewals.waiting, len(edge.renewals.running), len(edge.service.renewals)) == (0, 0, 1)
