"""Changing a Passport: what stays byte for byte, what is appended, what is kept that nobody here knows."""

from base64 import b64decode, b64encode
from functools import partial

import pytest

from passport import (
    NO_DEVICE,
    NO_USER,
    Adoption,
    DeviceAction,
    DevicePart,
    ExchangePassport,
    Level,
    MacKey,
    PassportIntrospector,
    PassportKeys,
    PassportMutator,
    PassportRefused,
    SignerUnavailable,
    Source,
    UserAction,
    UserPart,
    with_device,
    with_user,
)
from passport.catalogue import CATALOGUE
from passport.identity import Part
from passport.integrity import join_envelope, sign, split_envelope
from passport.returned import Accepted, Grant, check_returned
from tests.passport.samples import CUSTOMER_ID, DEVICE, DOMAIN, KEYS, NOW, USER, build, material, read, signer

UNKNOWN_FIELD = b"\xa2\x06\x03new"
LOGIN, SWITCHED = UserAction.USER_LOGIN, UserAction.USER_PROFILE_SWITCHED
RENAMED, CORRECTED = DeviceAction.DEVICE_RENAMED, DeviceAction.DEVICE_TYPE_CORRECTED
SIGNED_IN = UserPart.of(Source.USER_CREDENTIALS, Level.HIGHEST, 42, 41)
ALL = Grant.named(["user", "device"], CATALOGUE)


class Held:
    """A key source."""

    def __init__(self, keys: PassportKeys | None = KEYS) -> None:
        self.passport_keys = keys


def newer_user(raw: bytes) -> bytes:
    """Return a Passport whose parts have a field of a newer schema."""
    envelope = split_envelope(raw)
    envelope = envelope._replace(
        user_info=envelope.user_info + UNKNOWN_FIELD, device_info=envelope.device_info + UNKNOWN_FIELD
    )
    version = envelope.user_integrity.version
    device = sign(signer("passport-device"), version, Part.DEVICE, envelope.covered)
    user = sign(signer("passport-user"), version, Part.USER, envelope.covered)
    return join_envelope(envelope._replace(user_integrity=user, device_integrity=device))


def exchange_of(raw: bytes) -> ExchangePassport:
    return ExchangePassport(read(raw))


def mutator(keys: PassportKeys | None = KEYS) -> PassportMutator:
    return PassportMutator(Held(keys), "passport-auth", clock=lambda: NOW + 2)


def test_x7_nobody_changes_a_passport_that_is_bound_to_no_request() -> None:
    sent = ExchangePassport(read(build(version=1), accept_v1=True))
    with pytest.raises(PassportRefused, match="version_not_accepted"):
        mutator().replace_user(sent, SIGNED_IN, LOGIN)
    assert not sent.is_changed


def believed(value: str) -> PassportIntrospector:
    """Read it as a service does that believes `passport-auth`."""
    return PassportIntrospector.from_base64(
        value,
        KEYS,
        now=NOW + 3,
        trust_domain=DOMAIN,
        user_signers={"passport-auth"},
        device_signers={"passport-auth"},
    )


def taken(sent: bytes, value: str) -> tuple[str, ...]:
    """Return the actions that an edge takes."""
    outcome = check_returned(b64encode(sent), value.encode(), KEYS, {"passport-auth": ALL}, now=NOW)
    assert isinstance(outcome, Accepted), outcome
    return tuple(entry.name for entry in outcome.actions)


def test_x7_another_user_leaves_header_and_device_byte_for_byte() -> None:
    sent = build(NO_USER)
    value = mutator().replace_user(exchange_of(sent), SIGNED_IN, LOGIN)
    before, after = split_envelope(sent), split_envelope(b64decode(value))
    assert (after.header, after.device_info, after.device_integrity.field) == (
        before.header,
        before.device_info,
        before.device_integrity.field,
    )
    assert believed(value).customer_id == 42
    assert taken(sent, value) == ("USER_LOGIN",)


def test_x7_another_device_leaves_header_and_user_byte_for_byte_and_signs_what_covers_it() -> None:
    sent = build()
    value = mutator().change_device(exchange_of(sent), CORRECTED, device_type=8)
    before, after = split_envelope(sent), split_envelope(b64decode(value))
    assert (after.header, after.user_info) == (before.header, before.user_info)
    assert after.user_integrity.field != before.user_integrity.field
    assert believed(value).device_type == 8
    assert taken(sent, value) == ("DEVICE_TYPE_CORRECTED",)


def test_x2_x3_what_a_newer_schema_says_of_a_user_who_stays_is_kept() -> None:
    value = mutator().change_user(exchange_of(newer_user(build())), SWITCHED, profile_id="profile-2")
    assert UNKNOWN_FIELD in split_envelope(b64decode(value)).user_info
    passport = believed(value)
    assert (passport.profile_id, passport.customer_id, passport.actions) == ("profile-2", CUSTOMER_ID, (SWITCHED,))
    assert (passport.session_id, passport.user_level, passport.user_source) == ("5e55" * 8, Level.HIGH, Source.COOKIE)
    assert (passport.user_created, passport.expires) == (NOW + 2, NOW + 62)


def test_what_a_newer_schema_says_of_a_device_that_stays_is_kept() -> None:
    value = mutator().change_device(exchange_of(newer_user(build())), RENAMED)
    assert UNKNOWN_FIELD in split_envelope(b64decode(value)).device_info
    assert UNKNOWN_FIELD in split_envelope(b64decode(value)).user_info


def test_what_a_newer_schema_says_of_a_user_who_leaves_is_gone() -> None:
    value = mutator().replace_user(exchange_of(newer_user(build())), SIGNED_IN, LOGIN)
    assert UNKNOWN_FIELD not in split_envelope(b64decode(value)).user_info


def test_every_fact_that_may_change_does() -> None:
    exchange = exchange_of(build())
    mutator().change_user(
        exchange,
        UserAction.USER_ACCOUNT_MERGED,
        UserAction.USER_STEP_UP_PASSED,
        customer_id=5,
        account_owner_id=6,
        profile_id=None,
        level=Level.HIGHEST,
        source=Source.USER_CREDENTIALS,
    )
    value = mutator().change_device(
        exchange, CORRECTED, esn="NEW", device_type=None, level=Level.LOW, source=Source.PARTNER_TOKEN
    )
    passport = believed(value)
    assert (passport.customer_id, passport.account_owner_id, passport.profile_id) == (5, 6, None)
    assert (passport.user_level, passport.user_source) == (Level.HIGHEST, Source.USER_CREDENTIALS)
    assert (passport.esn, passport.device_type, passport.device_level) == ("NEW", None, Level.LOW)
    assert passport.device_source is Source.PARTNER_TOKEN


def test_actions_are_appended_to_those_of_the_services_before() -> None:
    exchange = exchange_of(build(NO_USER))
    mutator().replace_user(exchange, SIGNED_IN, LOGIN)
    mutator().change_user(exchange, SWITCHED, profile_id="p")
    value = mutator().change_device(exchange, RENAMED)
    passport = believed(value)
    assert (passport.actions, passport.device_actions) == ((LOGIN, SWITCHED), (RENAMED,))
    assert (exchange.passport.customer_id, exchange.passport.profile_id, exchange.is_changed) == (42, "p", True)
    assert exchange.header_value == value
    again = with_user(b64decode(value), NO_USER, [UserAction.USER_LOGOUT], signer("passport-auth"), now=NOW)
    assert believed(again).actions == (LOGIN, SWITCHED, UserAction.USER_LOGOUT)


def test_an_action_that_nobody_here_knows_stays() -> None:
    envelope = split_envelope(build())
    raw = join_envelope(envelope._replace(user_info=envelope.user_info + b"\x60\xb0\xea\x01"))
    value = with_user(raw, SIGNED_IN, [LOGIN], signer("passport-auth"), now=NOW)
    assert believed(value).action_numbers(Part.USER) == (30000, LOGIN)


def test_another_device_and_none() -> None:
    other = DevicePart.of(Source.COOKIE, Level.LOW, "OTHER", 3)
    sent = build(NO_USER, NO_DEVICE)
    value = mutator().replace_device(exchange_of(sent), other, DeviceAction.DEVICE_REGISTERED)
    assert (believed(value).esn, taken(sent, value)) == ("OTHER", ("DEVICE_REGISTERED",))
    value = with_device(build(), NO_DEVICE, [DeviceAction.DEVICE_RESET], signer("passport-auth"), now=NOW)
    assert (believed(value).esn, believed(value).customer_id) == (None, CUSTOMER_ID)


def test_x7_more_than_16_actions_are_not_signed() -> None:
    exchange = exchange_of(build())
    many = [action for action in UserAction if action > 0][:17]
    with pytest.raises(ValueError, match="16"):
        mutator().change_user(exchange, *many)
    mutator().change_user(exchange, *many[:16])
    with pytest.raises(ValueError, match="16"):
        mutator().change_user(exchange, many[16])


def test_no_action_and_one_that_comes_twice_are_not_signed() -> None:
    exchange = exchange_of(build())
    with pytest.raises(ValueError, match="says why"):
        mutator().change_user(exchange, profile_id="p")
    with pytest.raises(ValueError, match="once"):
        mutator().change_user(exchange, SWITCHED, SWITCHED)
    assert not exchange.is_changed


def test_there_must_be_somebody_to_change() -> None:
    exchange = exchange_of(build(NO_USER, NO_DEVICE))
    with pytest.raises(ValueError, match="no user"):
        mutator().change_user(exchange, SWITCHED)
    with pytest.raises(ValueError, match="no device"):
        mutator().change_device(exchange, RENAMED)


@pytest.mark.parametrize("keys", [None, PassportKeys({}, {})])
def test_without_a_key_to_sign_with_nothing_changes(keys: PassportKeys | None) -> None:
    exchange = exchange_of(build())
    with pytest.raises(SignerUnavailable, match="passport-auth"):
        mutator(keys).replace_user(exchange, NO_USER, UserAction.USER_LOGOUT)
    assert not exchange.is_changed


def test_what_is_no_passport_is_not_signed() -> None:
    with pytest.raises(PassportRefused):
        with_user(b"\x00", USER, [LOGIN], signer("passport-auth"), now=NOW)
    with pytest.raises(PassportRefused):
        with_device(b"\x00", DEVICE, [RENAMED], signer("passport-auth"), now=NOW)


def test_x1_a_changed_passport_is_believed_only_by_who_says_so() -> None:
    value = mutator().replace_user(exchange_of(build(NO_USER)), SIGNED_IN, LOGIN)
    with pytest.raises(PassportRefused, match="key_purpose"):
        PassportIntrospector.from_base64(value, KEYS, now=NOW, trust_domain=DOMAIN)
    with pytest.raises(PassportRefused, match="key_purpose"):
        PassportIntrospector.from_base64(
            value, KEYS, now=NOW, trust_domain=DOMAIN, device_signers={"passport-auth"}, user_signers={"passport-x"}
        )


def test_x6_reprs_hold_no_key_and_no_user() -> None:
    assert repr(mutator()) == "PassportMutator(passport-auth)"


def test_x7_what_was_adopted_unverified_is_never_signed() -> None:
    """A service without any key returned a login that nobody signed; a mutator must not make it good."""
    exchange = ExchangePassport(read(build(USER)))
    forged = with_user(exchange.raw, SIGNED_IN, [LOGIN], MacKey("passport-auth", 0xC001, material("forger")), now=NOW)
    assert exchange.adopt(forged) is Adoption.ADOPTED
    mutator = PassportMutator(Held(), "passport-auth", clock=lambda: NOW)
    for change in (
        partial(mutator.change_user, exchange, SWITCHED, profile_id="x"),
        partial(mutator.replace_user, exchange, NO_USER, UserAction.USER_LOGOUT),
        partial(mutator.change_device, exchange, RENAMED),
        partial(mutator.replace_device, exchange, DEVICE, RENAMED),
    ):
        with pytest.raises(PassportRefused, match="key_purpose"):
            change()
    assert exchange.header_value == forged
