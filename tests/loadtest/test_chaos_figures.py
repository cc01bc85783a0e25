"""Joining logs, percentiles, recovery, and what an ideal proxy would lose."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.chaos import figures
from loadtest.chaos.figures import Window
from loadtest.chaos.outcomes import Ending, Outcome, Sighting, read_outcomes, read_sightings


def _outcome(
    number: int, due: float = 0.0, latency_ms: float = 5.0, kind: Ending = Ending.OK, method: str = "GET"
) -> Outcome:
    return Outcome(f"s-{number}", "s", method, due, latency_ms, kind)


def _sighting(number: int, origin: int = 0, method: str = "POST") -> Sighting:
    return Sighting(f"s-{number}", method, origin, 0.0, answered=True)


def test_a_percentile_is_a_value_that_was_measured() -> None:
    assert figures.percentile([3.0, 1.0, 2.0, 4.0], 0.5) == 2.0
    assert figures.percentile(map(float, range(1, 101)), 0.99) == 99.0
    assert figures.percentile([], 0.99) == 0.0


@given(st.lists(st.floats(0, 1e6), min_size=1), st.floats(0.01, 1.0))
def test_at_least_its_share_does_not_exceed_a_percentile(values: list[float], share: float) -> None:
    found = figures.percentile(values, share)
    assert found in values
    assert sum(value <= found for value in values) >= share * len(values) - 1e-6


def test_a_request_that_two_origins_saw_is_a_duplicate_only_if_it_must_not_be_repeated() -> None:
    twice = [_sighting(1, 0), _sighting(1, 1), _sighting(2, 0, "GET"), _sighting(2, 1, "GET"), _sighting(3)]
    assert figures.duplicates(twice) == 1


def test_amplification_counts_only_what_reached_an_origin() -> None:
    asked = [_outcome(1), _outcome(2), _outcome(3, kind=Ending.REFUSED)]
    assert figures.amplification(asked, [_sighting(1), _sighting(1), _sighting(2), _sighting(99)]) == 1.5


def test_what_dies_with_an_origin_is_what_it_alone_had_and_nobody_may_repeat() -> None:
    death = Window(10.0, 10.1)
    lost = _outcome(1, 9.999, 50, Ending.REFUSED, "POST")
    repeatable = _outcome(2, 9.999, 50, Ending.REFUSED)
    served_elsewhere = _outcome(3, 9.999, 50, Ending.REFUSED, "POST")
    long_over = _outcome(4, 9.0, 50, Ending.REFUSED, "POST")
    outcomes = [lost, repeatable, served_elsewhere, long_over]
    assert figures.lost_with_origin(outcomes, [_sighting(1), _sighting(3, origin=1)], death, 0) == 1


def test_recovery_ends_with_the_last_bad_half_second() -> None:
    good = [_outcome(number, due=number / 10) for number in range(100)]
    assert figures.recovery_s(good, 0.0, 10.0, 5.0) == 0.0
    failed = [*good, _outcome(200, due=2.1, latency_ms=10, kind=Ending.REFUSED)]
    assert figures.recovery_s(failed, 0.0, 10.0, 5.0) == 2.11
    late = [*good, *(_outcome(300 + number, due=3.0 + number / 100, latency_ms=500) for number in range(10))]
    assert figures.recovery_s(late, 0.0, 10.0, 5.0) == 3.5


def test_who_is_bad_at_the_end_has_not_recovered() -> None:
    outcomes = [_outcome(number, due=number / 10, kind=Ending.TIMED_OUT) for number in range(100)]
    assert figures.recovery_s(outcomes, 0.0, 10.0, 5.0) is None


def test_failures_are_told_apart_by_what_the_edge_said() -> None:
    outcomes = [_outcome(1), _outcome(2, kind=Ending.CUT), Outcome("s-3", "s", "GET", 0, 1, Ending.REFUSED, 503, "no")]
    assert figures.kinds(outcomes) == {"cut": 1, "refused 503 no": 1}
    assert figures.wrong([_outcome(1, kind=kind) for kind in Ending]) == 3


def test_an_outcome_survives_its_log() -> None:
    outcome = Outcome("s-1", "s", "POST", 12.5, 3.25, Ending.REFUSED, 503, "overloaded", True, reused=True, worker="7")
    assert read_outcomes([outcome.line()]) == [outcome]


def test_a_line_that_a_kill_has_cut_short_is_left_out(tmp_path: Path) -> None:
    first, second = tmp_path / "0", tmp_path / "1"
    first.write_text("b\ts-1\tGET\t1.5\ne\ts-1\tGET\t1.6\nb\ts-2\tPOST\t1")
    second.write_text("b\ts-3\tPOST\t2.0\n")
    assert read_sightings([first, second]) == [
        Sighting("s-1", "GET", 0, 1.5, answered=True),
        Sighting("s-3", "POST", 1, 2.0, answered=False),
    ]


@pytest.mark.parametrize(("due", "inside"), [(0.9, False), (1.0, True), (1.9, True), (2.0, False)])
def test_a_window_holds_what_was_due_in_it(due: float, *, inside: bool) -> None:
    assert bool(Window(1.0, 2.0).of([_outcome(1, due)])) is inside
    assert Window(1.0, 2.0).of([_outcome(1, due)], "other") == []
