"""Keeps the pools of one worker up to date: the addresses of every origin, and which of them are healthy."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import Protocol

import aiohttp

from edge.control.origins_file import DnsDiscovery, FileDiscovery
from edge.control.snapshot import Origin
from edge.control.values import Address
from edge.telemetry.metrics import WorkerMetrics
from edge.upstream.discovery.dns_source import DnsSource
from edge.upstream.discovery.file_source import FileSource
from edge.upstream.discovery.look import Source
from edge.upstream.discovery.origin_discovery import OriginDiscovery
from edge.upstream.discovery.refresh import Refresh
from edge.upstream.health.checks import MAX_AT_A_TIME, HealthChecks, health_session
from edge.upstream.tls import OriginTls


class Pool(Protocol):
    """What is told: the pool of one origin."""

    @property
    def tls(self) -> OriginTls | None:
        """What its connections are opened with, if they speak TLS."""
        ...

    def set_addresses(self, addresses: Sequence[Address]) -> None:
        """Connect to these from now on, and to no others."""
        ...

    def mark_health(self, address: Address, healthy: bool) -> None:
        """Take the word of the active health checks."""
        ...


class OriginWatch:
    """Discovery and health checks of all origins of a configuration; `follow` takes the next configuration.

    An origin whose pool stays is left as it is. One that is made anew begins with the addresses, and the bad health of
    some, that were last known under its id, so that a reload while DNS is away loses nothing.
    """

    def __init__(self, metrics: WorkerMetrics) -> None:
        self._metrics = metrics
        self._watched: dict[str, _Watched] = {}
        self._started = False
        self._origins: Mapping[str, Origin] = {}
        self._pools: Mapping[str, Pool] = {}
        self._session: aiohttp.ClientSession | None = None
        self._thread: Executor | None = None
        self._at_once = asyncio.Semaphore(MAX_AT_A_TIME)
        metrics.sources.append(self._measure)

    def follow(self, origins: Mapping[str, Origin], pools: Mapping[str, Pool]) -> None:
        """Watch these origins for these pools, and no others; nothing is looked for before `start`."""
        self._origins, self._pools = origins, pools
        if self._started:
            self._follow()

    def start(self) -> None:
        """Begin to look."""
        self._started = True
        self._follow()

    async def close(self) -> None:
        """Stop looking and checking."""
        self._metrics.sources.remove(self._measure)
        ending = [task for watched in self._watched.values() for task in watched.close()]
        self._watched.clear()
        await asyncio.gather(*ending, return_exceptions=True)
        if self._session is not None:
            await self._session.close()
        if self._thread is not None:
            self._thread.shutdown(wait=False, cancel_futures=True)

    def _follow(self) -> None:
        before = self._watched
        self._watched = {}
        for name, pool in self._pools.items():
            old = before.get(name)
            if old is not None and old.pool is pool:
                self._watched[name] = before.pop(name)
            elif self._origins[name].discovery is not None or self._origins[name].health_check is not None:
                self._watched[name] = self._watch(self._origins[name], pool, old)
        for gone in before.values():
            gone.close()

    def _watch(self, origin: Origin, pool: Pool, before: "_Watched | None") -> "_Watched":
        checks = None
        if origin.health_check is not None:
            if self._session is None:
                self._session = health_session()
            checks = HealthChecks(
                origin.id,
                origin.health_check,
                session=self._session,
                at_once=self._at_once,
                mark=pool.mark_health,
                counts=self._metrics.health_checks,
                unhealthy=before.unhealthy if before is not None else (),
                tls=pool.tls,
            )
        watched = _Watched(pool, checks)
        if origin.discovery is None:
            watched.check(origin.addresses)
        else:
            source, refresh = self._source(origin.discovery)
            watched.discover(
                OriginDiscovery(
                    origin.id,
                    source,
                    refresh,
                    found=watched.found,
                    counts=self._metrics.discovery_refreshes,
                    clock=time.monotonic,
                    known=before.known if before is not None else (),
                )
            )
        return watched

    def _source(self, settings: DnsDiscovery | FileDiscovery) -> tuple[Source, Refresh]:
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, thread_name_prefix="discovery")
        if isinstance(settings, FileDiscovery):
            return FileSource(settings.path, self._thread), Refresh(settings.poll_s, settings.poll_s)
        return DnsSource(settings, self._thread), Refresh(settings.min_refresh_s, settings.max_refresh_s)

    def _measure(self, into: WorkerMetrics) -> None:
        found = {name: each.discovery for name, each in self._watched.items() if each.discovery is not None}
        into.discovered = {name: (len(each.addresses), each.age_s) for name, each in found.items()}
        into.health = {
            (name, str(address)): healthy
            for name, each in self._watched.items()
            if each.checks is not None
            for address, healthy in each.checks.healthy.items()
        }


class _Watched:
    """One origin: its pool, and what keeps it up to date."""

    def __init__(self, pool: Pool, checks: HealthChecks | None) -> None:
        self.pool = pool
        self.checks = checks
        self.discovery: OriginDiscovery | None = None
        self._looking: asyncio.Task[None] | None = None

    @property
    def known(self) -> tuple[Address, ...]:
        """The addresses that were found."""
        return self.discovery.addresses if self.discovery is not None else ()

    @property
    def unhealthy(self) -> set[Address]:
        """The addresses that fail their checks."""
        checked = self.checks.healthy if self.checks is not None else {}
        return {address for address, healthy in checked.items() if not healthy}

    def discover(self, discovery: OriginDiscovery) -> None:
        """Begin with the addresses that are known, and look for newer ones."""
        self.discovery = discovery
        if discovery.addresses:
            self.found(discovery.addresses)
        self._looking = asyncio.create_task(discovery.run(), name="discovery")

    def found(self, addresses: Sequence[Address]) -> None:
        """Take a new list."""
        self.pool.set_addresses(addresses)
        self.check(addresses)

    def check(self, addresses: Sequence[Address]) -> None:
        """Check these addresses, if there are checks."""
        if self.checks is not None:
            self.checks.set_addresses(addresses)

    def close(self) -> list[asyncio.Task[None]]:
        """Stop; return what is still ending."""
        tasks = [] if self._looking is None else [self._looking]
        for task in tasks:
            task.cancel()
        return tasks + ([] if self.checks is None else self.checks.close())
