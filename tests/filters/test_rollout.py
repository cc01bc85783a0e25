"""Whose token ends at the edge is decided once, by the device that an authentic token names, and by no header."""

from dataclasses import replace

import pytest

from edge.contract.dials import BUCKETS, Dial, Dials, DialTable, Feature
from edge.contract.exchange import Exchange, TokenKind
from edge.contract.filters import CONTINUE, NOT_MINE
from edge.contract.filters import LEGACY as LEGACY_VERDICT
from edge.contract.identity import Level, Peeked, Reported
from edge.contract.rollout import Comparison
from edge.contract.route import AuthPolicy
from filters.inbound.cookie import CookieFilter
from filters.inbound.rollout import RolloutFilter
from filters.renewals import Renewals
from tests.dials import LEGACY, ON, SHADOW, SHADOWED, TERMINATE, just_in, just_out
from tests.filters.cookies import ANONYMOUS_ON_BAD, Rings, asking, pair_of
from tests.filters.exchanges import ANYBODY, an_exchange
from tests.tokens.rings import ENVIRONMENT, NAMES, NOW, claims, ring_of, version

ESN = b"NFANDROID1-PXA-0001"
PEER = b"203.0.113.7"
KNOWN_TYPES = {1: "browser", 7: "phone"}


class Counted:
    """Notes what it is told; turns the dials as soon as it is told anything, if it is to."""

    def __init__(self) -> None:
        self.decisions: list[tuple[Feature, int, bool]] = []
        self.dials: Dials | None = None
        self.next = ON

    def decided(self, feature: Feature, device_type: int, *, on: bool) -> None:
        """Note it."""
        self.decisions.append((feature, device_type, on))
        if self.dials is not None:
            self.dials.table = self.next

    def compared(self, exchange: Exchange, peeked: Peeked, reported: Reported | None, result: Comparison) -> None:
        """Nothing is compared here."""


class Revoked:
    """Everything is."""

    revision = 1

    def covers(self, customer_id: int, session_id: str, esn: str, vouched_at: int) -> bool:
        """Tell that it is."""
        return True


class Chain:
    """The filter before the cookie filter that it asks."""

    def __init__(
        self, table: DialTable = LEGACY, *, rings: Rings | None = None, revoked: bool = False, stale: bool = False
    ) -> None:
        self.dials, self.counted, self.renewals = Dials(table), Counted(), Renewals()
        self.cookie = CookieFilter(
            rings or Rings(),
            NAMES,
            ENVIRONMENT,
            100,
            revocations=Revoked() if revoked else None,
            keys_stale=lambda: stale,
        )
        self.rollout = RolloutFilter(self.dials, self.cookie, KNOWN_TYPES, self.counted, self.renewals)

    def has_bucket_of(self, key: bytes, device_type: int, exchange: Exchange) -> bool:
        """Tell whether the exchange changes sides with that key, and is counted for that type."""
        legacy_route(exchange)
        verdicts = []
        for self.dials.table in (just_in(key), just_out(key)):
            verdicts.append(self.rollout.inbound(exchange))
        counted = [each[1:] for each in self.counted.decisions if each[0] is TERMINATE]
        return verdicts == [CONTINUE, LEGACY_VERDICT] and counted == [(device_type, True), (device_type, False)]


def legacy_route(exchange: Exchange) -> Exchange:
    """Send the exchange to an origin that accepts legacy traffic."""
    exchange.route = replace(exchange.route, accepts_legacy=True)
    return exchange


def state(exchange: Exchange) -> dict[str, object]:
    """Return all that an exchange and its request say."""
    said = {name: getattr(exchange, name) for name in dir(exchange) if not name.startswith("_") and name != "request"}
    return said | {"fields": list(exchange.request.headers.fields)}


def test_off_leaves_the_request_as_it_came_and_marks_nothing_but_the_mode() -> None:
    chain = Chain()
    exchange = legacy_route(asking(*pair_of(claims()), others=b"theirs=1"))
    before = state(exchange)
    assert chain.rollout.inbound(exchange) is LEGACY_VERDICT
    assert state(exchange) == before | {"legacy": True, "resolution": ("none", "legacy", "none")}


def test_on_leaves_the_exchange_as_it_came_so_that_the_filters_behind_find_it_untouched() -> None:
    chain = Chain(just_in(ESN))
    exchange = legacy_route(asking(*pair_of(claims()), others=b"theirs=1"))
    before = state(exchange)
    assert chain.rollout.inbound(exchange) is CONTINUE
    assert state(exchange) == before
    assert chain.cookie.inbound(exchange) is CONTINUE
    assert exchange.user is not None
    assert chain.counted.decisions == [(TERMINATE, 7, True)]


def test_an_origin_that_does_not_accept_legacy_traffic_has_the_dial_on_whatever_it_says() -> None:
    chain = Chain()
    exchange = asking(*pair_of(claims()))
    assert chain.rollout.inbound(exchange) is CONTINUE
    assert (chain.counted.decisions, exchange.legacy) == ([], False)


def test_a_dial_that_is_fully_on_asks_for_nobody() -> None:
    chain = Chain(ON)
    assert chain.rollout.inbound(legacy_route(asking(*pair_of(claims())))) is CONTINUE
    assert chain.counted.decisions == []


@pytest.mark.parametrize("now", [NOW + 1, NOW + 8_000, NOW + 20_000, NOW + 10_000_000])
@pytest.mark.parametrize("halves", [1, 2])
def test_the_bucket_is_that_of_the_device_in_an_authentic_token_also_when_it_has_expired(
    now: float, halves: int
) -> None:
    assert Chain().has_bucket_of(ESN, 7, asking(*pair_of(claims())[:halves], now=now))


def test_the_bucket_stays_when_the_user_is_revoked() -> None:
    assert Chain(revoked=True).has_bucket_of(ESN, 7, asking(*pair_of(claims())))


def test_who_has_no_serial_number_keeps_its_bucket_for_a_session() -> None:
    first, renewed = (pair_of(claims(esn="", generation=generation)) for generation in (1, 2))
    for pair in (first, renewed):
        assert Chain().has_bucket_of(b"5e5510f0", 0, asking(*pair))


def test_who_has_no_serial_number_keeps_its_bucket_when_the_session_is_revoked() -> None:
    pair = pair_of(claims(esn=""))
    assert Chain(revoked=True).has_bucket_of(b"5e5510f0", 0, asking(*pair))
    assert Chain(revoked=True).has_bucket_of(b"5e5510f0", 0, asking(*pair, now=NOW + 20_000))


@pytest.mark.parametrize(
    "other",
    [b"garbage", b"A" * 100, pair_of(claims(), ring_of(version(9)))[1], pair_of(claims(session_id="another"))[1]],
    ids=["garbage", "not_authentic", "unknown_key", "another_session"],
)
@pytest.mark.parametrize("auth", [ANYBODY, ANONYMOUS_ON_BAD], ids=["refused", "anonymous"])
def test_the_bucket_is_that_of_the_edge_id_whatever_its_other_half_is(other: bytes, auth: AuthPolicy) -> None:
    exchange = asking(pair_of(claims())[0], other, auth=auth)
    assert Chain().has_bucket_of(ESN, 7, exchange)
    seen = peeked_at(asking(pair_of(claims())[0], other, auth=auth))
    assert (seen.user, seen.device) == (None, None)  # whom it names is nobody to trust


def test_an_edge_id_that_came_twice_names_nobody() -> None:
    first, second = (pair_of(claims(session_id=session))[0] for session in ("one", "other"))
    assert Chain().has_bucket_of(PEER, 0, asking(first, others=b"EdgeId=" + second))


def test_a_device_type_that_nobody_registered_is_unknown() -> None:
    unregistered = claims()._replace(device_type=8)
    assert Chain().has_bucket_of(ESN, 0, asking(*pair_of(unregistered)))


@pytest.mark.parametrize(
    "cookies",
    [
        (None,),
        (b"garbage",),
        (b"A" * 100, b"B" * 100),
        pair_of(claims(), ring_of(version(9))),
        pair_of(claims(issued_at=NOW + 10_000)),
    ],
    ids=["none", "garbage", "garbage_pair", "unknown_key", "from_the_future"],
)
def test_who_shows_no_authentic_token_has_the_bucket_of_its_address(cookies: tuple[bytes | None, ...]) -> None:
    assert Chain().has_bucket_of(PEER, 0, asking(*cookies))


NEWER = pair_of(claims(), ring_of(version(9)))
PHONE_OFF = {Dial(TERMINATE): BUCKETS, Dial(TERMINATE, None, 7): 0}
UNKNOWN_OFF = {Dial(TERMINATE): BUCKETS, Dial(TERMINATE, None, 0): 0}
ONLY_UNKNOWN_ON = {Dial(TERMINATE): 0, Dial(TERMINATE, None, 0): BUCKETS}
OFF_ELSEWHERE = {Dial(TERMINATE): BUCKETS, Dial(TERMINATE, "ui"): 0}
ON_HERE = {Dial(TERMINATE): 0, Dial(TERMINATE, "api"): BUCKETS}
OFF_HERE_FOR_PHONES = {**ON_HERE, Dial(TERMINATE, "api", 7): 9_999}


@pytest.mark.parametrize("auth", [ANYBODY, ANONYMOUS_ON_BAD], ids=["refused", "anonymous"])
@pytest.mark.parametrize("without", ["the_key", "any_key"])
@pytest.mark.parametrize(
    ("positions", "on"),
    [
        ({Dial(TERMINATE): 0}, False),
        ({Dial(TERMINATE): 9_999}, False),
        (PHONE_OFF, False),
        (UNKNOWN_OFF, False),
        (ONLY_UNKNOWN_ON, False),
        (OFF_HERE_FOR_PHONES, False),
        (OFF_ELSEWHERE, True),
        (ON_HERE, True),
    ],
)
def test_who_cannot_be_known_for_want_of_a_key_is_served_the_old_way_where_any_device_may_be(
    positions: dict[Dial, int], on: bool, without: str, auth: AuthPolicy
) -> None:
    rings = Rings(ring_of(purpose="passport-user")) if without == "any_key" else None
    chain = Chain(DialTable(1, positions), rings=rings, stale=True)
    for number in range(20):  # whatever bucket their address has
        exchange = legacy_route(asking(*NEWER, auth=auth))
        exchange.request.peer = f"203.0.113.{number}"
        assert chain.rollout.inbound(exchange) is (CONTINUE if on else LEGACY_VERDICT)
        assert exchange.legacy is not on
    assert set(chain.counted.decisions) >= {(TERMINATE, 0, on)}


def test_the_bucket_stays_while_the_keys_are_stale_for_whom_the_edge_id_names() -> None:
    assert Chain(stale=True).has_bucket_of(ESN, 7, asking(*pair_of(claims())))
    assert Chain(stale=True).has_bucket_of(ESN, 7, asking(pair_of(claims())[0], NEWER[1]))
    assert Chain(stale=True).has_bucket_of(PEER, 0, asking(None))
    assert Chain(stale=True).has_bucket_of(PEER, 0, asking(b"garbage"))


def test_h17_no_header_moves_a_device_into_another_bucket() -> None:
    headers = [
        *((b"X-ESN", b"NFTV"), (b"X-Device-Type", b"1"), (b"X-Device-ESN", b"NFTV"), (b"X-Forwarded-For", b"10.9.8.7")),
        *((b"X-Real-IP", b"10.9.8.7"), (b"User-Agent", b"television"), (b"X-Edge-Dial", b"on"), (b"Esn", b"NFTV")),
    ]
    assert Chain().has_bucket_of(PEER, 0, an_exchange(*headers))
    known = asking(*pair_of(claims()))
    for name, value in headers:
        known.request.headers.add(name, value)
    assert Chain().has_bucket_of(ESN, 7, known)


@pytest.mark.parametrize("first", [LEGACY, SHADOWED])
def test_f8_the_dials_are_read_once_for_an_exchange(first: DialTable) -> None:
    chain = Chain(first)
    chain.counted.dials, chain.counted.next = chain.dials, SHADOWED if first is LEGACY else ON
    exchange = legacy_route(asking(*pair_of(claims())))
    assert chain.rollout.inbound(exchange) is LEGACY_VERDICT
    assert chain.dials.table is chain.counted.next
    assert (exchange.shadow is not None) is (first is SHADOWED)


def test_shadowing_keeps_whom_the_passport_would_name() -> None:
    chain = Chain(SHADOWED)
    exchange = legacy_route(asking(*pair_of(claims())))
    assert chain.rollout.inbound(exchange) is LEGACY_VERDICT
    aside = asking(*pair_of(claims()))
    assert chain.cookie.inbound(aside) is CONTINUE
    assert exchange.shadow == Peeked(aside.user, aside.device, TokenKind.COOKIE, settled=True)
    assert exchange.user is None
    assert chain.counted.decisions == [(TERMINATE, 7, False), (SHADOW, 7, True)]


def test_shadowing_keeps_nobody_where_the_dial_of_shadowing_is_off() -> None:
    chain = Chain()
    exchange = legacy_route(asking(*pair_of(claims())))
    assert chain.rollout.inbound(exchange) is LEGACY_VERDICT
    assert exchange.shadow is None


def peeked_at(exchange: Exchange, chain: Chain | None = None) -> Peeked:
    """Return what shadowing keeps of an exchange."""
    assert (chain or Chain(SHADOWED)).rollout.inbound(legacy_route(exchange)) is LEGACY_VERDICT
    assert exchange.shadow is not None
    return exchange.shadow


def test_what_the_edge_would_first_have_had_renewed_is_not_settled() -> None:
    expired = peeked_at(asking(*pair_of(claims()), now=NOW + 20_000))
    assert not expired.settled
    due = peeked_at(asking(*pair_of(claims()), now=NOW + 8_000))
    assert due.settled
    assert due.user is not None
    assert due.user.level is Level.HIGH


def test_what_the_edge_has_no_keys_for_is_not_settled() -> None:
    without_keys = Chain(SHADOWED, rings=Rings(ring_of(purpose="passport-user")))
    assert peeked_at(asking(*pair_of(claims())), without_keys) == Peeked(None, None, TokenKind.NONE, settled=False)
    for auth in (ANYBODY, ANONYMOUS_ON_BAD):
        assert not peeked_at(asking(*NEWER, auth=auth), Chain(SHADOWED, stale=True)).settled


def test_a_token_that_would_be_refused_stands_for_nobody() -> None:
    assert peeked_at(asking(b"garbage")) == Peeked(None, None, TokenKind.COOKIE, settled=True)
    assert peeked_at(asking(None)) == Peeked(None, None, TokenKind.NONE, settled=True)


def test_a_user_who_is_revoked_is_nobody_on_the_same_device() -> None:
    seen = peeked_at(asking(*pair_of(claims())), Chain(SHADOWED, revoked=True))
    assert seen.user is None
    assert seen.device is not None


@pytest.mark.parametrize("now", [NOW + 1, NOW + 20_000], ids=["fresh", "expired"])
def test_a_token_that_was_found_revoked_when_it_was_to_be_renewed_stands_for_nobody(now: float) -> None:
    chain, pair = Chain(SHADOWED), pair_of(claims())
    chain.renewals.revoke(pair[0])
    seen = peeked_at(asking(*pair, now=now), chain)
    assert (seen.user, seen.settled) == (None, True)
    assert seen.device is not None
    another = peeked_at(asking(*pair_of(claims()), now=now), chain)
    assert another.user is not None


def test_a_peek_teaches_the_cookie_filter_nothing_that_it_would_not_find_itself() -> None:
    chain = Chain()
    bad = asking(b"garbage")
    assert chain.rollout.inbound(legacy_route(bad)) is LEGACY_VERDICT
    pair = pair_of(claims())
    assert chain.rollout.inbound(legacy_route(asking(*pair))) is LEGACY_VERDICT
    chain.dials.table = ON
    exchange = legacy_route(asking(*pair, others=b"theirs=1"))
    assert chain.rollout.inbound(exchange) is CONTINUE
    assert chain.cookie.inbound(exchange) is CONTINUE
    assert exchange.request.headers.get_all(b"cookie") == [b"theirs=1"]
    assert exchange.presented == pair[0]
    assert chain.cookie.inbound(an_exchange()) is NOT_MINE


def test_a_repr_names_nobody() -> None:
    exchange = asking(*pair_of(claims()))
    text = repr(peeked_at(exchange)) + repr(exchange) + repr(Reported(4711, ESN.decode(), Level.HIGH))
    assert "4711" not in text
    assert ESN.decode() not in text
