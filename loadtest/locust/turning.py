"""Turning dials while the load runs, with the command that an operator has, and telling the devices of it."""

import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from loadtest.locust.dialled import FEATURE, Rollout

AHEAD_S: Final = 1.0  # before a dial is turned, so that devices in every process have heard that it will be
_TIMEOUT_S: Final = 30.0


@dataclass(slots=True, frozen=True)
class Turn:
    """One `edge dial set`: when, in seconds since the run began; from where to where in percent; what it said."""

    at_s: float
    device_type: str
    before: int
    percent: int
    said: str
    done: bool


class Turning:
    """Turns the dials of one run. `var` is the edge's --var; `tell` gets (device type, lowest, highest) beforehand."""

    def __init__(
        self, rollout: Rollout, var: str, tell: Callable[[str, int, int], None], sleep: Callable[[float], None]
    ) -> None:
        self.turns: list[Turn] = []
        self._rollout = rollout
        self._var = var
        self._tell = tell
        self._sleep = sleep
        self._at: dict[str, int] = {}
        self._began = time.monotonic()

    def begin(self) -> None:
        """Put those that stand where they are to stand."""
        for device_type, percent in self._rollout.standing.items():
            self._turn(device_type, percent)

    def go(self, time_s: float) -> None:
        """Turn through the course, and stand as long at each position: this time in all, which turning prolongs."""
        for percent in self._rollout.course:
            if percent != self._at.get(self._rollout.turned, 0):
                self._turn(self._rollout.turned, percent)
            self._sleep(time_s / len(self._rollout.course))

    def _turn(self, device_type: str, percent: int) -> None:
        before = self._at.get(device_type, 0)
        self._tell(device_type, min(before, percent), max(before, percent))
        self._sleep(AHEAD_S)
        at_s = time.monotonic() - self._began
        line = [sys.executable, "-m", "edge.cli", "dial", "set", FEATURE, str(percent), "--var", self._var]
        line += ["--device-type", device_type, "--reason", f"load test: {before} to {percent}"]
        try:
            answer = subprocess.run(line, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
        except subprocess.TimeoutExpired:
            said, done = f"no answer in {_TIMEOUT_S:g} s", False
        else:
            said = "; ".join((answer.stdout + answer.stderr).splitlines())
            done = answer.returncode == 0 and _all_serve(said)
        self.turns.append(Turn(round(at_s, 1), device_type, before, percent, said, done))
        print(f"{at_s:4.0f} s     {said}", flush=True)
        if done:
            self._at[device_type] = percent
            self._tell(device_type, percent, percent)


def _all_serve(said: str) -> bool:
    """Say whether the command has seen all workers decide by the new position."""
    words = said.rpartition("; ")[2].split()
    return words[1:2] == ["of"] and words[0] == words[2]
