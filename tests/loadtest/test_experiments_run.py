"""Very short real runs of the experiments, from the sources."""

import asyncio
import json
import os
import signal
import sys
from pathlib import Path

import psutil
import pytest

from loadtest.bench import tools

REPOSITORY = Path(__file__).resolve().parents[2]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.long,
    pytest.mark.timeout(400),
    pytest.mark.skipif(
        tools.find("wrk") is None or tools.find("nginx") is None,
        reason="needs wrk and nginx: apt install wrk nginx-light",
    ),
    pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs two cores"),
]

COMMAND = [sys.executable, "-m", "loadtest.experiments", "--quick", "--interpreted"]


def left_in(directory: Path) -> list[str]:
    return sorted(file.name for file in directory.iterdir())


async def test_latency_is_measured_and_written(tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        *COMMAND, "latency", "--var", str(tmp_path),
        cwd=REPOSITORY, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    said, _ = await process.communicate()
    assert process.returncode == 0, said.decode()
    found = json.loads((tmp_path / "latest.json").read_text())
    assert found["left_out"] == {}
    points = found["experiments"]["latency"]["points"]
    assert [one["fraction"] for one in points] == [0.2, 0.5, 0.8]
    assert all(one["p50_ms"] > 0 and one["requests"] > 0 for one in points)
    assert left_in(tmp_path) == ["latest.json", "performance_latency.png"]  # no keys


async def test_interrupted_it_stops_everything_and_writes_nothing(tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        *COMMAND, "memory", "--var", str(tmp_path),
        cwd=REPOSITORY, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    assert process.stdout is not None
    said = b""
    while b"Experiment: memory" not in said:
        line = await asyncio.wait_for(process.stdout.readline(), 120)
        assert line, said
        said += line
    family = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGINT)
    await asyncio.wait_for(process.communicate(), 120)
    assert process.returncode == 130
    assert family
    assert not any(one.is_running() and one.status() != psutil.STATUS_ZOMBIE for one in family)
    assert left_in(tmp_path) == []
