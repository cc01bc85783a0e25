"""The Passport of an exchange through a chain of services: newer is adopted, older is counted and ignored."""

from base64 import b64decode, b64encode
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from passport import (
    NO_USER,
    Adoption,
    DeviceAction,
    ExchangePassport,
    Level,
    MacKey,
    PassportIntrospector,
    Source,
    UserAction,
    UserPart,
    current_exchange,
    with_device,
    with_user,
)
from passport.exchange import serve
from passport.integrity import join_envelope, split_envelope
from tests.passport import changing
from tests.passport.samples import AUTH_ID, DEVICE, DOMAIN, KEYS, NOW, USER, build, read, signer

SIGNED_IN = UserPart.of(Source.USER_CREDENTIALS, Level.HIGHEST, 42, 41)
SENT = build(NO_USER)
LOGIN, SWITCHED = UserAction.USER_LOGIN, UserAction.USER_PROFILE_SWITCHED
verify = partial(
    PassportIntrospector.from_bytes, keys=KEYS, now=NOW, trust_domain=DOMAIN, user_signers={"passport-auth"}
)


def changed(received: bytes, *actions: UserAction, now: int = NOW, key: MacKey | None = None) -> bytes:
    return b64decode(with_user(received, SIGNED_IN, actions, key or signer("passport-auth"), now=now))


def test_the_passport_that_came_is_the_one_of_the_exchange() -> None:
    exchange = ExchangePassport(read(SENT))
    assert (exchange.raw, exchange.header_value, exchange.is_changed) == (SENT, b64encode(SENT).decode(), False)


def test_a_newer_passport_is_passed_on_and_not_believed_where_it_cannot_be_verified() -> None:
    exchange = ExchangePassport(read(SENT))
    newer = changed(SENT, LOGIN)
    assert exchange.adopt(b64encode(newer)) is Adoption.ADOPTED
    assert (exchange.raw, exchange.is_changed) == (newer, True)
    assert exchange.passport is exchange.received
    assert exchange.passport.customer_id is None


def test_a_newer_passport_is_believed_where_it_was_verified() -> None:
    exchange = ExchangePassport(read(SENT), verify)
    exchange.adopt(b64encode(changed(SENT, LOGIN)))
    assert (exchange.passport.customer_id, exchange.received.customer_id) == (42, None)


def test_x1_what_does_not_verify_is_refused_where_it_has_to() -> None:
    said: list[Adoption] = []
    exchange = ExchangePassport(read(SENT), verify, said.append)
    forged = changed(SENT, LOGIN, key=MacKey("passport-auth", AUTH_ID, bytes(32)))
    assert exchange.adopt(b64encode(forged)) is Adoption.REFUSED
    assert (exchange.raw, exchange.is_changed, said) == (SENT, False, [Adoption.REFUSED])


def test_an_older_passport_is_counted_and_ignored() -> None:
    said: list[Adoption] = []
    exchange = ExchangePassport(read(SENT), None, said.append)
    older = changed(SENT, LOGIN)
    newer = changed(older, SWITCHED)
    exchange.adopt(b64encode(newer))
    assert exchange.adopt(b64encode(older)) is Adoption.STALE
    assert exchange.adopt(b64encode(SENT)) is Adoption.STALE
    assert (exchange.raw, exchange.stale) == (newer, 2)
    assert said == [Adoption.ADOPTED, Adoption.STALE, Adoption.STALE]


def test_one_that_was_changed_from_an_older_one_is_stale() -> None:
    exchange = ExchangePassport(read(SENT))
    mine = changed(SENT, LOGIN)
    exchange.adopt(b64encode(mine))
    assert exchange.adopt(b64encode(changed(SENT, SWITCHED))) is Adoption.STALE
    assert exchange.raw == mine


def test_the_same_actions_in_other_bytes_are_not_newer() -> None:
    exchange = ExchangePassport(read(SENT))
    exchange.adopt(b64encode(changed(SENT, LOGIN)))
    assert exchange.adopt(b64encode(changed(SENT, LOGIN, now=NOW + 1))) is Adoption.STALE


def test_x7_a_part_to_which_no_action_was_added_has_not_changed() -> None:
    """The signer of the device's part signs the user's, too: it does not get to say who that is."""
    exchange = ExchangePassport(read(SENT))
    value = changing.changed(
        SENT, signer("passport-auth"), user=SIGNED_IN, device=DEVICE, actions=[DeviceAction.DEVICE_RENAMED]
    )
    assert exchange.adopt(value) is Adoption.REFUSED
    assert (exchange.raw, exchange.stale) == (SENT, 0)


def test_a_device_action_makes_it_newer() -> None:
    exchange = ExchangePassport(read(SENT))
    renamed = with_device(SENT, DEVICE, [DeviceAction.DEVICE_RENAMED], signer("passport-auth"), now=NOW)
    assert exchange.adopt(renamed) is Adoption.ADOPTED


def test_the_same_passport_is_no_news() -> None:
    exchange = ExchangePassport(read(SENT))
    assert exchange.adopt(b64encode(SENT)) is Adoption.SAME
    assert not exchange.is_changed


def test_x7_one_of_another_exchange_is_refused() -> None:
    exchange = ExchangePassport(read(SENT))
    other = build(NO_USER, request_id=b"f" * 32)
    assert exchange.adopt(b64encode(changed(other, LOGIN))) is Adoption.REFUSED
    assert exchange.raw == SENT


def test_x5_two_passports_are_refused() -> None:
    exchange = ExchangePassport(read(SENT))
    newer = b64encode(changed(SENT, LOGIN))
    assert exchange.adopt_all([newer, newer]) is Adoption.REFUSED
    assert exchange.adopt_all_bytes([changed(SENT, LOGIN)] * 2) is Adoption.REFUSED
    assert exchange.adopt_all([]) is None
    assert exchange.adopt_all([newer]) is Adoption.ADOPTED


@given(st.binary(max_size=300) | st.text(max_size=300).map(lambda text: text.encode()))
def test_x3_nonsense_is_refused_and_raises_nothing(nonsense: bytes) -> None:
    exchange = ExchangePassport(read(SENT))
    assert exchange.adopt(nonsense) is Adoption.REFUSED
    assert exchange.adopt_bytes(nonsense) is Adoption.REFUSED
    assert exchange.raw == SENT


def test_x3_a_passport_with_a_malformed_part_is_refused() -> None:
    envelope = split_envelope(SENT)
    exchange = ExchangePassport(read(SENT))
    assert exchange.adopt_bytes(join_envelope(envelope._replace(user_info=b"\x08\x81\x00"))) is Adoption.REFUSED


def test_actions_that_nobody_here_knows_count_too() -> None:
    unknown = split_envelope(changed(SENT, LOGIN))
    newer = join_envelope(unknown._replace(user_info=unknown.user_info + b"\x60\xb0\xea\x01"))
    exchange = ExchangePassport(read(SENT))
    exchange.adopt_bytes(newer)
    other = join_envelope(unknown._replace(user_info=unknown.user_info + b"\x60\xb1\xea\x01"))
    assert exchange.adopt_bytes(other) is Adoption.STALE


def test_there_is_an_exchange_only_where_one_is_served() -> None:
    serve(None)
    with pytest.raises(LookupError, match="middleware"):
        current_exchange()
    exchange = ExchangePassport(read(SENT))
    serve(exchange)
    assert current_exchange() is exchange
    serve(None)


def test_x6_its_repr_names_nobody_and_has_no_passport() -> None:
    exchange = ExchangePassport(read(build(USER)))
    assert str(exchange.received.customer_id) not in repr(exchange)
    assert exchange.header_value not in repr(exchange)
