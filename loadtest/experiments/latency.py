"""Throughput and latency against offered load, open loop."""

from collections.abc import Sequence
from dataclasses import asdict
from statistics import median

from loadtest.bench.failure import BenchError
from loadtest.experiments.ground import Ground
from loadtest.experiments.latencies import Point
from loadtest.experiments.open_loop import CONNECTIONS, offered
from loadtest.experiments.result import Curve, Panel, Plot, Result, Table
from loadtest.experiments.settings import Length
from loadtest.experiments.slices import Variant, asked, warmed_up

NAME = "latency"


async def run(ground: Ground) -> Result:
    """Find the capacity with a closed loop, offer fractions of it, and find it again."""
    length = ground.length
    async with ground.edge(NAME) as one:
        await ground.check(one)
        variant = Variant(NAME, one, ground.requests(NAME))
        await warmed_up(ground, [variant])
        before = await _capacity(ground, variant)
        ground.say(f"Capacity {before:,.0f}/s, closed loop")
        points = []
        for fraction in length.fractions:
            points.append(await offered(ground, one, variant.requests, fraction * before, length.point_s))
            ground.say(
                f"{fraction:.0%}: {points[-1].answered:,.0f}/s answered, p50 {points[-1].p50_ms:.2f} ms, "
                f"p99 {points[-1].p99_ms:.2f} ms{' (generator late)' if points[-1].behind else ''}"
            )
        try:
            after: float | None = await _capacity(ground, variant)
        except BenchError as refused:  # the points stand all the same
            ground.say(f"The capacity after it is not known: {refused}")
            after = None
    return result(length, points, (before, after), ground.settings.connections)


async def _capacity(ground: Ground, variant: Variant) -> float:
    runs = [await asked(ground, variant, ground.length.capacity_s) for _ in range(ground.length.capacity_runs)]
    return median(one.rps for one in runs)


def result(length: Length, points: Sequence[Point], capacity: tuple[float, float | None], connections: int) -> Result:
    """Return the curve as table and plot; `capacity` is that before and after, requests a second, None if not known."""
    (before, after), fractions = capacity, length.fractions
    rows = [_row(fraction, point) for fraction, point in zip(fractions, points, strict=True)]
    headings = ["of capacity", "offered/s", "answered/s", "p50 ms", "p99 ms", "p99.9 ms", "late p99 ms", "not answered"]
    then = "and after it the edge still refused some" if after is None else f"{after:,.0f} after"
    notes = [
        f"Closed loop (wrk, {connections} connections): {before:,.0f} requests/s before, {then}. The "
        f"fractions are of the first. Points are {length.point_s} s of Poisson arrivals on {CONNECTIONS} connections.",
    ]
    if any(point.behind for point in points):
        notes.append("* The generator itself was late there: what is shown is more than the edge's doing.")
    return Result(
        NAME,
        [Table("latency", "Latency against offered load, open loop, one worker", headings, rows)],
        [_plot(points, before)],
        notes=notes,
        figures={
            "capacity_rps": [round(before, 1), None if after is None else round(after, 1)],
            "points": [
                {"fraction": fraction, **asdict(point), "behind": point.behind}
                for fraction, point in zip(fractions, points, strict=True)
            ],
        },
    )


def _row(fraction: float, point: Point) -> list[str]:
    lost = point.refused + point.broken + point.unanswered + point.unsent
    return [
        f"{fraction:.0%}{' *' if point.behind else ''}",
        f"{point.offered:,.0f}",
        f"{point.answered:,.0f}",
        f"{point.p50_ms:.2f}",
        f"{point.p99_ms:.2f}",
        f"{point.p999_ms:.2f}",
        f"{point.late_p99_ms:.2f}",
        f"{lost / point.requests:.2%}" if point.requests else "",
    ]


def _plot(points: Sequence[Point], capacity: float) -> Plot:
    xs = [point.offered for point in points]
    behind = [point.behind for point in points]
    percentiles = {
        "p50": [point.p50_ms for point in points],
        "p99": [point.p99_ms for point in points],
        "p99.9": [point.p999_ms for point in points],
    }
    latency = Panel(
        "latency from when a request was due", "offered, requests/s", "ms (log scale)",
        [Curve(name, xs, ys, behind) for name, ys in percentiles.items()], log_y=True,
    )  # fmt: skip
    throughput = Panel(
        "answered in time", "offered, requests/s", "answered, requests/s",
        [Curve("answered", xs, [point.answered for point in points], behind)],
        line_at=capacity, line_label="closed loop",
    )  # fmt: skip
    return Plot(NAME, "One worker on one core, open loop; hollow: the generator was late", [latency, throughput])
