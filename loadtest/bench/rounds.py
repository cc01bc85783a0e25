"""The alternating rounds: every contender once, then every contender again, so that drift meets all alike."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import aiohttp

from loadtest.bench import load
from loadtest.bench.contenders import Contender
from loadtest.bench.failure import BenchError
from loadtest.bench.filter_costs import FilterCounters, parse
from loadtest.bench.load import Sample
from loadtest.bench.processes import core_idle_s
from loadtest.bench.settings import Cores, Settings

LONGEST_WARM_UP_S = 120


@dataclass(slots=True)
class Measured:
    """What the rounds gave for one contender. `cpu` and `idle` are shares of its core: used by it, used by none."""

    id: str
    samples: list[Sample] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    idle: list[float] = field(default_factory=list)
    filters: list[tuple[FilterCounters, FilterCounters]] = field(default_factory=list)
    rss_mib: float = 0.0


@dataclass(slots=True, frozen=True)
class Bench:
    """Where and how wrk runs, and who is told."""

    wrk: str
    cores: Cores
    settings: Settings
    session: aiohttp.ClientSession
    say: Callable[[str], None]

    async def run(self, contenders: Sequence[Contender]) -> list[Measured]:
        """Warm all contenders up, then measure them in alternating rounds."""
        for contender in contenders:
            await self._warm_up(contender)
        measured = [Measured(contender.id) for contender in contenders]
        for number in range(1, self.settings.rounds + 1):
            for contender, one in zip(contenders, measured, strict=True):
                await self._round(contender, one)
                self.say(f"Round {number} of {self.settings.rounds}: {contender.name} {one.samples[-1].rps:,.0f}/s")
        return measured

    async def _warm_up(self, contender: Contender) -> None:
        """Ask until each token was sent in one go, since wrk starts at the first one each time."""
        self.say(f"Warming up {contender.name}")
        seconds = self.settings.warm_up_s
        while (await self._load(contender, seconds)).requests < self.settings.tokens:
            seconds *= 2
            if seconds > LONGEST_WARM_UP_S:
                raise BenchError(f"{contender.name} is too slow: {self.settings.tokens} requests take over {seconds} s")

    async def _round(self, contender: Contender, one: Measured) -> None:
        counters = await self._counters(contender)
        cpu_s, idle_s = contender.program.cpu_s(), core_idle_s(self.cores.proxy)
        sample = await self._load(contender, self.settings.round_s)
        one.cpu.append((contender.program.cpu_s() - cpu_s) / sample.duration_s)
        one.idle.append((core_idle_s(self.cores.proxy) - idle_s) / sample.duration_s)
        one.filters.append((counters, await self._counters(contender)))
        one.rss_mib = max(one.rss_mib, contender.program.rss_mib())
        one.samples.append(sample)

    async def _load(self, contender: Contender, seconds: int) -> Sample:
        connections = self.settings.connections
        argv = load.command(self.wrk, contender.url, contender.requests, connections, seconds)
        sample = await load.measure(self.cores.load, argv, seconds)
        if sample.refused or not sample.requests:
            raise BenchError(
                f"{contender.name} refused {sample.refused} of {sample.requests} requests:\n{contender.program.tail()}"
            )
        return sample

    async def _counters(self, contender: Contender) -> FilterCounters:
        if contender.metrics_url is None:
            return FilterCounters()
        async with self.session.get(contender.metrics_url) as answer:
            return parse(await answer.text())
