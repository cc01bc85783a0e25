"""Workers that die, hang and leave, under load: what it costs whom."""

import os
import signal
import time
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.edge_process.edge import Edge, Load, running_edge
from tests.edge_process.test_worker import Origin, origin_running
from tests.processes import eventually
from tests.services.kms_calls import Kms, kms_running

pytestmark = pytest.mark.asyncio(loop_scope="module")

CLIENTS = 8


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def kms(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Kms]:
    async with kms_running(tmp_path_factory.mktemp("processes")) as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def origin() -> AsyncIterator[Origin]:
    async with origin_running() as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def edge(kms: Kms, origin: Origin, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Edge]:
    async with running_edge(kms, tmp_path_factory.mktemp("edge"), origin.address) as running:
        yield running


async def replaced(edge: Edge, pid: int) -> None:
    """Wait until another process serves in the place of `pid`."""

    async def another() -> bool:
        workers = (await edge.health())["workers"]
        return all(worker["state"] == "ready" and worker["pid"] != pid for worker in workers)

    await eventually(another, f"worker {pid} is replaced")


async def test_w1_a_worker_that_is_killed_under_load_loses_what_was_in_its_hands_and_is_back_at_once(
    edge: Edge,
) -> None:
    pids = await edge.pids()
    await edge.standby()
    load = Load(edge.address)
    async with load.of(CLIENTS):
        began = time.monotonic()
        os.kill(pids[0], signal.SIGKILL)
        await replaced(edge, pids[0])
        took = time.monotonic() - began
        await load.more(200)
    assert (await edge.pids())[1] == pids[1]
    assert len(load.failures) <= CLIENTS
    assert load.refused == 0
    assert took < 5.0  # half a second on a machine with nothing else to do


async def test_w1_a_worker_that_is_stopped_is_noticed_and_its_share_is_taken_over(edge: Edge) -> None:
    pids = await edge.pids()
    before = await edge.metric("edge_worker_silences_total") or 0.0
    await edge.standby()
    load = Load(edge.address)
    async with load.of(CLIENTS):
        os.kill(pids[1], signal.SIGSTOP)
        await replaced(edge, pids[1])
        await load.more(200)
    assert len(load.failures) <= CLIENTS
    assert load.refused == 0
    assert await edge.metric("edge_worker_silences_total") == before + 1.0
    assert "worker 1 was silent for" in edge.process.output()
