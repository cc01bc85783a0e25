"""Variants of the edge side by side, all running: short runs of wrk on each in turn, so that drift meets all alike."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from loadtest.bench import load
from loadtest.bench.failure import BenchError
from loadtest.bench.load import Sample
from loadtest.bench.processes import core_idle_s
from loadtest.experiments.ground import Ground, RunningEdge

LONGEST_WARM_UP_S = 120
TRIES = 4


@dataclass(slots=True, frozen=True)
class Variant:
    """An edge and the requests it gets."""

    id: str
    edge: RunningEdge
    requests: Path

    @property
    def url(self) -> str:
        """What wrk is told; a path in the file of requests goes before that of the URL."""
        return self.edge.url()


@dataclass(slots=True)
class Slices:
    """What rounds gave for one variant, in their order. `cpu_us` is processor time of the edge, all its processes, per
    request; `idle` the share of the time in which its core had nothing to do."""

    samples: list[Sample] = field(default_factory=list)
    cpu_us: list[float] = field(default_factory=list)
    idle: list[float] = field(default_factory=list)

    @property
    def rps(self) -> list[float]:
        """Answers a second."""
        return [sample.rps for sample in self.samples]

    def figures(self) -> dict[str, object]:
        """Return it for latest.json."""
        return {
            "rps": [round(one, 1) for one in self.rps],
            "p99_ms": [one.p99_ms for one in self.samples],
            "cpu_us": [round(one, 2) for one in self.cpu_us],
            "idle": round(median(self.idle), 3),
        }


async def slice_of(ground: Ground, variant: Variant, seconds: int, into: Slices) -> Sample:
    """Run wrk once and keep what it saw."""
    sample, cpu_s, idle_s = await _unrefused(ground, variant, seconds)
    into.cpu_us.append(cpu_s / sample.requests * 1e6)
    into.idle.append(idle_s / sample.duration_s)
    into.samples.append(sample)
    return sample


async def asked(ground: Ground, variant: Variant, seconds: int) -> Sample:
    """Run wrk once."""
    return (await _unrefused(ground, variant, seconds))[0]


async def warmed_up(ground: Ground, variants: Sequence[Variant]) -> None:
    """Ask each until every token was sent in one go, since wrk begins with the first one each time."""
    for variant in variants:
        seconds = ground.length.slice_s
        while (await asked(ground, variant, seconds)).requests < ground.length.tokens:
            seconds *= 2
            if seconds > LONGEST_WARM_UP_S:
                raise BenchError(f"{variant.id} is too slow to be warmed up")


async def in_rounds(ground: Ground, variants: Sequence[Variant], rounds: int, seconds: int) -> dict[str, Slices]:
    """Warm all up, then measure each once in every round, in an order of chance."""
    await warmed_up(ground, variants)
    found = {variant.id: Slices() for variant in variants}
    chance = random.Random(ground.settings.seed)  # noqa: S311 - an order
    for number in range(1, rounds + 1):
        for variant in chance.sample(variants, len(variants)):
            await slice_of(ground, variant, seconds, found[variant.id])
        said = ", ".join(f"{name} {found[name].samples[-1].rps:,.0f}/s" for name in found)
        ground.say(f"Round {number} of {rounds}: {said}")
    return found


async def _unrefused(ground: Ground, variant: Variant, seconds: int) -> tuple[Sample, float, float]:
    """Run wrk; return what it saw, the edge's processor time and its core's idle time, in seconds.

    Refused requests are no throughput: it is run again, and when they always are, that is a `BenchError`.
    """
    program, core = variant.edge.program, ground.cores.proxy
    argv = load.command(ground.programs.wrk, variant.url, variant.requests, ground.settings.connections, seconds)
    for _ in range(TRIES):
        cpu_s, idle_s = program.cpu_s(), core_idle_s(core)
        sample = await load.measure(ground.cores.load, argv, seconds)
        if sample.requests and not sample.refused:
            return sample, program.cpu_s() - cpu_s, core_idle_s(core) - idle_s
        said = f"{variant.id}: {sample.refused} of {sample.requests} requests were refused"
        ground.say(f"{said}; once more")
    raise BenchError(f"{said}, also when asked again:\n{program.tail()}")
