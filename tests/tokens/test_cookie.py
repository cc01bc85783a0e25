"""The cookie pair: what it says, what it cannot say, and which halves belong together."""

import pytest
from edgepb.kms.v1 import kms_pb2
from edgepb.tokens.v1.cookie_pb2 import CookieClaims
from hypothesis import given
from hypothesis import strategies as st

from tests.tokens.rings import ENVIRONMENT, NAMES, NONCES, NOW, claims, open_secure, ring_of, version
from tokens.cookie import (
    PURPOSE,
    Claims,
    CookieNames,
    NoSealingKeyError,
    open_insecure,
    open_pair,
    seal_pair,
)
from tokens.envelope import Refusal, seal
from tokens.keys.ring import Place

RING = ring_of(version(1))


def sealed(of: Claims, environment: str = ENVIRONMENT, names: CookieNames = NAMES) -> tuple[bytes, bytes]:
    return seal_pair(RING, names, environment, of, NONCES)


def sealed_message(message: CookieClaims | bytes) -> bytes:
    """Seal anything as EdgeId, as only a broken or hostile holder of our key could."""
    key = RING.primary(PURPOSE)
    assert key is not None
    plaintext = message if isinstance(message, bytes) else message.SerializeToString()
    return seal(key, Place("cookie", NAMES.insecure, ENVIRONMENT), plaintext, bytes(12))


def insecure(text: bytes, now: float = NOW) -> Claims | Refusal:
    return open_insecure(RING, NAMES, ENVIRONMENT, text, now)


@given(
    st.integers(0, 2**63 - 1),
    st.integers(-(2**63), 2**63 - 1),
    st.text(max_size=40),
    st.integers(1, 86_400),
    st.integers(0, 2**31 - 1),
)
def test_the_pair_says_what_was_sealed(customer: int, owner: int, text: str, life_s: int, generation: int) -> None:
    made = claims(customer_id=customer, life_s=life_s, generation=generation, esn=text)
    made = made._replace(account_owner_id=owner, profile_id=text)
    pair = sealed(made)
    assert insecure(pair[0]) == made
    assert open_pair(RING, NAMES, ENVIRONMENT, pair, NOW) == made


def test_the_secure_half_carries_only_what_ties_it_to_its_sibling() -> None:
    made = claims()
    opened = open_secure(RING, NAMES, ENVIRONMENT, sealed(made)[1], NOW)
    assert opened == made._replace(account_owner_id=0, profile_id="", esn="", device_type=0, level=0)


def test_a_device_without_a_user_has_cookies_too() -> None:
    opened = insecure(sealed(claims(customer_id=0))[0])
    assert isinstance(opened, Claims)
    assert opened.customer_id == 0


def test_an_expired_cookie_is_authentic_and_says_that_it_is_expired() -> None:
    text = sealed(claims(life_s=100))[0]
    for now, due, expired in ((NOW, 0, 0), (NOW + 49, 0, 0), (NOW + 50, 1, 0), (NOW + 99, 1, 0), (NOW + 100, 1, 1)):
        opened = insecure(text, now)
        assert isinstance(opened, Claims)
        assert (opened.due(now), opened.expired(now)) == (bool(due), bool(expired))
    assert isinstance(insecure(text, NOW + 400 * 86_400), Claims)


def test_c3_a_cookie_sealed_for_another_name_is_refused() -> None:
    pair = sealed(claims())
    assert insecure(pair[1]) is Refusal.BAD_TAG
    assert open_secure(RING, NAMES, ENVIRONMENT, pair[0], NOW) is Refusal.BAD_TAG
    other = CookieNames("OtherId", "SecureOtherId")
    assert open_insecure(RING, other, ENVIRONMENT, pair[0], NOW) is Refusal.BAD_TAG


def test_c3_rule_11_a_cookie_of_another_environment_is_refused() -> None:
    assert insecure(sealed(claims(), environment="live")[0]) is Refusal.BAD_TAG


def test_c10_an_issue_time_in_the_far_future_is_refused_and_a_minute_of_skew_is_not() -> None:
    assert isinstance(insecure(sealed(claims(issued_at=NOW + 60))[0]), Claims)
    for ahead in (61, 86_400, 400 * 86_400):
        assert insecure(sealed(claims(issued_at=NOW + ahead))[0]) is Refusal.BAD_TIMES


@pytest.mark.parametrize(
    "times",
    [
        {"issued_at": -1},
        {"issued_at": 0},
        {"issued_at": -(2**63)},
        {"expires_at": NOW},
        {"expires_at": NOW - 1},
        {"expires_at": 0},
        {"expires_at": NOW + 86_401},
        {"expires_at": 2**63 - 1},
        {"renew_after": NOW - 1},
        {"renew_after": NOW + 14_401},
        {"issued_at": NOW, "renew_after": NOW, "expires_at": NOW},
    ],
)
def test_c10_times_that_no_cookie_of_ours_has_are_refused(times: dict[str, int]) -> None:
    message = CookieClaims(
        customer_id=1, session_id="s", issued_at=NOW, renew_after=NOW + 7200, expires_at=NOW + 14_400, level=2
    )
    for name, value in times.items():
        setattr(message, name, value)
    assert insecure(sealed_message(message)) is Refusal.BAD_TIMES


@pytest.mark.parametrize("change", [{"customer_id": -1}, {"generation": -1}, {"session_id": ""}, {"level": 4}])
def test_claims_that_no_cookie_of_ours_has_are_neither_sealed_nor_opened(change: dict[str, int | str]) -> None:
    made = claims()._replace(**change)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="contradict"):
        sealed(made)
    message = CookieClaims(customer_id=1, session_id="s", issued_at=NOW, renew_after=NOW, expires_at=NOW + 1)
    for name, value in change.items():
        setattr(message, name, value)
    assert insecure(sealed_message(message)) is Refusal.BAD_CLAIMS


@pytest.mark.parametrize("plaintext", [b"\xff", b"\x08", b"\x1a\x7fshort", b"\x08" + b"\xff" * 11, b"\x1a\x01\xff"])
def test_sealed_bytes_that_are_no_claims_are_refused(plaintext: bytes) -> None:
    assert insecure(sealed_message(plaintext)) is Refusal.BAD_CLAIMS


def test_rule_6_deeply_nested_bytes_neither_crash_nor_pass() -> None:
    assert insecure(sealed_message(b"\x7b" * 1000 + b"\x7c" * 1000)) is Refusal.BAD_CLAIMS


def test_c13_halves_of_different_users_or_sessions_are_no_pair() -> None:
    mine = sealed(claims())
    for other in (claims(customer_id=4712), claims(session_id="another")):
        pair = (mine[0], sealed(other)[1])
        assert open_pair(RING, NAMES, ENVIRONMENT, pair, NOW) is Refusal.PAIR_MISMATCH


def test_c13_one_bad_half_makes_the_pair_bad() -> None:
    good = sealed(claims())
    for pair in ((good[0][:-1], good[1]), (good[0], good[1][:-1]), (good[1], good[0]), (good[0], good[0])):
        assert isinstance(open_pair(RING, NAMES, ENVIRONMENT, pair, NOW), Refusal)


def test_c8_rule_13_a_pair_of_two_generations_lives_as_long_as_its_shorter_half() -> None:
    old, new = claims(), claims(issued_at=NOW + 30, generation=2)
    for mixed in ((sealed(old)[0], sealed(new)[1]), (sealed(new)[0], sealed(old)[1])):
        opened = open_pair(RING, NAMES, ENVIRONMENT, mixed, NOW)
        assert isinstance(opened, Claims)
        assert (opened.renew_after, opened.expires_at) == (old.renew_after, old.expires_at)


def test_c6_a_pair_with_one_half_under_an_old_key_is_a_pair_like_any_other() -> None:
    old = seal_pair(ring_of(version(1)), NAMES, ENVIRONMENT, claims(), NONCES)
    rotated = ring_of(version(1, kms_pb2.DEACTIVATED, primary=False), version(2))
    new = seal_pair(rotated, NAMES, ENVIRONMENT, claims(), NONCES)
    assert open_pair(rotated, NAMES, ENVIRONMENT, (new[0], old[1]), NOW) == claims()


def test_rule_19_old_and_new_cookie_are_both_good_during_the_overlap() -> None:
    old, new = sealed(claims()), sealed(claims(issued_at=NOW + 7200, generation=2))
    for pair in (old, new):
        assert isinstance(open_pair(RING, NAMES, ENVIRONMENT, pair, NOW + 7200), Claims)


def test_without_a_primary_key_nothing_is_sealed() -> None:
    ring = ring_of(version(1, kms_pb2.PRE_ACTIVE, primary=False))
    with pytest.raises(NoSealingKeyError):
        seal_pair(ring, NAMES, ENVIRONMENT, claims(), NONCES)


def test_rule_24_the_repr_of_claims_names_nobody() -> None:
    shown = repr(claims())
    for secret in ("4711", "5e5510f0", "NFANDROID1", "profile-1"):
        assert secret not in shown
        assert secret not in f"{claims()}"
