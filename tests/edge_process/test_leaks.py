"""What is left in a worker after devices and origins that vanish: nothing."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator

import psutil
import pytest
import pytest_asyncio

from tests.edge_process.gibibyte import Body, Origin, connect, read_head, running_origin
from tests.edge_process.worker import Worker, running_worker
from tests.processes import eventually
from tests.services.kms_calls import Kms, kms_running

VANISHING = 300
GROWTH_BAR_BYTES = 4 << 20
_RESET = struct.pack("ii", 1, 0)

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def kms(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Kms]:
    async with kms_running(tmp_path_factory.mktemp("leaks")) as running:
        yield running


async def settled(worker: Worker, most_files: int = 1 << 20) -> None:
    """Wait until no connection is left on either side, and no more files are open than `most_files`."""

    async def nobody_is_there() -> bool:
        connections = (await worker.metrics()).values["edge_connections"]
        return not any(connections.values()) and open_files(worker) <= most_files

    await eventually(nobody_is_there, "all connections are gone")


async def vanish_in_a_download(worker: Worker, how: str) -> None:
    """Ask for a large body, see it begin, and go."""
    with await connect(worker.address) as sock:
        await asyncio.get_running_loop().sock_sendall(sock, b"GET /download HTTP/1.1\r\nHost: edge.test\r\n\r\n")
        await read_head(sock)
        if how == "reset":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)


async def vanish_in_an_upload(worker: Worker, how: str) -> None:
    """Send half a body and go."""
    with await connect(worker.address) as sock:
        head = b"POST /upload HTTP/1.1\r\nHost: edge.test\r\nContent-Length: 2000000\r\n\r\n"
        await asyncio.get_running_loop().sock_sendall(sock, head + bytes(100_000))
        if how == "reset":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)


async def vanish_in_a_head(worker: Worker, how: str) -> None:
    """Send half a head and go."""
    with await connect(worker.address) as sock:
        await asyncio.get_running_loop().sock_sendall(sock, b"GET /download HTTP/1.1\r\nHost: edg")
        if how == "reset":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)


def open_files(worker: Worker) -> int:
    return int(psutil.Process(worker.process.pid).num_fds())


async def a_round(worker: Worker, origin: Origin, how: str, times: int) -> None:
    """Let devices vanish at every stage, thirty at a time."""
    origin.download_bytes = 64 << 20
    origin.sent, origin.received = Body(), Body()
    for _ in range(times // 30):
        async with asyncio.TaskGroup() as tasks:
            for _ in range(10):
                tasks.create_task(vanish_in_a_download(worker, how))
                tasks.create_task(vanish_in_an_upload(worker, how))
                tasks.create_task(vanish_in_a_head(worker, how))


@pytest.mark.parametrize("how", ["close", "reset"])
async def test_w3_devices_that_vanish_leave_no_descriptor_and_no_memory(kms: Kms, how: str) -> None:
    async with running_origin() as origin, running_worker(kms, origin.address) as worker:
        await a_round(worker, origin, how, VANISHING)
        await settled(worker)
        files, memory = open_files(worker), worker.rss()
        await a_round(worker, origin, how, VANISHING)
        await settled(worker, files)
        assert worker.rss() - memory < GROWTH_BAR_BYTES
