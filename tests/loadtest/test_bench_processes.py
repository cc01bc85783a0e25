"""Programs are pinned, waited for, explained when they end, and always stopped."""

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from loadtest.bench.failure import BenchError
from loadtest.bench.processes import Seat, free_port, running, wait_until_listening

CORE = min(os.sched_getaffinity(0))
SLEEPER = [sys.executable, "-c", "import signal; signal.pause()"]
IGNORE = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True)"
DEAF = [sys.executable, "-c", f"{IGNORE}\nwhile True: signal.pause()"]
PARENT = [sys.executable, "-c", f"import signal, subprocess; subprocess.Popen({SLEEPER!r}); signal.pause()"]


def _server(port: int) -> list[str]:
    return [sys.executable, "-m", "http.server", "--bind", "127.0.0.1", str(port)]


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - the other process has no event to give
            await asyncio.sleep(0.01)


def _alive(process: psutil.Process) -> bool:
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE


async def test_a_program_and_its_children_stay_on_their_core_and_are_measured(tmp_path: Path) -> None:
    async with running("a parent", CORE, PARENT, tmp_path) as program:
        await _until(lambda: len(program.tree()) == 2)
        assert program.cores() == {CORE}
        assert program.rss_mib() > 1
        assert program.cpu_s() >= 0


async def test_children_are_gone_with_their_program(tmp_path: Path) -> None:
    async with running("a parent", CORE, PARENT, tmp_path) as program:
        await _until(lambda: len(program.tree()) == 2)
        family = program.tree()
    await _until(lambda: not any(_alive(process) for process in family))
    assert program.tree() == []


async def test_a_failure_while_it_runs_stops_a_program(tmp_path: Path) -> None:
    with pytest.raises(BenchError):
        async with running("a sleeper", CORE, SLEEPER, tmp_path) as program:
            raise BenchError("something else went wrong")
    assert program.process.returncode is not None


async def test_a_program_that_ignores_the_polite_signal_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("loadtest.bench.processes.STOP_TIMEOUT_S", 0.2)
    async with running("deaf", CORE, DEAF, tmp_path) as program:
        await _until(lambda: "deaf" in program.tail())
    assert program.process.returncode == -signal.SIGKILL


async def test_waiting_ends_when_the_port_accepts(tmp_path: Path) -> None:
    port = free_port()
    async with running("a server", CORE, _server(port), tmp_path) as program:
        await wait_until_listening(program, port)
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.close()
        await writer.wait_closed()


async def test_a_program_that_ends_at_once_is_explained_by_its_own_words(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "raise SystemExit('the port is taken')"]
    async with running("a server", CORE, command, tmp_path) as program:
        with pytest.raises(BenchError, match=r"a server ended at once:\n.*the port is taken"):
            await wait_until_listening(program, free_port())


async def test_a_program_that_does_not_listen_is_not_waited_for_forever(tmp_path: Path) -> None:
    async with running("a sleeper", CORE, SLEEPER, tmp_path) as program:
        with pytest.raises(BenchError, match="does not listen"):
            await wait_until_listening(program, free_port(), timeout_s=0.1)


def test_files_of_a_program_are_private(tmp_path: Path) -> None:
    file = Seat(CORE, 1, tmp_path / "home").write("envoy.json", "{}")
    assert (file.read_text(), file.stat().st_mode & 0o077) == ("{}", 0)
