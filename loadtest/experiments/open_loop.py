"""One point of an open-loop load: the generator's process, and what it says at the end."""

import json
from dataclasses import asdict
from pathlib import Path

from loadtest.bench.edges import SIGNED_IN_PATH
from loadtest.bench.failure import BenchError
from loadtest.bench.processes import running
from loadtest.experiments.generator import Plan
from loadtest.experiments.ground import Ground, RunningEdge, python
from loadtest.experiments.latencies import Point

CONNECTIONS = 128


async def offered(ground: Ground, one: RunningEdge, requests: Path, rate: float, seconds: float) -> Point:
    """Offer `rate` requests a second, at random distances, for so long; raise `BenchError` when that cannot be."""
    files = ground.home / f"point-{len(list(ground.home.glob('point-*.plan')))}"
    plan_file, results = files.with_suffix(".plan"), files.with_suffix(".json")
    plan = Plan(one.port, SIGNED_IN_PATH, str(requests), rate, seconds, CONNECTIONS, str(results), ground.settings.seed)
    plan_file.write_text(json.dumps(asdict(plan)))
    command = python("loadtest.experiments.generator", str(plan_file))
    async with running(files.name, ground.cores.load, command, ground.home) as program:
        await program.process.wait()
    if program.process.returncode or not results.exists():
        raise BenchError(f"The generator failed:\n{program.tail()}")
    return Point(**json.loads(results.read_text()))
