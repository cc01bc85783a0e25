"""An address changes its health after enough checks in a row that say otherwise, and never sooner."""

from itertools import groupby

from hypothesis import given
from hypothesis import strategies as st

from edge.upstream.health.thresholds import Thresholds


def test_an_address_is_healthy_until_enough_checks_in_a_row_fail() -> None:
    state = Thresholds(healthy_after=2, unhealthy_after=3)
    assert [state.note(good=False), state.note(good=False), state.note(good=True)] == [False, False, False]
    assert [state.note(good=False), state.note(good=False), state.note(good=False)] == [False, False, True]
    assert not state.healthy
    assert [state.note(good=True), state.note(good=False), state.note(good=True)] == [False, False, False]
    assert state.note(good=True)
    assert state.healthy


@given(st.lists(st.booleans(), max_size=60), st.integers(1, 5), st.integers(1, 5))
def test_the_health_is_that_of_the_last_run_that_was_long_enough(checks: list[bool], up: int, down: int) -> None:
    state = Thresholds(healthy_after=up, unhealthy_after=down)
    changes = [state.note(good=check) for check in checks]
    runs = [(good, len(list(run))) for good, run in groupby(checks)]
    enough = [good for good, length in runs if length >= (up if good else down)]
    assert state.healthy is (enough[-1] if enough else True)
    assert sum(changes) % 2 == (0 if state.healthy else 1)
