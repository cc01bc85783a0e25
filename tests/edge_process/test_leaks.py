"""What a worker keeps of devices that vanish (nothing), and what it does when there is nothing left to have."""

import asyncio
import contextlib
import os
import socket
import struct

import psutil
import pytest

from tests.edge_process.gibibyte import GET_DOWNLOAD, Body, Origin, connect, download, read_head, running_origin
from tests.edge_process.worker import Worker, running_worker
from tests.processes import eventually
from tests.services.kms_calls import Kms

VANISHING = 300
GROWTH_BAR_BYTES = 4 << 20
_RESET = struct.pack("ii", 1, 0)

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def settled(worker: Worker, most_files: int = 1 << 20) -> None:
    """Wait until no connection is left on either side, and no more files are open than `most_files`."""

    async def nobody_is_there() -> bool:
        connections = (await worker.metrics()).values["edge_connections"]
        return not any(connections.values()) and open_files(worker) <= most_files

    await eventually(nobody_is_there, "all connections are gone")


async def vanish_in_a_download(worker: Worker, how: str) -> None:
    """Ask for a large body, see it begin, and go."""
    with await connect(worker.address) as sock:
        await asyncio.get_running_loop().sock_sendall(sock, GET_DOWNLOAD)
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


async def two_reports(worker: Worker) -> None:
    """Wait until the worker has reported twice by itself, which takes a second or two."""
    before = len(worker.control.messages)

    async def came() -> bool:
        return len(worker.control.messages) >= before + 2

    await eventually(came, "the worker has reported twice")


async def test_m6_a_worker_with_no_descriptor_left_does_not_spin_and_recovers(kms: Kms) -> None:
    async with running_origin() as origin, running_worker(kms, origin.address) as worker:
        process = psutil.Process(worker.process.pid)
        process.rlimit(psutil.RLIMIT_NOFILE, (64, 64))
        with contextlib.ExitStack() as held:
            for _ in range(200):
                held.enter_context(await connect(worker.address))

            async def full() -> bool:
                return open_files(worker) == 64

            await eventually(full, "no descriptor is left")
            before = sum(process.cpu_times()[:2])
            await two_reports(worker)
            assert sum(process.cpu_times()[:2]) - before < 0.3

        async def serves_again() -> bool:
            with contextlib.suppress(ConnectionError, EOFError), await connect(worker.address) as sock:
                await asyncio.get_running_loop().sock_sendall(sock, GET_DOWNLOAD)
                return (await read_head(sock))[0].startswith(b"HTTP/1.1 200 ")
            return False  # what was held is not let go yet

        await eventually(serves_again, "the worker serves again")


@pytest.mark.parametrize("reader", ["gone", "asleep"])
async def test_w6_requests_go_on_when_nobody_reads_the_access_log(kms: Kms, reader: str) -> None:
    readable, writable = os.pipe()
    settings = ("access_log.path=stdout",)
    async with running_origin() as origin, running_worker(kms, origin.address, *settings, stdout=writable) as worker:
        os.close(writable)
        if reader == "gone":
            os.close(readable)
        for _ in range(400):
            await download(worker, origin, 0)
        await two_reports(worker)
        dropped = (await worker.metrics()).values["edge_access_log_dropped_total"][()]
        assert dropped > 0 if reader == "gone" else dropped == 0
        assert await worker.process.stop() == 0
        if reader == "asleep":
            os.close(readable)
