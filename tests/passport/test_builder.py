"""What the builder signs, read back by protobuf and by the introspector."""

from base64 import b64decode

import pytest
from edgepb.passport.v1 import actions_pb2, passport_pb2

from passport import NO_DEVICE, NO_USER, DevicePart, Level, PassportBuilder, Source, UserAction, UserPart
from tests.passport.samples import (
    CUSTOMER_ID,
    DEVICE,
    DOMAIN,
    ESN,
    ISSUER,
    NOW,
    REQUEST_ID,
    USER,
    build,
    builder,
    read,
    signer,
)


@pytest.mark.parametrize("version", [1, 2])
def test_protobuf_reads_what_the_builder_wrote(version: int) -> None:
    message = passport_pb2.Passport.FromString(build(version=version))
    assert message.header == passport_pb2.Header(
        request_id=REQUEST_ID.decode(), created=NOW, issuer=ISSUER, trust_domain=DOMAIN
    )
    assert message.user_info.customer_id.value == CUSTOMER_ID
    assert message.user_info.account_owner_id.value == 7_001_002_000
    assert message.user_info.profile_id.value == "profile-1"
    assert message.user_info.session_id.value == "5e55" * 8
    assert message.user_info.source == passport_pb2.SOURCE_COOKIE
    assert message.user_info.authentication_level == passport_pb2.LEVEL_HIGH
    assert (message.user_info.created, message.user_info.expires) == (NOW, NOW + 60)
    assert message.device_info.esn.value == ESN
    assert message.device_info.device_type.value == 7
    assert (message.device_info.created, message.device_info.expires) == (NOW, NOW + 60)
    assert message.user_integrity.version == message.device_integrity.version == version
    assert message.user_integrity.key_name == "passport-user:0000a001"
    assert message.device_integrity.key_name == "passport-device:0000b001"


def test_the_header_value_is_base64_of_the_same_bytes() -> None:
    made = builder()
    assert b64decode(made.header_value(REQUEST_ID, USER, DEVICE, NOW), validate=True) == build()


def test_an_absent_identity_is_signed_too() -> None:
    passport = read(build(NO_USER, NO_DEVICE))
    assert (passport.user_source, passport.user_level) == (Source.NONE, Level.UNSPECIFIED)
    assert (passport.device_source, passport.device_level) == (Source.NONE, Level.UNSPECIFIED)
    assert (passport.customer_id, passport.esn, passport.is_authenticated) == (None, None, False)


def test_each_second_has_its_own_times() -> None:
    made = builder()
    for now in (NOW, NOW + 1, NOW, NOW - 5):
        assert read(made.build(REQUEST_ID, USER, DEVICE, now)).created == now


@pytest.mark.parametrize("profile", ["", "p", "p" * 100, "p" * 200, "ü" * 70])
def test_parts_of_every_size_read_back(profile: str) -> None:
    user = UserPart.of(Source.MSL, Level.HIGHEST, 1, 0, profile_id=profile)
    passport = read(build(user))
    assert passport.profile_id == (profile or None)
    assert (passport.customer_id, passport.account_owner_id) == (1, 0)


def test_hand_made_parts_are_what_protobuf_would_write() -> None:
    user = passport_pb2.UserInfo(source=passport_pb2.SOURCE_MSL, authentication_level=passport_pb2.LEVEL_HIGHEST)
    user.customer_id.value, user.account_owner_id.value = (1 << 63) - 1, 0
    user.profile_id.value, user.session_id.value = "p", "s"
    user.actions.append(actions_pb2.USER_LOGIN)
    part = UserPart.of(Source.MSL, Level.HIGHEST, (1 << 63) - 1, 0, profile_id="p", session_id="s")
    assert part.with_actions([UserAction.USER_LOGIN]).static == user.SerializeToString()
    device = passport_pb2.DeviceInfo(source=passport_pb2.SOURCE_CTICKET, authentication_level=passport_pb2.LEVEL_LOW)
    device.esn.value, device.device_type.value = "", 300
    assert DevicePart.of(Source.CTICKET, Level.LOW, "", 300).static == device.SerializeToString()


@pytest.mark.parametrize("request_id", [b"", b"short", b"x" * 33])
def test_a_request_id_of_another_length_is_a_bug(request_id: bytes) -> None:
    with pytest.raises(ValueError, match="32 characters"):
        builder().build(request_id, USER, DEVICE, NOW)


@pytest.mark.parametrize("now", [-1, 0, 1 << 35])
def test_a_time_that_cannot_be_is_a_bug(now: int) -> None:
    with pytest.raises(ValueError, match="not a time to sign"):
        builder().build(REQUEST_ID, USER, DEVICE, now)


def test_rule_2_a_key_of_another_purpose_does_not_sign() -> None:
    with pytest.raises(ValueError, match="do not sign"):
        PassportBuilder(ISSUER, DOMAIN, signer("passport-device"), signer("passport-user"))


@pytest.mark.parametrize("number", [-1, 1 << 63])
def test_a_number_that_does_not_fit_is_a_bug(number: int) -> None:
    with pytest.raises(ValueError, match="not a number"):
        UserPart.of(Source.COOKIE, Level.HIGH, number, 0)


def test_rule_24_no_repr_names_anybody() -> None:
    shown = f"{USER!r} {DEVICE!r} {builder()!r} {read(build())!r}"
    assert str(CUSTOMER_ID) not in shown
    assert ESN not in shown
