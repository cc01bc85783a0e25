"""What a service may change by a returned Passport, and what not: THREATS X7, token rules 8 and 9."""

from base64 import b64decode, b64encode

import pytest

from passport import (
    NO_USER,
    DevicePart,
    Level,
    MacKey,
    Part,
    PassportRefusal,
    PassportRefused,
    Source,
    UserAction,
    UserPart,
    with_user,
)
from passport.integrity import join_envelope, sign, split_envelope
from passport.returned import Accepted, Grant, RefusedAction, ReturnedRefusal, Unchanged, check_returned
from tests.passport.samples import DEVICE, KEYS, NOW, USER, build, material, signer

LOGIN, LOGOUT = UserAction.USER_LOGIN, UserAction.USER_LOGOUT
GRANTS = {"passport-auth": Grant.named(["user"], ["USER_LOGIN", "USER_LOGOUT"])}
SENT_RAW = build(NO_USER)
SENT = b64encode(SENT_RAW)
SIGNED_IN = UserPart.of(Source.USER_CREDENTIALS, Level.HIGHEST, 42, 41, profile_id="p")


def returned(
    user: UserPart = SIGNED_IN,
    *actions: UserAction,
    received: bytes = SENT_RAW,
    key: MacKey | None = None,
    now: int = NOW,
) -> bytes:
    return with_user(received, user, actions or (LOGIN,), key or signer("passport-auth"), now=now).encode()


def check(value: bytes, *, sent: bytes = SENT, now: float = NOW) -> Accepted | Unchanged | RefusedAction:
    return check_returned(sent, value, KEYS, GRANTS, now=now)


@pytest.mark.parametrize("version", [1, 2])
def test_a_granted_login_is_accepted(version: int) -> None:
    raw = build(NO_USER, version=version)
    outcome = check(returned(received=raw), sent=b64encode(raw))
    assert isinstance(outcome, Accepted)
    assert outcome.action is LOGIN
    passport = outcome.passport
    assert (passport.customer_id, passport.account_owner_id, passport.profile_id) == (42, 41, "p")
    assert (passport.user_source, passport.user_level) == (Source.USER_CREDENTIALS, Level.HIGHEST)
    assert passport.actions == (LOGIN,)


def test_a_granted_logout_is_accepted() -> None:
    raw = build(USER)
    outcome = check(returned(NO_USER, LOGOUT, received=raw), sent=b64encode(raw))
    assert isinstance(outcome, Accepted)
    assert (outcome.action, outcome.passport.customer_id) == (LOGOUT, None)


def test_another_user_keeps_header_and_device_byte_for_byte() -> None:
    before, after = split_envelope(SENT_RAW), split_envelope(b64decode(returned()))
    assert (after.header, after.device_info, after.device_integrity) == (
        before.header,
        before.device_info,
        before.device_integrity,
    )


def test_a_passport_that_comes_back_as_it_went_changes_nothing() -> None:
    assert check(SENT) == Unchanged()


@pytest.mark.parametrize("later_s", [0, 290])
def test_a_slow_service_is_not_held_against_it(later_s: int) -> None:
    assert isinstance(check(returned(now=NOW + later_s)), Accepted)


def test_x7_an_action_signed_with_the_edges_own_key_is_refused() -> None:
    assert check(returned(key=signer("passport-user"))) == RefusedAction(PassportRefusal.KEY_PURPOSE)


def test_x7_an_action_signed_with_an_unknown_key_is_refused() -> None:
    stranger = MacKey("passport-auth", 0xDEAD, material("stranger"))
    assert check(returned(key=stranger)) == RefusedAction(PassportRefusal.UNKNOWN_KEY)


def test_x7_the_right_key_name_with_other_material_is_refused() -> None:
    forger = MacKey("passport-auth", 0xC001, material("forger"))
    assert check(returned(key=forger)) == RefusedAction(PassportRefusal.BAD_MAC)


def test_x7_an_action_without_its_grant_is_refused() -> None:
    grants = {"passport-auth": Grant.named(["user"], ["USER_LOGOUT"])}
    outcome = check_returned(SENT, returned(), KEYS, grants, now=NOW)
    assert outcome == RefusedAction(ReturnedRefusal.ACTION_NOT_GRANTED)


@pytest.mark.parametrize("grants", [{}, {"passport-auth": Grant.named(["device"], ["USER_LOGIN"])}])
def test_x7_a_key_without_a_grant_for_the_user_is_refused(grants: dict[str, Grant]) -> None:
    assert check_returned(SENT, returned(), KEYS, grants, now=NOW) == RefusedAction(PassportRefusal.KEY_PURPOSE)


def test_x7_an_action_replayed_from_another_exchange_is_refused() -> None:
    earlier = returned(received=build(NO_USER, request_id=b"e" * 32))
    assert check(earlier) == RefusedAction(ReturnedRefusal.HEADER_CHANGED)


def test_x7_an_action_for_another_device_is_refused() -> None:
    other = returned(received=build(NO_USER, DevicePart.of(Source.COOKIE, Level.HIGH, "another")))
    assert check(other) == RefusedAction(ReturnedRefusal.DEVICE_CHANGED)


def test_x7_a_device_re_signed_by_a_service_is_refused() -> None:
    envelope = split_envelope(SENT_RAW)
    device = sign(signer("passport-auth"), 2, Part.DEVICE, envelope.covered)
    changed = b64encode(join_envelope(envelope._replace(device_integrity=device)))
    assert check(changed) == RefusedAction(ReturnedRefusal.DEVICE_CHANGED)


def test_another_user_without_an_action_is_refused() -> None:
    envelope = split_envelope(b64decode(returned()))
    user_info = SIGNED_IN.static + split_envelope(SENT_RAW).user_info
    covered = envelope.covered._replace(user_info=user_info)
    user = sign(signer("passport-auth"), 2, Part.USER, covered)
    changed = b64encode(join_envelope(envelope._replace(user_info=user_info, user_integrity=user)))
    assert check(changed) == RefusedAction(ReturnedRefusal.CHANGED_WITHOUT_ACTION)


@pytest.mark.parametrize("actions", [(LOGIN, LOGOUT), (LOGIN, LOGIN)])
def test_two_actions_at_once_are_refused(actions: tuple[UserAction, UserAction]) -> None:
    assert check(returned(SIGNED_IN, *actions)) == RefusedAction(ReturnedRefusal.CONTRADICTORY_ACTIONS)


def test_x7_ten_thousand_actions_are_refused() -> None:
    value = returned(SIGNED_IN, *[LOGIN] * 10_000)
    assert check(value) == RefusedAction(PassportRefusal.MALFORMED_PART)


@pytest.mark.parametrize(
    ("user", "action"),
    [
        (NO_USER, LOGIN),
        (USER, LOGIN),  # a service may not claim that it saw a cookie
        (UserPart.of(Source.USER_CREDENTIALS, Level.LOW, 42, 42), LOGIN),
        (UserPart.of(Source.USER_CREDENTIALS, Level.UNSPECIFIED, 42, 42), LOGIN),
        (UserPart.of(Source.USER_CREDENTIALS, Level.HIGH, 0, 0), LOGIN),
        (SIGNED_IN, LOGOUT),
    ],
)
def test_x7_a_user_that_does_not_fit_the_action_is_refused(user: UserPart, action: UserAction) -> None:
    assert check(returned(user, action)) == RefusedAction(ReturnedRefusal.USER_DOES_NOT_FIT)


def test_a_part_that_had_ended_before_the_exchange_is_refused() -> None:
    assert check(returned(now=NOW - 200)) == RefusedAction(PassportRefusal.EXPIRED)


def test_x4_a_version_1_answer_to_a_version_2_passport_is_refused() -> None:
    envelope = split_envelope(b64decode(returned()))
    user = sign(signer("passport-auth"), 1, Part.USER, envelope.covered)
    changed = b64encode(join_envelope(envelope._replace(user_integrity=user)))
    assert check(changed) == RefusedAction(PassportRefusal.VERSION_NOT_ACCEPTED)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (b"", PassportRefusal.MISSING),
        (b"AAAA", PassportRefusal.MALFORMED),
        (b"%%%", PassportRefusal.NOT_CANONICAL),
        (SENT + b", " + SENT, PassportRefusal.NOT_CANONICAL),
        (b"A" * 40_000, PassportRefusal.TOO_LONG),
    ],
)
def test_x11_a_value_that_is_no_passport_is_refused(value: bytes, reason: PassportRefusal) -> None:
    assert check(value) == RefusedAction(reason)


def test_an_unknown_action_is_never_granted() -> None:
    grants = {"passport-auth": Grant(frozenset({Part.USER}), frozenset(UserAction))}
    envelope = split_envelope(SENT_RAW)
    user_info = SIGNED_IN.static + b"\x62\x01\x63" + envelope.user_info
    user = sign(signer("passport-auth"), 2, Part.USER, envelope.covered._replace(user_info=user_info))
    changed = b64encode(join_envelope(envelope._replace(user_info=user_info, user_integrity=user)))
    outcome = check_returned(SENT, changed, KEYS, grants, now=NOW)
    assert outcome == RefusedAction(ReturnedRefusal.ACTION_NOT_GRANTED)


def test_a_grant_with_an_unknown_name_is_refused() -> None:
    with pytest.raises(ValueError, match="profile"):
        Grant.named(["profile"], [])
    with pytest.raises(KeyError):
        Grant.named(["user"], ["USER_PROMOTE"])


def test_a_service_does_not_answer_to_what_is_no_passport() -> None:
    with pytest.raises(PassportRefused, match="malformed"):
        with_user(b"\x00", SIGNED_IN, [LOGIN], signer("passport-auth"), now=NOW)


def test_the_sample_device_is_in_the_passport_that_was_sent() -> None:
    assert DEVICE.static in SENT_RAW
