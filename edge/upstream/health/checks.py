"""Asks every address of one origin, again and again, whether it can serve.

Over connections of its own, one for each check: an instance that takes no more connections is not healthy. A check is
a bare GET: no Passport, no cookie, nothing of any request.
"""

import asyncio
from collections.abc import Callable, Collection, Iterable
from enum import StrEnum
from random import uniform
from typing import Final

import aiohttp
import structlog
from yarl import URL

from edge.control.origins_file import HealthCheck
from edge.control.values import Address
from edge.telemetry.metrics import Series, count
from edge.upstream.health.thresholds import Thresholds
from edge.upstream.tls import OriginTls

MAX_AT_A_TIME: Final = 64
"""Checks of one worker; more wait, without their time running."""

_log = structlog.get_logger("edge.health")


class Result(StrEnum):
    """How a check went: the label of edge_health_checks_total."""

    GOOD = "good"
    STATUS = "status"
    TIMEOUT = "timeout"
    FAILED = "failed"


class HealthChecks:
    """The checks of one origin. `mark` is told when the health of an address changes.

    Each is healthy at first, but for those that are known to be `unhealthy`: `mark` is told of them at once. `at_once`
    bounds the checks of the whole worker; `counts` takes origin and result.
    With `tls`, checks are made as requests are: over TLS, with what it verifies and shows.
    """

    def __init__(
        self,
        origin: str,
        settings: HealthCheck,
        *,
        session: aiohttp.ClientSession,
        at_once: asyncio.Semaphore,
        mark: Callable[[Address, bool], None],
        counts: Series,
        unhealthy: Collection[Address] = (),
        tls: OriginTls | None = None,
    ) -> None:
        self._tls = tls
        self._origin = origin
        self._settings = settings
        self._session = session
        self._at_once = at_once
        self._mark = mark
        self._counts = counts
        self._unhealthy = set(unhealthy)
        self._headers = {"Host": settings.host} if settings.host is not None else {}
        self._checked: dict[Address, tuple[Thresholds, asyncio.Task[None]]] = {}

    def set_addresses(self, addresses: Iterable[Address]) -> None:
        """Check these and no others."""
        wanted = set(addresses)
        for address in set(self._checked) - wanted:
            self._checked.pop(address)[1].cancel()
        for address in wanted - set(self._checked):
            state = Thresholds(self._settings.healthy_after, self._settings.unhealthy_after)
            if address in self._unhealthy:
                self._unhealthy.discard(address)
                state.healthy = False
                self._mark(address, False)
            task = asyncio.create_task(self._watch(address, state), name=f"health-{self._origin}")
            self._checked[address] = (state, task)

    @property
    def healthy(self) -> dict[Address, bool]:
        """What is known of every address."""
        return {address: state.healthy for address, (state, _) in self._checked.items()}

    def close(self) -> list[asyncio.Task[None]]:
        """Stop; return what is still ending."""
        tasks = [task for _, task in self._checked.values()]
        for task in tasks:
            task.cancel()
        self._checked.clear()
        return tasks

    async def _watch(self, address: Address, state: Thresholds) -> None:
        settings = self._settings
        # The first check falls anywhere in the interval, so that workers and addresses do not all check at once.
        await asyncio.sleep(uniform(0, settings.interval_s))  # noqa: S311
        while True:
            async with self._at_once:
                result = await self._check(address)
            count(self._counts, (self._origin, result))
            if state.note(good=result is Result.GOOD):
                _log.warning("health_changed", origin=self._origin, address=str(address), healthy=state.healthy)
                self._mark(address, state.healthy)
            jitter = uniform(-settings.jitter_share, settings.jitter_share)  # noqa: S311
            await asyncio.sleep(settings.interval_s * (1 + jitter))

    async def _check(self, address: Address) -> Result:
        tls = self._tls
        url = URL(f"{'http' if tls is None else 'https'}://{address}{self._settings.path}", encoded=True)
        try:
            async with self._session.get(
                url,
                headers=self._headers,
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=self._settings.timeout_s),
                ssl=True if tls is None else tls.context,
                server_hostname=None if tls is None else tls.server_name(address.host),
            ) as answer:
                good = self._settings.min_status <= answer.status <= self._settings.max_status
        except TimeoutError:
            return Result.TIMEOUT
        except Exception:  # noqa: BLE001 - whatever an instance does to the client, it is not well
            return Result.FAILED
        return Result.GOOD if good else Result.STATUS


def health_session() -> aiohttp.ClientSession:
    """Return a client for checks: a connection for each, no cookies, no proxy from the environment."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, force_close=True, use_dns_cache=False),
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={"User-Agent": "edge-health-check", "Accept": "*/*"},
        auto_decompress=False,
        trust_env=False,
    )
