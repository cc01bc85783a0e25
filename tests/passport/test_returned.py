"""What a service may change by a returned Passport, and what not: THREATS X7, token rules 8 and 9."""

from base64 import b64decode, b64encode
from typing import Any

import pytest

from passport import (
    NO_DEVICE,
    NO_USER,
    DeviceAction,
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
from passport.catalogue import CATALOGUE
from passport.effects import CatalogueEntry, PartIs
from passport.integrity import join_envelope, sign, split_envelope
from passport.returned import Accepted, Grant, RefusedAction, ReturnedRefusal, Unchanged, check_returned
from tests.passport.changing import CHECKED, action_of, changed, entries, fitting
from tests.passport.samples import CUSTOMER_ID, DEVICE, ESN, KEYS, NOW, USER, build, material, signer

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


def names(outcome: Accepted | Unchanged | RefusedAction) -> list[str]:
    return [entry.name for entry in outcome.actions] if isinstance(outcome, Accepted) else []


def check(value: bytes, *, sent: bytes = SENT, now: float = NOW) -> Accepted | Unchanged | RefusedAction:
    return check_returned(sent, value, KEYS, GRANTS, now=now)


def test_a_granted_login_is_accepted() -> None:
    raw = build(NO_USER)
    outcome = check(returned(received=raw), sent=b64encode(raw))
    assert isinstance(outcome, Accepted)
    assert names(outcome) == ["USER_LOGIN"]
    passport = outcome.passport
    assert (passport.customer_id, passport.account_owner_id, passport.profile_id) == (42, 41, "p")
    assert (passport.user_source, passport.user_level) == (Source.USER_CREDENTIALS, Level.HIGHEST)
    assert passport.actions == (LOGIN,)


def test_a_granted_logout_is_accepted() -> None:
    raw = build(USER)
    outcome = check(returned(NO_USER, LOGOUT, received=raw), sent=b64encode(raw))
    assert isinstance(outcome, Accepted)
    assert (names(outcome), outcome.passport.customer_id) == (["USER_LOGOUT"], None)


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
    assert check(other) == RefusedAction(PassportRefusal.KEY_PURPOSE)


def test_x7_a_device_re_signed_by_a_service_without_a_grant_for_it_is_refused() -> None:
    envelope = split_envelope(SENT_RAW)
    device = sign(signer("passport-auth"), 2, Part.DEVICE, envelope.covered)
    value = b64encode(join_envelope(envelope._replace(device_integrity=device)))
    assert check(value) == RefusedAction(PassportRefusal.KEY_PURPOSE)


def test_another_user_without_an_action_is_refused() -> None:
    envelope = split_envelope(b64decode(returned()))
    user_info = SIGNED_IN.static + split_envelope(SENT_RAW).user_info
    covered = envelope.covered._replace(user_info=user_info)
    user = sign(signer("passport-auth"), 2, Part.USER, covered)
    value = b64encode(join_envelope(envelope._replace(user_info=user_info, user_integrity=user)))
    assert check(value) == RefusedAction(ReturnedRefusal.CHANGED_WITHOUT_ACTION)


@pytest.mark.parametrize(
    ("actions", "reason"),
    [
        ((LOGIN, LOGOUT), ReturnedRefusal.CONTRADICTORY_ACTIONS),
        ((LOGIN, LOGIN), ReturnedRefusal.REPEATED_ACTION),
    ],
)
def test_x7_actions_that_cannot_stand_together_are_refused(
    actions: tuple[UserAction, UserAction], reason: ReturnedRefusal
) -> None:
    assert check(returned(SIGNED_IN, *actions)) == RefusedAction(reason)


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


def test_x7_a_part_that_is_older_than_the_one_that_was_sent_is_refused() -> None:
    value = with_user(SENT_RAW, SIGNED_IN, [LOGIN], signer("passport-auth"), now=NOW - 70, ttl_s=300).encode()
    assert check(value) == RefusedAction(ReturnedRefusal.STALE)


def test_x4_a_version_1_answer_to_a_version_2_passport_is_refused() -> None:
    envelope = split_envelope(b64decode(returned()))
    user = sign(signer("passport-auth"), 1, Part.USER, envelope.covered)
    value = b64encode(join_envelope(envelope._replace(user_integrity=user)))
    assert check(value) == RefusedAction(PassportRefusal.VERSION_NOT_ACCEPTED)


def of_versions(raw: bytes, user: int, device: int, key: MacKey | None = None) -> bytes:
    """Return a Passport with both parts signed anew in these versions: with `key`, or as the edge does."""
    envelope = split_envelope(raw)
    device_integrity = sign(key or signer("passport-device"), device, Part.DEVICE, envelope.covered)
    user_integrity = sign(key or signer("passport-user"), user, Part.USER, envelope.covered)
    return b64encode(join_envelope(envelope._replace(user_integrity=user_integrity, device_integrity=device_integrity)))


@pytest.mark.parametrize("answered", [(2, 2), (1, 2), (2, 1)])
@pytest.mark.parametrize("was_sent", [(2, 2), (1, 2), (2, 1)])
def test_x4_a_passport_with_one_part_in_version_1_is_bound_to_no_exchange(
    was_sent: tuple[int, int], answered: tuple[int, int]
) -> None:
    """Neither the one that was sent nor the answer: both must be of version 2 in both parts."""
    sent = of_versions(SENT_RAW, *was_sent)
    answer = of_versions(b64decode(returned()), *answered, key=signer("passport-auth"))
    outcome = check_returned(sent, answer, KEYS, ALL, now=NOW)
    if was_sent == answered == (2, 2):
        assert isinstance(outcome, Accepted)
    else:
        assert outcome == RefusedAction(PassportRefusal.VERSION_NOT_ACCEPTED)


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
    grants = {"passport-auth": Grant(frozenset({Part.USER}), frozenset(CATALOGUE))}
    envelope = split_envelope(SENT_RAW)
    user_info = SIGNED_IN.static + b"\x62\x01\x63" + envelope.user_info
    user = sign(signer("passport-auth"), 2, Part.USER, envelope.covered._replace(user_info=user_info))
    value = b64encode(join_envelope(envelope._replace(user_info=user_info, user_integrity=user)))
    outcome = check_returned(SENT, value, KEYS, grants, now=NOW)
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
    assert DEVICE.tail in SENT_RAW


# Every action of the catalogue, on a Passport of a user and a device.

ALL = {"passport-auth": Grant.named(["user", "device"], CATALOGUE)}
KNOWN = build(USER)
SAME_USERS = [entry for entry in entries(Part.USER) if entry.part_is is PartIs.SAME]
SAME_DEVICES = [entry for entry in entries(Part.DEVICE) if entry.part_is is PartIs.SAME]
USER_FIELDS = {
    "customer_id": CUSTOMER_ID + 1,
    "account_owner_id": 1,
    "profile_id": "another",
    "session_id": "another",
    "source": Source.PARTNER_TOKEN,
}
DEVICE_FIELDS = {"esn": "ANOTHER", "device_type": 99, "source": Source.MSL}


def name_of(entry: CatalogueEntry) -> str:
    return entry.name


def ask(
    *entries_: CatalogueEntry,
    user: UserPart | None = None,
    device: DevicePart | None = None,
    grants: dict[str, Grant] | None = None,
    received: bytes = KNOWN,
) -> Accepted | Unchanged | RefusedAction:
    actions = [action_of(entry) for entry in entries_]
    value = changed(received, signer("passport-auth"), user=user, device=device, actions=actions)
    return check_returned(b64encode(received), value, KEYS, grants or ALL, now=NOW)


def a_user(level: Level = Level.HIGH, changed_field: str = "") -> UserPart:
    was: dict[str, Any] = {
        "source": Source.COOKIE,
        "customer_id": CUSTOMER_ID,
        "account_owner_id": 7_001_002_000,
        "profile_id": "profile-1",
        "session_id": "5e55" * 8,
    }
    was.update({name: value for name, value in USER_FIELDS.items() if name == changed_field})
    return UserPart.of(level=level, **was)


def a_device(level: Level = Level.HIGH, changed_field: str = "") -> DevicePart:
    was: dict[str, Any] = {"source": Source.COOKIE, "esn": ESN, "device_type": 7}
    was.update({name: value for name, value in DEVICE_FIELDS.items() if name == changed_field})
    return DevicePart.of(level=level, **was)


@pytest.mark.parametrize("entry", CATALOGUE.values(), ids=name_of)
def test_each_action_is_accepted_with_the_part_that_it_asks_for(entry: CatalogueEntry) -> None:
    outcome = ask(entry, **fitting(entry))  # type: ignore[arg-type]
    assert isinstance(outcome, Accepted), outcome
    assert outcome.actions == (entry,)


@pytest.mark.parametrize("entry", CATALOGUE.values(), ids=name_of)
def test_x7_no_action_is_accepted_in_version_1_which_binds_it_to_no_exchange(entry: CatalogueEntry) -> None:
    outcome = ask(entry, **fitting(entry), received=build(USER, version=1))  # type: ignore[arg-type]
    assert outcome == RefusedAction(PassportRefusal.VERSION_NOT_ACCEPTED)


@pytest.mark.parametrize("entry", CATALOGUE.values(), ids=name_of)
def test_x7_no_action_is_accepted_without_its_grant(entry: CatalogueEntry) -> None:
    others = {"passport-auth": Grant.named(["user", "device"], CATALOGUE.keys() - {entry.name})}
    assert ask(entry, **fitting(entry), grants=others) == RefusedAction(ReturnedRefusal.ACTION_NOT_GRANTED)  # type: ignore[arg-type]
    other = Part.DEVICE if entry.part is Part.USER else Part.USER
    wrong_part = {"passport-auth": Grant.named([other], CATALOGUE)}
    assert ask(entry, **fitting(entry), grants=wrong_part) == RefusedAction(PassportRefusal.KEY_PURPOSE)  # type: ignore[arg-type]


@pytest.mark.parametrize("field", USER_FIELDS)
@pytest.mark.parametrize("entry", SAME_USERS, ids=name_of)
def test_x7_an_action_changes_no_other_field_of_the_user_than_it_may(entry: CatalogueEntry, field: str) -> None:
    outcome = ask(entry, user=a_user(changed_field=field))
    if field in entry.changes:
        assert isinstance(outcome, Accepted)
    else:
        assert outcome == RefusedAction(ReturnedRefusal.USER_DOES_NOT_FIT)


@pytest.mark.parametrize("field", DEVICE_FIELDS)
@pytest.mark.parametrize("entry", SAME_DEVICES, ids=name_of)
def test_x7_an_action_changes_no_other_field_of_the_device_than_it_may(entry: CatalogueEntry, field: str) -> None:
    outcome = ask(entry, device=a_device(changed_field=field))
    if field in entry.changes:
        assert isinstance(outcome, Accepted)
    else:
        assert outcome == RefusedAction(ReturnedRefusal.DEVICE_DOES_NOT_FIT)


@pytest.mark.parametrize("entry", SAME_USERS + SAME_DEVICES, ids=name_of)
def test_x7_only_an_action_that_proves_something_raises_a_level(entry: CatalogueEntry) -> None:
    user, device = a_user(Level.HIGHEST), a_device(Level.HIGHEST)
    outcome = ask(entry, user=user) if entry.part is Part.USER else ask(entry, device=device)
    assert isinstance(outcome, Accepted) == (entry.level is Level.HIGHEST)


@pytest.mark.parametrize("entry", CATALOGUE.values(), ids=name_of)
def test_x7_no_action_makes_somebody_of_nobody_but_those_that_check(entry: CatalogueEntry) -> None:
    received = build(NO_USER, NO_DEVICE)
    outcome = ask(entry, **fitting(entry), received=received)  # type: ignore[arg-type]
    somebody = entry.part_is in (PartIs.CHECKED, PartIs.REGISTERED)
    if entry.part_is is not PartIs.NOBODY:
        assert isinstance(outcome, Accepted) == somebody


@pytest.mark.parametrize("entry", [entry for entry in SAME_USERS if entry.changes], ids=name_of)
def test_x7_c13_a_user_who_may_have_been_read_off_an_open_network_changes_nothing(entry: CatalogueEntry) -> None:
    """Half of a token would change the session of both."""
    received = build(a_user(Level.LOW))
    user = UserPart.of(Source.COOKIE, Level.LOW, CUSTOMER_ID, 7_001_002_000, profile_id="x", session_id="5e55" * 8)
    assert ask(entry, user=user, received=received) == RefusedAction(ReturnedRefusal.USER_DOES_NOT_FIT)


def test_several_actions_stand_together_and_the_strongest_says_what_the_part_must_be() -> None:
    switch, consent = CATALOGUE["USER_PROFILE_SWITCHED"], CATALOGUE["USER_CONSENT_GIVEN"]
    assert isinstance(ask(consent, switch, user=a_user(changed_field="profile_id")), Accepted)
    assert isinstance(ask(CATALOGUE["USER_LOGIN"], switch, user=CHECKED), Accepted)


def test_both_parts_may_change_at_once_and_must_not_contradict_each_other() -> None:
    login, registered, reset = (CATALOGUE[name] for name in ("USER_LOGIN", "DEVICE_REGISTERED", "DEVICE_RESET"))
    outcome = ask(login, registered, user=CHECKED, device=a_device(changed_field="esn"))
    assert names(outcome) == ["USER_LOGIN", "DEVICE_REGISTERED"]
    refused = ask(login, reset, user=CHECKED, device=NO_DEVICE)
    assert refused == RefusedAction(ReturnedRefusal.CONTRADICTORY_ACTIONS)


def test_x7_a_device_action_in_the_place_of_a_users_is_refused() -> None:
    """Their numbers are the same: what counts is the part that one stands on."""
    only_login = {"passport-auth": Grant.named(["user", "device"], ["USER_LOGIN"])}
    value = changed(
        KNOWN, signer("passport-auth"), device=a_device(changed_field="esn"), actions=[DeviceAction.DEVICE_REGISTERED]
    )
    outcome = check_returned(b64encode(KNOWN), value, KEYS, only_login, now=NOW)
    assert outcome == RefusedAction(ReturnedRefusal.ACTION_NOT_GRANTED)


def test_x1_a_changed_device_under_its_old_users_mac_is_refused() -> None:
    """In version 2 the user's MAC covers the device: who changes it answers for both."""
    envelope = split_envelope(KNOWN)
    value = b64decode(
        changed(KNOWN, signer("passport-auth"), device=a_device(changed_field="esn"), actions=[DeviceAction(1)])
    )
    swapped = split_envelope(value)._replace(user_integrity=envelope.user_integrity)
    outcome = check_returned(b64encode(KNOWN), b64encode(join_envelope(swapped)), KEYS, ALL, now=NOW)
    assert outcome == RefusedAction(PassportRefusal.KEY_PURPOSE)
