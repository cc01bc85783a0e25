"""What the exchanges that began under one configuration share."""

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from math import inf
from typing import Protocol

from edge.contract.exchange import Exchange
from edge.control.snapshot import Snapshot
from edge.guard.origin import OriginGuard
from edge.relay.chain import Chain
from edge.telemetry.metrics import UpgradeMetrics
from edge.upstream.pool import OriginPool


class Finished(Protocol):
    """Takes note of an exchange that ended; `edge.telemetry.Telemetry.finished` is one."""

    def __call__(
        self,
        exchange: Exchange,
        *,
        status: int,
        outcome: str,
        edge_s: float,
        origin_s: float,
        bytes_in: int,
        bytes_out: int,
    ) -> None:
        """Record it; seconds and payload bytes."""
        ...


class Spawn(Protocol):
    """Starts a task that is kept, and whose failure is told."""

    def __call__(
        self, work: Coroutine[None, None, None], failed: Callable[[BaseException], None] | None = None
    ) -> asyncio.Task[None]:
        """Start `work`; call `failed` if it raises."""
        ...


@dataclass(slots=True, eq=False, weakref_slot=True)
class Context:
    """Made of one snapshot, kept by every exchange until its end. `clock` tells monotonic seconds, `wall` epoch's."""

    snapshot: Snapshot
    inbound: Chain
    outbound: Chain
    pools: Mapping[str, OriginPool]
    guards: Mapping[str, OriginGuard]
    finished: Finished
    spawn: Spawn
    report: Callable[[str, BaseException], None]
    clock: Callable[[], float]
    wall: Callable[[], float]
    random: Callable[[], float]
    call_later: Callable[[float, Callable[[], None]], asyncio.TimerHandle]
    retried: Callable[[str, str], None]
    """Counts a retry: the origin's id and the outcome."""
    max_buffered_body_bytes: int
    upgrades: UpgradeMetrics
    draining: bool = False
    waiting: int = 0
    """Requests, long polls apart, that wait for their answer with nothing more to come from their device, by sweep."""
    late: bool = False
    """Whether the loop was late of late: how long answers take then says more about this worker than about origins."""
    origin_full: bool = False
    """Whether a request was turned away of late because its origin had no place for it."""
    drain_ends_at: float = inf  # on `clock`
