"""What a human is shown of a Passport."""

from base64 import b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from passport import Level, Source, UserPart
from passport.inspect import inspect_passport
from passport.integrity import split_envelope
from tests.passport.samples import DOMAIN, ESN, KEYS, NOW, build


def text_of(raw: bytes) -> str:
    return b64encode(raw).decode()


def test_a_valid_passport_is_shown_as_verified() -> None:
    shown = inspect_passport(f" {text_of(build())}\n", KEYS, now=NOW + 10, trust_domain=DOMAIN)
    assert shown.verified
    lines = {line[:18].strip(): line[18:] for line in shown.text.splitlines()}
    assert lines["verified"] == "yes"
    assert lines["customer id"] == "7001002003"
    assert lines["esn"] == ESN
    assert lines["user source"] == "COOKIE: from both halves of the cookie pair"
    assert lines["user integrity"] == "v2, key passport-user:0000a001"
    assert lines["created"] == "2026-09-21T14:13:20Z (10 s ago)"
    assert lines["user expires"] == "2026-09-21T14:14:20Z (in 50 s)"


@pytest.mark.parametrize(
    ("now", "trust_domain", "reason"), [(NOW + 1000, DOMAIN, "expired"), (NOW, "production", "trust_domain")]
)
def test_a_passport_that_is_refused_is_shown_with_the_reason(now: int, trust_domain: str, reason: str) -> None:
    shown = inspect_passport(text_of(build()), KEYS, now=now, trust_domain=trust_domain)
    assert not shown.verified
    assert f"NO: {reason}" in shown.text


def test_without_keys_nothing_is_called_verified() -> None:
    shown = inspect_passport(text_of(build()), None, now=NOW)
    assert not shown.verified
    assert "no keys to verify with" in shown.text


def test_rule_24_no_mac_is_shown() -> None:
    envelope = split_envelope(build())
    shown = inspect_passport(text_of(build()), KEYS, now=NOW).text
    for integrity in (envelope.user_integrity, envelope.device_integrity):
        assert integrity.mac.hex() not in shown
        assert b64encode(integrity.mac).decode() not in shown
        assert repr(integrity.mac) not in f"{envelope!r} {integrity!r}"


def test_a4_a_signers_text_does_not_write_to_the_terminal() -> None:
    raw = build(UserPart.of(Source.COOKIE, Level.LOW, 1, 1, profile_id="a\x1b[2J\r\nverified yes\u202e"))
    shown = inspect_passport(text_of(raw), KEYS, now=NOW).text
    assert "\x1b" not in shown
    assert "\r" not in shown
    assert "\u202e" not in shown
    assert sum(line.startswith("verified") for line in shown.splitlines()) == 1


@given(st.text(max_size=80))
def test_any_text_is_shown_as_no_passport(text: str) -> None:
    assert not inspect_passport(text, KEYS, now=NOW).verified
