"""The test kit, as another team's tests use it."""

import pytest

from passport import (
    DEVICE_PURPOSE,
    USER_PURPOSE,
    Level,
    PassportIntrospector,
    PassportMutator,
    PassportRefusal,
    PassportRefused,
    Source,
    UserAction,
)
from passport.receiving import HEADER, REFUSED, PassportReceiver
from passport.testing import PassportFactory
from tests.passport.samples import KEYS, NOW


@pytest.fixture
def passports() -> PassportFactory:
    return PassportFactory(signers=["passport-profile"], clock=lambda: NOW)


def test_any_identity_can_be_had(passports: PassportFactory) -> None:
    value = passports.value(
        5,
        level=Level.LOW,
        source=Source.COOKIE_INSECURE,
        account_owner_id=6,
        profile_id="p",
        session_id="s",
        rescheduled=True,
        esn="E",
        device_type=7,
        device_level=Level.HIGHEST,
        device_source=Source.MSL,
        request_id="f" * 32,
    )
    passport = passports.passport(value)
    assert (passport.customer_id, passport.account_owner_id, passport.profile_id, passport.session_id) == (
        5,
        6,
        "p",
        "s",
    )
    assert (passport.user_level, passport.user_source, passport.rescheduled) == (
        Level.LOW,
        Source.COOKIE_INSECURE,
        True,
    )
    assert (passport.esn, passport.device_type) == ("E", 7)
    assert (passport.device_level, passport.device_source) == (Level.HIGHEST, Source.MSL)
    assert (passport.request_id, passport.created, passport.trust_domain) == ("f" * 32, NOW, "test")


def test_the_default_is_a_member_on_a_device_and_nobody_is_nobody(passports: PassportFactory) -> None:
    assert passports.passport().is_authenticated
    assert passports.passport().request_id != passports.passport().request_id
    nobody = passports.passport(passports.anonymous())
    assert (nobody.customer_id, nobody.esn) == (None, None)
    assert passports.passport(passports.headers()[HEADER]).customer_id == 1001


@pytest.mark.parametrize("reason", PassportFactory(clock=lambda: NOW).bad_values())
def test_x1_x3_x4_there_is_one_for_every_reason(passports: PassportFactory, reason: PassportRefusal) -> None:
    said: list[PassportRefusal] = []
    receiver = PassportReceiver(passports, passports.trust_domain, on_refused=said.append, clock=lambda: NOW)
    assert receiver.receive("/", [passports.bad_values()[reason]]) is REFUSED
    assert said == [reason]


def test_the_reasons_that_are_not_made_are_no_single_values(passports: PassportFactory) -> None:
    of_requirements = {PassportRefusal.NO_USER, PassportRefusal.NO_DEVICE, PassportRefusal.LEVEL_TOO_LOW}
    assert set(PassportRefusal) - passports.bad_values().keys() == of_requirements | {PassportRefusal.REPEATED}


def test_its_passports_are_worth_nothing_elsewhere(passports: PassportFactory) -> None:
    for keys in (KEYS, PassportFactory().passport_keys):
        with pytest.raises(PassportRefused):
            PassportIntrospector.from_base64(passports.value(), keys, now=NOW, trust_domain="test")


def test_it_signs_for_the_service_under_test(passports: PassportFactory) -> None:
    exchange = passports.exchange()
    mutator = PassportMutator(passports, "passport-profile", clock=lambda: NOW)
    mutator.change_user(exchange, UserAction.USER_PROFILE_SWITCHED, profile_id="kids")
    assert exchange.passport.profile_id == "kids"
    assert {passports.signer(purpose).purpose for purpose in (USER_PURPOSE, DEVICE_PURPOSE)} == {
        USER_PURPOSE,
        DEVICE_PURPOSE,
    }
    with pytest.raises(KeyError, match="passport-other"):
        passports.signer("passport-other")


def test_x6_its_repr_holds_no_key(passports: PassportFactory) -> None:
    assert repr(passports) == "PassportFactory(test)"
