"""The two Passport filters on an exchange: what the origin gets, and what its answer may do."""

from base64 import b64decode

import pytest
from edgepb.kms.v1 import kms_pb2

from edge.contract.change import Revoked, TokenChange, TokenEffect
from edge.contract.exchange import Exchange, Request, Response
from edge.contract.filters import CONTINUE, Refuse
from edge.contract.headers import Headers
from edge.contract.identity import DeviceIdentity, Level, Source, UserIdentity
from edge.contract.reasons import Reason
from edge.contract.route import AuthPolicy, Route
from filters.inbound.passport import PassportFilter
from filters.outbound.passport_actions import PassportActionsFilter
from passport import NO_USER, PassportIntrospector, PassportKeys, UserAction, UserPart, with_user
from passport import Level as PassportLevel
from passport import Source as PassportSource
from passport.returned import Grant
from tests.passport.samples import (
    CUSTOMER_ID,
    DOMAIN,
    ESN,
    ISSUER,
    KEYS,
    NOW,
    REQUEST_ID,
    key_sets,
    key_version,
    signer,
)

ROUTE = Route("account", "api", AuthPolicy(Level.UNSPECIFIED, Level.UNSPECIFIED), False, 0, 1.0, 1.0, 1.0)
GRANTS = {"passport-auth": Grant.named(["user"], ["USER_LOGIN", "USER_LOGOUT"])}


class Keys:
    """Keys that a test may swap."""

    def __init__(self, passport_keys: PassportKeys | None = KEYS) -> None:
        self.passport_keys = passport_keys


def user(customer_id: int = CUSTOMER_ID) -> UserIdentity:
    return UserIdentity(Source.COOKIE, Level.HIGH, customer_id, 5, profile_id="p", session_id="s")


def exchange(
    *, user: UserIdentity | None = None, device: DeviceIdentity | None = None, request_id: bytes = REQUEST_ID
) -> Exchange:
    request = Request(b"GET", b"/account", b"/account", b"edge.test", Headers([(b"host", b"Host", b"edge.test")]))
    made = Exchange(request_id, NOW + 0.75, request, ROUTE, secure=True)
    made.user, made.device = user, device
    return made


def passport_filter(keys: Keys) -> PassportFilter:
    return PassportFilter(keys, issuer=ISSUER, trust_domain=DOMAIN)


def seen_by_origin(made: Exchange, keys: PassportKeys = KEYS) -> PassportIntrospector:
    values = made.request.headers.get_all(b"x-passport")
    assert values == [made.passport]
    return PassportIntrospector.from_base64(values[0], keys, now=made.now, trust_domain=DOMAIN)


def test_the_origin_sees_user_and_device() -> None:
    made = exchange(user=user(), device=DeviceIdentity(Source.COOKIE, Level.HIGH, ESN, 7))
    assert passport_filter(Keys()).inbound(made) is CONTINUE
    seen = seen_by_origin(made)
    assert (seen.user_source, seen.user_level) == (PassportSource.COOKIE, PassportLevel.HIGH)
    assert (seen.customer_id, seen.account_owner_id, seen.profile_id, seen.session_id) == (CUSTOMER_ID, 5, "p", "s")
    assert (seen.esn, seen.device_type, seen.device_level) == (ESN, 7, PassportLevel.HIGH)
    assert (seen.request_id, seen.issuer, seen.created) == (REQUEST_ID.decode(), ISSUER, NOW)


def test_h10_an_anonymous_request_carries_a_signed_nobody() -> None:
    made = exchange()
    assert passport_filter(Keys()).inbound(made) is CONTINUE
    assert not seen_by_origin(made).is_authenticated


def test_h3_a_passport_that_is_already_there_is_replaced() -> None:
    made = exchange()
    made.request.headers.add(b"X-PASSPORT", b"forged")
    passport_filter(Keys()).inbound(made)
    assert seen_by_origin(made).customer_id is None


def test_f7_two_users_in_turn_get_a_passport_each() -> None:
    tested = passport_filter(Keys())
    one, two = user(1), user(2)
    for _ in range(3):
        for each in (one, two):
            made = exchange(user=each)
            tested.inbound(made)
            assert seen_by_origin(made).customer_id == each.customer_id


def test_f7_identities_that_come_and_go_are_never_mixed_up() -> None:
    tested = PassportFilter(Keys(), issuer=ISSUER, trust_domain=DOMAIN, cache_entries=2)
    for customer_id in range(1, 200):
        made = exchange(user=user(customer_id))  # ids of dead objects are given out again
        tested.inbound(made)
        assert seen_by_origin(made).customer_id == customer_id


@pytest.mark.parametrize("missing", [0, 1, None])
def test_without_keys_no_request_goes_on(missing: int | None) -> None:
    keys = None
    if missing is not None:
        sets = key_sets()
        del sets[missing]
        keys = PassportKeys.from_key_sets(sets)
    made = exchange(user=user())
    assert passport_filter(Keys(keys)).inbound(made) == Refuse(503, Reason.KEYS_UNAVAILABLE)
    assert (made.passport, b"x-passport" in made.request.headers) == (b"", False)


def test_f6_new_keys_sign_from_the_next_request_on() -> None:
    source = Keys()
    tested = passport_filter(source)
    tested.inbound(exchange(user=user()))
    sets = key_sets()
    sets[0].versions[0].CopyFrom(key_version(0xA001, "user", kms_pb2.DEACTIVATED, primary=False))
    sets[0].versions.append(key_version(0xA002, "user-2"))
    source.passport_keys = PassportKeys.from_key_sets(sets)
    made = exchange(user=user())
    tested.inbound(made)
    assert b"passport-user:0000a002" in b64decode(made.passport)
    assert seen_by_origin(made, source.passport_keys).customer_id == CUSTOMER_ID
    source.passport_keys = None
    assert isinstance(tested.inbound(exchange()), Refuse)


# The way back


def answered(*values: bytes, status: int = 200, local: bool = False, name: bytes = b"X-Passport") -> Exchange:
    made = exchange()
    passport_filter(Keys()).inbound(made)
    made.response = Response(status, Headers([(b"server", b"Server", b"origin")]), local=local)
    for value in values:
        made.response.headers.add(name, value)
    return made


def action(made: Exchange, part: UserPart, *actions: UserAction) -> bytes:
    return with_user(b64decode(made.passport), part, actions, signer("passport-auth"), now=NOW).encode()


SIGNED_IN = UserPart.of(PassportSource.USER_CREDENTIALS, PassportLevel.HIGH, 42, 42)


def outbound(made: Exchange, keys: Keys | None = None) -> Exchange:
    assert PassportActionsFilter(keys or Keys(), GRANTS).outbound(made) is CONTINUE
    assert made.response is not None
    assert [name for name, _ in made.response.headers] == [b"Server"]
    return made


def login_value() -> bytes:
    return action(answered(), SIGNED_IN, UserAction.USER_LOGIN)


def test_a_login_is_noted_for_the_tokens_filter() -> None:
    made = outbound(answered(login_value()))
    assert made.actions == ["USER_LOGIN"]
    user = UserIdentity(Source.USER_CREDENTIALS, Level.HIGH, 42, 42)
    assert made.change == TokenChange(TokenEffect.CREATE, user, None)


def test_a_logout_is_noted_for_the_tokens_filter() -> None:
    made = outbound(answered(action(answered(), NO_USER, UserAction.USER_LOGOUT)))
    assert made.actions == ["USER_LOGOUT"]
    assert made.change == TokenChange(TokenEffect.CLEAR, None, None, frozenset({Revoked.SESSION}))


@pytest.mark.parametrize("name", [b"X-Passport", b"x-passport", b"X-PASSPORT", b"Passport-Bin"])
def test_x6_x11_a_passport_never_stays_on_the_response(name: bytes) -> None:
    outbound(answered(b"no passport at all", name=name))
    outbound(answered(login_value(), name=name, local=True))


def test_a_passport_that_comes_back_unchanged_asks_for_nothing() -> None:
    made = answered()
    assert made.response is not None
    made.response.headers.add(b"X-Passport", made.passport)
    assert outbound(made).actions == []


def untouched(made: Exchange) -> list[str]:
    assert made.change is None
    return made.actions


def test_x5_two_passports_are_refused() -> None:
    assert untouched(outbound(answered(login_value(), login_value()))) == ["refused:repeated"]


@pytest.mark.parametrize("status", [101, 304, 500, 502, 599])
def test_x7_x9_an_action_on_a_failed_or_repeated_response_or_an_upgrade_is_refused(status: int) -> None:
    assert untouched(outbound(answered(login_value(), status=status))) == ["refused:response_status"]


def test_x7_an_action_on_a_local_response_does_nothing() -> None:
    assert untouched(outbound(answered(login_value(), local=True))) == []


def test_x7_an_action_replayed_on_another_exchange_is_refused() -> None:
    value = login_value()
    made = answered(value)
    other = exchange(request_id=b"f" * 32)
    passport_filter(Keys()).inbound(other)
    made.passport = other.passport
    assert untouched(outbound(made)) == ["refused:header_changed"]


def test_x1_a_passport_that_cannot_be_read_is_refused() -> None:
    assert untouched(outbound(answered(b"garbage!"))) == ["refused:not_canonical"]
    assert untouched(outbound(answered(b""))) == ["refused:missing"]


def test_an_action_without_keys_or_without_a_passport_sent_is_refused() -> None:
    assert untouched(outbound(answered(login_value()), Keys(None))) == ["refused:not_expected"]
    made = answered(login_value())
    made.passport = b""
    assert untouched(outbound(made)) == ["refused:not_expected"]


def test_each_returned_passport_is_told_of_with_what_became_of_it() -> None:
    told: list[str] = []
    tested = PassportActionsFilter(Keys(), GRANTS, told.append)
    unchanged = answered()
    assert unchanged.response is not None
    unchanged.response.headers.add(b"X-Passport", unchanged.passport)
    for made in (answered(login_value()), answered(b"forged"), unchanged, answered()):
        tested.outbound(made)
    assert told == ["accepted", "refused", "nothing_asked"]


def test_an_exchange_without_a_response_is_left_alone() -> None:
    made = exchange()
    assert PassportActionsFilter(Keys(), GRANTS).outbound(made) is CONTINUE
