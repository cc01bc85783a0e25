"""A real Prometheus scrapes a real stack under some traffic: every panel and every recorded series has data."""

import asyncio
import json
import math
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
import yaml

from edge.supervisor.config import Result
from edge.supervisor.control_socket import ask
from tests.observability.prometheus import CONFIG, DASHBOARDS, Prometheus, needs_prometheus, prometheus_running
from tests.observability.stack import Stack, device, running_stack, signed_in
from tests.processes import eventually

pytestmark = [needs_prometheus, pytest.mark.slow, pytest.mark.long, pytest.mark.timeout(120)]
RATE_INTERVAL = "4s"
HALF_OF_ALL_THE_OLD_WAY = (
    "origins.api.accepts_legacy=true",
    "dials.terminate-cookie.default=50",
    "dials.shadow-cookie.default=100",
)


def expressions() -> dict[str, str]:
    """Return every query of every dashboard, and every recorded series, by where it is."""
    found = {}
    for file in sorted(DASHBOARDS.glob("*.json")):
        for panel in json.loads(file.read_text())["panels"]:
            for target in panel.get("targets", []):
                place = f"{file.stem}: {panel['title']}: {target['legendFormat']}"
                found[place] = target["expr"].replace("$__rate_interval", RATE_INTERVAL)
                if file.stem == "rollout":  # nothing there is to be seen only because it is nought
                    found[place] = found[place].removesuffix(" or vector(0)")
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

    async def copied() -> None:
        """Use copies of cookies after a sign-out: to the edge they are nobody's, to an origin served the old way not.

        By them a dial goes by the client's address, and so they come from some.
        """
        while True:
            async with device() as session:
                await signed_in(stack, session)
                copy = {"Cookie": "; ".join(f"{cookie.key}={cookie.value}" for cookie in session.cookie_jar)}
                async with session.post(stack.url("edge", "/logout")) as answer:
                    await answer.read()
            for number in range(20):
                connector = aiohttp.TCPConnector(local_addr=(f"127.0.0.{2 + number % 10}", 0))
                async with (
                    aiohttp.ClientSession(connector=connector, headers=copy) as thief,
                    thief.get(stack.url("edge", "/browse")) as answer,
                ):
                    await answer.read()
                await asyncio.sleep(0.05)

    devices = [asyncio.create_task(each) for each in (some(), some(), copied())]
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
    settings = ("edge.workers=2", "services.kms.refresh_s=1", *HALF_OF_ALL_THE_OLD_WAY)
    async with running_stack(tmp_path, *settings, change=short_lives) as stack:
        targets = {"edge": stack.address("admin"), "kms": stack.address("kms"), "cookie": stack.address("cookie")}
        async with prometheus_running(tmp_path, targets) as prometheus, traffic(stack):
            missing = dict(asked)

            async def dials_are_scraped() -> bool:
                return await has_data(prometheus, "edge_dial_changes_total")

            await eventually(dials_are_scraped, "dials are scraped")  # before one is moved: else nothing increases
            await a_dial_is_moved(stack)

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


async def a_dial_is_moved(stack: Stack) -> None:
    """Set a dial to where it would be anyway."""
    command = {"do": "dial-set", "feature": "shadow-cookie", "percent": "100", "origin": "ui", "why": "test"}
    outcome = await asyncio.to_thread(ask, stack.var, json.dumps(command))
    assert outcome is not None
    assert outcome.result is Result.APPLIED, outcome


async def has_data(prometheus: Prometheus, expression: str) -> bool:
    return any(not math.isnan(value) for _, value in await prometheus.ask(expression))
