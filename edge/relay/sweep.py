"""Keeps the deadlines of all device connections without a timer for each: a look at every one, once an interval."""

from collections.abc import Callable, Set
from math import inf

from edge.net.downstream import Downstream


class Sweep:
    """Goes over `connections` in slices, lest thousands of them stop the loop.

    `close_idle_after_s` is how long one may be idle; of a worker that is not draining, each connection's own business.
    """

    def __init__(self, connections: Set[Downstream], report: Callable[[str, BaseException], None]) -> None:
        self.close_idle_after_s = inf
        self._connections = connections
        self._report = report
        self._left: list[Downstream] = []
        self._to_see = 0

    def begin(self) -> None:
        """Begin anew with all connections that are open now."""
        self._left = list(self._connections)
        self._to_see = len(self._left)

    def go_on(self, now: float, passed: float) -> None:
        """See so many of them that what has been seen is at least `passed`, the share of the interval that is over."""
        unseen = max(int(self._to_see * (1.0 - passed)), 0)
        while len(self._left) > unseen:
            connection = self._left.pop()
            if connection not in self._connections:
                continue
            try:
                connection.sweep(now)
                if now - connection.idle_at >= self.close_idle_after_s:
                    connection.close_idle(linger=True)
            except Exception as error:  # noqa: BLE001 - whatever is wrong with one, the others' deadlines are kept
                self._report("sweep", error)
                connection.reset()
