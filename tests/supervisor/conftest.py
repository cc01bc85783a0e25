"""A supervisor in the test's own loop over real worker processes."""

import asyncio
import os
import tempfile
import weakref
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import aiohttp
import pytest

from edge.control.load import load_config
from edge.control.snapshot import Snapshot
from edge.supervisor.process import WorkerCommand
from edge.supervisor.supervisor import Plan, Supervisor
from edge.supervisor.systemd import Notify

CONFIG = Path(__file__).parents[2] / "config"
TINY = "tests.supervisor.tiny_worker"


class Running:
    """One supervisor at work, with what it said and a session to ask it things."""

    def __init__(self, supervisor: Supervisor, said: list[str], session: aiohttp.ClientSession) -> None:
        self.supervisor = supervisor
        self.said = said
        self.session = session
        self.task: asyncio.Task[int] = asyncio.create_task(supervisor.run())

    async def get(self, path: str) -> str:
        """Ask a worker on a connection of its own."""
        host, port = self.supervisor.listening
        async with self.session.get(f"http://{host}:{port}{path}", headers={"Connection": "close"}) as response:
            return await response.text()

    async def admin(self, path: str) -> tuple[int, str]:
        """Ask the admin listener."""
        host, port = self.supervisor.admin_listening
        async with self.session.get(f"http://{host}:{port}{path}") as response:
            return response.status, await response.text()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait for a condition; the test's timeout is the limit."""
        while not condition():
            assert not self.task.done(), self.said
            await asyncio.sleep(0.005)

    def ready(self) -> int:
        """Return how many workers are ready."""
        return sum(worker.state == "ready" for worker in self.supervisor.health().workers)


def plan(
    *overrides: str,
    workers: int = 1,
    arguments: tuple[str, ...] = (),
    drain_s: float = 10.0,
    ready_fd: int | None = None,
    config: Path = CONFIG,
    listen: tuple[str, int] = ("127.0.0.1", 0),
    admin: tuple[str, int] = ("127.0.0.1", 0),
) -> Plan:
    """Return a plan over tiny workers on free ports. Its `var` is a directory that is removed with the plan."""
    settings = (
        f'listener.address="{listen[0]}:{listen[1]}"',
        f'admin.address="{admin[0]}:{admin[1]}"',
        f"edge.workers={workers}",
        f"timeouts.drain_s={drain_s}",
        "edge.standby=false",
        *overrides,
    )
    var = tempfile.TemporaryDirectory()
    load = partial(load_config, config, settings, var=var.name)
    snapshot = load()
    assert isinstance(snapshot, Snapshot), snapshot
    made = Plan(snapshot, load, WorkerCommand(TINY, arguments), ready_fd)
    weakref.finalize(made, var.cleanup)
    return made


@asynccontextmanager
async def supervising(what: Plan, notify: Notify | None = None) -> AsyncIterator[Running]:
    """Run a supervisor; afterwards drain it and wait for its end."""
    said: list[str] = []
    async with aiohttp.ClientSession() as session:
        running = Running(Supervisor(what, said.append, notify), said, session)
        try:
            yield running
        finally:
            running.supervisor.stop()
            await running.task


@pytest.fixture(autouse=True)
def _from_the_repository(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let worker processes import the tests."""
    root = str(Path(__file__).parents[2])
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([root, os.environ.get("PYTHONPATH", "")]))
