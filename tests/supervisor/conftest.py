"""A supervisor in the test's own loop over real worker processes."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from edge.supervisor.slot import WorkerCommand
from edge.supervisor.supervisor import Plan, Supervisor

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
    *, workers: int = 1, arguments: tuple[str, ...] = (), drain_s: float = 10.0, ready_fd: int | None = None
) -> Plan:
    """Return a plan over tiny workers on free ports."""
    return Plan(
        listen=("127.0.0.1", 0),
        admin=("127.0.0.1", 0),
        backlog=64,
        workers=workers,
        drain_s=drain_s,
        command=WorkerCommand(TINY, arguments),
        ready_fd=ready_fd,
    )


@asynccontextmanager
async def supervising(what: Plan) -> AsyncIterator[Running]:
    """Run a supervisor; afterwards drain it and wait for its end."""
    said: list[str] = []
    async with aiohttp.ClientSession() as session:
        running = Running(Supervisor(what, said.append), said, session)
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
