"""Waits between two looks stay in their bounds, whatever a name server says."""

from hypothesis import given
from hypothesis import strategies as st

from edge.upstream.discovery.refresh import SPREAD, Refresh

SHARES = st.floats(0, 1)
BOUNDS = st.tuples(st.floats(0.001, 1e6), st.floats(0.001, 1e6)).map(sorted)


@given(BOUNDS, st.floats(0, 1e12), SHARES)
def test_n1_a_ttl_of_nothing_or_of_years_stays_between_the_bounds(
    bounds: list[float], ttl_s: float, share: float
) -> None:
    low, high = bounds
    assert low <= Refresh(low, high).after_answer(ttl_s, share) <= high * (1 + SPREAD)


@given(BOUNDS, st.integers(1, 10**9), SHARES)
def test_n1_failures_are_retried_between_the_bounds(bounds: list[float], failures: int, share: float) -> None:
    low, high = bounds
    assert low <= Refresh(low, high).after_failures(failures, share) <= high * (1 + SPREAD)


@given(BOUNDS, st.integers(1, 1000))
def test_each_failure_waits_at_least_as_long_as_the_one_before(bounds: list[float], failures: int) -> None:
    refresh = Refresh(*bounds)
    assert refresh.after_failures(failures, 0) <= refresh.after_failures(failures + 1, 0)


def test_a_ttl_inside_the_bounds_is_kept_to() -> None:
    assert Refresh(5, 60).after_answer(30, 0) == 30
    assert Refresh(5, 60).after_failures(1, 0) == 5
    assert Refresh(5, 60).after_failures(3, 0) == 20
