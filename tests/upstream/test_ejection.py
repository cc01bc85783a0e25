"""The record of one address: what ejects it and for how long, without a socket or a clock."""

from hypothesis import given
from hypothesis import strategies as st

from edge.control.origins_file import Ejection
from edge.upstream.ejection import Record, may_eject

SETTINGS = Ejection()
DRAWS = st.floats(0, 1, exclude_max=True)


def record_of(*answers: bool) -> Record:
    """Return the record of an address that gave these, good ones in 10 ms."""
    record = Record()
    for good in answers:
        if good:
            record.succeeded(0.01)
        else:
            record.failed()
    return record


def test_errors_in_a_row_make_an_outlier_and_one_good_answer_starts_the_row_anew() -> None:
    assert not record_of(*[False] * 4).is_outlier(SETTINGS, 0.0)
    assert record_of(*[False] * 5).is_outlier(SETTINGS, 0.0)
    assert not record_of(*[False] * 4, True, *[False] * 4).is_outlier(SETTINGS, 0.0)


def test_the_rate_counts_only_with_enough_answers() -> None:
    assert not record_of(*[False, True] * 9).is_outlier(SETTINGS, 0.0)
    assert record_of(*[False, True] * 10).is_outlier(SETTINGS, 0.0)
    assert not record_of(*[False, True, True] * 10).is_outlier(SETTINGS, 0.0)


def test_b13_errors_that_all_addresses_have_make_no_outlier() -> None:
    assert not record_of(*[False, True] * 20).is_outlier(SETTINGS, 0.5)
    assert not record_of(*[False] * 20).is_outlier(SETTINGS, 1.0)
    assert record_of(*[False] * 20).is_outlier(SETTINGS, 0.5)


@given(answers=st.lists(st.booleans(), max_size=60), seconds=st.floats(0, 1000))
def test_counts_decay_by_half_in_every_half_life_and_the_share_recovers(answers: list[bool], seconds: float) -> None:
    record = record_of(*answers)
    errors, answered, share = record.errors, record.answers, record.share(0.01)
    record.decay(seconds, 10.0)
    assert abs(record.errors - errors * 0.5 ** (seconds / 10.0)) < 1e-9
    assert record.errors <= record.answers <= answered
    assert 1 / 11 <= share <= record.share(0.01) <= 1.0


def test_an_address_that_is_not_asked_is_forgiven() -> None:
    record = record_of(*[False] * 50)
    assert record.share(0.0) < 0.2
    record.decay(100.0, 10.0)
    assert record.share(0.0) > 0.9
    record.decay(1e12, 10.0)
    assert record.share(0.0) > 0.9


def test_b5_an_address_much_slower_than_the_others_takes_few_turns_and_a_few_long_polls_are_not() -> None:
    slow, polled = Record(), Record()
    for _ in range(20):
        slow.succeeded(2.0)
    for _ in range(200):
        polled.succeeded(0.01)
    polled.succeeded(30.0)
    assert slow.share(0.01) < 0.01
    assert polled.share(0.01) == 1.0


@given(draws=st.lists(DRAWS, min_size=1, max_size=20), base_s=st.floats(0.1, 10), max_s=st.floats(10, 100))
def test_b14_ejections_double_up_to_the_cap_less_a_fifth_at_most(
    draws: list[float], base_s: float, max_s: float
) -> None:
    settings = Ejection(base_s=base_s, max_s=max_s)
    record = Record()
    for turn, draw in enumerate(draws):
        expected = min(base_s * 2.0**turn, max_s)
        assert 0.8 * expected - 1e-9 <= record.ejected_for(settings, draw) <= expected
    assert record.excused_after(settings) <= max_s


@given(addresses=st.integers(1, 200), gone=st.integers(0, 200), share=st.floats(0.001, 1))
def test_the_last_address_and_more_than_the_share_are_never_ejected(addresses: int, gone: int, share: float) -> None:
    active = max(addresses - gone, 0)
    if may_eject(addresses, active, share):
        assert active - 1 >= 1
        assert addresses - (active - 1) <= max(1, addresses * share)


def test_one_of_two_addresses_may_go_whatever_the_share() -> None:
    assert may_eject(2, 2, 0.01)
    assert not may_eject(2, 1, 1.0)
    assert not may_eject(1, 1, 1.0)
