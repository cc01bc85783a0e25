"""The tokens filter: which cookies a response sets, which it clears, and that nobody else sets ours."""

import asyncio

import pytest

from edge.clients.sign_outs import SignOuts
from edge.contract.change import TokenChange, TokenEffect
from edge.contract.exchange import Exchange, TokenKind
from edge.contract.filters import CONTINUE, Refuse, Verdict
from edge.contract.identity import DeviceIdentity, Level, Source, UserIdentity
from edge.contract.ports import CookiePair, RenewalOutcome, RenewedCookie
from edge.contract.reasons import Reason
from filters.adapters.cookie import CookieAdapter
from filters.outbound.tokens import TokensFilter
from filters.renewals import Renewals
from tests.filters.cookies import CookieServiceAtThePort, Rings, asking
from tests.filters.exchanges import headers_of, with_response
from tests.tokens.rings import NAMES, NOW
from tokens.set_cookie import CookieAttributes

USER = UserIdentity(Source.USER_CREDENTIALS, Level.HIGHEST, 4711, 4711)
PAIR = CookiePair(b"new-insecure", b"new-secure", NOW + 14_400, 2)
INSECURE = b"EdgeId=new-insecure; Max-Age=34560000; Path=/; HttpOnly; SameSite=Lax"
SECURE = b"SecureEdgeId=new-secure; Max-Age=34560000; Path=/; Secure; HttpOnly; SameSite=Lax"
CLEARED = [
    b"EdgeId=; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT; Path=/; HttpOnly; SameSite=Lax",
    b"SecureEdgeId=; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT; Path=/; Secure; HttpOnly; SameSite=Lax",
]


class Edge:
    """The tokens filter of one worker, over a service at the port."""

    def __init__(self, wait_s: float = 0.5) -> None:
        self.service = CookieServiceAtThePort(Rings())
        cookie = CookieAdapter(
            CookieAttributes(NAMES), self.service, Renewals(), lambda _pair, _user, _now: "new", wait_s=wait_s
        )
        self.filter = TokensFilter({TokenKind.NONE: cookie, TokenKind.COOKIE: cookie}, SignOuts(self.service))

    async def run(self, exchange: Exchange) -> Verdict:
        verdict = self.filter.outbound(exchange)
        return await verdict if asyncio.iscoroutine(verdict) else verdict


def answered(
    *fields: tuple[bytes, bytes], status: int = 200, transport_secure: bool = True, paired: bool = True
) -> Exchange:
    exchange = with_response(asking(None, transport_secure=transport_secure), *fields, status=status)
    exchange.paired = paired
    return exchange


def renewal_of(result: RenewedCookie) -> "asyncio.Future[RenewedCookie]":
    renewal = asyncio.get_running_loop().create_future()
    renewal.set_result(result)
    return renewal


def sign_in() -> TokenChange:
    return TokenChange(TokenEffect.CREATE, USER, None)


def cookies_set(exchange: Exchange) -> list[bytes]:
    assert exchange.response is not None
    return exchange.response.headers.get_all(b"set-cookie")


def cache_control(exchange: Exchange) -> list[bytes]:
    assert exchange.response is not None
    return exchange.response.headers.get_all(b"cache-control")


async def test_a_response_that_changes_nothing_is_untouched() -> None:
    fields = [(b"Cache-Control", b"public, max-age=60"), (b"Set-Cookie", b"theme=dark"), (b"Expires", b"0")]
    exchange = answered(*fields)
    assert await Edge().run(exchange) is CONTINUE
    assert exchange.response is not None
    assert list(exchange.response.headers) == fields
    assert exchange.actions == []


async def test_a_sign_in_makes_both_cookies() -> None:
    edge = Edge()
    edge.service.created = PAIR
    exchange = answered((b"Set-Cookie", b"theme=dark"))
    exchange.change = sign_in()
    assert await edge.run(exchange) is CONTINUE
    assert cookies_set(exchange) == [b"theme=dark", INSECURE, SECURE]
    assert cache_control(exchange) == [b"no-store"]
    assert edge.service.creations == [(USER, None)]
    assert exchange.actions == ["cookie:created"]


@pytest.mark.parametrize("level", [Level.LOW, Level.HIGH])
async def test_c13_a_sign_in_seals_no_device_that_was_only_seen_on_an_open_network(level: Level) -> None:
    edge = Edge()
    edge.service.created = PAIR
    exchange = answered()
    exchange.change = sign_in()
    exchange.device = DeviceIdentity(Source.COOKIE_INSECURE, level, "SOMEBODYS-ESN")
    assert await edge.run(exchange) is CONTINUE
    assert edge.service.creations == [(USER, exchange.device if level is Level.HIGH else None)]


async def test_a_sign_in_over_an_open_transport_never_sends_the_secure_half() -> None:
    edge = Edge()
    edge.service.created = PAIR
    exchange = answered(transport_secure=False)
    exchange.change = sign_in()
    assert await edge.run(exchange) is CONTINUE
    assert cookies_set(exchange) == [INSECURE]


@pytest.mark.parametrize(
    ("created", "detail"),
    [
        (None, "create_unavailable"),
        (CookiePair(b"a\r\nSet-Cookie: x=y", b"b", 0, 1), "create_malformed"),
        (CookiePair(b"a", b"b; Domain=.com", 0, 1), "create_malformed"),
        (CookiePair(b"a" * 5000, b"b", 0, 1), "create_malformed"),
        (CookiePair(b"", b"", 0, 1), "create_malformed"),
    ],
)
async def test_a_sign_in_without_good_cookies_is_a_503_and_sets_nothing(
    created: CookiePair | None, detail: str
) -> None:
    edge = Edge()
    edge.service.created = created
    exchange = answered()
    exchange.change = sign_in()
    assert await edge.run(exchange) == Refuse(503, Reason.TOKEN_SERVICE_UNAVAILABLE, detail)
    assert cookies_set(exchange) == []
    assert exchange.actions == []


async def test_c8_rule_20_o3_a_sign_out_clears_both_cookies() -> None:
    exchange = answered()
    exchange.change = TokenChange(TokenEffect.CLEAR, None, None)
    assert await Edge().run(exchange) is CONTINUE
    assert cookies_set(exchange) == CLEARED
    assert cache_control(exchange) == [b"no-store"]
    assert exchange.actions == ["cookie:cleared"]


async def test_r6_a_token_that_is_void_is_cleared() -> None:
    exchange = answered()
    exchange.user_cleared = True
    assert await Edge().run(exchange) is CONTINUE
    assert cookies_set(exchange) == CLEARED


async def test_a_renewal_that_is_done_rides_on_the_response() -> None:
    exchange = answered()
    exchange.renewal = renewal_of(RenewedCookie(RenewalOutcome.RENEWED, PAIR))
    assert await Edge().run(exchange) is CONTINUE
    assert cookies_set(exchange) == [INSECURE, SECURE]
    assert exchange.actions == ["cookie:renewed"]


async def test_a_renewal_under_way_is_awaited() -> None:
    exchange = answered()
    exchange.renewal = asyncio.get_running_loop().create_future()
    running = asyncio.ensure_future(Edge(wait_s=30).run(exchange))
    await asyncio.sleep(0)
    exchange.renewal.set_result(RenewedCookie(RenewalOutcome.RENEWED, PAIR))
    assert await running is CONTINUE
    assert cookies_set(exchange) == [INSECURE, SECURE]


async def test_a_slow_renewal_holds_the_response_for_a_bounded_time_and_is_not_cancelled() -> None:
    exchange = answered()
    exchange.renewal = asyncio.get_running_loop().create_future()
    assert await Edge(wait_s=0.01).run(exchange) is CONTINUE
    assert cookies_set(exchange) == []
    assert not exchange.renewal.cancelled()


async def test_r2_a_device_that_goes_away_while_waiting_does_not_cancel_the_renewal() -> None:
    exchange = answered()
    exchange.renewal = asyncio.get_running_loop().create_future()
    running = asyncio.ensure_future(Edge(wait_s=30).run(exchange))
    await asyncio.sleep(0)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert not exchange.renewal.cancelled()


@pytest.mark.parametrize(("transport_secure", "paired"), [(True, False), (False, True), (False, False)])
async def test_c13_the_secure_half_is_renewed_only_for_who_showed_it_over_a_trusted_transport(
    transport_secure: bool, paired: bool
) -> None:
    exchange = answered(transport_secure=transport_secure, paired=paired)
    exchange.renewal = renewal_of(RenewedCookie(RenewalOutcome.RENEWED, PAIR))
    assert await Edge().run(exchange) is CONTINUE
    assert cookies_set(exchange) == [INSECURE]


@pytest.mark.parametrize("expired", [False, True])
async def test_r6_who_is_no_member_has_the_cookies_cleared_also_late(expired: bool) -> None:
    exchange = answered()
    exchange.expired = expired
    exchange.renewal = renewal_of(RenewedCookie(RenewalOutcome.NOT_A_MEMBER))
    assert await Edge().run(exchange) is CONTINUE
    assert cookies_set(exchange) == CLEARED


@pytest.mark.parametrize("expired", [False, True])
async def test_r4_a_token_that_was_revoked_beside_the_origin_call_has_nothing_cleared_by_that_response(
    expired: bool,
) -> None:
    exchange = answered((b"Cache-Control", b"public"))
    exchange.expired = expired
    exchange.renewal = renewal_of(RenewedCookie(RenewalOutcome.REVOKED))
    assert await Edge().run(exchange) is CONTINUE
    assert cookies_set(exchange) == []
    assert cache_control(exchange) == [b"public"]
    assert exchange.actions == ["cookie:revoked_meanwhile"]


@pytest.mark.parametrize("outcome", [RenewalOutcome.UNAVAILABLE, RenewalOutcome.REFUSED])
async def test_r6_any_other_failure_beside_the_origin_call_changes_no_cookie(outcome: RenewalOutcome) -> None:
    exchange = answered((b"Cache-Control", b"public"))
    exchange.renewal = renewal_of(RenewedCookie(outcome))
    assert await Edge().run(exchange) is CONTINUE
    assert cookies_set(exchange) == []
    assert cache_control(exchange) == [b"public"]


async def test_what_the_user_did_last_wins() -> None:
    renewed = RenewedCookie(RenewalOutcome.RENEWED, CookiePair(b"renewed", b"renewed", 0, 2))
    signed_out = answered()
    signed_out.renewal, signed_out.user_cleared = renewal_of(renewed), True
    await Edge().run(signed_out)
    assert cookies_set(signed_out) == CLEARED
    edge = Edge()
    edge.service.created = PAIR
    signed_in = answered()
    signed_in.renewal, signed_in.user_cleared, signed_in.change = renewal_of(renewed), True, sign_in()
    await edge.run(signed_in)
    assert cookies_set(signed_in) == [INSECURE, SECURE]


@pytest.mark.parametrize(
    "line", [b"EdgeId=origin; Path=/", b"edgeid=origin", b"SecureEdgeId=; Max-Age=0", b"=EdgeId=x", b" EdgeId = x"]
)
async def test_x8_an_origins_cookie_of_our_name_is_dropped(line: bytes) -> None:
    for clear in (False, True):
        exchange = answered((b"set-cookie", line), (b"Set-Cookie", b"theme=dark; Path=/"), (b"X-A", b"1"))
        exchange.user_cleared = clear
        assert await Edge().run(exchange) is CONTINUE
        assert cookies_set(exchange) == [b"theme=dark; Path=/", *(CLEARED if clear else [])]
        assert "cookie:origin_dropped" in exchange.actions


async def test_rule_20_r11_no_cache_may_keep_a_response_that_sets_a_token() -> None:
    exchange = answered(
        (b"Cache-Control", b"public, max-age=600"),
        (b"cache-control", b"s-maxage=600"),
        (b"Expires", b"Fri, 01 Jan 2100 00:00:00 GMT"),
        (b"CDN-Cache-Control", b"max-age=600"),
        (b"Acme-CDN-Cache-Control", b"max-age=600"),
        (b"Surrogate-Control", b"max-age=600"),
        (b"Content-Type", b"text/plain"),
        status=304,
    )
    exchange.user_cleared = True
    await Edge().run(exchange)
    assert exchange.response is not None
    kept = [(name, value) for name, value in exchange.response.headers if name != b"Set-Cookie"]
    assert kept == [(b"Content-Type", b"text/plain"), (b"Cache-Control", b"no-store")]


def test_rule_22_cookies_in_response_trailers_do_not_pass() -> None:
    trailers = headers_of((b"Set-Cookie", b"EdgeId=x"), (b"X-Sum", b"1"))
    Edge().filter.trailers(answered(), trailers)
    assert list(trailers) == [(b"X-Sum", b"1")]


async def test_r11_a_renewal_on_a_304_or_a_public_answer_is_for_no_cache_and_no_other_user() -> None:
    for status in (200, 304):
        fields = ((b"Cache-Control", b"public, s-maxage=600"), (b"ETag", b"x"), (b"Expires", b"0"))
        exchange = answered(*fields, status=status)
        exchange.renewal = renewal_of(RenewedCookie(RenewalOutcome.RENEWED, PAIR))
        await Edge().run(exchange)
        assert cookies_set(exchange) == [INSECURE, SECURE]
        assert cache_control(exchange) == [b"no-store"]
        assert exchange.response is not None
        assert exchange.response.headers.get_all(b"expires") == []
        other = answered(*fields, status=status)
        await Edge().run(other)
        assert (cookies_set(other), cache_control(other)) == ([], [b"public, s-maxage=600"])


async def test_c12_a_sign_in_takes_nothing_from_the_session_that_was_shown_before_it() -> None:
    exchange = answered()
    exchange.user = UserIdentity(Source.COOKIE, Level.HIGH, 666, 666, "", "planted-session")
    exchange.renewal = renewal_of(RenewedCookie(RenewalOutcome.RENEWED, CookiePair(b"old", b"older", NOW, 9)))
    exchange.change = sign_in()
    edge = Edge()
    await edge.run(exchange)
    ((user, _),) = edge.service.creations
    assert (user.customer_id, user.session_id) == (4711, "")
    assert cookies_set(exchange) == [INSECURE, SECURE]
