"""What one worker holds in memory while large bodies pass through it and while connections idle.

`pytest --log-cli-level=INFO` shows the figures.
"""

import asyncio
import contextlib
import logging
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.edge_process.gibibyte import (
    GET_DOWNLOAD,
    GIBIBYTE,
    connect,
    content_length,
    download,
    read_head,
    running_origin,
    upload,
)
from tests.edge_process.worker import Worker, running_worker
from tests.services.kms_calls import Kms

_log = logging.getLogger(__name__)
GROWTH_BAR_BYTES = 16 << 20
IDLE_CONNECTIONS = 2000
IDLE_BAR_BYTES = 20 << 10

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]


class Peak:
    """The largest resident set seen while it watched, over the one at its start."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self.before = self.most = worker.rss()

    @property
    def growth(self) -> int:
        return self.most - self.before

    async def watch(self) -> None:
        while True:
            self.most = max(self.most, self._worker.rss())
            await asyncio.sleep(0.02)


@asynccontextmanager
async def watched(worker: Worker) -> AsyncIterator[Peak]:
    peak = Peak(worker)
    watching = asyncio.create_task(peak.watch())
    try:
        yield peak
    finally:
        watching.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await watching
        peak.most = max(peak.most, worker.rss())


async def test_m3_a_gibibyte_down_to_a_device_that_pauses_leaves_the_worker_small(kms: Kms) -> None:
    async with running_origin() as origin, running_worker(kms, origin.address) as worker:
        await download(worker, origin, 1 << 20)
        async with watched(worker) as peak:
            arrived = await download(worker, origin, GIBIBYTE)
        assert (arrived.moved, arrived.checksum) == (GIBIBYTE, origin.sent.checksum)
    _log.info("grew by %.1f MiB", peak.growth / (1 << 20))
    assert peak.growth < GROWTH_BAR_BYTES


async def test_m3_a_gibibyte_up_to_an_origin_that_pauses_leaves_the_worker_small(kms: Kms) -> None:
    async with running_origin() as origin, running_worker(kms, origin.address) as worker:
        await upload(worker, origin, 1 << 20)
        async with watched(worker) as peak:
            sent, answer = await upload(worker, origin, GIBIBYTE)
        assert (origin.received.moved, origin.received.checksum) == (GIBIBYTE, sent.checksum)
        assert int(answer, 16) == sent.checksum
    _log.info("grew by %.1f MiB", peak.growth / (1 << 20))
    assert peak.growth < GROWTH_BAR_BYTES


async def one_request(worker: Worker) -> socket.socket:
    """Return a connection that has had one whole request and its answer."""
    sock = await connect(worker.address)
    await asyncio.get_running_loop().sock_sendall(sock, GET_DOWNLOAD)
    head, rest = await read_head(sock)
    assert head.startswith(b"HTTP/1.1 200 ")
    assert content_length(head) == len(rest) == 0
    return sock


async def test_m2_an_idle_connection_costs_less_than_20_kib(kms: Kms) -> None:
    cap = "limits.max_connections_per_client=10000"
    async with running_origin() as origin, running_worker(kms, origin.address, cap) as worker:
        with contextlib.ExitStack() as held:
            for _ in range(100):  # what the first connections allocate for all that follow
                held.enter_context(await one_request(worker))
            before = worker.rss()
            for _ in range(IDLE_CONNECTIONS):
                held.enter_context(await one_request(worker))
            growth = worker.rss() - before
            connections = (await worker.metrics()).values["edge_connections"]
            assert connections[("device",)] == IDLE_CONNECTIONS + 100
    _log.info("%.1f KiB for each connection", growth / IDLE_CONNECTIONS / 1024)
    assert growth / IDLE_CONNECTIONS < IDLE_BAR_BYTES
