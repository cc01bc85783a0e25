"""The origins of one worker: a pool and a guard for each that is served, and pools that serve their last exchanges."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from random import random
from typing import TypeAlias

from edge.control.snapshot import Origin
from edge.guard.origin import OriginGuard
from edge.http1.limits import HeadLimits
from edge.relay.context import Spawn
from edge.relay.guards import origin_guard
from edge.telemetry.metrics import WorkerMetrics
from edge.upstream.connector import Connector
from edge.upstream.pool import OriginPool
from edge.upstream.tls import OriginTls
from edge.upstream.watch import OriginWatch

Pools: TypeAlias = Mapping[str, OriginPool]
Guards: TypeAlias = Mapping[str, OriginGuard]


class Origins:
    """What a reload does not change of an origin goes on: its pool with its connections, its guard, its watch."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        clock: Callable[[], float],
        metrics: WorkerMetrics,
        spawn: Spawn,
        watch: OriginWatch,
    ) -> None:
        self._loop = loop
        self._clock = clock
        self._metrics = metrics
        self._spawn = spawn
        self._watch = watch
        self._rows: Mapping[str, Origin] = {}
        self._limits: HeadLimits | None = None
        self._pools: Pools = {}
        self._guards: Guards = {}
        self.retired: list[OriginPool] = []  # of origins that a reload has changed or removed

    # Configuration.

    def prepare(self, rows: Mapping[str, Origin], limits: HeadLimits, write_buffer_bytes: int) -> tuple[Pools, Guards]:
        """Return what would serve `rows`, by origin: what serves those that stay, new ones for the others."""
        kept = [name for name in rows if limits == self._limits and self._rows.get(name) == rows[name]]
        pools = {
            name: self._pools[name] if name in kept else self._pool(row, limits, write_buffer_bytes)
            for name, row in rows.items()
        }
        guards = {name: self._guards[name] if name in kept else self._guard(row) for name, row in rows.items()}
        return pools, guards

    def serve(self, rows: Mapping[str, Origin], limits: HeadLimits, pools: Pools, guards: Guards) -> None:
        """Serve what was prepared; what it replaces serves the exchanges that began with it."""
        self.retired += [pool for pool in self._pools.values() if pool not in pools.values()]
        self._rows, self._limits, self._pools, self._guards = rows, limits, pools, guards
        self._watch.follow(rows, pools)

    def discard(self, pools: Pools) -> None:
        """Let go of what was prepared and will not serve."""
        for pool in pools.values():
            if pool not in self._pools.values():
                pool.close()

    def _pool(self, row: Origin, limits: HeadLimits, write_buffer_bytes: int) -> OriginPool:
        connector = Connector(
            self._loop,
            limits,
            timeout_s=row.connect_timeout_s,
            write_buffer_bytes=write_buffer_bytes,
            receive_buffer_bytes=row.receive_buffer_bytes,
            tls=OriginTls(row.id, row.tls, self._metrics) if row.tls.enabled else None,
        )
        pool = OriginPool(row, connector, spawn=self._spawn, clock=self._clock, random=random, metrics=self._metrics)
        pool.set_addresses(row.addresses)
        return pool

    def _guard(self, row: Origin) -> OriginGuard:
        return origin_guard(row, self._clock, random, self._metrics)

    # Life.

    def start(self) -> None:
        """Begin to look for addresses and to check their health."""
        self._watch.start()

    def sweep(self, now: float, in_use: Sequence[Pools], report: Callable[[str, BaseException], None]) -> None:
        """Enforce the deadlines of every pool; close those that are retired and `in_use` by no exchange."""
        for pool in (*self._pools.values(), *self.retired):
            try:
                pool.sweep(now)
            except Exception as error:  # noqa: BLE001 - whatever is wrong with one, the others' deadlines are kept
                report("sweep", error)
        for pool in tuple(self.retired):
            if not any(pool in pools.values() for pools in in_use):
                pool.close()
                if not pool.open_connections:
                    self.retired.remove(pool)

    async def close(self) -> None:
        """Stop looking."""
        await self._watch.close()

    def close_connections(self) -> None:
        """Close every idle connection."""
        for pool in (*self._pools.values(), *self.retired):
            pool.close()

    # What is to be seen.

    @property
    def open_connections(self) -> int:
        """How many connections are open or being opened."""
        return sum(pool.open_connections for pool in (*self._pools.values(), *self.retired))

    def certificates(self) -> list[OriginTls]:
        """Return what the serving pools connect with."""
        return [pool.tls for pool in self._pools.values() if pool.tls is not None]

    def observe(self, metrics: WorkerMetrics) -> None:
        """Set the gauges of every origin that is served."""
        metrics.forget_origins()
        for pool in self._pools.values():
            pool.observe(metrics)
