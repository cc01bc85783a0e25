"""A real Prometheus with the repository's configuration, pointed at a stack of a test's own.

async with prometheus_running(tmp_path, {"edge": "127.0.0.1:40001"}) as prometheus:
    await prometheus.ask("up")
"""

import asyncio
import contextlib
import re
import shutil
import subprocess
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml

from tests.processes import REPOSITORY, eventually, free_port

CONFIG = REPOSITORY / "config" / "prometheus"
DASHBOARDS = REPOSITORY / "config" / "grafana" / "dashboards"
needs_prometheus = pytest.mark.skipif(
    shutil.which("prometheus") is None or shutil.which("promtool") is None,
    reason="prometheus and promtool are not installed (Debian: prometheus)",
)
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_TRIES = 5

Sample = tuple[dict[str, str], float]


@dataclass(slots=True)
class Prometheus:
    """A running server."""

    url: str
    session: aiohttp.ClientSession

    async def ask(self, expression: str) -> list[Sample]:
        """Return what an expression says now: labels and value of each series."""
        answer = await self._get("/api/v1/query", query=expression)
        if answer["resultType"] == "scalar":
            return [({}, float(answer["result"][1]))]
        return [(row["metric"], float(row["value"][1])) for row in answer["result"]]

    async def firing(self) -> dict[str, dict[str, Any]]:
        """Return one of each alert that fires now, by name."""
        alerts = (await self._get("/api/v1/alerts"))["alerts"]
        return {alert["labels"]["alertname"]: alert for alert in alerts if alert["state"] == "firing"}

    async def quiet(self, timeout_s: float = 60.0) -> None:
        """Wait until nothing fires."""

        left: dict[str, Any] = {}

        async def nothing_fires() -> bool:
            left.clear()
            left.update(await self.firing())
            return not left

        with contextlib.suppress(AssertionError):
            await eventually(nothing_fires, "nothing fires", timeout_s)
        assert left == {}

    async def _get(self, path: str, **query: str) -> dict[str, Any]:
        async with self.session.get(self.url + path, params=query) as response:
            answer = await response.json()
        assert answer["status"] == "success", (query, answer)
        data: dict[str, Any] = answer["data"]
        return data


@asynccontextmanager
async def prometheus_running(
    home: Path, targets: Mapping[str, str], *, interval: str = "500ms", faster: int = 1
) -> AsyncIterator[Prometheus]:
    """Run Prometheus until the block ends, its data in `home`; `targets` are HOST:PORT by job.

    Rules are the repository's; all that is a duration in them is divided by `faster` (see `quickened`).
    """
    rules = home / "rules"
    rules.mkdir()
    for source in CONFIG.glob("*_rules.yml"):
        (rules / source.name).write_text(quickened(source.read_text(), faster))
    async with aiohttp.ClientSession() as session:
        for _ in range(_TRIES):
            port = free_port()
            config = yaml.safe_load((CONFIG / "prometheus.yml").read_text())
            config["global"] = dict.fromkeys(config["global"], interval)
            for job in config["scrape_configs"]:
                job["static_configs"] = [{"targets": [targets[job["job_name"]]]}]
            (rules / "prometheus.yml").write_text(yaml.safe_dump(config))
            process = _start(home, rules, port)
            try:
                running = Prometheus(f"http://127.0.0.1:{port}", session)
                if await _ready(running, process):
                    yield running
                    return
            finally:
                process.terminate()
                await asyncio.to_thread(process.wait, 30)
    raise AssertionError((home / "prometheus.log").read_text())


def quickened(rules: str, faster: int) -> str:
    """Divide what is a duration in rules by `faster`: windows, offsets, `for`, and what ages are compared with."""
    if faster == 1:
        return rules

    def shorter(found: re.Match[str]) -> str:
        ms = max(1000 * int(found[2]) * _SECONDS[found[3]] // faster, 1)
        return f"{found[1]}{ms}ms{found[4]}"

    rules = re.sub(r"(\[)(\d+)([smhd])(\])", shorter, rules)
    rules = re.sub(r"(offset )(\d+)([smhd])()", shorter, rules)
    rules = re.sub(r"(for: )(\d+)([smhd])()", shorter, rules)
    return re.sub(r"(_age_seconds > )(\d+)", lambda found: f"{found[1]}{int(found[2]) / faster}", rules)


def _start(home: Path, rules: Path, port: int) -> subprocess.Popen[bytes]:
    command = [
        "prometheus",
        f"--config.file={rules / 'prometheus.yml'}",
        f"--storage.tsdb.path={home / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--log.level=warn",
    ]
    with (home / "prometheus.log").open("wb") as log:
        return subprocess.Popen(command, stdout=log, stderr=log, cwd=home)


async def _ready(prometheus: Prometheus, process: subprocess.Popen[bytes]) -> bool:
    """Wait until it serves; False when it ended before, as it does when its port was taken meanwhile."""

    async def decided() -> bool:
        if process.poll() is not None:
            return True
        try:
            async with prometheus.session.get(f"{prometheus.url}/-/ready") as response:
                return response.status == 200
        except aiohttp.ClientError:
            return False

    await eventually(decided, "Prometheus is ready", 30.0)
    return process.poll() is None
