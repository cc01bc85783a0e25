"""The alerts about what goes wrong inside the edge, and about dials and shadow: the rest of `make alerts`.

As in alert_scenarios.py, on a stack whose workers have the filters with bugs of `loadtest/chaos/inside`, and an origin
`old` that is served the old way and says who it takes the asker for. The first test is the control.
"""

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import psutil
import pytest
import pytest_asyncio
import yaml
from aiohttp import web
from aiohttp.test_utils import TestServer

from edge.supervisor.config import Result
from edge.supervisor.control_socket import ask
from loadtest.chaos.setup import route
from loadtest.chaos.stage import INSIDE
from tests.observability.alert_scenarios import CONTROL_S, DEMO_CUSTOMER, causes, get, repeatedly
from tests.observability.prometheus import Prometheus, needs_prometheus, prometheus_running
from tests.observability.stack import Stack, device, running_stack, signed_in
from tests.processes import beside, eventually

pytestmark = [needs_prometheus, pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(180)]

FASTER = 60
"""5 minutes become 5 s: a scrape each second, as one waits half a second for a worker that is halted."""
SETTINGS = (
    "edge.workers=2",
    "edge.standby=false",
    "edge.worker_silence_s=60",
    "revocations.wait_s=0.4",
    "services.kms.refresh_s=0.4",
    "shedding.enabled=false",
    "timeouts.loop_blocked_s=3",  # the filter that blocks does it for 5 s
    "dials.terminate-cookie.origins.old.default=0",
    "dials.shadow-cookie.origins.old.default=100",
)
SAME = f"v=1, customer={DEMO_CUSTOMER}, level=high"


class OldOrigin:
    """Opens no cookie: it reports `says` as the asker's identity, or nothing where that is None."""

    says: str | None = SAME

    async def answer(self, _: web.Request) -> web.Response:
        """Answer anything."""
        return web.Response(headers={} if self.says is None else {"X-Origin-Identity": self.says})


@dataclass(slots=True)
class World:
    """A stack, Prometheus, and the origin of the old way."""

    stack: Stack
    prometheus: Prometheus
    old: OldOrigin

    async def workers(self) -> list[int]:
        """Return the processes of the workers."""
        async with self.prometheus.session.get(self.stack.url("admin", "/health")) as answer:
            return [worker["pid"] for worker in (await answer.json())["workers"] if worker["pid"]]

    async def dial(self, percent: str) -> str:
        """Set the dial of an origin that takes Passports only, so that nothing follows; return what is said."""
        line = ["dial", "set", "shadow-cookie", percent, "--origin", "api", "--reason", "test"]
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "edge.cli", *line, "--var", str(self.stack.var)),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        return (await process.communicate())[0].decode()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    home = tmp_path_factory.mktemp("inside")
    packages = [str(INSIDE), *filter(None, [os.environ.get("PYTHONPATH")])]
    async with old_origin() as (old, address):

        def change(config: Path) -> None:
            origins = yaml.safe_load((config / "origins.yaml").read_text())
            origins["origins"]["old"] = {"addresses": [address], "accepts_legacy": True}
            (config / "origins.yaml").write_text(yaml.safe_dump(origins))
            routes = yaml.safe_load((config / "routes.yaml").read_text())
            routes["routes"] += [route("old", "old", {})]
            routes["routes"] += [route(name, "api", {}, user="none") for name in ("fails", "block")]
            (config / "routes.yaml").write_text(yaml.safe_dump(routes))
            cookie = (config / "cookie.yaml").read_text()
            (config / "cookie.yaml").write_text(f"{cookie}\nkms_refresh_s: 0.4\n")

        environment = {"PYTHONPATH": os.pathsep.join(packages)}
        async with running_stack(home, *SETTINGS, change=change, environment=environment) as stack:
            targets = {"edge": stack.address("admin"), "kms": stack.address("kms"), "cookie": stack.address("cookie")}
            async with prometheus_running(home, targets, interval="1s", faster=FASTER) as prometheus:
                running = World(stack, prometheus, old)
                async with beside(trickle(running)):
                    yield running


@asynccontextmanager
async def old_origin() -> AsyncIterator[tuple[OldOrigin, str]]:
    """Run the origin of the old way until the block ends; yield it and its HOST:PORT."""
    old, app = OldOrigin(), web.Application()
    app.router.add_route("*", "/{any:.*}", old.answer)
    async with TestServer(app) as server:
        yield old, f"{server.host}:{server.port}"


async def trickle(world: World) -> None:
    """Browse, signed in, at the new origin and the old one."""

    async def browse() -> None:
        async with device() as session:
            await signed_in(world.stack, session)
            while True:
                for path in ("/browse", "/old"):
                    await get(session, world.stack.url("edge", path))
                await asyncio.sleep(0.02)

    await repeatedly(browse, 0.2)


async def test_the_control_makes_nothing_fire(world: World) -> None:
    begun = time.monotonic()

    async def long_enough() -> bool:
        return time.monotonic() - begun > CONTROL_S

    await eventually(long_enough, "the control is over", 60.0)
    fired = await world.prometheus.ask('max_over_time(ALERTS{alertstate="firing"}[10m])')
    assert [labels for labels, _ in fired] == []
    compared = await world.prometheus.ask("edge_shadow_comparisons_total > 0")
    assert [(labels["result"], labels["token"]) for labels, _ in compared] == [("same", "cookie")]


async def test_the_old_origin_takes_the_asker_for_somebody_else(world: World) -> None:
    async with causes(world, "ShadowMismatch") as caused:
        world.old.says = f"v=1, customer={DEMO_CUSTOMER + 1}, level=high"
        fired = await caused.fire("ShadowMismatch")
        assert fired["ShadowMismatch"]["labels"]["device_type"] == "unknown"
        assert "ShadowBlind" not in fired
    world.old.says = SAME


async def test_the_old_origin_no_longer_reports(world: World) -> None:
    async with causes(world, "ShadowBlind") as caused:
        world.old.says = None
        await caused.fire("ShadowBlind")
    world.old.says = SAME


async def test_a_dial_is_moved_while_a_worker_is_halted(world: World) -> None:
    async with causes(world, "DialsDiffer") as caused:
        halted = (await world.workers())[0]
        os.kill(halted, signal.SIGSTOP)
        try:
            assert "1 of 2 workers" in await world.dial("1")
            await caused.fire("DialsDiffer")
        finally:
            os.kill(halted, signal.SIGCONT)


async def test_the_journal_of_the_dials_may_not_grow(world: World) -> None:
    supervisor = psutil.Process(world.stack.places["edge"][1])
    before = supervisor.rlimit(psutil.RLIMIT_FSIZE)
    async with causes(world, "DialChangeNotKept") as caused:
        supervisor.rlimit(psutil.RLIMIT_FSIZE, ((world.stack.var / "dials.jsonl").stat().st_size, before[1]))
        try:
            assert "cannot be written to" in await world.dial("2")
            await caused.fire("DialChangeNotKept")
        finally:
            supervisor.rlimit(psutil.RLIMIT_FSIZE, before)
    assert "2 of 2 workers" in await world.dial("2")


async def test_a_filter_raises(world: World) -> None:
    async with causes(world, "FiltersFail") as caused, aiohttp.ClientSession() as session:
        url = world.stack.url("edge", "/fails?at=cookie&bug=raise")
        assert await get(session, url) == 500
        async with beside(repeatedly(lambda: get(session, url))):
            await caused.fire("FiltersFail")


async def test_a_filter_blocks_the_loop(world: World) -> None:
    async with causes(world, "LoopBlocked") as caused, aiohttp.ClientSession() as session:
        with contextlib.suppress(aiohttp.ClientError, TimeoutError):
            await get(session, world.stack.url("edge", "/block"))
        await caused.fire("LoopBlocked")
        blamed = await world.prometheus.ask("edge_loop_blocked_total > 0")
        assert [labels["filter"] for labels, _ in blamed] == ["chaos_block"]


async def test_of_two_workers_one_is_replaced_before_the_access_log_is_gone(world: World) -> None:
    file, log = world.stack.config / "edge.yaml", world.stack.var / "access.log"
    good = file.read_text()

    async def first_has_opened_it() -> bool:
        return log.exists()

    async with causes(world, "ConfigsDiffer") as caused:
        file.write_text(yaml.safe_dump({**yaml.safe_load(good), "access_log": {"path": str(log)}}))
        async with beside(asyncio.to_thread(ask, world.stack.var, "restart")) as restarting:
            await eventually(first_has_opened_it, "the first new worker has opened the access log")
            log.unlink()
            log.mkdir()  # the second one cannot open that
            outcome = await restarting
        assert outcome is not None
        assert outcome.result is Result.WORKER_REFUSED
        assert "1 of 2 workers were replaced" in outcome.text
        await caused.fire("ConfigsDiffer")
    file.write_text(good)
    outcome = await asyncio.to_thread(ask, world.stack.var, "restart")
    assert outcome is not None
    assert outcome.result is Result.APPLIED, outcome


async def test_everything_recovers(world: World) -> None:
    await world.prometheus.quiet(90.0)
