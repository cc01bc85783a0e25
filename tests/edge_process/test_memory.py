"""What one worker holds in memory while large bodies pass through it and while connections idle.

`pytest --log-cli-level=INFO` shows the figures.
"""

import asyncio
import contextlib
import logging
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
import pytest_asyncio

from tests.edge_process.gibibyte import Body, Origin, connect, content_length, read_head, running_origin
from tests.edge_process.worker import Worker, running_worker
from tests.processes import eventually
from tests.services.kms_calls import Kms, kms_running

_log = logging.getLogger(__name__)
GIBIBYTE = 1 << 30
GROWTH_BAR_BYTES = 16 << 20
PAUSE_AFTER_BYTES = 128 << 20
IDLE_CONNECTIONS = 2000
IDLE_BAR_BYTES = 20 << 10

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def kms(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Kms]:
    async with kms_running(tmp_path_factory.mktemp("memory")) as running:
        yield running


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


async def came_to_rest(moved: Callable[[], int], *, rests: int = 15) -> None:
    """Wait until a count has stopped growing: back-pressure has reached the sender."""
    seen = [-1] * rests

    async def still() -> bool:
        seen.append(moved())
        return len(set(seen[-rests:])) == 1

    await eventually(still, "the sender is held back")


async def pass_gate(body: Body, bytes_before: int, sender: Body, total: int) -> None:
    """Let `body` stop reading once it has `bytes_before`, until its sender is held back; then let it go on."""

    async def reached() -> bool:
        return body.moved >= bytes_before

    await eventually(reached, f"{bytes_before} bytes have arrived")
    body.gate.clear()
    await came_to_rest(lambda: sender.moved)
    assert sender.moved < total, "nothing held the sender back"
    body.gate.set()


async def download(worker: Worker, origin: Origin, total: int) -> Body:
    """Get a body, with a pause in the middle of a large one; return what arrived."""
    origin.download_bytes, origin.sent = total, Body()
    arrived = Body()
    with await connect(worker.address) as sock:
        await asyncio.get_running_loop().sock_sendall(sock, b"GET /download HTTP/1.1\r\nHost: edge.test\r\n\r\n")
        head, rest = await read_head(sock)
        assert head.startswith(b"HTTP/1.1 200 ")
        assert content_length(head) == total
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(arrived.receive(sock, total, rest))
            if total > PAUSE_AFTER_BYTES:
                tasks.create_task(pass_gate(arrived, PAUSE_AFTER_BYTES, origin.sent, total))
    return arrived


async def upload(worker: Worker, origin: Origin, total: int) -> tuple[Body, bytes]:
    """Post a body, with a pause of the origin in the middle of a large one; return what was sent and the answer."""
    origin.received = Body()
    sent = Body()
    with await connect(worker.address) as sock:
        head = b"POST /upload HTTP/1.1\r\nHost: edge.test\r\nContent-Length: %d\r\n\r\n" % total
        await asyncio.get_running_loop().sock_sendall(sock, head)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(sent.send(sock, total))
            if total > PAUSE_AFTER_BYTES:
                tasks.create_task(pass_gate(origin.received, PAUSE_AFTER_BYTES, sent, total))
        head, answer = await read_head(sock)
        assert head.startswith(b"HTTP/1.1 200 ")
        while len(answer) < content_length(head):
            answer += await asyncio.get_running_loop().sock_recv(sock, 64)
    return sent, answer


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
    await asyncio.get_running_loop().sock_sendall(sock, b"GET /download HTTP/1.1\r\nHost: edge.test\r\n\r\n")
    head, rest = await read_head(sock)
    assert head.startswith(b"HTTP/1.1 200 ")
    assert content_length(head) == len(rest) == 0
    return sock


async def test_m2_an_idle_connection_costs_less_than_20_kib(kms: Kms) -> None:
    async with running_origin() as origin, running_worker(kms, origin.address) as worker:
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
