"""A real Prometheus scrapes a real stack under some traffic: every panel and every recorded series has data."""

import asyncio
import json
import math
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import yaml

from tests.observability.prometheus import CONFIG, DASHBOARDS, Prometheus, needs_prometheus, prometheus_running
from tests.observability.stack import Stack, device, running_stack, signed_in
from tests.processes import eventually

pytestmark = [needs_prometheus, pytest.mark.slow, pytest.mark.long, pytest.mark.timeout(120)]
RATE_INTERVAL = "4s"


def expressions() -> dict[str, str]:
    """Return every query of every dashboard, and every recorded series, by where it is."""
    found = {}
    for file in sorted(DASHBOARDS.glob("*.json")):
        for panel in json.loads(file.read_text())["panels"]:
            for target in panel.get("targets", []):
                place = f"{file.stem}: {panel['title']}: {target['legendFormat']}"
                found[place] = target["expr"].replace("$__rate_interval", RATE_INTERVAL)
    for file in sorted(CONFIG.glob("*_rules.yml")):
        for group in yaml.safe_load(file.read_text())["groups"]:
            found |= {rule["record"]: rule["record"] for rule in group["rules"] if "record" in rule}
    return found


@asynccontextmanager
async def traffic(stack: Stack) -> AsyncIterator[None]:
    """Keep devices at it until the block ends: sign in, browse, be renewed, be refused, sign out."""

    async def some() -> None:
        while True:
            async with device() as session:
                await signed_in(stack, session)
                for path in ("/browse", "/account", "/echo", "/nowhere/at/all") * 10:
                    async with session.get(stack.url("edge", path)) as answer:
                        await answer.read()
                    await asyncio.sleep(0.05)
                async with session.post(stack.url("edge", "/logout")) as answer:
                    await answer.read()
            async with device() as nobody:
                forged = {"Cookie": "EdgeId=forged; SecureEdgeId=forged", "X-Passport": "forged"}
                for headers in ({}, forged):
                    async with nobody.get(stack.url("edge", "/account"), headers=headers) as answer:
                        assert answer.status == 401

    devices = [asyncio.create_task(some()) for _ in range(2)]
    try:
        yield
    finally:
        for task in devices:
            task.cancel()
        ends = await asyncio.gather(*devices, return_exceptions=True)
        assert [end for end in ends if not isinstance(end, asyncio.CancelledError)] == []


def short_lives(config: Path) -> None:
    """Have cookies renewed after a second."""
    file = config / "cookie.yaml"
    file.write_text(re.sub(r"life_s: \d+", "life_s: 3", file.read_text()))


async def test_every_panel_and_every_recorded_series_returns_data(tmp_path: Path) -> None:
    asked = expressions()
    assert len(asked) > 90
    async with running_stack(tmp_path, "edge.workers=2", "services.kms.refresh_s=1", change=short_lives) as stack:
        targets = {"edge": stack.address("admin"), "kms": stack.address("kms"), "cookie": stack.address("cookie")}
        async with prometheus_running(tmp_path, targets) as prometheus, traffic(stack):
            missing = dict(asked)

            async def nothing_is_missing() -> bool:
                for place, expression in list(missing.items()):
                    if await has_data(prometheus, expression):
                        del missing[place]
                await asyncio.sleep(0.2)
                return not missing

            try:
                await eventually(nothing_is_missing, "all have data", 60.0)
            finally:
                assert missing == {}
            assert [labels["job"] for labels, up in await prometheus.ask("up") if not up] == []
            renewed = await prometheus.ask('edge_renewals_total{outcome="renewed"}')
            assert renewed[0][1] > 0


async def has_data(prometheus: Prometheus, expression: str) -> bool:
    return any(not math.isnan(value) for _, value in await prometheus.ask(expression))
