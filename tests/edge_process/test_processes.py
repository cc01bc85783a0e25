"""Workers that die, hang and leave, under load: what it costs whom."""

import asyncio
import os
import resource
import signal
import socket
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import psutil
import pytest
from aiohttp import web

from edge.supervisor.config import Result
from tests.edge_process.edge import ALONE, Edge, Load, asked, running_edge
from tests.edge_process.origin import Origin
from tests.processes import beside, dialled, eventually, write_secret
from tests.services.kms_calls import Kms, kms_running

pytestmark = pytest.mark.asyncio(loop_scope="module")

CLIENTS = 8


async def replaced(edge: Edge, pid: int) -> None:
    """Wait until another process serves in the place of `pid`."""

    async def another() -> bool:
        workers = (await edge.health())["workers"]
        return all(worker["state"] == "ready" and worker["pid"] != pid for worker in workers)

    await eventually(another, f"worker {pid} is replaced")


async def test_a2_no_process_that_holds_keys_or_tokens_leaves_a_core_dump(edge: Edge) -> None:
    for pid in (edge.process.pid, *await edge.pids()):
        assert resource.prlimit(pid, resource.RLIMIT_CORE) == (0, 0)


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


async def test_w1_a_worker_that_dies_while_the_kms_is_away_is_replaced_by_the_one_that_stands_by(
    origin: Origin, tmp_path_factory: pytest.TempPathFactory
) -> None:
    async with (
        kms_running(tmp_path_factory.mktemp("kms")) as kms,
        running_edge(kms, tmp_path_factory.mktemp("edge"), origin.address, workers=1) as edge,
    ):
        (pid,) = await edge.pids()
        await edge.standby()
        await kms.process.kill()
        os.kill(pid, signal.SIGKILL)
        await replaced(edge, pid)
        assert b" 200 " in await asked(edge.address)


@pytest.mark.parametrize("content", [None, "two words\n"])
async def test_w1_a_worker_that_dies_is_replaced_also_without_its_token_files(
    kms: Kms, origin: Origin, tmp_path: Path, content: str | None
) -> None:
    token = tmp_path / "edge.token"
    write_secret(token, kms.token("edge"))
    files = (f"services.{service}.token_file={token}" for service in ("kms", "cookie"))
    async with running_edge(kms, tmp_path, origin.address, *files, "edge.standby=false", workers=1) as edge:
        (pid,) = await edge.pids()
        assert await edge.metric("edge_token_files_unusable") == 0
        token.unlink()
        if content is not None:
            write_secret(token, content)
        os.kill(pid, signal.SIGKILL)
        await replaced(edge, pid)
        assert b" 200 " in await asked(edge.address)
        assert (await edge.health())["keys"]["source"] == "kms"
        assert await edge.metric("edge_token_files_unusable") == 1
        assert edge.process.output().count("token_file_unusable") == 1
        assert kms.token("edge") not in edge.process.output()
        refused = await edge.reload()
        assert (refused.result, str(token) in refused.text) == (Result.INVALID, True)
        token.unlink(missing_ok=True)
        write_secret(token, kms.token("edge"))
        assert (await edge.reload()).result is Result.APPLIED
        assert await edge.metric("edge_token_files_unusable") == 0


class Held:
    """An origin that answers `/slow` once its gate is open, an upload once it has it all, and the rest at once."""

    def __init__(self) -> None:
        self.address = ""
        self.gate = asyncio.Event()
        self.begun: set[str] = set()

    async def answer(self, request: web.Request) -> web.Response:
        self.begun.add(request.path)
        if request.path == "/slow":
            await self.gate.wait()
        return web.Response(text=f"{len(await request.read())} bytes")


@asynccontextmanager
async def held_origin() -> AsyncIterator[Held]:
    origin, application = Held(), web.Application()
    application.router.add_route("*", "/{path:.*}", origin.answer)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
        origin.address = f"{host}:{port}"
        yield origin
    finally:
        origin.gate.set()
        await runner.cleanup()


async def test_w2_sigterm_under_load_ends_long_polls_and_uploads_and_loses_nothing(kms: Kms, tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        origin = await stack.enter_async_context(held_origin())
        edge = await stack.enter_async_context(running_edge(kms, tmp_path, origin.address))
        await edge.pids()
        poll = await stack.enter_async_context(beside(asked(edge.address, b"/slow", close=False)))
        reader, writer = await stack.enter_async_context(dialled(edge.address))
        writer.write(b"POST /upload HTTP/1.1\r\nHost: edge.test\r\nContent-Length: 10\r\n\r\nfirst")

        async def both_begun() -> bool:
            return origin.begun >= {"/slow", "/upload"}

        await eventually(both_begun, "the poll and the upload are under way")
        load = Load(edge.address)
        async with load.of(CLIENTS):
            edge.process.send(signal.SIGTERM)

            async def door_is_closed() -> bool:
                return load.refused > 0

            await eventually(door_is_closed, "the door is closed")
            await load.stop()
        assert load.failures == []
        assert load.closed_politely > 0
        origin.gate.set()
        writer.write(b"after")
        for answer in (await poll, await reader.read()):  # to a clean end, not a reset
            assert answer.startswith(b"HTTP/1.1 200 ")
            assert b"connection: close\r\n" in answer.lower()
        assert await edge.process.wait() == 0


async def test_w2_what_does_not_end_holds_the_edge_for_the_drain_time_only(kms: Kms, tmp_path: Path) -> None:
    async with (
        held_origin() as origin,
        running_edge(kms, tmp_path, origin.address, ALONE, "timeouts.drain_s=2", workers=1) as edge,
        beside(asked(edge.address, b"/slow", close=False)) as poll,
    ):

        async def begun() -> bool:
            return "/slow" in origin.begun

        await eventually(begun, "the poll is under way")
        assert await edge.process.stop() == 0
        assert "did not leave" not in edge.process.output()
        with pytest.raises(ConnectionResetError):
            await poll


async def test_a_unit_of_systemd_hears_how_the_edge_is_from_its_supervisor_alone(
    kms: Kms, origin: Origin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[str] = []
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(f"\0edge-test-{os.getpid()}")
        manager.setblocking(False)
        asyncio.get_running_loop().add_reader(manager, lambda: heard.append(manager.recv(256).decode()))
        monkeypatch.setenv("NOTIFY_SOCKET", f"@edge-test-{os.getpid()}")
        async with running_edge(kms, tmp_path, origin.address, ALONE, workers=1) as edge:
            (worker,) = await edge.pids()
            assert heard == ["READY=1"]
            assert "NOTIFY_SOCKET" not in psutil.Process(worker).environ()
            assert (await edge.reload()).result is Result.APPLIED
        asyncio.get_running_loop().remove_reader(manager)
    assert [text.partition("\n")[0] for text in heard] == ["READY=1", "RELOADING=1", "READY=1", "STOPPING=1"]
