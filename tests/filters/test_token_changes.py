"""What an accepted change does to a session's cookies, and what it has revoked besides: THREATS X, C11."""

import asyncio
from dataclasses import replace

import pytest

from edge.contract.change import Revoked, TokenChange, TokenEffect
from edge.contract.exchange import Exchange, TokenKind
from edge.contract.filters import CONTINUE, Refuse
from edge.contract.identity import DeviceIdentity, Level, Source, UserIdentity
from edge.contract.ports import CookiePair, RenewalOutcome, Revocation, RevocationReason
from edge.contract.reasons import Reason
from filters.outbound.tokens import NO_ADAPTER, TokensFilter
from tests.edge.raw import until
from tests.filters.cookies import asking, pair_of
from tests.filters.exchanges import with_response
from tests.filters.test_rescheduling import DUE, FULL, GONE, RING, SOON, Edge
from tests.tokens.rings import ENVIRONMENT, NAMES, NOW, claims
from tokens.cookie import Claims, open_insecure, open_pair

SESSION = "5e5510f0"
EVERYWHERE, LOGOUT = RevocationReason.SIGN_OUT_EVERYWHERE, RevocationReason.LOGOUT


def switched(exchange: Exchange, profile_id: str = "kids") -> TokenChange:
    """Return the change that another profile of the user asks for."""
    assert exchange.user is not None
    return TokenChange(TokenEffect.UPDATE, replace(exchange.user, profile_id=profile_id), None)


def up(**limits: float) -> Edge:
    """Return an edge whose service works."""
    edge = Edge(**limits)
    edge.service.outcome = RenewalOutcome.RENEWED
    return edge


def read(cookies: dict[str, bytes], now: float) -> Claims:
    opened = open_pair(RING, NAMES, ENVIRONMENT, (cookies["EdgeId"], cookies["SecureEdgeId"]), now)
    assert isinstance(opened, Claims)
    return opened


async def test_an_update_goes_on_with_the_session_and_its_times() -> None:
    edge = up()
    exchange = await edge.inbound(asking(*FULL, now=NOW + 5))
    exchange.change = switched(exchange)
    now = read(await edge.outbound(exchange), NOW + 5)
    was = claims()
    assert now == was._replace(profile_id="kids", generation=was.generation + 1)
    assert exchange.actions == ["cookie:updated"]
    assert edge.service.renewals == []


@pytest.mark.parametrize(("transport_secure", "paired"), [(True, False), (False, True), (False, False)])
async def test_c13_an_update_gives_the_secure_half_only_to_who_showed_it(transport_secure: bool, paired: bool) -> None:
    edge = up()
    exchange = await edge.inbound(asking(*FULL, now=NOW + 5, transport_secure=transport_secure))
    exchange.paired = paired
    exchange.change = switched(exchange)
    assert set(await edge.outbound(exchange)) == {"EdgeId"}


@pytest.mark.parametrize("outcome", [RenewalOutcome.UNAVAILABLE, RenewalOutcome.REFUSED, RenewalOutcome.REVOKED])
async def test_an_update_that_cannot_be_made_is_a_503_and_sets_nothing(outcome: RenewalOutcome) -> None:
    edge = up()
    exchange = await edge.inbound(asking(*FULL, now=NOW + 5))
    exchange.change = switched(exchange)
    edge.service.outcome = outcome
    with_response(exchange)
    verdict = edge.tokens.outbound(exchange)
    assert asyncio.iscoroutine(verdict)
    assert await verdict == Refuse(503, Reason.TOKEN_SERVICE_UNAVAILABLE, f"update_{outcome}")
    assert exchange.response is not None
    assert exchange.response.headers.get_all(b"set-cookie") == []


async def test_r6_an_update_of_who_is_no_member_clears_the_cookies() -> None:
    edge = up()
    edge.service.outcome = RenewalOutcome.NOT_A_MEMBER
    exchange = await edge.inbound(asking(*FULL, now=DUE))
    exchange.change = switched(exchange)
    assert await edge.outbound(exchange) == GONE
    assert edge.service.updates == []


async def test_r4_an_update_beside_whose_origin_call_the_session_was_revoked_is_a_503_and_clears_nothing() -> None:
    """Another request may have begun a new session on the device meanwhile."""
    edge = up()
    edge.service.outcome = RenewalOutcome.REVOKED
    exchange = await edge.inbound(asking(*FULL, now=DUE))
    exchange.change = switched(exchange)
    with_response(exchange)
    verdict = edge.tokens.outbound(exchange)
    assert asyncio.iscoroutine(verdict)
    assert await verdict == Refuse(503, Reason.TOKEN_SERVICE_UNAVAILABLE, "update_revoked")
    assert exchange.response is not None
    assert exchange.response.headers.get_all(b"set-cookie") == []
    assert edge.service.updates == []


@pytest.mark.parametrize("now", [NOW + 5, DUE, SOON])
async def test_r10_who_tries_the_update_of_a_revoked_session_again_is_nobody_and_has_it_cleared(now: int) -> None:
    """Whether the token is fresh, was put off, or has expired; the feed is away."""
    edge = Edge()  # renewals fail
    exchange = await edge.inbound(asking(*FULL, now=now))
    if exchange.renewal is not None:
        await exchange.renewal
    assert exchange.user is not None
    exchange.change = switched(exchange)
    edge.service.outcome = RenewalOutcome.REVOKED
    with_response(exchange)
    verdict = edge.tokens.outbound(exchange)
    assert asyncio.iscoroutine(verdict)
    assert await verdict == Refuse(503, Reason.TOKEN_SERVICE_UNAVAILABLE, "update_revoked")
    assert exchange.response is not None
    assert exchange.response.headers.get_all(b"set-cookie") == []
    asked = len(edge.service.renewals)
    for later in (now, now + 60):
        again = await edge.inbound(asking(*FULL, now=later))
        assert (again.user, again.resolution) == (None, ("cookie", "revoked", "local"))
        assert again.device is not None
        assert await edge.outbound(again) == GONE
    assert len(edge.service.renewals) == asked
    begun = await edge.inbound(asking(*pair_of(claims(session_id="begun", issued_at=now), RING), now=now + 1))
    assert begun.user is not None
    assert await edge.outbound(begun) == {}


async def test_r10_what_a_renewal_has_made_of_a_token_is_out_with_it_when_its_update_finds_it_revoked() -> None:
    edge = up()
    exchange = await edge.inbound(asking(*FULL, now=DUE))
    straggler = await edge.inbound(asking(*FULL, now=DUE))
    assert exchange.renewal is not None
    await exchange.renewal
    given = await edge.outbound(straggler)
    exchange.change = switched(exchange)
    edge.service.outcome = RenewalOutcome.REVOKED
    verdict = edge.tokens.outbound(with_response(exchange))
    assert asyncio.iscoroutine(verdict)
    assert isinstance(await verdict, Refuse)
    renewed = await edge.inbound(asking(given["EdgeId"], given["SecureEdgeId"], now=DUE + 1))
    assert (renewed.user, await edge.outbound(renewed)) == (None, GONE)


@pytest.mark.parametrize("wrong", [{"session_id": "another"}, {"customer_id": 666}])
async def test_r7_an_updated_pair_of_another_session_or_user_is_never_set(wrong: dict[str, object]) -> None:
    edge = up()
    exchange = await edge.inbound(asking(*FULL, now=NOW + 5))
    exchange.change = switched(exchange)
    for name, value in wrong.items():
        setattr(edge.service, name, value)
    with_response(exchange)
    verdict = edge.tokens.outbound(exchange)
    assert asyncio.iscoroutine(verdict)
    assert await verdict == Refuse(503, Reason.TOKEN_SERVICE_UNAVAILABLE, "update_not_ours")


async def test_r5_an_update_starts_from_what_the_renewal_beside_it_brings() -> None:
    edge = up()
    edge.service.gate.clear()
    exchange = await edge.inbound(asking(*FULL, now=DUE))
    assert exchange.renewal is not None
    exchange.change = switched(exchange)
    answering = asyncio.ensure_future(edge.outbound(exchange))
    await edge.service.called.wait()
    edge.service.gate.set()
    given = read(await answering, DUE)
    assert (given.profile_id, given.generation, given.issued_at) == ("kids", claims().generation + 2, DUE)
    ((base, _),) = edge.service.updates
    assert base != FULL[0]


async def test_r5_a_straggler_with_the_old_token_gets_the_updated_pair_and_never_the_old_profile() -> None:
    edge = up()
    exchange = await edge.inbound(asking(*FULL, now=DUE))
    straggler = await edge.inbound(asking(*FULL, now=DUE))  # it shares the renewal
    exchange.change = switched(exchange)
    given = read(await edge.outbound(exchange), DUE)
    for late in (straggler, await edge.inbound(asking(*FULL, now=DUE + 1))):
        assert read(await edge.outbound(late), DUE + 1) == given
    assert len(edge.service.renewals) == 1


async def test_r3_an_update_in_an_outage_of_renewals_starts_from_what_was_shown() -> None:
    edge = Edge()  # renewals fail
    exchange = await edge.inbound(asking(*FULL, now=SOON))
    assert exchange.stand_in is not None
    edge.service.outcome = RenewalOutcome.RENEWED
    exchange.change = switched(exchange)
    given = read(await edge.outbound(exchange), SOON)
    assert (given.profile_id, given.expires_at) == ("kids", claims().expires_at)
    ((base, _),) = edge.service.updates
    assert base == FULL[0]


async def test_r5_an_update_of_a_session_that_another_has_moved_is_taken() -> None:
    edge = up()
    exchange = await edge.inbound(asking(*FULL, now=NOW + 5))
    exchange.change = switched(exchange)
    edge.service.customer_id = edge.service.moved_to = 9
    assert read(await edge.outbound(exchange), NOW + 5).customer_id == 9


async def test_c8_where_the_customer_changes_no_half_of_the_one_before_is_left() -> None:
    edge = up()
    exchange = await edge.inbound(asking(FULL[0], None, now=NOW + 5))
    assert exchange.user is not None
    exchange.change = TokenChange(TokenEffect.UPDATE, replace(exchange.user, customer_id=9), None)
    given = await edge.outbound(exchange)
    opened = open_insecure(RING, NAMES, ENVIRONMENT, given["EdgeId"], NOW)
    assert isinstance(opened, Claims)
    assert (opened.customer_id, given["SecureEdgeId"]) == (9, b"")


async def test_a_device_that_has_changed_is_sealed_in() -> None:
    edge = up()
    exchange = await edge.inbound(asking(*FULL, now=NOW + 5))
    device = DeviceIdentity(Source.COOKIE, Level.HIGH, "NEW-ESN", 4)
    exchange.change = replace(switched(exchange, ""), device=device)
    assert read(await edge.outbound(exchange), NOW + 5).esn == "NEW-ESN"


async def test_x10_an_update_without_a_token_does_nothing() -> None:
    edge = up()
    exchange = with_response(asking(None))
    exchange.token_kind = TokenKind.COOKIE
    exchange.change = TokenChange(TokenEffect.UPDATE, None, None)
    assert await edge.outbound(exchange) == {}
    assert exchange.actions == ["cookie:nothing_to_update"]
    assert edge.service.updates == []


@pytest.mark.parametrize("effect", [TokenEffect.CREATE, TokenEffect.UPDATE, TokenEffect.CLEAR])
def test_x10_a_device_whose_kind_of_token_nobody_can_make_gets_nothing(effect: TokenEffect) -> None:
    edge = up()
    exchange = with_response(asking(None))
    exchange.change = TokenChange(effect, None, None)
    assert TokensFilter({}, edge.sign_outs).outbound(exchange) is CONTINUE
    assert exchange.actions == [NO_ADAPTER]


@pytest.mark.parametrize(
    ("revoked", "expected"),
    [
        (Revoked.SESSION, Revocation(LOGOUT, 4711, session_id=SESSION)),
        (Revoked.CUSTOMER, Revocation(EVERYWHERE, 4711)),
        (Revoked.OTHERS, Revocation(EVERYWHERE, 4711, except_session_id=SESSION)),
        (Revoked.DEVICE, Revocation(RevocationReason.DEVICE_REMOVED, 4711, esn=claims().esn)),
    ],
)
async def test_c11_what_becomes_void_is_revoked_beside_the_response(revoked: Revoked, expected: Revocation) -> None:
    edge = up()
    exchange = await edge.inbound(asking(*FULL, now=NOW + 5))
    exchange.change = TokenChange(TokenEffect.CLEAR, None, None, frozenset({revoked}))
    await edge.outbound(exchange)
    await edge.sign_outs.first_tries()
    assert edge.service.revoked == [expected]


async def test_c12_the_session_that_begins_outlives_what_its_action_revokes() -> None:
    edge = up()
    user = UserIdentity(Source.USER_CREDENTIALS, Level.HIGH, 9, 9)
    begun = claims(customer_id=9, session_id="begun", issued_at=NOW + 5)
    edge.service.created = CookiePair(*pair_of(begun, RING), begun.expires_at, 1)
    exchange = await edge.inbound(asking(*FULL, now=NOW + 5))
    revoked = frozenset({Revoked.SESSION, Revoked.CUSTOMER})
    exchange.change = TokenChange(TokenEffect.CREATE, user, None, revoked)
    await edge.outbound(exchange)
    await edge.sign_outs.first_tries()
    assert edge.service.revoked == [
        Revocation(LOGOUT, 4711, session_id=SESSION),
        Revocation(EVERYWHERE, 9, except_session_id="begun"),
    ]


async def test_s3_a_session_goes_on_where_the_one_after_it_could_not_be_made() -> None:
    edge = up()
    edge.service.created = None
    exchange = await edge.inbound(asking(*FULL, now=NOW + 5))
    both = frozenset({Revoked.SESSION, Revoked.CUSTOMER})
    exchange.change = TokenChange(TokenEffect.CREATE, exchange.user, None, both)
    with_response(exchange)
    verdict = edge.tokens.outbound(exchange)
    assert asyncio.iscoroutine(verdict)
    assert isinstance(await verdict, Refuse)
    await edge.sign_outs.first_tries()
    assert edge.service.revoked == [Revocation(EVERYWHERE, 4711)]


@pytest.mark.parametrize("effect", [TokenEffect.UPDATE, TokenEffect.CREATE])
async def test_c11_what_becomes_void_is_revoked_though_the_response_is_given_up(effect: TokenEffect) -> None:
    """After a deadline, or when the client has gone: the session of a thief must not outlive a change of password."""
    edge = up()
    edge.service.gate.clear()
    exchange = await edge.inbound(asking(*FULL, now=NOW + 5))
    exchange.change = TokenChange(effect, exchange.user, None, frozenset({Revoked.OTHERS}))
    answering = asyncio.ensure_future(edge.outbound(exchange))
    await until(lambda: edge.service.updates or edge.service.creations)
    answering.cancel()
    with pytest.raises(asyncio.CancelledError):
        await answering
    edge.service.gate.set()
    await edge.sign_outs.first_tries()
    assert edge.service.revoked == [Revocation(EVERYWHERE, 4711, except_session_id=SESSION)]


async def test_c13_a_device_that_was_only_seen_on_an_open_network_is_not_sealed_in() -> None:
    edge = up()
    exchange = await edge.inbound(asking(*FULL, now=NOW + 5))
    device = DeviceIdentity(Source.COOKIE_INSECURE, Level.LOW, "VICTIM", 4)
    exchange.change = replace(switched(exchange, ""), device=device)
    assert read(await edge.outbound(exchange), NOW + 5).esn == claims().esn


async def test_who_is_nobody_has_nothing_revoked() -> None:
    edge = up()
    exchange = with_response(asking(None))
    exchange.token_kind = TokenKind.COOKIE
    exchange.change = TokenChange(TokenEffect.CLEAR, None, None, frozenset(Revoked))
    await edge.outbound(exchange)
    await edge.sign_outs.first_tries()
    assert edge.service.revoked == []
