"""Memory of idle connections: how much each takes, and how much is left when they are gone."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass
from itertools import pairwise

from loadtest.bench.failure import BenchError
from loadtest.bench.processes import Program, running
from loadtest.chaos.certificates import GOOD, make_certificates
from loadtest.experiments.ground import Ground, RunningEdge, python
from loadtest.experiments.idle import OPEN
from loadtest.experiments.result import Curve, Panel, Plot, Result, Table

NAME = "memory"
OPENING_S = 120.0
LOOK_S = 0.1


@dataclass(slots=True, frozen=True)
class Weight:
    """The worker's memory with so many connections, in bytes. PSS counts pages that others share by their share."""

    connections: int
    rss: int
    pss: int


@dataclass(slots=True, frozen=True)
class Weighed:
    """One kind of connection: without any, with more and more of them, and after they closed."""

    weights: Sequence[Weight]
    after: Weight

    def each_kb(self, measure: str) -> float:
        """Return what one connection takes, in kB of 1,000 bytes."""
        first, last = self.weights[0], self.weights[-1]
        return float(getattr(last, measure) - getattr(first, measure)) / (last.connections - first.connections) / 1e3

    def left_kb(self, measure: str) -> float:
        """Return what is left of each afterwards."""
        first, last = self.weights[0], self.weights[-1]
        return float(getattr(self.after, measure) - getattr(first, measure)) / last.connections / 1e3


async def run(ground: Ground) -> Result:
    """Weigh plain connections, then some over TLS."""
    certificates = ground.home / "certificates"
    make_certificates(certificates)
    patient: dict[str, object] = {"timeouts.keep_alive_idle_s": 3600}
    pair = {"certificate_file": f"{certificates / GOOD}.crt", "key_file": f"{certificates / GOOD}.key"}
    tls = {**patient, "listener.local_plain_http": False, "listener.tls.certificates": [pair]}
    found = {
        "plain": await _weigh(ground, "plain", ground.length.idle, patient, None),
        "TLS": await _weigh(ground, "tls", ground.length.idle_tls, tls, str(certificates / "ca.crt")),
    }
    return result(found)


async def _weigh(
    ground: Ground, name: str, totals: Sequence[int], values: Mapping[str, object], ca: str | None
) -> Weighed:
    async with ground.edge(name, values) as one, AsyncExitStack() as holding:
        if ca is None:
            await ground.check(one)
        requests = ground.requests(name)
        # The first connections bring modules, pools and caches with them, which are no connection's weight.
        async with running(f"warm-{name}", ground.cores.load, _holder(one, str(requests), 50, 0, ca), one.home) as warm:
            await _until_open(warm)
        await _until_connections(ground, one, 0)
        weights = [await _weight(ground, one, 0)]
        for held, total in pairwise([0, *totals]):
            command = _holder(one, str(requests), total - held, held, ca)
            holder = running(f"idle-{name}-{total}", ground.cores.load, command, one.home)
            await _until_open(await holding.enter_async_context(holder))
            await _until_connections(ground, one, total)
            weights.append(await _weight(ground, one, total))
            ground.say(f"{total:,} {name} connections: {weights[-1].rss / 1e6:.1f} MB")
        await holding.aclose()
        await _until_connections(ground, one, 0)
        return Weighed(weights, await _weight(ground, one, 0))


def _holder(one: RunningEdge, requests: str, count: int, first: int, ca: str | None) -> list[str]:
    arguments = [str(one.port), requests, str(count), str(first)]
    return python("loadtest.experiments.idle", *arguments, *([ca] if ca else []))


async def _until_open(holder: Program) -> None:
    deadline = time.monotonic() + OPENING_S
    while OPEN not in holder.tail():
        if holder.process.returncode is not None or time.monotonic() > deadline:
            raise BenchError(f"The connections were not opened:\n{holder.tail()}")
        await asyncio.sleep(LOOK_S)


async def _until_connections(ground: Ground, one: RunningEdge, count: int) -> None:
    """Wait until the edge itself counts so many connections of devices."""
    deadline = time.monotonic() + OPENING_S
    while True:
        series = await ground.series(one, "edge_connections")
        now = sum(value for labels, value in series if labels["side"] == "device")
        if now == count:
            return
        if time.monotonic() > deadline:
            raise BenchError(f"{one.name} has {now:.0f} connections instead of {count}")
        await asyncio.sleep(LOOK_S)


async def _weight(ground: Ground, one: RunningEdge, connections: int) -> Weight:
    memory = (await ground.worker(one)).memory_full_info()
    return Weight(connections, int(memory.rss), int(memory.pss))


def result(found: Mapping[str, Weighed]) -> Result:
    """Return what a connection takes, by kind."""
    rows = [
        [
            name,
            f"{one.weights[-1].connections:,}",
            f"{one.weights[0].rss / 1e6:.1f}",
            f"{one.weights[-1].rss / 1e6:.1f}",
            f"{one.each_kb('rss'):.1f}",
            f"{one.each_kb('pss'):.1f}",
            f"{one.after.rss / 1e6:.1f}",
            f"{one.left_kb('rss'):.1f}",
        ]
        for name, one in found.items()
    ]
    headings = [
        "", "idle connections", "RSS MB before", "RSS MB with them", "kB each (RSS)", "kB each (PSS)",
        "RSS MB after", "kB of each left",
    ]  # fmt: skip
    curves = [
        Curve(name, [each.connections for each in one.weights], [each.rss / 1e6 for each in one.weights])
        for name, one in found.items()
    ]
    panel = Panel("a worker's resident memory", "idle connections", "MB", curves)
    notes = [
        "Memory of the worker's process; the kernel's own for the sockets is not in it. What is left after they closed "
        "is what the allocator keeps for the next ones."
    ]
    figures = {
        name: {
            "weights": [asdict(each) for each in one.weights], "after": asdict(one.after),
            "each_kb": {"rss": round(one.each_kb("rss"), 2), "pss": round(one.each_kb("pss"), 2)},
            "left_kb": {"rss": round(one.left_kb("rss"), 2), "pss": round(one.left_kb("pss"), 2)},
        }
        for name, one in found.items()
    }  # fmt: skip
    table = Table("memory", "Memory of idle connections", headings, rows)
    return Result(NAME, [table], [Plot(NAME, "Idle keep-alive connections", [panel])], notes=notes, figures=figures)
