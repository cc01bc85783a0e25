"""The control socket: what a caller may do wrong is not heard of, and what the edge does wrong is."""

import asyncio
import contextlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from edge.supervisor.config import Outcome, Result
from edge.supervisor.control_socket import ControlSocket, ask

STOPPED = Outcome(Result.WORKER_REFUSED, "the edge stopped before it was done")


@contextmanager
def heard() -> Iterator[list[object]]:
    """Note what the loop is told of exceptions that nobody took."""
    found: list[object] = []
    loop = asyncio.get_running_loop()

    def note(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        found.append(context.get("exception"))

    loop.set_exception_handler(note)
    try:
        yield found
    finally:
        loop.set_exception_handler(None)


async def asked(var: Path, command: str, problem: Exception | None = None) -> Outcome | None:
    """Send a command to an edge that says it back, or whose answer is a problem."""

    async def answer(line: str, _: str) -> Outcome:
        if problem is not None:
            raise problem
        return Outcome(Result.APPLIED, line)

    control = ControlSocket(var, answer)
    assert await control.open() == ""
    try:
        return await asyncio.to_thread(ask, var, command)
    finally:
        control.close()


async def test_a_command_is_answered(tmp_path: Path) -> None:
    with heard() as found:
        assert await asked(tmp_path, "reload") == Outcome(Result.APPLIED, "reload")
    assert found == []


@pytest.mark.parametrize("problem", [ValueError("a bug"), RuntimeError("a bug")])
async def test_what_goes_wrong_in_the_edge_is_heard_of(tmp_path: Path, problem: Exception) -> None:
    with heard() as found:
        assert await asked(tmp_path, "reload", problem) == STOPPED
    assert found == [problem]


async def test_a_line_longer_than_any_command_is_not_answered_and_is_no_fault_of_the_edge(
    tmp_path: Path,
) -> None:
    with heard() as found:
        with contextlib.suppress(ConnectionError):
            assert await asked(tmp_path, "x" * 500_000) == STOPPED
        await asyncio.sleep(0)
    assert found == []
