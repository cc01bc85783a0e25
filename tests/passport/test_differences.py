"""Two Passports compared: what differs, and what an edge would make of the second."""

from base64 import b64encode

import pytest

from passport import NO_USER, Level, PassportRefusal, Source, UserAction, UserPart
from passport.catalogue import CATALOGUE
from passport.differences import differences
from passport.explain import LEVELS, REASONS, SOURCES
from passport.returned import Grant, ReturnedRefusal
from tests.passport.changing import changed
from tests.passport.samples import CUSTOMER_ID, KEYS, NOW, USER, build, signer

SENT = build(USER)
GRANTS = {"passport-auth": Grant.named(["user", "device"], CATALOGUE)}
SWITCHED = UserPart.of(
    Source.COOKIE, Level.HIGH, CUSTOMER_ID, 7_001_002_000, profile_id="kids\x1b[2J", session_id="5e55" * 8
)


def text_of(raw: bytes) -> str:
    return b64encode(raw).decode()


def switch(received: bytes = SENT) -> str:
    actions = [UserAction.USER_PROFILE_SWITCHED]
    return changed(received, signer("passport-auth"), user=SWITCHED, actions=actions, now=NOW + 1).decode()


def test_what_differs_is_shown_and_what_an_edge_would_do() -> None:
    found = differences(text_of(SENT), switch(), KEYS, GRANTS, now=NOW)
    lines = dict(line.split(maxsplit=1) for line in found.text.splitlines() if not line.startswith("as an"))
    assert found.taken
    assert lines["header"] == "the same bytes"
    assert lines["device"] == "the same bytes"
    assert "passport-auth:0000c001" in found.text
    assert "profile-1 -> kids\\x1b[2J" in found.text
    assert "- -> USER_PROFILE_SWITCHED" in found.text
    assert found.text.splitlines()[-1] == "as an answer      USER_PROFILE_SWITCHED (update tokens)"
    assert "customer id" not in found.text


def test_what_an_edge_would_refuse_says_why() -> None:
    found = differences(text_of(SENT), switch(), KEYS, {}, now=NOW)
    assert not found.taken
    assert "REFUSED: key_purpose: signed with a key that is not for that part" in found.text
    other = differences(text_of(SENT), switch(build(USER, request_id=b"e" * 32)), KEYS, GRANTS, now=NOW)
    assert "DIFFERENT: of another exchange" in other.text
    assert "REFUSED: header_changed" in other.text


def test_the_same_passport_asks_for_nothing() -> None:
    found = differences(text_of(SENT), text_of(SENT), KEYS, GRANTS, now=NOW)
    assert (found.taken, found.text.splitlines()[-1]) == (True, "as an answer      asks for nothing")
    assert "->" not in found.text


def test_without_keys_nothing_is_said_of_an_edge() -> None:
    found = differences(text_of(SENT), switch(), None, GRANTS, now=NOW)
    assert (found.taken, "no keys to verify with" in found.text) == (False, True)


@pytest.mark.parametrize("text", ["", "%%%", "AAAA", "A" * 40_000])
def test_what_is_no_passport_is_said_to_be_none(text: str) -> None:
    for pair in ((text, switch()), (text_of(build(NO_USER)), text)):
        found = differences(*pair, KEYS, GRANTS, now=NOW)
        assert (found.taken, found.text.startswith("not a Passport: ")) == (False, True)


def test_everything_is_explained() -> None:
    assert set(SOURCES) == set(Source)
    assert set(LEVELS) == set(Level)
    assert set(REASONS) == {*PassportRefusal, *ReturnedRefusal}
