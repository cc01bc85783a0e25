"""The renewals of one worker: under way, just ended, put off. A reload makes the filter anew, and these go on."""

import asyncio

from edge.contract.ports import RenewedCookie, SharedRenewals, StandIn
from filters.recent import Recent


class Renewals:
    """What a worker knows of the renewals of its tokens. For one event loop.

    `running` and `done` are by the token that was presented, `put_off` (when the renewal of a due one is tried again)
    and `stand_ins` (what stands in for an expired one) by a digest of it. `waiting` counts the requests that wait.
    `shared` makes one renewal do for other workers and edges, too; None: for this worker alone.
    """

    __slots__ = ("done", "put_off", "running", "shared", "stand_ins", "waiting")

    def __init__(self, shared: SharedRenewals | None = None) -> None:
        self.shared = shared
        self.waiting = 0
        self.running: dict[bytes, asyncio.Task[RenewedCookie]] = {}
        self.done: Recent[bytes, tuple[float, asyncio.Task[RenewedCookie]]] = Recent(0)
        self.put_off: Recent[bytes, float] = Recent(0)
        self.stand_ins: Recent[bytes, StandIn] = Recent(0)

    def bound(self, ended: int, failed: int) -> None:
        """Say how many renewals that ended are remembered, and how many that failed."""
        self.done.size = ended
        self.put_off.size = self.stand_ins.size = failed

    def __repr__(self) -> str:
        """Counts only: tokens are keys."""
        return f"Renewals({len(self.running)} under way, {self.waiting} waiting)"
