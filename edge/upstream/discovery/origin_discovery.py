"""Keeps the addresses of one origin up to date: looks, keeps the last good ones, says what goes wrong."""

import asyncio
from collections.abc import Callable, Sequence
from random import random

import structlog

from edge.control.values import Address
from edge.telemetry.metrics import Series, count
from edge.upstream.discovery.look import Look, Problem, Result, Source
from edge.upstream.discovery.refresh import Refresh

_log = structlog.get_logger("edge.discovery")


class OriginDiscovery:
    """The addresses of one origin as they were last found; none until the first answer.

    `found` is told every new list. `counts` takes origin and result. `clock` is monotonic, in seconds.
    """

    def __init__(
        self,
        origin: str,
        source: Source,
        refresh: Refresh,
        *,
        found: Callable[[Sequence[Address]], None],
        counts: Series,
        clock: Callable[[], float],
        known: tuple[Address, ...] = (),
    ) -> None:
        self._origin = origin
        self._source = source
        self._refresh = refresh
        self._found = found
        self._counts = counts
        self._clock = clock
        self._failures = 0
        self._problem: Problem | None = None
        self._began = clock()
        self._good: float | None = None
        self.addresses = known

    @property
    def age_s(self) -> float:
        """How long ago the addresses were last found or confirmed; without any, how long they have been looked for."""
        return self._clock() - (self._began if self._good is None else self._good)

    async def run(self) -> None:
        """Look again and again, until cancelled."""
        while True:
            wait_s = self.take(await self._look())
            await asyncio.sleep(wait_s)

    async def _look(self) -> Look:
        try:
            return await self._source.look()
        except Exception as error:  # noqa: BLE001 - a look that goes wrong must not be the last one
            return Look(None, Problem(Result.ERROR, type(error).__name__))

    def take(self, look: Look) -> float:
        """Take what a look brought; return how many seconds to wait until the next."""
        changed = look.addresses is not None and look.addresses != self.addresses
        good = Result.CHANGED if changed else Result.UNCHANGED
        count(self._counts, (self._origin, good if look.problem is None else look.problem.result))
        self._tell(look.problem)
        if look.addresses is None:
            self._failures += 1
            # Without any address requests fail: no time to be patient.
            return self._refresh.after_failures(self._failures if self.addresses else 1, random())  # noqa: S311
        self._failures = 0
        self._good = self._clock()
        if changed:
            self._change(look.addresses)
        return self._refresh.after_answer(look.ttl_s, random())  # noqa: S311 - spreads load

    def _change(self, addresses: tuple[Address, ...]) -> None:
        before, self.addresses = set(self.addresses), addresses
        added, removed = set(addresses) - before, before - set(addresses)
        _log.info(
            "addresses_changed", origin=self._origin, known=len(addresses), added=_texts(added), removed=_texts(removed)
        )
        self._found(addresses)

    def _tell(self, problem: Problem | None) -> None:
        """Log when looking begins to fail, fails in another way, or works again."""
        if problem == self._problem:
            return
        self._problem = problem
        if problem is None:
            _log.info("addresses_found_again", origin=self._origin, known=len(self.addresses))
        else:
            _log.warning(
                "addresses_not_found",
                origin=self._origin,
                result=problem.result.value,
                problem=problem.detail,
                kept=len(self.addresses),
            )


def _texts(addresses: set[Address]) -> list[str]:
    return [str(address) for address in sorted(addresses)]
