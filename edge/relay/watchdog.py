"""Notices an event loop that is blocked, and by what: a thread that looks at the loop's thread from beside it.

A filter that computes for seconds, or waits the wrong way, stops every connection of its worker, deadlines included.
Nothing can be done about that from here; but it is in the log and in a metric, with the filter's name.
"""

import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Final

_LOOKS: Final = 4  # per `blocked_s`
_FILTERS: Final = "filters."


class Watchdog:
    """Looks whether the loop still comes round, until `stop`. Start it on the loop's thread.

    `turn` returns what changes with every turn of the loop, 0 before the first; `running` the id of the filter that
    runs now, or "". `report` is told event, filter and place, on the watchdog's thread; so is `beat`, when a look finds
    that the loop has turned since the last. `blocked` counts by filter.
    """

    def __init__(
        self,
        blocked_s: float,
        *,
        turn: Callable[[], float],
        running: Callable[[], str],
        report: Callable[[str, str, str], None],
        beat: Callable[[], None] | None = None,
    ) -> None:
        self._interval_s = blocked_s / _LOOKS
        self._turn = turn
        self._running = running
        self._report = report
        self._beat = beat
        self._stopped = threading.Event()
        self.blocked: dict[str, int] = {}

    def start(self) -> None:
        """Watch the calling thread."""
        watched = threading.get_ident()
        threading.Thread(target=self._watch, args=(watched,), name="watchdog", daemon=True).start()

    def stop(self) -> None:
        """Watch no longer."""
        self._stopped.set()

    def _watch(self, thread: int) -> None:
        # Looks are counted, not time: a process that was stopped or starved as a whole has not blocked its loop.
        last, looks = self._turn(), 0
        while not self._stopped.wait(self._interval_s):
            turn = self._turn()
            if turn != last or not turn:
                if turn and self._beat is not None:
                    self._beat()
                if looks >= _LOOKS:
                    self._report("loop_resumed", "", "")
                last, looks = turn, 0
                continue
            looks += 1
            if looks == _LOOKS:
                frame = sys._current_frames().get(thread)
                name = self._running() or _filter_in(frame)
                self.blocked[name] = self.blocked.get(name, 0) + 1
                self._report("loop_blocked", name, place_of(frame))


def place_of(frame: FrameType | None) -> str:
    """Return where a thread is: file, line and function; of compiled code, who called it."""
    if frame is None:
        return "unknown"
    code = frame.f_code
    return f"{Path(code.co_filename).name}:{frame.f_lineno} in {code.co_name}"


def _filter_in(frame: FrameType | None) -> str:
    """Return the id of the filter whose code is on the stack: that of a filter that had awaited something."""
    for each in _callers(frame):
        module = str(each.f_globals.get("__name__"))
        if module.startswith(_FILTERS):
            return module.rpartition(".")[2]
    return ""


def _callers(frame: FrameType | None) -> Iterator[FrameType]:
    while frame is not None:
        yield frame
        frame = frame.f_back
