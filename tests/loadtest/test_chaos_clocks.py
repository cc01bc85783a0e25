"""Clocks of the edge's own: which answers follow from them, and libfaketime."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from loadtest.bench.failure import BenchError
from loadtest.chaos import faketime
from loadtest.chaos.figures import Window
from loadtest.chaos.outcomes import Ending, Outcome
from loadtest.chaos.scenarios.clocks import Reign, in_force, not_yet_valid

REIGNS = [Reign(60, Window(10.0, 20.0)), Reign(-3600, Window(20.0, 30.0)), Reign(0, Window(30.0, 40.0))]
PATIENCE_S = 30.0
ASKED = "import sys, time\nfor _ in sys.stdin: print(time.time(), time.monotonic(), flush=True)"


def _shown(due: float) -> Outcome:
    return Outcome("a", "calm", "GET", due, 1.0, Ending.REFUSED, 401, device=0, shown=1)


def test_a_clock_may_go_on_as_before_until_its_step_is_seen_everywhere() -> None:
    assert [(one.skew_s, one.window.start, one.window.end) for one in in_force(REIGNS)] == [
        (60, 10.0, 20.0 + faketime.SEEN_WITHIN_S),
        (-3600, 20.0, 30.0 + faketime.SEEN_WITHIN_S),
        (0, 30.0, float("inf")),
    ]


@pytest.mark.parametrize(
    ("due", "age_s", "early"),
    [
        (15.0, 0, False),
        (25.0, 0, True),
        (25.0, 3530, True),
        (25.0, 3545, False),
        (30.5, 0, True),  # the step back may not have been seen yet
        (35.0, 0, False),
    ],
)
def test_cookies_are_not_valid_yet_by_a_clock_that_is_behind_by_more_than_their_age(
    due: float, age_s: int, *, early: bool
) -> None:
    issued = {(0, 1): int(1000 + due - age_s)}
    assert not_yet_valid(_shown(due), issued, in_force(REIGNS), 1000.0) is early
    assert not not_yet_valid(_shown(due), {}, in_force(REIGNS), 1000.0)


def test_without_the_library_it_says_what_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(faketime, "library", lambda: None)
    with pytest.raises(BenchError, match="libfaketime is not installed"):
        faketime.environment(tmp_path / "clock")


def test_the_library_is_found_where_debian_puts_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(faketime, "find_spec", lambda _: None)
    assert faketime.library(tmp_path) is None
    place = tmp_path / "lib" / "x86_64-linux-gnu" / "faketime"
    place.mkdir(parents=True)
    for name in ("libfaketime.so.1", "libfaketimeMT.so.1"):
        (place / name).touch()
    assert faketime.library(tmp_path) == place / "libfaketimeMT.so.1"


@pytest.mark.skipif(faketime.library() is None, reason="libfaketime is not installed")
def test_a_clock_is_set_while_its_process_runs_and_no_timer_is(tmp_path: Path) -> None:
    file = tmp_path / "clock"
    faketime.set_clock(file, 0)
    with subprocess.Popen(
        [sys.executable, "-c", ASKED],
        env={**os.environ, **faketime.environment(file)},
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stdin is not None
        assert process.stdout is not None
        for skew_s in (0, 86_400, -3600):
            faketime.set_clock(file, skew_s)
            give_up, ahead_s = time.monotonic() + PATIENCE_S, float("inf")
            while abs(ahead_s - skew_s) > 1.0 and time.monotonic() < give_up:
                process.stdin.write("\n")
                process.stdin.flush()
                wall, monotonic = map(float, process.stdout.readline().split())
                ahead_s = wall - time.time()
                assert abs(monotonic - time.monotonic()) < PATIENCE_S
            assert abs(ahead_s - skew_s) <= 1.0
        process.stdin.close()
