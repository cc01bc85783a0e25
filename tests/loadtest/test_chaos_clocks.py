"""Clocks of the edge's own: how they are set, and which answers follow from them."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from loadtest.chaos.figures import Window
from loadtest.chaos.outcomes import Ending, Outcome
from loadtest.chaos.scenarios.clocks import Reign, in_force, not_yet_valid
from loadtest.chaos.stepped_clock import environment, set_clock

REIGNS = [Reign(60, Window(10.0, 20.0)), Reign(-3600, Window(20.0, 30.0)), Reign(0, Window(30.0, 40.0))]
ASKED = "import sys, time\nfor _ in sys.stdin: print(time.time(), time.monotonic(), flush=True)"


def _shown(due: float) -> Outcome:
    return Outcome("a", "calm", "GET", due, 1.0, Ending.REFUSED, 401, device=0, shown=1)


def test_a_clock_goes_on_as_it_was_set_until_it_is_set_again() -> None:
    assert [(one.skew_s, one.window.start, one.window.end) for one in in_force(REIGNS)] == [
        (60, 10.0, 20.0),
        (-3600, 20.0, 30.0),
        (0, 30.0, float("inf")),
    ]


@pytest.mark.parametrize(
    ("due", "age_s", "early"),
    [
        (15.0, 0, False),
        (25.0, 0, True),
        (25.0, 3530, True),
        (25.0, 3545, False),
        (29.9995, 0, True),
        (35.0, 0, False),
    ],
)
def test_cookies_are_not_valid_yet_by_a_clock_that_is_behind_by_more_than_their_age(
    due: float, age_s: int, *, early: bool
) -> None:
    issued = {(0, 1): int(1000 + due - age_s)}
    assert not_yet_valid(_shown(due), issued, in_force(REIGNS), 1000.0) is early
    assert not not_yet_valid(_shown(due), {}, in_force(REIGNS), 1000.0)


def test_a_clock_is_set_while_its_process_runs_and_no_timer_is(tmp_path: Path) -> None:
    file = tmp_path / "clock"
    set_clock(file, 0)
    with subprocess.Popen(
        [sys.executable, "-c", ASKED],
        env={**os.environ, **environment(file, "")},
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stdin is not None
        assert process.stdout is not None
        for skew_s in (0, 86_400, -3600):
            set_clock(file, skew_s)
            before = time.time() + skew_s, time.monotonic()
            process.stdin.write("\n")
            process.stdin.flush()
            said = process.stdout.readline().split()
            for was, told, is_now in zip(before, said, (time.time() + skew_s, time.monotonic()), strict=True):
                assert was <= float(told) <= is_now
        process.stdin.close()
