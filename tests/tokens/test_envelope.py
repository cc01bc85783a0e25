"""The envelope: one text per token, one place per token, one refusal for everything else."""

import base64
import multiprocessing
import os
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tokens.rings import ENVIRONMENT, ring_of, version
from tokens.cookie import PURPOSE
from tokens.envelope import MAX_TEXT_BYTES, Refusal, decode, encode, open_envelope, seal
from tokens.keys.ring import Key, KeyRing, Place

RING = ring_of(version(1))
PLACE = Place("cookie", "EdgeId", ENVIRONMENT)
URL_ALPHABET = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


def primary(ring: KeyRing = RING) -> Key:
    key = ring.primary(PURPOSE)
    assert key is not None
    return key


def open_text(text: bytes, ring: KeyRing = RING, place: Place = PLACE) -> bytes | Refusal:
    return open_envelope(ring, PURPOSE, place, text)


TOKEN = seal(primary(), PLACE, b"some claims, 25 bytes lon", b"unique nonce")


@given(st.binary(min_size=1, max_size=600), st.binary(min_size=12, max_size=12))
def test_what_was_sealed_opens_in_its_place(plaintext: bytes, nonce: bytes) -> None:
    text = seal(primary(), PLACE, plaintext, nonce)
    assert open_text(text) == plaintext


def test_c1_rule_1_flipping_any_bit_of_the_token_is_refused() -> None:
    raw = bytearray(base64.urlsafe_b64decode(TOKEN + b"=" * (-len(TOKEN) % 4)))
    seen = set()
    for place in range(len(raw) * 8):
        raw[place // 8] ^= 1 << place % 8
        seen.add(open_text(encode(bytes(raw))))
        raw[place // 8] ^= 1 << place % 8
    assert seen == {Refusal.BAD_VERSION, Refusal.UNKNOWN_KEY, Refusal.BAD_TAG}


def test_c1_replacing_any_character_of_the_text_is_refused() -> None:
    for place in range(len(TOKEN)):
        for character in b"A", b"_", b"=", b" ", b"\0", b"\xff":
            changed = TOKEN[:place] + character + TOKEN[place + 1 :]
            assert changed == TOKEN or isinstance(open_text(changed), Refusal)


def test_c2_rule_7_every_truncation_is_refused() -> None:
    assert all(isinstance(open_text(TOKEN[:length]), Refusal) for length in range(len(TOKEN)))
    assert open_text(b"") is Refusal.TOO_SHORT
    raw = decode(TOKEN)
    assert isinstance(raw, bytes)
    assert all(isinstance(open_text(encode(raw[:-cut])), Refusal) for cut in range(1, 17))


@pytest.mark.parametrize("tail", [b"A", b"AA", b"AAA", b"AAAA", b"=", b"==", b".", b" ", b"\n", b"\0", TOKEN, b";x"])
def test_c2_every_extension_is_refused(tail: bytes) -> None:
    assert isinstance(open_text(TOKEN + tail), Refusal)
    assert isinstance(open_text(tail + TOKEN), Refusal)


@pytest.mark.parametrize("plaintext_length", [1, 2, 3])
def test_rule_5_of_all_texts_that_decode_to_the_token_only_the_canonical_one_opens(plaintext_length: int) -> None:
    """All three lengths modulo 3, so that 0, 2 and 4 unused bits stand in the last character."""
    text = seal(primary(), PLACE, b"x" * plaintext_length, b"unique nonce")
    padding = b"=" * (-len(text) % 4)
    raw = base64.urlsafe_b64decode(text + padding)
    twins = [text[:-1] + bytes((last,)) for last in URL_ALPHABET]
    twins = [twin for twin in twins if twin != text and base64.urlsafe_b64decode(twin + padding) == raw]
    assert len(twins) == {0: 0, 1: 3, 2: 15}[len(padding)]
    lax = [text + padding, text + b"=", text[:9] + b"\n" + text[9:], text + b"\r\n", text[:9] + b"*" + text[9:]]
    for other in [*twins, *(spelling for spelling in lax if spelling != text)]:
        assert open_text(other) is Refusal.NOT_CANONICAL
    assert open_text(text) == b"x" * plaintext_length


def test_rule_5_the_other_base64_alphabet_is_refused() -> None:
    for number in range(200):
        text = seal(primary(), PLACE, b"claims", number.to_bytes(12, "big"))
        other = text.replace(b"-", b"+").replace(b"_", b"/")
        assert other == text or open_text(other) is Refusal.NOT_CANONICAL


@given(st.binary(min_size=34, max_size=200))
def test_rule_5_decoding_is_the_inverse_of_encoding(raw: bytes) -> None:
    assert decode(encode(raw)) == raw


@given(st.text(alphabet="AQgw_-=+/. \n09é", min_size=46, max_size=52))
def test_rule_5_a_text_decodes_only_if_it_encodes_back_to_itself(text: str) -> None:
    raw = decode(text.encode())
    if isinstance(raw, bytes):
        assert base64.urlsafe_b64encode(raw).rstrip(b"=") == text.encode()
    else:
        assert raw is Refusal.NOT_CANONICAL


@given(st.binary(max_size=300))
def test_no_bytes_at_all_make_opening_raise(junk: bytes) -> None:
    assert isinstance(open_text(junk), Refusal)
    assert isinstance(open_text(encode(b"\1\0\0\0\1" + junk)), Refusal)


def test_rule_6_a_text_is_measured_before_it_is_decoded() -> None:
    assert open_text(b"*" * (MAX_TEXT_BYTES + 1)) is Refusal.TOO_LONG
    assert open_text(b"*" * MAX_TEXT_BYTES) is Refusal.NOT_CANONICAL
    assert open_text(b"A" * 1_000_000) is Refusal.TOO_LONG


def test_rule_6_what_would_be_too_long_to_open_is_not_sealed() -> None:
    with pytest.raises(ValueError, match="bytes long"):
        seal(primary(), PLACE, bytes(3100), bytes(12))
    with pytest.raises(ValueError, match="nonce"):
        seal(primary(), PLACE, b"claims", bytes(11))


def test_c3_rule_11_a_token_opens_in_its_own_place_and_purpose_only() -> None:
    """Every kind, name and environment against every other: only the diagonal passes."""
    places = [Place(*parts) for parts in product(("cookie", "cticket"), ("EdgeId", "SecureEdgeId"), ("live", "test"))]
    for sealed_for, presented_as in product(places, places):
        opened = open_text(seal(primary(), sealed_for, b"claims", bytes(12)), place=presented_as)
        assert opened == (b"claims" if sealed_for == presented_as else Refusal.BAD_TAG)
    assert open_envelope(RING, "cookie-rescheduled", PLACE, TOKEN) is Refusal.UNKNOWN_KEY


@pytest.mark.parametrize(
    "other",
    [
        Place("cookieE", "dgeId", "test"),
        Place("cooki", "eEdgeId", "test"),
        Place("cookie", "EdgeIdt", "est"),
        Place("cookie", "EdgeI", "dtest"),
        Place("", "cookieEdgeId", "test"),
        Place("cookieEdgeIdtest", "", ""),
    ],
)
def test_c4_moving_a_character_between_the_parts_of_the_place_is_refused(other: Place) -> None:
    text = seal(primary(), Place("cookie", "EdgeId", "test"), b"claims", bytes(12))
    assert open_text(text, place=other) is Refusal.BAD_TAG


def test_rule_3_a_token_is_bound_to_the_one_key_that_its_id_names() -> None:
    """No attacker has a say in our keys; and a token moved to another key's id never opens."""
    ring = ring_of(*(version(number, primary=number == 1) for number in range(1, 21)))
    raw = decode(seal(primary(ring), PLACE, b"claims", bytes(12)))
    assert isinstance(raw, bytes)
    outcomes = [open_text(encode(raw[:1] + number.to_bytes(4, "big") + raw[5:]), ring) for number in range(1, 21)]
    assert outcomes == [b"claims", *[Refusal.BAD_TAG] * 19]


def test_rule_11_an_older_or_newer_version_is_refused() -> None:
    raw = decode(TOKEN)
    assert isinstance(raw, bytes)
    for number in (0, 2, 255):
        assert open_text(encode(bytes((number,)) + raw[1:])) is Refusal.BAD_VERSION


def _nonces_of_a_fork(count: int) -> list[bytes]:
    texts = [seal(primary(), PLACE, b"x", os.urandom(12)) for _ in range(count)]
    return [base64.urlsafe_b64decode(text + b"=" * (-len(text) % 4))[5:17] for text in texts]


def test_rule_4_forked_workers_never_repeat_a_nonce() -> None:
    with multiprocessing.get_context("fork").Pool(8) as pool:
        nonces = [nonce for part in pool.map(_nonces_of_a_fork, [2500] * 8) for nonce in part]
    assert len(set(nonces)) == 20_000


def test_rule_4_a_repeated_nonce_shows_no_more_than_equality() -> None:
    """GCM-SIV: under plain GCM the two ciphertexts would differ only where the plaintexts do."""
    one = decode(seal(primary(), PLACE, b"customer 1", bytes(12)))
    two = decode(seal(primary(), PLACE, b"customer 2", bytes(12)))
    assert isinstance(one, bytes)
    assert isinstance(two, bytes)
    assert one[17:26] != two[17:26]


def test_associated_data_is_remembered_for_a_bounded_number_of_places() -> None:
    key = primary(ring_of(version(9)))
    made = {key.associated_data(Place("cookie", f"name{number}", "test")) for number in range(100)}
    again = {key.associated_data(Place("cookie", f"name{number}", "test")) for number in range(100)}
    assert made == again
    assert len(made) == 100
