"""The cookie filter: what a request gets for the cookies it shows, and that they end here."""

import pytest
from edgepb.kms.v1 import kms_pb2
from hypothesis import given
from hypothesis import strategies as st

from edge.contract.exchange import Exchange, TokenKind
from edge.contract.filters import CONTINUE, NOT_MINE, Refuse
from edge.contract.identity import DeviceIdentity, Level, Source, UserIdentity
from edge.contract.on_bad_token import OnBadToken
from edge.contract.reasons import Reason
from edge.contract.route import AuthPolicy
from filters.inbound.cookie import CookieFilter, Resolved
from tests.filters.cookies import ANONYMOUS_ON_BAD, Rings, asking, pair_of
from tests.filters.exchanges import an_exchange, headers_of
from tests.tokens.rings import ENVIRONMENT, NAMES, NONCES, NOW, claims, ring_of, version
from tokens.cookie import seal_pair
from tokens.keys.ring import KeyRing

PAIR = pair_of(claims())
OTHER_USER = pair_of(claims(customer_id=4712))
OTHER_SESSION = pair_of(claims(session_id="another"))


def a_filter(rings: Rings | None = None, cache_entries: int = 100) -> CookieFilter:
    return CookieFilter(rings or Rings(), NAMES, ENVIRONMENT, cache_entries)


def user_at(source: Source, level: Level) -> UserIdentity:
    return UserIdentity(source, level, 4711, 4711, "profile-1", "5e5510f0")


def device_at(source: Source, level: Level) -> DeviceIdentity:
    return DeviceIdentity(source, level, "NFANDROID1-PXA-0001", 7)


@pytest.mark.parametrize("cache_entries", [0, 100])
def test_both_halves_over_a_trusted_transport_give_high(cache_entries: int) -> None:
    cookie = a_filter(cache_entries=cache_entries)
    for _ in range(2):
        exchange = asking(*PAIR)
        assert cookie.inbound(exchange) is CONTINUE
        assert exchange.user == user_at(Source.COOKIE, Level.HIGH)
        assert exchange.device == device_at(Source.COOKIE, Level.HIGH)
        assert exchange.token_kind is TokenKind.COOKIE
        assert exchange.presented == PAIR[0]
        assert exchange.resolution == ("cookie", "ok", "local")
        assert exchange.paired
        assert not exchange.renew_due
        assert not exchange.expired


def test_c13_edge_id_alone_gives_low() -> None:
    exchange = asking(PAIR[0])
    assert a_filter().inbound(exchange) is CONTINUE
    assert exchange.user == user_at(Source.COOKIE_INSECURE, Level.LOW)
    assert exchange.device == device_at(Source.COOKIE_INSECURE, Level.LOW)
    assert not exchange.paired


def test_c13_f3_rule_13_both_halves_over_an_untrusted_transport_give_low_also_after_a_trusted_one() -> None:
    cookie = a_filter()
    for transport_secure, level in ((True, Level.HIGH), (False, Level.LOW), (True, Level.HIGH), (False, Level.LOW)):
        exchange = asking(*PAIR, transport_secure=transport_secure)
        assert cookie.inbound(exchange) is CONTINUE
        assert exchange.user is not None
        assert exchange.user.level is level


def test_c13_no_pair_gives_more_than_the_level_it_was_made_with() -> None:
    exchange = asking(*pair_of(claims()._replace(level=1)))
    assert a_filter().inbound(exchange) is CONTINUE
    assert exchange.user is not None
    assert exchange.user.level is Level.LOW


def test_c13_the_secure_half_alone_is_nobody_and_does_not_go_on() -> None:
    exchange = asking(None, PAIR[1], others=b"a=1")
    assert a_filter().inbound(exchange) is NOT_MINE
    assert exchange.user is None
    assert exchange.request.headers.get_all(b"cookie") == [b"a=1"]


BAD = {
    "c1_insecure_tampered": ((PAIR[0][:50] + b"A" + PAIR[0][51:], PAIR[1]), "bad_tag"),
    "c1_secure_tampered": ((PAIR[0], PAIR[1][:50] + b"A" + PAIR[1][51:]), "bad_tag"),
    "c2_truncated": ((PAIR[0][:30], PAIR[1]), "too_short"),
    "c2_empty": ((b"", PAIR[1]), "too_short"),
    "c2_empty_secure_half": ((PAIR[0], b""), "too_short"),
    "c2_extended": ((PAIR[0] + b"AAAA", PAIR[1]), "bad_tag"),
    "c3_another_name": ((PAIR[1], None), "bad_tag"),
    "c3_swapped": ((PAIR[1], PAIR[0]), "bad_tag"),
    "c3_another_environment": (seal_pair(Rings().ring, NAMES, "live", claims(), NONCES), "bad_tag"),
    "not_a_token": ((b"x" * 200, None), "bad_version"),
    "c6_unknown_key": (pair_of(claims(), ring_of(version(9))), "unknown_key"),
    "c6_wrong_key_under_the_right_id": (pair_of(claims(), ring_of(version(1, seed="other"))), "bad_tag"),
    "c7_quoted": ((b'"' + PAIR[0] + b'"', PAIR[1]), "not_canonical"),
    "c7_duplicate": ((PAIR[0] + b"; EdgeId=" + OTHER_USER[0], PAIR[1]), "duplicate"),
    "c7_duplicate_other_order": ((OTHER_USER[0] + b"; EdgeId=" + PAIR[0], PAIR[1]), "duplicate"),
    "c9_four_kilobytes": ((b"A" * 5000, None), "too_long"),
    "c10_future": (pair_of(claims(issued_at=NOW + 86_400)), "bad_times"),
    "c13_another_user": ((PAIR[0], OTHER_USER[1]), "pair_mismatch"),
    "c13_another_session": ((PAIR[0], OTHER_SESSION[1]), "pair_mismatch"),
    "c13_good_beside_garbage": ((PAIR[0], b"garbage"), "too_short"),
}


@pytest.mark.parametrize(("pair", "detail"), BAD.values(), ids=BAD)
def test_c5_bad_tokens_are_refused_and_all_look_alike_from_outside(
    pair: tuple[bytes, bytes | None], detail: str
) -> None:
    """C5: one status and one reason whatever is wrong; the detail is for metrics only."""
    cookie = a_filter()
    for _ in range(2):
        exchange = asking(*pair, others=b"theme=dark")
        assert cookie.inbound(exchange) == Refuse(401, Reason.TOKEN_REFUSED, detail)
        assert exchange.user is None
        assert exchange.device is None
        assert exchange.presented == b""
        assert exchange.resolution == ("cookie", "refused", "local")
        assert exchange.request.headers.get_all(b"cookie") == [b"theme=dark"]


@pytest.mark.parametrize(("pair", "detail"), BAD.values(), ids=BAD)
def test_bad_tokens_are_nobody_where_the_route_says_so(pair: tuple[bytes, bytes | None], detail: str) -> None:
    exchange = asking(*pair, auth=ANONYMOUS_ON_BAD)
    assert a_filter().inbound(exchange) is CONTINUE
    assert exchange.user is None
    assert exchange.device is None
    assert not exchange.paired
    assert exchange.resolution == ("cookie", "refused", "local")
    assert exchange.reason_detail == detail
    assert b"cookie" not in exchange.request.headers


def test_f5_d9_a_refusal_is_never_remembered() -> None:
    rings = Rings(ring_of(version(9)))
    cookie = a_filter(rings)
    assert isinstance(cookie.inbound(asking(*PAIR)), Refuse)
    rings.ring = ring_of(version(1))
    assert cookie.inbound(asking(*PAIR)) is CONTINUE


def test_f6_a_new_ring_forgets_every_verified_token() -> None:
    rings = Rings()
    cookie = a_filter(rings)
    assert cookie.inbound(asking(*PAIR)) is CONTINUE
    rings.ring = ring_of(version(1, kms_pb2.DESTROYED), version(2))
    assert cookie.inbound(asking(*PAIR)) == Refuse(401, Reason.TOKEN_REFUSED, "unknown_key")


def test_c6_a_rotation_makes_no_cookie_due() -> None:
    rings = Rings()
    cookie = a_filter(rings)
    for ring in (
        ring_of(version(1)),
        ring_of(version(1), version(2, kms_pb2.PRE_ACTIVE, primary=False)),
        ring_of(version(1, kms_pb2.DEACTIVATED, primary=False), version(2)),
    ):
        rings.ring = ring
        for after, due in ((0, False), (7199, False), (7200, True)):
            exchange = asking(*PAIR, now=NOW + after)
            assert cookie.inbound(exchange) is CONTINUE
            assert exchange.user == user_at(Source.COOKIE, Level.HIGH)
            assert exchange.renew_due is due


def test_f4_times_are_judged_anew_on_every_hit() -> None:
    cookie = a_filter()
    moments = [
        (0, False, False),
        (7199, False, False),
        (7200, True, False),
        (14_399, True, False),
        (14_400, False, True),
    ]
    for after, due, expired in [*moments, *reversed(moments)]:
        exchange = asking(*PAIR, now=NOW + after)
        assert cookie.inbound(exchange) is CONTINUE
        assert (exchange.renew_due, exchange.expired) == (due, expired)
        assert exchange.user is not None
        assert exchange.user.level is (Level.LOW if expired else Level.HIGH)
    assert cookie.inbound(asking(*PAIR, now=NOW - 61)) == Refuse(401, Reason.TOKEN_REFUSED, "bad_times")


def test_an_expired_token_names_user_and_device_at_low_until_it_is_renewed() -> None:
    exchange = asking(*PAIR, now=NOW + 86_400)
    assert a_filter().inbound(exchange) is CONTINUE
    assert exchange.expired
    assert exchange.user == user_at(Source.COOKIE, Level.LOW)
    assert exchange.device == device_at(Source.COOKIE, Level.LOW)
    assert exchange.resolution == ("cookie", "expired", "local")
    assert exchange.presented == PAIR[0]


def test_a_device_cookie_without_a_user_gives_a_device_only() -> None:
    exchange = asking(*pair_of(claims(customer_id=0)))
    assert a_filter().inbound(exchange) is CONTINUE
    assert exchange.user is None
    assert exchange.device == device_at(Source.COOKIE, Level.HIGH)


def test_a_user_without_a_device_gives_a_user_only() -> None:
    exchange = asking(*pair_of(claims(esn="")))
    assert a_filter().inbound(exchange) is CONTINUE
    assert exchange.user is not None
    assert exchange.device is None


def test_a_request_without_cookies_of_ours_is_not_mine_and_untouched() -> None:
    for fields in ([(b"Host", b"x")], [(b"Host", b"x"), (b"Cookie", b"a=1;  b")]):
        exchange = an_exchange(*fields)
        assert a_filter().inbound(exchange) is NOT_MINE
        assert list(exchange.request.headers) == fields
        assert exchange.token_kind is TokenKind.NONE


def test_c7_two_cookie_lines_are_one_and_what_is_left_keeps_its_place() -> None:
    lines = [
        (b"Cookie", b"a=1; EdgeId=" + PAIR[0]),
        (b"Accept", b"*/*"),
        (b"cookie", b"SecureEdgeId=" + PAIR[1]),
        (b"COOKIE", b"EdgeId=" + PAIR[0] + b"; b=2"),
    ]
    exchange = an_exchange(*lines, secure=True)
    exchange.now = NOW
    assert a_filter().inbound(exchange) is CONTINUE
    assert exchange.user == user_at(Source.COOKIE, Level.HIGH)
    assert list(exchange.request.headers) == [(b"Cookie", b"a=1"), (b"Accept", b"*/*"), (b"COOKIE", b"b=2")]


def test_rule_22_a_cookie_in_the_trailers_is_never_read_and_never_goes_on() -> None:
    trailers = headers_of((b"Cookie", b"EdgeId=" + PAIR[0]), (b"X-Sum", b"1"))
    a_filter().trailers(asking(None), trailers)
    assert list(trailers) == [(b"X-Sum", b"1")]


def test_f7_two_users_in_turn_never_get_each_others_identity() -> None:
    cookie = a_filter()
    for _ in range(3):
        for pair, customer_id in ((PAIR, 4711), (OTHER_USER, 4712)):
            exchange = asking(*pair)
            cookie.inbound(exchange)
            assert exchange.user is not None
            assert exchange.user.customer_id == customer_id


def test_c13_a_mixed_pair_is_refused_also_when_both_pairs_are_remembered() -> None:
    cookie = a_filter()
    assert cookie.inbound(asking(*PAIR)) is CONTINUE
    assert cookie.inbound(asking(*OTHER_USER)) is CONTINUE
    assert isinstance(cookie.inbound(asking(PAIR[0], OTHER_USER[1])), Refuse)


def test_d9_the_memory_of_verified_tokens_and_lines_is_bounded() -> None:
    cookie = a_filter(cache_entries=10)
    for number in range(100):
        cookie.inbound(asking(*pair_of(claims(customer_id=number + 1))))
    assert len(cookie._verified) <= 20
    assert len(cookie._lines) <= 20
    cookie.inbound(asking(*PAIR, others=b"a=" + b"x" * 2000))
    assert all(len(line) <= 1024 for line in cookie._lines.young)


def test_k5_an_unknown_key_is_reported_so_that_a_newer_ring_can_be_fetched() -> None:
    told: list[bool] = []
    cookie = CookieFilter(Rings(), NAMES, ENVIRONMENT, 10, on_unknown_key=lambda: told.append(True))
    cookie.inbound(asking(*pair_of(claims(), ring_of(version(9)))))
    cookie.inbound(asking(*PAIR))
    assert told == [True]


def test_without_any_key_a_token_is_a_503_and_not_a_sign_out() -> None:
    cookie = a_filter(Rings(KeyRing.from_key_sets([], 0)))
    assert cookie.inbound(asking(*PAIR)) == Refuse(503, Reason.KEYS_UNAVAILABLE, "unknown_key")


def of_unknown_key() -> tuple[bytes, bytes]:
    return pair_of(claims(), ring_of(version(9)))


def with_stale_keys() -> CookieFilter:
    return CookieFilter(Rings(), NAMES, ENVIRONMENT, 10, keys_stale=lambda: True)


@pytest.mark.parametrize(
    "auth",
    [
        AuthPolicy(Level.LOW, Level.UNSPECIFIED),
        AuthPolicy(Level.UNSPECIFIED, Level.UNSPECIFIED),
        AuthPolicy(Level.LOW, Level.UNSPECIFIED, OnBadToken.ANONYMOUS),
        AuthPolicy(Level.UNSPECIFIED, Level.LOW, OnBadToken.ANONYMOUS),
    ],
)
def test_k1_an_unknown_key_while_ours_are_stale_is_a_503_that_clears_nothing_and_identifies_nobody(
    auth: AuthPolicy,
) -> None:
    exchange = asking(*of_unknown_key(), auth=auth)
    assert with_stale_keys().inbound(exchange) == Refuse(503, Reason.KEYS_STALE, "unknown_key")
    assert exchange.user is None
    assert exchange.device is None
    assert not exchange.user_cleared


def test_k1_where_a_bad_token_is_nobodys_and_nobody_is_asked_for_stale_keys_refuse_nothing() -> None:
    exchange = asking(*of_unknown_key(), auth=ANONYMOUS_ON_BAD)
    assert with_stale_keys().inbound(exchange) is CONTINUE
    assert exchange.user is None
    assert exchange.bad_token == "keys_stale"
    assert not exchange.user_cleared


def test_k1_stale_keys_change_nothing_for_tokens_that_they_open_or_that_are_bad() -> None:
    cookie = with_stale_keys()
    assert cookie.inbound(asking(*PAIR)) is CONTINUE
    assert cookie.inbound(asking(PAIR[0], OTHER_USER[1])) == Refuse(401, Reason.TOKEN_REFUSED, "pair_mismatch")


def test_s6_k5_an_unknown_key_is_a_401_while_ours_are_the_newest() -> None:
    cookie = CookieFilter(Rings(), NAMES, ENVIRONMENT, 10, keys_stale=lambda: False)
    assert cookie.inbound(asking(*of_unknown_key())) == Refuse(401, Reason.TOKEN_REFUSED, "unknown_key")


def test_s6_k5_an_unknown_key_is_a_503_while_the_refresh_that_it_asks_for_is_under_way_and_then_a_401() -> None:
    asked: list[bool] = []
    cookie = CookieFilter(
        Rings(), NAMES, ENVIRONMENT, 10, on_unknown_key=lambda: asked.append(True), keys_stale=lambda: len(asked) == 1
    )
    assert cookie.inbound(asking(*of_unknown_key())) == Refuse(503, Reason.KEYS_STALE, "unknown_key")
    assert cookie.inbound(asking(*of_unknown_key())) == Refuse(401, Reason.TOKEN_REFUSED, "unknown_key")


def test_rule_24_no_repr_shows_a_token_or_a_user() -> None:
    cookie = a_filter()
    exchange = asking(*PAIR)
    cookie.inbound(exchange)
    for shown in (
        repr(cookie._verified),
        repr(cookie._lines),
        repr(exchange),
        repr(Resolved(claims(), paired=True, trusted=True)),
    ):
        assert PAIR[0].decode() not in shown
        assert "4711" not in shown


# Line breaks end a field: no value from the wire holds one.
_FIELD_VALUES = st.binary(max_size=120).map(lambda value: value.translate(None, b"\r\n"))


@given(st.lists(_FIELD_VALUES, min_size=1, max_size=3), st.booleans())
def test_no_cookie_bytes_at_all_make_an_error_or_an_identity(lines: list[bytes], named: bool) -> None:
    """Whatever comes is nobody's or refused: never an exception, which would be a 500."""
    values = [b"EdgeId=" + line + b"; SecureEdgeId=" + line if named else line for line in lines]
    exchange = an_exchange(*((b"Cookie", value) for value in values), secure=True)
    verdict = a_filter().inbound(exchange)
    assert verdict is NOT_MINE or (isinstance(verdict, Refuse) and verdict.status == 401)
    assert exchange.user is None
    assert not any(b"EdgeId=" in piece.strip()[:7] for piece in b";".join(values_left(exchange)).split(b";"))


def values_left(exchange: Exchange) -> list[bytes]:
    return exchange.request.headers.get_all(b"cookie")


def test_c8_halves_that_are_missing_old_or_more_than_two_name_nobody_else_and_cost_nobody_the_session() -> None:
    newer = pair_of(claims(generation=2, issued_at=NOW + 60))
    for halves, level in (
        ((PAIR[0], None), Level.LOW),
        ((newer[0], PAIR[1]), Level.HIGH),  # the browser took one line of a renewal and lost the other
        ((PAIR[0], newer[1]), Level.HIGH),
        (newer, Level.HIGH),
    ):
        exchange = asking(*halves, others=b"EdgeId2=x; EdgeId.1=y", now=NOW + 60)
        assert a_filter().inbound(exchange) is CONTINUE
        assert exchange.user is not None
        assert (exchange.user.customer_id, exchange.user.level) == (4711, level)
        assert exchange.request.headers.get_all(b"cookie") == [b"EdgeId2=x; EdgeId.1=y"]
    both = asking(PAIR[0] + b"; EdgeId=" + newer[0], newer[1], now=NOW + 60)
    assert a_filter().inbound(both) == Refuse(401, Reason.TOKEN_REFUSED, "duplicate")


def test_f3_what_is_remembered_of_a_token_counts_for_that_token_environment_and_name_only() -> None:
    cookie = a_filter()
    assert cookie.inbound(asking(*PAIR)) is CONTINUE
    assert isinstance(cookie.inbound(asking(PAIR[1], PAIR[0])), Refuse)
    assert isinstance(cookie.inbound(asking(PAIR[0], OTHER_USER[1])), Refuse)
    assert isinstance(CookieFilter(Rings(), NAMES, "live", 100).inbound(asking(*PAIR)), Refuse)
    theirs = asking(*OTHER_USER)
    assert cookie.inbound(theirs) is CONTINUE
    assert theirs.user is not None
    assert theirs.user.customer_id == 4712
