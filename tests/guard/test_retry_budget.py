"""The retry budget: a share of the requests, with a floor; a quiet hour does not pay for a storm."""

from hypothesis import given, settings
from hypothesis import strategies as st

from edge.guard.retry_budget import RetryBudget, RetryBudgetSettings
from tests.guard.clock import Clock

SETTINGS = RetryBudgetSettings(share=0.1, floor_per_s=2.0)


def spend(budget: RetryBudget) -> int:
    """Take all there is; return how much it was."""
    taken = 0
    while budget.allows():
        taken += 1
    return taken


def test_without_traffic_there_is_the_floor_and_no_more() -> None:
    clock = Clock()
    budget = RetryBudget(SETTINGS, clock)
    assert spend(budget) == 20
    clock.pass_(1)
    assert 1 <= spend(budget) <= 2
    clock.pass_(3600)
    assert 19 <= spend(budget) <= 20


def test_a_tenth_of_a_steady_load_may_be_retried_when_all_of_it_fails() -> None:
    clock = Clock()
    budget = RetryBudget(SETTINGS, clock)
    spend(budget)
    retried = 0
    for _ in range(20_000):
        clock.pass_(0.001)
        budget.request()
        retried += budget.allows()
    assert 1900 <= retried <= 2000 + 2 * 20


def test_a_busy_hour_pays_for_ten_seconds_only() -> None:
    clock = Clock()
    budget = RetryBudget(SETTINGS, clock)
    for _ in range(36_000):
        budget.request()
    clock.pass_(3600)  # ten a second
    assert 25 <= spend(budget) <= 30


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.floats(0, 30), st.integers(0, 300), st.integers(0, 200)), min_size=1, max_size=50),
    st.floats(0, 1),
    st.floats(0, 20),
)
def test_retries_never_exceed_share_and_floor(steps: list[tuple[float, int, int]], share: float, floor: float) -> None:
    clock = Clock()
    budget = RetryBudget(RetryBudgetSettings(share, floor), clock)
    requests = retried = 0
    begun = clock.now
    for passes, asked, failures in steps:
        clock.pass_(passes)
        for _ in range(asked):
            budget.request()
        requests += asked
        retried += sum(budget.allows() for _ in range(failures))
        assert retried <= share * requests + floor * (clock.now - begun + 10) + 1e-6


def test_the_repr_tells_what_is_left() -> None:
    assert repr(RetryBudget(SETTINGS, Clock())) == "RetryBudget(20.0 left)"
