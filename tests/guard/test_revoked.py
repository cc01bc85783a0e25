"""What is revoked in memory: every token it covers and no other, for long enough, and never too much of it."""

import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.guard.revoked import RevokedTokens

NOW = 1_800_000_000
KEEP_S = 86_400.0


def revoked(max_entries: int = 1000) -> RevokedTokens:
    return RevokedTokens(KEEP_S, max_entries, NOW)


def test_a_customer_is_revoked_up_to_a_time() -> None:
    tokens = revoked()
    tokens.customer(NOW, 7, NOW)
    assert tokens.covers(7, "s", "e", NOW)
    assert not tokens.covers(7, "s", "e", NOW + 1)
    assert not tokens.covers(8, "s", "e", NOW)


def test_the_session_that_changed_the_password_lives_on() -> None:
    tokens = revoked()
    tokens.customer(NOW, 7, NOW, "mine")
    assert not tokens.covers(7, "mine", "e", NOW)
    assert tokens.covers(7, "other", "e", NOW)


def test_a_session_is_revoked_whenever_its_token_was_issued_and_only_of_its_customer() -> None:
    tokens = revoked()
    tokens.session(NOW, 7, "s")
    assert tokens.covers(7, "s", "e", NOW + 10**6)
    assert not tokens.covers(8, "s", "e", NOW)
    assert not tokens.covers(7, "t", "e", NOW)


def test_a_device_is_revoked_for_its_customer_up_to_a_time() -> None:
    tokens = revoked()
    tokens.device(NOW, 7, "ESN", NOW)
    assert tokens.covers(7, "s", "ESN", NOW)
    assert not tokens.covers(7, "s", "ESN", NOW + 1)
    assert not tokens.covers(7, "s", "ESN-2", NOW)
    assert not tokens.covers(8, "s", "ESN", NOW)


def test_every_change_is_a_new_revision() -> None:
    tokens = revoked()
    seen = {tokens.revision}
    tokens.customer(NOW, 1, NOW)
    seen.add(tokens.revision)
    tokens.customer(NOW, 1, NOW, "s")
    seen.add(tokens.revision)
    tokens.session(NOW, 1, "s")
    seen.add(tokens.revision)
    tokens.device(NOW, 1, "e", NOW)
    seen.add(tokens.revision)
    assert len(seen) == 5


@given(
    st.lists(
        st.tuples(st.sampled_from("CXSD"), st.integers(1, 3), st.sampled_from("ab"), st.integers(NOW - 5, NOW + 5)),
        max_size=12,
    ),
    st.integers(1, 3),
    st.sampled_from("ab"),
    st.integers(NOW - 6, NOW + 6),
)
def test_it_agrees_with_the_list_of_all_there_was(
    entries: list[tuple[str, int, str, int]], customer: int, name: str, vouched_at: int
) -> None:
    tokens, expected = revoked(), False
    for kind, whose, what, through in entries:
        if kind == "C":
            tokens.customer(NOW, whose, through)
            expected |= customer == whose and vouched_at <= through
        elif kind == "X":
            tokens.customer(NOW, whose, through, what)
            expected |= customer == whose and vouched_at <= through and name != what
        elif kind == "S":
            tokens.session(NOW, whose, what)
        else:
            tokens.device(NOW, whose, what, through)
            expected |= customer == whose and vouched_at <= through and name == what
    sessions = {what: whose for kind, whose, what, _ in entries if kind == "S"}
    expected |= sessions.get(name) == customer
    assert tokens.covers(customer, name, name, vouched_at) is expected


def test_entries_are_there_for_as_long_as_a_token_may_live_and_not_for_ever() -> None:
    tokens = revoked()
    tokens.customer(NOW, 7, NOW)
    tokens.customer(NOW + KEEP_S, 8, NOW)
    assert tokens.covers(7, "s", "e", NOW)
    tokens.customer(NOW + 2 * KEEP_S, 9, NOW)
    assert not tokens.covers(7, "s", "e", NOW)
    assert tokens.covers(8, "s", "e", NOW)
    assert tokens.forgotten_early == 0


def test_d9_a_flood_forgets_the_oldest_and_says_so() -> None:
    tokens = revoked(max_entries=100)
    for customer in range(1000):
        tokens.customer(NOW, customer, NOW)
    assert len(tokens) <= 100
    assert tokens.covers(999, "s", "e", NOW)
    assert tokens.covers(950, "s", "e", NOW)
    assert not tokens.covers(1, "s", "e", NOW)
    assert tokens.forgotten_early == 900


@pytest.mark.parametrize(("kind", "most_bytes"), [("customer", 130), ("session", 210), ("device", 280)])
def test_an_entry_takes_no_more_than_the_docs_say(kind: str, most_bytes: int) -> None:
    number = 50_000
    tokens = revoked(max_entries=4 * number)
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for each in range(number):
        customer = 10**12 + each
        if kind == "customer":
            tokens.customer(NOW, customer, NOW + 100_000 + each)
        elif kind == "session":
            tokens.session(NOW, customer, f"{each:032x}")
        else:
            tokens.device(NOW, customer, f"NFANDROID1-PXA-{each:012}", NOW + 100_000 + each)
    used = (tracemalloc.get_traced_memory()[0] - before) / number
    tracemalloc.stop()
    assert used < most_bytes, f"{used:.0f} bytes for each"
