"""What metrics and the access log cost, on and off, and what each filter does."""

from contextlib import AsyncExitStack
from pathlib import Path

from loadtest.bench.failure import BenchError
from loadtest.bench.filter_costs import FilterCounters, microseconds, parse
from loadtest.experiments.ground import Ground, RunningEdge
from loadtest.experiments.result import Check, Panel, Plot, Result, Table, bars
from loadtest.experiments.slices import Slices, Variant, in_rounds
from loadtest.experiments.spread import Spread, ratios, spread

NAME = "costs"
BAR = 0.9  # of the throughput without both
BOTH, NO_LOG, NO_METRICS, NEITHER = "both", "no log", "no metrics", "neither"
COMPARED = {
    "metrics": (NO_LOG, NEITHER),
    "access log": (NO_METRICS, NEITHER),
    "metrics and access log": (BOTH, NEITHER),
}  # with and without
LOG = "access.log"


async def run(ground: Ground) -> Result:
    """Run the edge in four ways side by side."""
    unmetered = ground.programs.unmetered
    if unmetered is None:
        raise BenchError("The edge without metrics was not made")
    ways: dict[str, tuple[Path | None, str]] = {
        BOTH: (None, LOG), NO_LOG: (None, "off"), NO_METRICS: (unmetered, LOG), NEITHER: (unmetered, "off"),
    }  # fmt: skip
    async with AsyncExitStack() as stack:
        requests = ground.requests(NAME)
        edges: dict[str, RunningEdge] = {}
        for name, (packages, log) in ways.items():
            starting = ground.edge(name.replace(" ", "_"), packages=packages, access_log=log)
            edges[name] = await stack.enter_async_context(starting)
            await ground.check(edges[name])
        variants = [Variant(name, one, requests) for name, one in edges.items()]
        before = parse(await ground.exposition(edges[NO_LOG]))
        found = await in_rounds(ground, variants, ground.length.cost_rounds, ground.length.slice_s)
        after = parse(await ground.exposition(edges[NO_LOG]))
        for name, one in edges.items():
            await _see(ground, one, counts=name in {BOTH, NO_LOG}, logs=name in {BOTH, NO_METRICS})
    return result(found, before, after)


async def _see(ground: Ground, one: RunningEdge, *, counts: bool, logs: bool) -> None:
    """Raise `BenchError` unless an edge counted and logged what it should, and nothing that it should not."""
    counted = sum(value for _, value in await ground.series(one, "edge_requests_total"))
    file = one.home / LOG
    logged = file.exists() and file.stat().st_size > 0
    if bool(counted) is not counts or logged is not logs:
        raise BenchError(f"{one.name} counted {counted:,.0f} requests, and wrote {'a' if logged else 'no'} log")


def result(found: dict[str, Slices], before: FilterCounters, after: FilterCounters) -> Result:
    """Return the ratios of pairs, the bar, and the filters."""
    kept: dict[str, Spread] = {}
    rows = []
    for name, (on, off) in COMPARED.items():
        kept[name] = ratios(found[on].rps, found[off].rps)
        added = spread([one - other for one, other in zip(found[on].cpu_us, found[off].cpu_us, strict=True)])
        cpu = ratios(found[on].cpu_us, found[off].cpu_us)
        rows.append([name, kept[name].text(3), added.text(1), cpu.text(3)])
    headings = ["", "throughput with it, of that without (quartiles)", "CPU µs added (quartiles)", "CPU ratio"]
    ways = [
        [name, spread(one.rps).text(0), spread(one.cpu_us).text(1)] for name, one in found.items()
    ]  # fmt: skip
    filters = microseconds([(before, after)])
    whole = spread(found[NO_LOG].cpu_us).median
    together = sum(filters.values())
    filter_rows = [
        [f"`{name}`", f"{cost:.2f}", f"{cost / whole:.1%}"] for name, cost in [*filters.items(), ("together", together)]
    ]
    both = kept["metrics and access log"]
    rounds = len(found[BOTH].samples)
    return Result(
        NAME,
        [
            Table("costs", f"Metrics and access log, on against off, {rounds} pairs", headings, rows),
            Table("costs-ways", "The four edges", ["", "requests/s (quartiles)", "CPU µs (quartiles)"], ways),
            Table("costs-filters", "Filters", ["filter", "µs per call", "of a request's CPU time"], filter_rows),
        ],
        [_plot(kept, filters)],
        [
            Check(
                f"metrics and access log together leave at least {BAR:.0%} of the throughput",
                both.median >= BAR,
                f"{both.text(3)} in {rounds} pairs",
            )
        ],
        figures={
            "kept": {name: [one.low, one.median, one.high] for name, one in kept.items()},
            "filters_us": filters,
            **{name: one.figures() for name, one in found.items()},
        },
    )


def _plot(kept: dict[str, Spread], filters: dict[str, float]) -> Plot:
    names = [name.replace(" and ", "\nand ") for name in kept]
    throughput = Panel(
        "throughput kept", "what is on", "of the throughput without it",
        [bars(list(kept.values()))], names=names, line_at=BAR, line_label="the least that is good",
    )  # fmt: skip
    each = Panel(
        "each filter", "filter", "µs per call",
        [bars([Spread(cost, cost, cost) for cost in filters.values()])],
        names=list(filters),
    )  # fmt: skip
    return Plot(NAME, "What metrics, access log and filters cost", [throughput, each])
