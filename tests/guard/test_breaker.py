"""The circuit breaker: docs/resilience.md, "Circuit breakers". No test here waits: time is an argument."""

import asyncio
import contextlib
import random
import time
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    invariant,
    multiple,
    precondition,
    rule,
    run_state_machine_as_test,
)

from resilience.breaker import LONG, Breaker, BreakerSettings, State
from tests.guard.clock import Clock

SETTINGS = BreakerSettings(
    window_s=10.0,
    min_calls=10,
    failure_rate=0.5,
    slow_call_s=1.0,
    slow_call_rate=0.8,
    half_open_permits=1,
    half_open_max_s=3.0,
    open_s=0.5,
    max_open_s=4.0,
)


class Watched:
    """A breaker, the clock it reads, and every change it told of."""

    def __init__(self, settings: BreakerSettings = SETTINGS, seed: int = 1) -> None:
        self.clock = Clock()
        self.changes: list[tuple[State, State]] = []
        self.breaker = Breaker(settings, self.clock, random.Random(seed).random, self._changed)  # noqa: S311 - a test's

    def state(self) -> State:
        """Return the breaker's state as of now."""
        return self.breaker.state

    def _changed(self, old: State, new: State) -> None:
        self.changes.append((old, new))

    def call(self, *, works: bool, seconds: float = 0.01) -> bool:
        """Make one call if it may run; return whether it ran."""
        permit = self.breaker.acquire()
        if permit and works:
            self.breaker.succeeded(permit, seconds)
        elif permit:
            self.breaker.failed(permit)
        return permit != 0

    def trip(self) -> None:
        """Fail until the breaker opens."""
        while self.breaker.state is State.CLOSED:
            assert self.call(works=False)

    def half_open(self) -> int:
        """Open it, let the open time pass, and return the permit of the first probe."""
        self.trip()
        self.clock.pass_(self.breaker.retry_after_s)
        permit = self.breaker.acquire()
        assert permit
        assert self.breaker.state is State.HALF_OPEN
        return permit


# When it opens.


def test_it_opens_when_half_of_enough_calls_have_failed() -> None:
    it = Watched()
    for turn in range(9):
        it.call(works=turn % 2 == 1)
    assert it.state() is State.CLOSED  # five of nine, but nine are too few
    it.call(works=False)
    assert it.state() is State.OPEN
    assert it.changes == [(State.CLOSED, State.OPEN)]


def test_failures_below_the_rate_never_open_it() -> None:
    it = Watched()
    for turn in range(1000):
        it.call(works=turn % 5 != 4)
        it.clock.pass_(0.01)
    assert it.changes == []


def test_it_opens_when_most_calls_are_slow_though_none_fails() -> None:
    it = Watched()
    for turn in range(100):
        it.call(works=True, seconds=1.5 if turn % 10 else 0.01)
        if it.state() is State.OPEN:
            break
    assert it.changes == [(State.CLOSED, State.OPEN)]


def test_failures_that_have_left_the_window_count_no_more() -> None:
    it = Watched()
    for _ in range(9):
        it.call(works=False)
    it.clock.pass_(11)
    for _ in range(9):
        it.call(works=False)
    assert it.state() is State.CLOSED
    it.call(works=False)
    assert it.state() is State.OPEN


def test_the_first_failures_of_a_window_count_for_as_long_as_any() -> None:
    it = Watched()
    for _ in range(5):
        it.call(works=False)
    it.clock.pass_(SETTINGS.window_s / 2)
    for _ in range(5):
        it.call(works=False)
    assert it.state() is State.OPEN


def test_a_success_that_broke_off_later_is_a_failure_and_no_second_call() -> None:
    it = Watched()
    for _ in range(10):
        permit = it.breaker.acquire()
        it.breaker.succeeded(permit, 0.01)
        it.breaker.broke_off(permit, 0.0, stream=False)
    assert it.state() is State.OPEN
    other = Watched()
    for turn in range(40):
        permit = other.breaker.acquire()
        other.breaker.succeeded(permit, 0.01)
        if turn % 4 == 0:
            other.breaker.broke_off(permit, 0.0, stream=False)
    assert other.state() is State.CLOSED


@pytest.mark.parametrize("stream", [False, True])
def test_what_breaks_off_after_it_has_left_the_window_is_one_more_call_or_nothing_of_a_stream(stream: bool) -> None:
    it = Watched()
    old = [it.breaker.acquire() for _ in range(40)]
    for permit in old:
        it.breaker.succeeded(permit, 0.01)
    it.clock.pass_(11)
    for turn in range(40):
        it.call(works=turn % 3 > 0)
    for permit in old[:6]:
        it.breaker.broke_off(permit, 11.0, stream=stream)  # 20 of 46 calls; of 40 it would be a half
    assert it.state() is State.CLOSED
    for permit in old[6:]:
        it.breaker.broke_off(permit, 11.0, stream=stream)
    assert it.state() is (State.CLOSED if stream else State.OPEN)


def test_what_gives_no_verdict_counts_for_nothing() -> None:
    it = Watched()
    for _ in range(100):
        it.breaker.released(it.breaker.acquire())
    for _ in range(9):
        it.call(works=False)
    assert it.changes == []


# Open and half-open.


def test_while_open_nothing_runs_and_the_wait_is_told() -> None:
    it = Watched()
    it.trip()
    wait = it.breaker.retry_after_s
    assert 0.25 <= wait <= 0.5
    it.clock.pass_(wait * 0.9)
    assert not it.call(works=True)
    assert it.breaker.retry_after_s == pytest.approx(wait * 0.1)
    it.clock.pass_(wait * 0.11)
    assert it.call(works=True)
    assert it.changes[1:] == [(State.OPEN, State.HALF_OPEN), (State.HALF_OPEN, State.CLOSED)]
    assert it.breaker.retry_after_s == 0


def test_of_fifty_that_arrive_as_it_half_opens_one_runs() -> None:
    it = Watched()
    it.trip()
    it.clock.pass_(0.5)
    assert [bool(it.breaker.acquire()) for _ in range(50)] == [True] + [False] * 49


def test_a_slow_probe_opens_it_again() -> None:
    it = Watched()
    it.breaker.succeeded(it.half_open(), 1.5)
    assert it.state() is State.OPEN


def test_open_times_double_to_the_cap_with_jitter_and_begin_anew_after_a_good_while() -> None:
    it = Watched()
    it.trip()
    waits = []
    for _ in range(6):
        waits.append(it.breaker.retry_after_s)
        it.clock.pass_(waits[-1])
        assert it.call(works=False)
    for wait, span in zip(waits, (0.5, 1, 2, 4, 4, 4), strict=True):
        assert span / 2 <= wait <= span
    assert len(set(waits)) == 6
    it.clock.pass_(it.breaker.retry_after_s)
    assert it.call(works=True)
    it.clock.pass_(5)
    it.trip()
    assert it.breaker.retry_after_s >= 2  # flapping: closed for less than the window
    it.clock.pass_(it.breaker.retry_after_s)
    assert it.call(works=True)
    it.clock.pass_(11)
    it.trip()
    assert it.breaker.retry_after_s <= 0.5


def test_a_probe_without_an_end_counts_as_failed_after_the_longest_wait() -> None:
    it = Watched()
    lost = it.half_open()
    it.clock.pass_(2.9)
    assert not it.breaker.acquire()
    it.clock.pass_(0.2)
    assert not it.breaker.acquire()
    assert it.state() is State.OPEN
    it.breaker.succeeded(lost, 0.01)
    assert it.state() is State.OPEN


def test_a_probe_that_is_given_up_frees_its_place_without_a_verdict() -> None:
    it = Watched()
    it.breaker.released(it.half_open())
    assert it.state() is State.HALF_OPEN
    it.clock.pass_(100)
    assert it.call(works=True)
    assert it.state() is State.CLOSED


def test_as_many_successes_as_permits_close_it() -> None:
    it = Watched(replace(SETTINGS, half_open_permits=3))
    first = it.half_open()
    permits = [first, it.breaker.acquire(), it.breaker.acquire(), it.breaker.acquire()]
    assert permits == [first, first, first, 0]
    it.breaker.succeeded(first, 0.01)
    it.breaker.succeeded(first, 0.01)
    assert it.state() is State.HALF_OPEN
    it.breaker.succeeded(first, 0.01)
    assert it.state() is State.CLOSED


# Long calls.


def test_long_calls_are_never_slow() -> None:
    it = Watched()
    for _ in range(1000):
        it.breaker.succeeded(it.breaker.acquire_long(), 3600.0)
    assert it.changes == []


def test_long_calls_that_fail_or_break_off_open_it() -> None:
    it, other = Watched(), Watched()
    for _ in range(10):
        it.breaker.failed(it.breaker.acquire_long())
        permit = other.breaker.acquire_long()
        other.breaker.succeeded(permit, 20.0)
        other.breaker.broke_off(permit, 0.0, stream=False)
    assert it.state() is other.state() is State.OPEN


def test_a_long_probe_has_all_the_time_and_keeps_no_other_out() -> None:
    it = Watched()
    it.trip()
    assert not it.breaker.acquire_long()
    it.clock.pass_(it.breaker.retry_after_s)
    long = it.breaker.acquire_long()
    assert long
    assert not it.breaker.acquire_long()  # as many as others, and no more
    it.clock.pass_(100 * SETTINGS.half_open_max_s)
    assert not it.breaker.acquire_long()
    assert it.state() is State.HALF_OPEN
    probe = it.breaker.acquire()
    assert probe
    it.breaker.succeeded(long, 3600.0)
    assert it.state() is State.CLOSED
    it.breaker.succeeded(probe, 0.01)  # too late
    assert len(it.changes) == 3


@pytest.mark.parametrize("ends", ["failed", "released", "expired"])
def test_a_long_probe_ends_like_any_other(ends: str) -> None:
    it = Watched()
    it.trip()
    it.clock.pass_(it.breaker.retry_after_s)
    long = it.breaker.acquire_long()
    if ends == "failed":
        it.breaker.failed(long)
        assert it.state() is State.OPEN
    elif ends == "released":
        it.breaker.released(long)
        assert it.breaker.acquire_long() == long
    else:
        assert it.breaker.acquire()
        it.clock.pass_(SETTINGS.half_open_max_s)
        assert not it.breaker.acquire_long()  # the other's time is up
        assert it.state() is State.OPEN


# Time and generations.


def test_steps_of_the_wall_clock_make_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    it = Watched()
    it.trip()
    for step in (-1e6, 1e6, 0.0):
        monkeypatch.setattr(time, "time", lambda step=step: 1e9 + step)
        assert not it.call(works=True)
    it.clock.pass_(it.breaker.retry_after_s)
    assert it.call(works=True)
    assert it.state() is State.CLOSED


def test_late_results_change_nothing() -> None:
    it = Watched()
    old = [it.breaker.acquire() for _ in range(40)]
    it.half_open()
    before = len(it.changes)
    for index, permit in enumerate(old):
        if index % 3:
            it.breaker.failed(permit)
        else:
            it.breaker.succeeded(permit, 0.01)
        it.breaker.released(permit)
        it.breaker.broke_off(permit, 0.01, stream=False)
    assert len(it.changes) == before
    assert not it.breaker.acquire()  # the one probe is still out


@settings(deadline=None)
@given(seed=st.integers(0, 1000), gap_s=st.floats(0.01, 2.0), permits=st.integers(1, 3))
def test_a_dead_backend_sees_no_more_than_the_probes_of_each_open_period(seed: int, gap_s: float, permits: int) -> None:
    it = Watched(replace(SETTINGS, half_open_permits=permits), seed)
    it.trip()
    ends, calls = it.clock.now, 0
    while it.clock.now < ends + 60:
        it.clock.pass_(gap_s)
        openings = len([change for change in it.changes if change[1] is State.OPEN])
        calls += it.call(works=False)
        assert calls <= openings
    assert calls >= 60 / (SETTINGS.max_open_s + gap_s) - 1  # and it is asked again and again


@pytest.mark.parametrize("permits", [1, 2, 5])
def test_the_property_machine(permits: int) -> None:
    """Run `Machine` below for several numbers of permits."""
    run_state_machine_as_test(type("Sized", (Machine,), {"permits": permits}))


class Machine(RuleBasedStateMachine):
    """Callers that come, end in every way, late and never, while time goes on."""

    permits = 1
    out = Bundle("out")

    def __init__(self) -> None:
        super().__init__()
        self.settings = replace(SETTINGS, half_open_permits=self.permits, min_calls=4)
        self.it = Watched(self.settings)
        self.probing: dict[int, int] = {}  # permit → probes running

    @rule(target=out, long=st.booleans())
    def call_begins(self, long: bool) -> object:
        breaker = self.it.breaker
        permit = breaker.acquire_long() if long else breaker.acquire()
        if not permit:
            assert breaker.state is not State.CLOSED
            return multiple()
        if breaker.state is State.HALF_OPEN:
            self.probing[permit] = self.probing.get(permit, 0) + 1
            assert self.probing[permit] <= self.permits
        return (permit, breaker.state)

    @rule(call=out, ends=st.sampled_from(["worked", "slow", "failed", "released"]))
    def call_ends(self, call: tuple[int, State], ends: str) -> None:
        permit, begun_in = call
        breaker = self.it.breaker
        changes, state = len(self.it.changes), breaker.state
        current = permit & ~LONG == breaker._generation
        if begun_in is State.HALF_OPEN:
            if not self.probing.get(permit):
                return  # each probe ends once
            self.probing[permit] -= 1
        if ends == "released":
            breaker.released(permit)
        elif ends == "failed":
            breaker.failed(permit)
        else:
            breaker.succeeded(permit, 2.0 if ends == "slow" else 0.01)
        if not current or ends == "released":
            assert (len(self.it.changes), breaker.state) == (changes, state)
        elif begun_in is State.HALF_OPEN and ends != "worked":
            assert (breaker.state is State.OPEN) == (ends == "failed" or permit < LONG)

    @rule(seconds=st.floats(0.0, 6.0))
    def time_passes(self, seconds: float) -> None:
        self.it.clock.pass_(seconds)

    @precondition(lambda self: self.it.state() is State.OPEN)
    @rule()
    def a_probe_runs_within_the_cap(self) -> None:
        assert self.it.breaker.retry_after_s <= self.settings.max_open_s
        self.it.clock.pass_(self.settings.max_open_s)
        permit = self.it.breaker.acquire()
        assert permit
        self.it.breaker.released(permit)

    @precondition(lambda self: self.it.state() is State.HALF_OPEN)
    @rule()
    def every_permit_returns(self) -> None:
        """Whatever became of the probes that are out, there is room for another one in bounded time."""
        for _ in range(2):
            permit = self.it.breaker.acquire()
            if permit:
                self.it.breaker.released(permit)
                return
            self.it.clock.pass_(self.settings.half_open_max_s + self.settings.max_open_s)
            permit = self.it.breaker.acquire() or self._after_opening()
            if permit:
                self.it.breaker.released(permit)
                return
        raise AssertionError("no probe could run")

    def _after_opening(self) -> int:
        self.it.clock.pass_(self.settings.max_open_s)
        return self.it.breaker.acquire()

    @invariant()
    def generations_only_grow_with_states(self) -> None:
        assert self.it.breaker._generation == 1 + len(self.it.changes)


# As a context manager.


def test_the_end_of_a_block_is_its_verdict() -> None:
    it = Watched()
    for _ in range(10):
        permit = it.breaker.permit()
        assert permit is not None
        with pytest.raises(OSError, match="gone"), permit:
            raise OSError("gone")
    assert it.breaker.permit() is None
    it.clock.pass_(0.5)
    permit = it.breaker.permit()
    assert permit is not None
    with permit:
        pass
    assert it.state() is State.CLOSED


async def test_a_cancelled_block_gives_its_permit_back_without_a_verdict() -> None:
    it = Watched()
    it.trip()
    it.clock.pass_(0.5)

    async def call() -> None:
        permit = it.breaker.permit()
        assert permit is not None
        with permit:
            await asyncio.Event().wait()

    task = asyncio.create_task(call())
    await asyncio.sleep(0)
    assert it.breaker.permit() is None
    task.cancel()
    await asyncio.wait({task})
    assert it.state() is State.HALF_OPEN
    assert it.breaker.permit() is not None


def test_a_call_that_worked_is_no_failure_whatever_is_raised_after_it() -> None:
    it = Watched()
    for _ in range(20):
        permit = it.breaker.permit()
        assert permit is not None
        with contextlib.suppress(ValueError), permit:
            permit.worked()
            raise ValueError("refused")
    assert it.state() is State.CLOSED


def test_the_repr_tells_state_and_generation() -> None:
    it = Watched()
    it.half_open()
    assert repr(it.breaker) == "Breaker(half_open, generation 3, 1 probes out)"
