"""What a Passport must be before anything in it is believed: THREATS X1 to X4, token rules 5 to 11."""

from base64 import b64encode
from collections.abc import Callable

import pytest
from edgepb.kms.v1 import kms_pb2
from edgepb.passport.v1 import passport_pb2
from hypothesis import given
from hypothesis import strategies as st

from passport import (
    NO_USER,
    DevicePart,
    Level,
    Part,
    PassportIntrospector,
    PassportKeys,
    PassportRefusal,
    PassportRefused,
    Source,
    UserPart,
)
from passport.integrity import Covered, Envelope, join_envelope, sign, split_envelope
from passport.parts import encode_times
from passport.wire import encode_delimited, encode_varint
from tests.passport.samples import (
    CUSTOMER_ID,
    DEVICE,
    DOMAIN,
    ESN,
    ISSUER,
    KEYS,
    NOW,
    REQUEST_ID,
    USER,
    build,
    builder,
    key_sets,
    key_version,
    read,
    signer,
)


def refusal(raw: bytes, *, keys: PassportKeys = KEYS, now: float = NOW, accept_v1: bool = False) -> PassportRefusal:
    with pytest.raises(PassportRefused) as caught:
        read(raw, keys=keys, now=now, accept_v1=accept_v1)
    assert str(caught.value) == caught.value.reason.value
    return caught.value.reason


def resigned(header: bytes, device_info: bytes, user_info: bytes, *, version: int = 2) -> bytes:
    """Sign parts with the right keys, whatever is in them."""
    covered = Covered(header, device_info, user_info)
    user = sign(signer("passport-user"), version, Part.USER, covered)
    device = sign(signer("passport-device"), version, Part.DEVICE, covered)
    return join_envelope(Envelope(header, user_info, device_info, user, device))


def with_parts(change: Callable[[Envelope], Envelope]) -> bytes:
    envelope = change(split_envelope(build()))
    return resigned(envelope.header, envelope.device_info, envelope.user_info)


def test_a_valid_passport_says_what_was_signed() -> None:
    passport = read(build())
    assert (passport.user_source, passport.user_level) == (Source.COOKIE, Level.HIGH)
    assert (passport.customer_id, passport.account_owner_id) == (CUSTOMER_ID, 7_001_002_000)
    assert (passport.profile_id, passport.session_id) == ("profile-1", "5e55" * 8)
    assert (passport.device_source, passport.device_level) == (Source.COOKIE, Level.HIGH)
    assert (passport.esn, passport.device_type) == (ESN, 7)
    assert (passport.request_id, passport.issuer, passport.trust_domain) == (REQUEST_ID.decode(), ISSUER, DOMAIN)
    assert (passport.created, passport.user_created, passport.expires) == (NOW, NOW, NOW + 60)
    assert (passport.actions, passport.is_authenticated) == ((), True)


def test_what_is_passed_on_is_what_came() -> None:
    raw = build()
    passport = read(raw)
    assert passport.received == raw
    assert passport.header_value == b64encode(raw).decode()


# Levels


@pytest.mark.parametrize("level", [Level.UNSPECIFIED, Level.LOW, Level.HIGH])
def test_a_level_that_is_reached_passes(level: Level) -> None:
    passport = read(build())
    passport.require_user_level(level)
    passport.require_device_level(level)


def test_a_level_above_is_refused() -> None:
    with pytest.raises(PassportRefused, match="level_too_low"):
        read(build()).require_user_level(Level.HIGHEST)
    with pytest.raises(PassportRefused, match="level_too_low"):
        read(build()).require_device_level(Level.HIGHEST)


def test_an_unspecified_level_fails_every_assertion() -> None:
    passport = read(build(UserPart.of(Source.COOKIE, Level.UNSPECIFIED, 1, 1)))
    assert not passport.is_authenticated
    with pytest.raises(PassportRefused, match="level_too_low"):
        passport.require_user_level(Level.UNSPECIFIED)
    with pytest.raises(PassportRefused, match="level_too_low"):
        read(build(NO_USER)).require_user_level(Level.UNSPECIFIED)


# The outer form


@given(st.integers(min_value=0), st.integers(0, 7))
def test_rule_1_every_flipped_bit_is_refused(position: int, bit: int) -> None:
    raw = bytearray(build())
    raw[position % len(raw)] ^= 1 << bit
    with pytest.raises(PassportRefused):
        read(bytes(raw), accept_v1=True)


@given(st.integers(min_value=0))
def test_x1_every_truncation_is_refused(length: int) -> None:
    raw = build()
    with pytest.raises(PassportRefused):
        read(raw[: length % len(raw)])


@given(st.binary(max_size=400))
def test_any_bytes_are_refused_and_nothing_else_is_raised(data: bytes) -> None:
    with pytest.raises(PassportRefused):
        read(data)


@pytest.mark.parametrize("extra", [b"\x00", b"\x08\x01", b"\x32\x00", b"\x0a\x00", b"\x2a\x00"])
def test_x3_trailing_bytes_and_further_fields_are_refused(extra: bytes) -> None:
    assert refusal(build() + extra) is PassportRefusal.MALFORMED


def test_rule_8_concatenated_passports_are_refused() -> None:
    assert refusal(build() + build()) is PassportRefusal.MALFORMED


def test_x3_a_duplicated_part_is_refused() -> None:
    raw = build()
    for number, content in enumerate(split_envelope(raw)[:3], start=1):
        assert refusal(raw + encode_delimited(number, content)) is PassportRefusal.MALFORMED


def test_rule_8_reordered_parts_are_refused() -> None:
    envelope = split_envelope(build())
    first = encode_delimited(1, envelope.header)
    assert refusal(build()[len(first) :] + first) is PassportRefusal.MALFORMED


@pytest.mark.parametrize("missing", [1, 2, 3, 4, 5])
def test_x1_a_missing_field_is_refused(missing: int) -> None:
    message = passport_pb2.PassportEnvelope.FromString(build())
    message.ClearField(message.DESCRIPTOR.fields_by_number[missing].name)
    assert refusal(message.SerializeToString()) is PassportRefusal.MALFORMED


def test_rule_8_a_padded_length_is_refused() -> None:
    envelope = split_envelope(build())
    head = encode_delimited(1, envelope.header)
    padded = b"\x0a" + bytes([len(envelope.header) | 0x80, 0]) + envelope.header
    assert refusal(padded + build()[len(head) :]) is PassportRefusal.MALFORMED


def test_rule_6_more_than_16_kib_are_refused_before_they_are_read() -> None:
    assert refusal(bytes(16 * 1024 + 1)) is PassportRefusal.TOO_LONG
    with pytest.raises(PassportRefused, match="too_long"):
        PassportIntrospector.from_base64(b"A" * 30_000, KEYS, now=NOW, trust_domain=DOMAIN)


@pytest.mark.parametrize("change", [
    lambda text: text + "=",
    lambda text: text + "\n",
    lambda text: " " + text,
    lambda text: text.replace("A", "A\n", 1),
    lambda text: text.rstrip("=") if text.endswith("=") else text + "====",
    lambda text: text.replace("+", "-").replace("/", "_") + "!",
    lambda text: text + "é",
    lambda text: text + ", " + text,
])  # fmt: skip
def test_rule_5_any_other_spelling_of_the_text_is_refused(change: Callable[[str], str]) -> None:
    text = b64encode(build()).decode()
    with pytest.raises(PassportRefused, match="not_canonical"):
        PassportIntrospector.from_base64(change(text), KEYS, now=NOW, trust_domain=DOMAIN)


def test_rule_5_pad_bits_that_are_not_zero_are_refused() -> None:
    for profile in ("", "p", "pp"):
        text = b64encode(build(UserPart.of(Source.COOKIE, Level.LOW, 1, 1, profile_id=profile))).decode()
        if text.endswith("="):
            at = text.index("=") - 1
            changed = text[:at] + chr(ord(text[at]) + 1) + text[at + 1 :]
            with pytest.raises(PassportRefused, match="not_canonical"):
                PassportIntrospector.from_base64(changed, KEYS, now=NOW, trust_domain=DOMAIN)
            return
    pytest.fail("no sample had padding")


def test_an_empty_value_is_missing() -> None:
    with pytest.raises(PassportRefused, match="missing"):
        PassportIntrospector.from_base64("", KEYS, now=NOW, trust_domain=DOMAIN)


# MACs, keys, versions


def test_x1_a_mac_of_another_length_is_refused() -> None:
    message = passport_pb2.Passport.FromString(build())
    for mac in (b"", message.user_integrity.hmac[:16], message.user_integrity.hmac + b"\0"):
        message.user_integrity.hmac = mac
        assert refusal(message.SerializeToString()) is PassportRefusal.MALFORMED


def test_x1_an_unknown_key_is_refused_and_none_is_tried() -> None:
    other = PassportKeys.from_key_sets(
        [
            kms_pb2.KeySet(purpose="passport-user", versions=[key_version(0xFF, "user")]),
            kms_pb2.KeySet(purpose="passport-device", versions=[key_version(0xFE, "device")]),
        ]
    )
    assert refusal(build(), keys=other) is PassportRefusal.UNKNOWN_KEY


def test_x1_the_right_key_name_with_other_material_is_refused() -> None:
    sets = key_sets()
    sets[0].versions[0].material = b"x" * 32
    assert refusal(build(), keys=PassportKeys.from_key_sets(sets)) is PassportRefusal.BAD_MAC


def test_rule_2_a_device_key_does_not_verify_a_user() -> None:
    envelope = split_envelope(build())
    forged = sign(signer("passport-device"), 2, Part.USER, envelope.covered)
    assert refusal(join_envelope(envelope._replace(user_integrity=forged))) is PassportRefusal.KEY_PURPOSE


def test_an_auth_services_passport_is_for_the_edge_only() -> None:
    envelope = split_envelope(build())
    changed = sign(signer("passport-auth"), 2, Part.USER, envelope.covered)
    assert refusal(join_envelope(envelope._replace(user_integrity=changed))) is PassportRefusal.KEY_PURPOSE


def test_the_two_macs_do_not_stand_for_each_other() -> None:
    message = passport_pb2.Passport.FromString(build())
    message.user_integrity.hmac, message.device_integrity.hmac = (
        message.device_integrity.hmac,
        message.user_integrity.hmac,
    )
    assert refusal(message.SerializeToString()) is PassportRefusal.BAD_MAC


def test_x2_a_mac_over_other_bytes_of_the_same_meaning_is_refused() -> None:
    envelope = split_envelope(build())
    moved = envelope.user_info[2:] + envelope.user_info[:2]
    assert passport_pb2.UserInfo.FromString(moved) == passport_pb2.UserInfo.FromString(envelope.user_info)
    assert refusal(join_envelope(envelope._replace(user_info=moved))) is PassportRefusal.BAD_MAC


def test_x4_version_1_is_refused_unless_asked_for() -> None:
    raw = build(version=1)
    assert refusal(raw) is PassportRefusal.VERSION_NOT_ACCEPTED
    assert read(raw, accept_v1=True).customer_id == CUSTOMER_ID


@pytest.mark.parametrize("version", [0, 3, 1 << 63])
def test_x4_an_unknown_version_is_refused(version: int) -> None:
    envelope = split_envelope(build())
    message = b"\x08" + encode_varint(version) + envelope.user_integrity.field[2:]
    raw = b"".join(
        encode_delimited(number, content)
        for number, content in enumerate(
            (*envelope[:3], message, b"\x08" + encode_varint(version) + envelope[4].field[2:]), 1
        )
    )
    assert refusal(raw, accept_v1=True) is PassportRefusal.UNKNOWN_VERSION


def test_x4_a_version_2_mac_relabelled_as_version_1_is_refused() -> None:
    message = passport_pb2.Passport.FromString(build())
    for integrity in (message.user_integrity, message.device_integrity):
        integrity.version = 1
    assert refusal(message.SerializeToString(), accept_v1=True) is PassportRefusal.BAD_MAC


def test_x4_two_versions_in_one_passport_are_refused() -> None:
    envelope = split_envelope(build(version=1))
    user = sign(signer("passport-user"), 2, Part.USER, envelope.covered)
    raw = join_envelope(envelope._replace(user_integrity=user))
    assert refusal(raw, accept_v1=True) is PassportRefusal.VERSION_NOT_ACCEPTED


def test_rule_8_integrity_with_more_fields_is_refused() -> None:
    envelope = split_envelope(build())
    for extra in (b"\x08\x02", b"\x20\x01"):
        user = envelope.user_integrity._replace(field=envelope.user_integrity.field + extra)
        assert refusal(join_envelope(envelope._replace(user_integrity=user))) is PassportRefusal.MALFORMED


# Splices


@pytest.mark.parametrize("index", [0, 1, 2])
def test_rule_9_a_part_of_another_passport_is_refused(index: int) -> None:
    ours = split_envelope(build())
    theirs = split_envelope(
        build(
            UserPart.of(Source.COOKIE, Level.HIGH, 1, 1),
            DevicePart.of(Source.COOKIE, Level.HIGH, "another"),
            request_id=b"f" * 32,
        )
    )
    spliced = list(ours.covered)
    spliced[index] = theirs.covered[index]
    raw = join_envelope(Envelope(spliced[0], spliced[2], spliced[1], ours.user_integrity, ours.device_integrity))
    assert refusal(raw) is PassportRefusal.BAD_MAC


def test_rule_9_a_user_with_its_own_mac_does_not_fit_another_device_or_request() -> None:
    theirs = split_envelope(build(UserPart.of(Source.COOKIE, Level.HIGH, 1, 1), request_id=b"f" * 32))
    for ours in (split_envelope(build()), split_envelope(build(device=DevicePart.of(Source.MSL, Level.LOW, "other")))):
        raw = join_envelope(ours._replace(user_info=theirs.user_info, user_integrity=theirs.user_integrity))
        assert refusal(raw) is PassportRefusal.BAD_MAC


def test_c4_moving_bytes_between_parts_is_refused() -> None:
    ours = split_envelope(build())
    raw = join_envelope(
        ours._replace(device_info=ours.device_info[:-1], user_info=ours.device_info[-1:] + ours.user_info)
    )
    assert refusal(raw) is PassportRefusal.BAD_MAC


# Signed, and still refused


@pytest.mark.parametrize(
    "extra",
    [
        b"\x10\x01",  # created again
        b"\x22\x02\x08\x05",  # customer id again
        b"\x5a\x00",  # the level as text
        b"\x25abcd",  # customer id as fixed32
        b"\x08\x80\x00",  # a padded varint
        b"\x62\x11" + b"\x01" * 17,  # more actions than anybody needs
        b"\x60\x01" * 17,  # the same, unpacked
        b"\x32\x04\x0a\x02\xff\xfe",  # profile again, and no text
        b"\x0b\x0c",  # a group
    ],
)
def test_x3_a_signed_part_that_two_parsers_read_differently_is_refused(extra: bytes) -> None:
    raw = with_parts(lambda envelope: envelope._replace(user_info=envelope.user_info + extra))
    assert refusal(raw) is PassportRefusal.MALFORMED_PART


def test_x3_a_duplicate_inside_a_wrapped_number_is_refused() -> None:
    user_info = b"\x08\x01\x22\x04\x08\x01\x08\x02" + encode_times(NOW, NOW + 60)
    raw = with_parts(lambda envelope: envelope._replace(user_info=user_info))
    assert refusal(raw) is PassportRefusal.MALFORMED_PART


def test_x3_text_that_is_not_utf_8_is_refused() -> None:
    device_info = b"\x08\x01\x22\x04\x0a\x02\xff\xfe" + encode_times(NOW, NOW + 60)
    raw = with_parts(lambda envelope: envelope._replace(device_info=device_info))
    assert refusal(raw) is PassportRefusal.MALFORMED_PART


@given(st.binary(max_size=120))
def test_x3_any_signed_bytes_are_read_or_refused_and_nothing_else_is_raised(data: bytes) -> None:
    raw = with_parts(lambda envelope: envelope._replace(user_info=data + encode_times(NOW, NOW + 60)))
    try:
        read(raw)
    except PassportRefused:
        return


def test_unknown_fields_of_a_newer_issuer_pass_and_are_covered() -> None:
    newer = encode_delimited(99, b"new") + encode_varint(100 << 3) + b"\x07" + b"\xb5\x06abcd" + b"\xb9\x06abcdefgh"
    raw = with_parts(lambda envelope: envelope._replace(user_info=envelope.user_info + newer))
    assert read(raw).customer_id == CUSTOMER_ID
    assert refusal(raw.replace(b"new", b"NEW")) is PassportRefusal.BAD_MAC


def test_numbers_of_a_newer_issuer_are_unknown_and_trusted_with_nothing() -> None:
    user_info = b"\x08\x63\x22\x02\x08\x01\x58\x63\x62\x01\x63" + encode_times(NOW, NOW + 60)
    passport = read(with_parts(lambda envelope: envelope._replace(user_info=user_info)))
    assert (passport.user_source, passport.user_level) == (Source.UNKNOWN, Level.UNSPECIFIED)
    assert [action.name for action in passport.actions] == ["UNKNOWN"]
    assert not passport.is_authenticated


@pytest.mark.parametrize("user_info", [b"\x08\x01", b"\x22\x02\x08\x01"])
def test_a_source_without_a_user_or_a_user_without_a_source_is_refused(user_info: bytes) -> None:
    raw = with_parts(lambda envelope: envelope._replace(user_info=user_info + encode_times(NOW, NOW + 60)))
    assert refusal(raw) is PassportRefusal.INCONSISTENT_PART


# Time and place


@pytest.mark.parametrize("seconds", [-60, 0, 60, 120])
def test_rule_17_clocks_within_a_minute_are_harmless(seconds: int) -> None:
    assert read(build(), now=NOW + seconds).is_authenticated


def test_x4_an_expired_passport_is_refused() -> None:
    assert refusal(build(), now=NOW + 121) is PassportRefusal.EXPIRED


def test_x4_a_passport_from_the_future_is_refused() -> None:
    assert refusal(build(), now=NOW - 61) is PassportRefusal.NOT_YET_VALID


def test_rule_10_the_reader_has_a_maximum_age_of_its_own() -> None:
    raw = builder(ttl_s=86_400).build(REQUEST_ID, USER, DEVICE, NOW)
    assert read(raw, now=NOW + 300).is_authenticated
    assert refusal(raw, now=NOW + 301) is PassportRefusal.TOO_OLD


def test_an_expiry_before_its_beginning_is_refused() -> None:
    user_info = USER.static + b"\x10" + encode_varint(NOW) + b"\x18" + encode_varint(NOW)
    raw = with_parts(lambda envelope: envelope._replace(user_info=user_info))
    assert refusal(raw) is PassportRefusal.INCONSISTENT_PART


def test_x4_a_passport_of_another_trust_domain_is_refused() -> None:
    raw = builder(trust_domain="production").build(REQUEST_ID, USER, DEVICE, NOW)
    assert refusal(raw) is PassportRefusal.TRUST_DOMAIN


def test_rule_23_a_deactivated_key_still_verifies_and_a_destroyed_one_does_not() -> None:
    raw = build()
    for state, accepted in ((kms_pb2.DEACTIVATED, True), (kms_pb2.DESTROYED, False)):
        sets = key_sets()
        sets[0].versions[0].CopyFrom(key_version(0xA001, "user", state, primary=False))
        keys = PassportKeys.from_key_sets(sets)
        if accepted:
            assert read(raw, keys=keys).is_authenticated
        else:
            assert refusal(raw, keys=keys) is PassportRefusal.UNKNOWN_KEY
