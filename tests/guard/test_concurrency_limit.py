"""The adaptive limit: falls with latency, grows while used, stays between its bounds."""

from hypothesis import given, settings
from hypothesis import strategies as st

from edge.contract.route import Priority
from edge.guard.concurrency_limit import SHARES, ConcurrencyLimit, ConcurrencySettings
from tests.guard.clock import Clock

SETTINGS = ConcurrencySettings(initial=100, minimum=10, maximum=400, smoothing=0.2, tolerance=1.5)


def full_round(limit: ConcurrencyLimit, clock: Clock, seconds: float, *, share: float = 1.0) -> None:
    """Fill `share` of the limit with calls that all take so long, and let a window end with them."""
    calls = int(limit.limit * share)
    assert all(limit.acquire() for _ in range(calls))
    clock.pass_(max(seconds, 0.11))
    for _ in range(calls):
        limit.release(seconds, dropped=False)


def test_one_call_more_than_the_limit_is_turned_away_and_every_place_comes_back() -> None:
    limit = ConcurrencyLimit(SETTINGS, Clock())
    assert [limit.acquire() for _ in range(101)] == [True] * 100 + [False]
    limit.release(0.01, dropped=False)
    limit.forget()
    assert limit.in_flight == 98
    assert limit.acquire()


def test_l1_the_less_important_is_turned_away_before_the_more_important() -> None:
    limit = ConcurrencyLimit(SETTINGS, Clock())
    for priority, places in zip(reversed(Priority), (50, 70, 90, 100), strict=True):
        while limit.has_room(priority):
            assert limit.acquire(priority)
        assert not limit.acquire(priority)
        assert limit.in_flight == places


@given(st.integers(1, 1000))
def test_every_priority_has_a_place_and_all_of_them_are_the_critical_ones(places: int) -> None:
    for priority in Priority:
        limit = ConcurrencyLimit(ConcurrencySettings(places, places, places, 0.2, 1.5), Clock())
        taken = 0
        while limit.acquire(priority):
            taken += 1
        assert 1 <= taken <= places
        assert taken >= SHARES[priority] * places - 1e-9
        assert priority is not Priority.CRITICAL or taken == places


@given(st.sampled_from(Priority))
def test_a_limit_that_one_priority_alone_uses_still_grows(priority: Priority) -> None:
    clock = Clock()
    limit = ConcurrencyLimit(SETTINGS, clock)
    for _ in range(20):
        taken = 0
        while limit.acquire(priority):
            taken += 1
        clock.pass_(0.11)
        for _ in range(taken):
            limit.release(0.05, dropped=False)
    assert limit.limit > 110


def test_a_limit_that_is_used_grows_while_latencies_stay_and_stops_at_its_maximum() -> None:
    clock = Clock()
    limit = ConcurrencyLimit(SETTINGS, clock)
    for _ in range(20):
        full_round(limit, clock, 0.05)
    assert 110 < limit.limit < 400
    for _ in range(300):
        full_round(limit, clock, 0.05)
    assert limit.limit == 400


def test_a_limit_that_nobody_reaches_stays_as_it_is() -> None:
    clock = Clock()
    limit = ConcurrencyLimit(SETTINGS, clock)
    for seconds in (0.05, 0.05, 5.0, 0.001) * 50:
        full_round(limit, clock, seconds, share=0.4)
    assert limit.limit == 100


def test_growing_latency_lowers_it_and_the_old_latency_raises_it_again() -> None:
    clock = Clock()
    limit = ConcurrencyLimit(SETTINGS, clock)
    for _ in range(5):
        full_round(limit, clock, 0.05)
    before = limit.limit
    for _ in range(30):
        full_round(limit, clock, 1.0)
    assert limit.limit < before / 2
    low = limit.limit
    for _ in range(200):
        full_round(limit, clock, 0.05)
    assert limit.limit > 2 * low


def test_l1_a_queue_brings_it_down_within_a_second_and_it_grows_again_more_slowly() -> None:
    clock = Clock()
    limit = ConcurrencyLimit(SETTINGS, clock)
    for _ in range(5):
        full_round(limit, clock, 0.01)
    before = limit.limit
    for _ in range(9):  # a tenth of a second each
        full_round(limit, clock, 0.1)
    low = limit.limit
    assert low < before / 4
    for _ in range(9):
        full_round(limit, clock, 0.01)
    assert limit.limit < before / 2


def test_a_few_slow_calls_among_many_do_not_lower_it() -> None:
    clock = Clock()
    limit = ConcurrencyLimit(SETTINGS, clock)
    for _ in range(50):
        assert all(limit.acquire() for _ in range(100))
        clock.pass_(0.11)
        for turn in range(100):
            limit.release(2.0 if turn % 5 == 0 else 0.01, dropped=False)
    assert limit.limit >= 100


def test_calls_that_came_to_nothing_lower_it() -> None:
    clock = Clock()
    limit = ConcurrencyLimit(SETTINGS, clock)
    for _ in range(40):
        assert all(limit.acquire() for _ in range(limit.limit))
        clock.pass_(0.11)
        while limit.in_flight:
            limit.release(15.0, dropped=True)
    assert limit.limit < 60


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.floats(0, 20), st.booleans(), st.integers(1, 400), st.floats(0, 1)), min_size=1, max_size=60)
)
def test_it_stays_between_its_bounds_and_loses_no_place(rounds: list[tuple[float, bool, int, float]]) -> None:
    clock = Clock()
    limit = ConcurrencyLimit(SETTINGS, clock)
    for seconds, dropped, calls, passes in rounds:
        taken = sum(limit.acquire() for _ in range(calls))
        assert taken == min(calls, limit.limit)
        clock.pass_(passes)
        for _ in range(taken):
            limit.release(seconds, dropped=dropped)
        assert limit.in_flight == 0
        assert 10 <= limit.limit <= 400
    assert repr(limit) == f"ConcurrencyLimit(0 of {limit.limit})"
