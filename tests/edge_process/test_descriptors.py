"""A worker that runs out of file descriptors: it neither spins nor stops, and recovers at once."""

import asyncio
import contextlib
import resource
import subprocess
import sys
from contextlib import AsyncExitStack

import h11
import psutil
import pytest

from tests.edge.raw import RawClient, answering, connected, get, ok, raw_origin
from tests.edge_process.worker import running_worker
from tests.processes import REPOSITORY, eventually
from tests.services.kms_calls import Kms

pytestmark = pytest.mark.asyncio(loop_scope="module")

ROOM = 40


async def status(client: RawClient) -> int:
    """Return the answer's status, 0 when there is none."""
    with contextlib.suppress(ConnectionError, AssertionError, TimeoutError, h11.RemoteProtocolError):
        return (await client.ask(get())).status
    return 0


async def test_m6_out_of_descriptors_a_worker_does_not_spin_and_recovers(kms: Kms) -> None:
    async with raw_origin(answering(ok())) as origin, running_worker(kms, origin.address) as worker:
        process = psutil.Process(worker.process.pid)
        async with connected(worker.port) as first:
            assert await status(first) == 200  # has an origin connection in the pool
            _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
            resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (process.num_fds() + ROOM, hard))
            async with AsyncExitStack() as stack:
                for _ in range(ROOM * 2):
                    await stack.enter_async_context(connected(worker.port))

                async def full() -> bool:
                    return len(process.net_connections()) >= ROOM

                await eventually(full, "the worker has taken all it can")
                before = process.cpu_times()
                await asyncio.sleep(1.0)
                after = process.cpu_times()
                assert after.user + after.system - before.user - before.system < 0.2
                assert await status(first) == 200

            async def serves() -> bool:
                async with connected(worker.port) as client:
                    return await status(client) == 200

            await eventually(serves, "the worker takes connections again")


@pytest.mark.skipif(resource.getrlimit(resource.RLIMIT_NOFILE)[1] > 500_000, reason="this machine allows plenty")
async def test_m6_a_worker_with_few_descriptors_says_so_and_keeps_within_them(kms: Kms) -> None:
    overrides = ("limits.max_connections=1000000",)
    async with raw_origin(answering(ok())) as origin, running_worker(kms, origin.address, *overrides) as worker:
        allowed = next(iter((await worker.metrics()).values["edge_connections_max"].values()))
        assert allowed < psutil.Process(worker.process.pid).rlimit(resource.RLIMIT_NOFILE)[0]
        assert "few_file_descriptors" in worker.process.output()


async def test_m6_the_soft_limit_is_raised_to_the_hard_one() -> None:
    code = (
        "import resource; from edge.net.descriptors import raise_descriptor_limit as up;"
        "hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1];"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard));"
        "print(up() == resource.getrlimit(resource.RLIMIT_NOFILE)[0] > 64)"
    )
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", code, cwd=REPOSITORY, stdout=subprocess.PIPE)
    assert (await process.communicate())[0] == b"True\n"
