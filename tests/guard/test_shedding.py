"""Load shedding as a function: what is rejected at which load, in which order."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.contract.route import Priority
from edge.guard.shedding import BANDS, CPU_CEILING, NOTHING_SHED, Shedding, rejected_share

INTERVAL_S = 0.25
scores = st.floats(0, 1)
measurements = st.tuples(st.floats(0, 10), st.integers(0, 100_000), st.floats(0, 8))


def shedding(seed: int = 1) -> Shedding:
    made = Shedding(Random(seed).random)  # noqa: S311 - a test's
    made.limit(0.1, 1000, 1.0)
    return made


def take(made: Shedding, elapsed_s: float, lag_s: float, in_flight: int, cpu_share: float) -> None:
    made.sample_lag(elapsed_s, lag_s)
    made.sample(elapsed_s, in_flight, cpu_share)


def settled(lag_s: float = 0.0, in_flight: int = 0, cpu_share: float = 0.0) -> Shedding:
    """Return one that has seen the same load for long."""
    made = shedding()
    for _ in range(50):
        take(made, INTERVAL_S, lag_s, in_flight, cpu_share)
    return made


@given(scores, scores, st.sampled_from(Priority))
def test_l1_the_rejected_share_never_falls_as_the_load_rises(one: float, other: float, priority: Priority) -> None:
    low, high = sorted((one, other))
    assert rejected_share(low, priority) <= rejected_share(high, priority)


@given(scores)
def test_l1_the_more_important_is_never_shed_more(score: float) -> None:
    shares = [rejected_share(score, priority) for priority in Priority]
    assert shares == sorted(shares)
    assert 0 <= shares[0] <= 1 / 8 + 1e-9
    assert all(0 <= share <= 1 for share in shares)


@given(st.sampled_from(Priority), scores)
def test_l1_nothing_is_shed_below_its_threshold(priority: Priority, score: float) -> None:
    assert (rejected_share(score, priority) > 0) <= (score > BANDS[priority][0])


@pytest.mark.parametrize("priority", Priority)
def test_the_share_rises_with_the_cube_of_the_way_through_the_band(priority: Priority) -> None:
    begin, end = BANDS[priority]
    assert rejected_share((begin + end) / 2, priority) == pytest.approx(1 / 8)


@given(st.lists(measurements, max_size=30))
def test_the_score_and_its_parts_stay_within_0_and_1(samples: list[tuple[float, int, float]]) -> None:
    made = shedding()
    for sample in samples:
        take(made, INTERVAL_S, *sample)
        assert all(0 <= part <= 1 for part in made.parts)
        assert made.score == max(made.parts)


@given(st.lists(measurements, min_size=1, max_size=30))
def test_what_is_more_important_than_shed_from_is_never_rejected(samples: list[tuple[float, int, float]]) -> None:
    made = shedding()
    for sample in samples:
        take(made, INTERVAL_S, *sample)
    for priority in Priority:
        if priority < made.shed_from:
            assert not any(made.rejects(priority) for _ in range(20))


def test_an_idle_worker_sheds_nothing() -> None:
    assert settled().shed_from == NOTHING_SHED


@pytest.mark.parametrize("lag_s", [0.5, 5.0, 60.0])
def test_one_long_call_sheds_nothing_that_is_degraded_or_critical(lag_s: float) -> None:
    made = shedding()
    take(made, INTERVAL_S + lag_s, lag_s, 0, 1.0)
    assert made.shed_from > Priority.DEGRADED
    for _ in range(2):
        take(made, INTERVAL_S, 0.0, 0, 0.1)
    assert made.shed_from == NOTHING_SHED


@pytest.mark.parametrize("late_s", [0.1, 0.5, 60.0])
def test_l1_a_loop_that_is_late_at_this_moment_sheds_at_once_what_is_not_degraded_or_critical(late_s: float) -> None:
    made = shedding()
    for priority in (Priority.BEST_EFFORT, Priority.BULK):
        assert all(made.rejects(priority, late_s) for _ in range(100))
        assert not any(made.rejects(priority) for _ in range(100))
    for priority in (Priority.CRITICAL, Priority.DEGRADED):
        assert not any(made.rejects(priority, late_s) for _ in range(100))


def test_l1_where_the_processor_is_busy_all_the_time_a_little_lateness_is_enough() -> None:
    idle, busy = shedding(), settled(cpu_share=0.9)
    assert not any(idle.rejects(Priority.BEST_EFFORT, 0.02) for _ in range(100))
    assert not any(busy.rejects(Priority.BEST_EFFORT) for _ in range(100))
    assert all(busy.rejects(Priority.BEST_EFFORT, 0.02) for _ in range(100))
    assert not any(busy.rejects(Priority.DEGRADED, 10.0) for _ in range(100))


@given(st.floats(0, 10), st.sampled_from(Priority))
def test_l1_lateness_never_admits_what_the_score_sheds(late_s: float, priority: Priority) -> None:
    made = settled(1.0, 5000)
    if priority is not Priority.CRITICAL:
        assert made.rejects(priority, late_s)


def test_l1_a_loop_that_is_late_each_time_sheds_after_two_sweeps() -> None:
    made = shedding()
    for _ in range(2):
        take(made, INTERVAL_S + 0.5, 0.5, 0, 1.0)
    assert made.shed_from <= Priority.DEGRADED


def test_a_busy_processor_alone_sheds_no_degraded_request() -> None:
    made = settled(cpu_share=1.0)
    assert made.score == pytest.approx(CPU_CEILING)
    assert made.rejects(Priority.BULK)
    assert not any(made.rejects(Priority.DEGRADED) for _ in range(100))


@pytest.mark.parametrize(("lag_s", "in_flight"), [(1.0, 0), (0.0, 5000)])
def test_full_load_sheds_all_but_the_critical(lag_s: float, in_flight: int) -> None:
    made = settled(lag_s, in_flight)
    assert all(made.rejects(priority) for priority in Priority if priority is not Priority.CRITICAL for _ in range(50))
    assert sum(made.rejects(Priority.CRITICAL) for _ in range(1000)) == pytest.approx(125, abs=50)


def test_what_is_rejected_is_the_share_that_the_score_asks_for() -> None:
    made = settled(lag_s=0.065)
    share = rejected_share(made.score, Priority.BULK)
    assert sum(made.rejects(Priority.BULK) for _ in range(10_000)) / 10_000 == pytest.approx(share, abs=0.03)


def test_shedding_ends_soon_after_the_load() -> None:
    made = settled(1.0, 5000, 1.0)
    for _ in range(8):  # two seconds
        take(made, INTERVAL_S, 0.0, 0, 0.1)
    assert made.shed_from == NOTHING_SHED
