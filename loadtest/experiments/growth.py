"""How the edge grows: with the number of routes, of keys in the ring, of revocations it holds."""

import asyncio
import shutil
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from statistics import median

from edgepb.kms.v1 import kms_pb2

from loadtest.bench import edge
from loadtest.bench.cookies import cookie_field
from loadtest.bench.failure import BenchError
from loadtest.experiments.ground import NAMES, START_S, Ground
from loadtest.experiments.result import Curve, Panel, Plot, Result, Table
from loadtest.experiments.slices import Slices, Variant, in_rounds
from loadtest.experiments.spread import ratios, spread
from loadtest.experiments.supply import grown, sealing_rings, supply
from passport import DEVICE_PURPOSE, USER_PURPOSE
from passport.kms import KmsClient
from tokens.cookie import PURPOSE, RESCHEDULED

NAME = "growth"
PURPOSES = (PURPOSE, RESCHEDULED, USER_PURPOSE, DEVICE_PURPOSE, "passport-auth")
UNITS = {"routes": "routes", "keys": "keys in the ring", "revocations": "revocations"}


async def run(ground: Ground) -> Result:
    """Measure each axis by itself, all its sizes side by side."""
    length = ground.length
    found: dict[str, dict[int, Slices]] = {}
    memory: dict[str, dict[int, float]] = {}
    for axis, sizes, started in (
        ("routes", length.routes, _with_routes),
        ("keys", length.keys, _with_keys),
        ("revocations", length.revocations, _with_revocations),
    ):
        ground.say(f"Starting edges with {', '.join(f'{size:,}' for size in sizes)} {UNITS[axis]}")
        async with AsyncExitStack() as stack:
            variants = [await stack.enter_async_context(started(ground, size)) for size in sizes]
            slices = await in_rounds(ground, variants, length.growth_rounds, length.slice_s)
            found[axis] = {size: slices[one.id] for size, one in zip(sizes, variants, strict=True)}
            if axis == "keys":
                await _all_used(ground, dict(zip(sizes, variants, strict=True)))
            workers = [await ground.worker(one.edge) for one in variants]
            memory[axis] = {size: worker.memory_info().rss / 1e6 for size, worker in zip(sizes, workers, strict=True)}
    return result(found, memory)


@asynccontextmanager
async def _with_routes(ground: Ground, count: int) -> AsyncIterator[Variant]:
    """Run an edge with so many routes; its requests ask all of them."""
    config = ground.home / f"config-{count}"
    config.mkdir()
    for file in ground.settings.config.glob("*.yaml"):
        shutil.copy(file, config)
    write_routes(config / "routes.yaml", count)
    name = f"routes-{count}"
    fields = [f"{path_of(number % count)} {field}" for number, field in enumerate(ground.fields)]
    async with ground.edge(name, config=config) as one:
        for number in (0, count - 1):
            await ground.check(one, path_of(number))
        yield Variant(name, one, ground.requests(name, fields))


def path_of(number: int) -> str:
    """Return where a route is asked, below its own path."""
    return f"/catalogue/r{number}/titles"


def write_routes(file: Path, count: int) -> None:
    """Write a configuration of so many routes."""
    # By no dumper: ten thousand routes take PyYAML's half a minute.
    routes = (
        f"  - {{id: r{number}, path: /catalogue/r{number}, origin: api, auth: {{user: low, device: none}}}}\n"
        for number in range(count)
    )
    file.write_text("routes:\n" + "".join(routes))


@asynccontextmanager
async def _with_keys(ground: Ground, count: int) -> AsyncIterator[Variant]:
    """Run an edge with so many cookie keys; each has sealed as many of its cookies."""
    name = f"keys-{count}"
    answer = grown(await _key_sets(ground), count)
    rings, now = sealing_rings(answer), int(time.time())
    fields = [
        cookie_field(rings[number % count], NAMES, edge.ENVIRONMENT, visitor, now)
        for number, visitor in enumerate(ground.people)
    ]
    async with (
        supply(answer, 0, now) as port,
        ground.edge(name, {"services.kms.url": f"http://127.0.0.1:{port}"}) as one,
    ):
        await ground.check(one, good=fields[-1])
        yield Variant(name, one, ground.requests(name, fields))


@asynccontextmanager
async def _with_revocations(ground: Ground, count: int) -> AsyncIterator[Variant]:
    """Run an edge that holds so many revocations, none of which is of our visitors."""
    name = f"revocations-{count}"
    async with supply(None, count, int(time.time())) as port:
        values = {
            "services.cookie.url": f"http://127.0.0.1:{port}",
            "revocations.start_patience_s": START_S,
        }
        async with ground.edge(name, values) as one:
            await ground.check(one)
            deadline = time.monotonic() + START_S
            while (held := sum(value for _, value in await ground.series(one, "edge_revocations"))) != count:
                if time.monotonic() > deadline:
                    raise BenchError(f"{name} holds {held:,.0f} revocations")
                await asyncio.sleep(0.1)
            yield Variant(name, one, ground.requests(name))


async def _key_sets(ground: Ground) -> kms_pb2.GetKeySetsResponse:
    token = edge.identity_token(ground.secrets, "edge")
    return await KmsClient(ground.session, f"http://127.0.0.1:{ground.kms_port}", token).key_sets(PURPOSES)


async def _all_used(ground: Ground, variants: Mapping[int, Variant]) -> None:
    for size, variant in variants.items():
        uses = await ground.series(variant.edge, "edge_key_uses_total")
        used = {labels["key"] for labels, value in uses if labels["purpose"] == PURPOSE and value}
        if len(used) != size:
            raise BenchError(f"{variant.id} used {len(used)} keys")


def result(found: Mapping[str, Mapping[int, Slices]], memory: Mapping[str, Mapping[int, float]]) -> Result:
    """Return a table for each axis; ratios are those of pairs, of the smallest size to each."""
    tables = [_table(axis, sizes, memory[axis]) for axis, sizes in found.items()]
    panels = [
        Panel(
            UNITS[axis], f"{UNITS[axis]} (log scale)", "µs of processor time per request",
            [_curve(list(sizes), [sizes[size] for size in sizes])], log_x=True,
        )
        for axis, sizes in found.items()
    ]  # fmt: skip
    notes = [
        "Each size is an edge of its own; all of an axis run side by side, and are asked in turn. Requests go to all "
        "routes, cookies are sealed under all keys alike. Revoked are others: each is looked for, and not found."
    ]
    figures = {
        axis: {str(size): {**one.figures(), "rss_mb": round(memory[axis][size], 1)} for size, one in sizes.items()}
        for axis, sizes in found.items()
    }
    title = "What grows with routes, keys and revocations (band: quartiles)"
    return Result(NAME, tables, [Plot(NAME, title, panels)], notes=notes, figures=figures)


def _table(axis: str, sizes: Mapping[int, Slices], memory: Mapping[int, float]) -> Table:
    first = next(iter(sizes.values()))
    rows = [
        [
            f"{size:,}",
            spread(one.rps).text(0),
            ratios(one.rps, first.rps).text(),
            spread(one.cpu_us).text(1),
            f"{median(sample.p99_ms for sample in one.samples):.2f}",
            f"{memory[size]:.0f}",
        ]
        for size, one in sizes.items()
    ]
    headings = [
        UNITS[axis], "requests/s (quartiles)", "of the first, in pairs", "CPU µs per request (quartiles)", "p99 ms",
        "RSS MB",
    ]  # fmt: skip
    return Table(f"growth-{axis}", f"Growth with the number of {UNITS[axis]}", headings, rows)


def _curve(sizes: Sequence[int], slices: Sequence[Slices]) -> Curve:
    spreads = [spread(one.cpu_us) for one in slices]
    low, high = [one.low for one in spreads], [one.high for one in spreads]
    return Curve("processor time", sizes, [one.median for one in spreads], low=low, high=high)
