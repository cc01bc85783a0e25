"""One worker and two."""

from statistics import median

from loadtest.experiments.ground import Ground
from loadtest.experiments.result import Panel, Plot, Result, Table, bars
from loadtest.experiments.settings import cores_of_two_workers
from loadtest.experiments.slices import Slices, Variant, in_rounds
from loadtest.experiments.spread import ratios, spread

NAME = "workers"


async def run(ground: Ground) -> Result:
    """Measure both side by side; which cores they have is in the notes."""
    cores = cores_of_two_workers(ground.cores)
    shared = bool({ground.cores.origin, ground.cores.load} & set(cores))
    async with ground.edge("one") as one, ground.edge("two", {"edge.workers": 2}, cores=cores) as two:
        requests = ground.requests(NAME)
        for each in (one, two):
            await ground.check(each)
        variants = [Variant("1", one, requests), Variant("2", two, requests)]
        found = await in_rounds(ground, variants, ground.length.worker_rounds, ground.length.worker_s)
    return result(found, shared=shared)


def result(found: dict[str, Slices], *, shared: bool) -> Result:
    """Return both rows; `shared` says that the second worker had its core together with origin and load."""
    gain, names = ratios(found["2"].rps, found["1"].rps), list(found)
    rows = [
        [
            name,
            spread(one.rps).text(0),
            f"{median(sample.p99_ms for sample in one.samples):.2f}",
            spread(one.cpu_us).text(1),
            f"{1e6 / median(one.cpu_us):,.0f}",
        ]
        for name, one in found.items()
    ]
    notes = [f"Two workers answered {gain.text()} times as much as one, in pairs."]
    if shared:
        notes.append(
            "There are two cores here: the second worker shares its core with origin and load, so this is what the "
            "whole machine gives, not how the edge scales. Processor time per request is what more cores would divide."
        )
    table = Table(
        "workers", "One and two workers",
        ["workers", "requests/s (quartiles)", "p99 ms", "CPU µs per request (quartiles)", "requests per CPU second"],
        rows,
    )  # fmt: skip
    panels = [
        Panel("throughput", "workers", "requests/s", [bars([spread(one.rps) for one in found.values()])], names=names),
        Panel(
            "processor time", "workers", "µs per request",
            [bars([spread(one.cpu_us) for one in found.values()])], names=names,
        ),
    ]  # fmt: skip
    figures = {"gain": gain.median, "shared_core": shared, **{name: one.figures() for name, one in found.items()}}
    return Result(NAME, [table], [Plot(NAME, "One and two workers", panels)], notes=notes, figures=figures)
