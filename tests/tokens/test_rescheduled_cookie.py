"""The rescheduled cookie: made from an expired one, under a key and a kind of its own, and never for more."""

from typing import Any

import pytest
from edgepb.kms.v1 import kms_pb2
from edgepb.tokens.v1.cookie_pb2 import CookieClaims
from hypothesis import given
from hypothesis import strategies as st

from tests.tokens.rings import ENVIRONMENT, NAMES, NONCES, NOW, both_rings, claims, ring_of, version
from tokens.cookie import (
    MAX_RESCHEDULED_LIFE_S,
    PURPOSE,
    RESCHEDULED,
    Claims,
    NoSealingKeyError,
    open_insecure,
    open_pair,
    seal_pair,
)
from tokens.envelope import Refusal, seal
from tokens.keys.ring import KeyRing, Place

RING = both_rings()
LATER = NOW + 86_400
STAND_IN = claims().rescheduled(LATER, 300, 100)


def opened(text: bytes, ring: KeyRing = RING, now: float = LATER) -> Claims | Refusal:
    return open_insecure(ring, NAMES, ENVIRONMENT, text, now)


def test_it_says_whose_it_is_how_often_and_since_when() -> None:
    pair = seal_pair(RING, NAMES, ENVIRONMENT, STAND_IN, NONCES)
    assert open_pair(RING, NAMES, ENVIRONMENT, pair, LATER) == STAND_IN
    assert opened(pair[0]) == STAND_IN
    assert STAND_IN.customer_id == claims().customer_id
    assert (STAND_IN.session_id, STAND_IN.generation, STAND_IN.level) == ("5e5510f0", 1, 2)
    assert (STAND_IN.issued_at, STAND_IN.renew_after, STAND_IN.expires_at) == (LATER, LATER + 100, LATER + 300)
    assert (STAND_IN.rescheduled_count, STAND_IN.rescheduled_since) == (1, LATER)
    assert STAND_IN.full_until == claims().expires_at
    assert STAND_IN.vouched_at == claims().vouched_at == NOW


@given(st.lists(st.integers(1, 40 * 86_400), min_size=1, max_size=20))
def test_it_counts_on_from_the_first_time(pauses_s: list[int]) -> None:
    made, now = claims(), LATER
    for pause_s in pauses_s:
        now += pause_s
        made = made.rescheduled(now, 300, 0)
    assert made.rescheduled_count == len(pauses_s)
    assert made.rescheduled_since == LATER + pauses_s[0]
    assert made.full_until == claims().expires_at


def test_rule_11_neither_kind_opens_under_the_others_key_or_place() -> None:
    key = RING.primary(RESCHEDULED)
    assert key is not None
    pair = seal_pair(RING, NAMES, ENVIRONMENT, STAND_IN, NONCES)
    assert opened(pair[0], ring_of(version(1))) is Refusal.UNKNOWN_KEY
    assert opened(pair[0], both_rings(rescheduled="another")) is Refusal.BAD_TAG
    in_the_place_of_a_full_one = seal(key, Place("cookie", NAMES.insecure, ENVIRONMENT), b"\x08\x01", bytes(12))
    assert opened(in_the_place_of_a_full_one) is Refusal.BAD_TAG


@pytest.mark.parametrize("purpose", [PURPOSE, RESCHEDULED])
def test_rule_14_a_key_makes_only_its_own_kind_of_claims(purpose: str) -> None:
    """Whoever holds one of the keys cannot make the other kind with it."""
    key = RING.primary(purpose)
    assert key is not None
    said = STAND_IN if purpose == PURPOSE else claims(issued_at=LATER)
    text = seal(key, Place(purpose, NAMES.insecure, ENVIRONMENT), message_of(said), bytes(12))
    assert opened(text) is Refusal.BAD_CLAIMS


@pytest.mark.parametrize(
    ("change", "refusal"),
    [
        ({"expires_at": LATER + MAX_RESCHEDULED_LIFE_S + 1}, Refusal.BAD_TIMES),
        ({"original_expires_at": 0}, Refusal.BAD_CLAIMS),
        ({"original_expires_at": LATER + 3600}, Refusal.BAD_CLAIMS),
        ({"original_issued_at": 0}, Refusal.BAD_CLAIMS),
        ({"original_issued_at": claims().expires_at}, Refusal.BAD_CLAIMS),
        ({"rescheduled_since": 0}, Refusal.BAD_CLAIMS),
        ({"rescheduled_since": LATER + 1}, Refusal.BAD_CLAIMS),
        ({"rescheduled_count": -1}, Refusal.BAD_CLAIMS),
    ],
)
def test_what_no_stand_in_says_is_refused(change: dict[str, Any], refusal: Refusal) -> None:
    key = RING.primary(RESCHEDULED)
    assert key is not None
    text = seal(
        key, Place(RESCHEDULED, NAMES.insecure, ENVIRONMENT), message_of(STAND_IN._replace(**change)), bytes(12)
    )
    assert opened(text) is refusal


def test_rule_17_one_of_an_edge_whose_clock_was_ahead_is_authentic_and_counts_as_expired() -> None:
    pair = seal_pair(RING, NAMES, ENVIRONMENT, STAND_IN, NONCES)
    for ahead_s, expired in ((60, False), (61, True), (LATER - NOW, True)):
        made = open_pair(RING, NAMES, ENVIRONMENT, pair, LATER - ahead_s)
        assert isinstance(made, Claims)
        assert made.expired(LATER - ahead_s) is expired
    assert open_pair(RING, NAMES, ENVIRONMENT, pair, NOW - 61) is Refusal.BAD_TIMES  # before there was a full one


@pytest.mark.parametrize("now", [NOW + 60, NOW + 7200, LATER - 61])
def test_rule_17_what_stands_in_for_it_is_dated_by_the_clock_of_now(now: int) -> None:
    made = STAND_IN.rescheduled(now, 300, 100)
    pair = seal_pair(RING, NAMES, ENVIRONMENT, made, NONCES)
    assert open_pair(RING, NAMES, ENVIRONMENT, pair, now) == made
    assert (made.issued_at, made.rescheduled_since, made.rescheduled_count) == (now, now, 2)
    assert made.full_until == min(claims().expires_at, now + 60)


def test_a_full_half_beside_a_rescheduled_one_counts_as_rescheduled() -> None:
    full = seal_pair(RING, NAMES, ENVIRONMENT, claims(), NONCES)
    stand_in = seal_pair(RING, NAMES, ENVIRONMENT, STAND_IN, NONCES)
    for pair in ((full[0], stand_in[1]), (stand_in[0], full[1])):
        both = open_pair(RING, NAMES, ENVIRONMENT, pair, LATER)
        assert isinstance(both, Claims)
        assert both.rescheduled_count == 1
        assert both.full_until == claims().expires_at
        assert both.expires_at == claims().expires_at


def test_without_a_key_of_its_own_it_cannot_be_made() -> None:
    with pytest.raises(NoSealingKeyError, match="cookie-rescheduled"):
        seal_pair(ring_of(version(1)), NAMES, ENVIRONMENT, STAND_IN, NONCES)
    retired = KeyRing.from_key_sets(
        [kms_pb2.KeySet(purpose=RESCHEDULED, versions=[version(2, kms_pb2.DEACTIVATED, primary=False)])], 1
    )
    with pytest.raises(NoSealingKeyError):
        seal_pair(retired, NAMES, ENVIRONMENT, STAND_IN, NONCES)


def message_of(said: Claims) -> bytes:
    return CookieClaims(**said._asdict()).SerializeToString()
