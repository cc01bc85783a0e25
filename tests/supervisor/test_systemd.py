"""What a systemd unit of `Type=notify` hears from the edge."""

import asyncio
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge.supervisor.config import Result
from edge.supervisor.systemd import (
    ALIVE,
    READY,
    STOPPING,
    notifier,
    reloading,
    telling_that_it_lives,
    watchdog_s,
)
from tests.processes import eventually
from tests.supervisor.conftest import plan, supervising


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, socket.socket]]:
    """Listen as systemd does; yield what NOTIFY_SOCKET would hold, and the socket."""
    name = f"{tmp_path}/n" if request.param == "path" else f"@edge-test-{os.getpid()}-{id(tmp_path)}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(name.replace("@", "\0", 1) if name.startswith("@") else name)
        listening.settimeout(30)
        yield name, listening


def test_states_arrive_as_datagrams_and_no_worker_inherits_where(manager: tuple[str, socket.socket]) -> None:
    name, listening = manager
    environment = {"NOTIFY_SOCKET": name, "PATH": "/bin"}
    tell = notifier(environment)
    tell(READY)
    tell(reloading(12.5))
    assert [listening.recv(256), listening.recv(256)] == [b"READY=1", b"RELOADING=1\nMONOTONIC_USEC=12500000"]
    assert environment == {"PATH": "/bin"}


@pytest.mark.parametrize("name", ["", "/nowhere/at/all", "vsock:2:1", "@"])
def test_a_manager_that_is_not_there_stops_nothing(name: str) -> None:
    notifier({"NOTIFY_SOCKET": name})(READY)


async def test_a_unit_is_ready_once_a_worker_serves_then_reloads_then_stops() -> None:
    told: list[str] = []
    async with supervising(plan(), told.append) as edge:
        assert told == []
        await edge.until(lambda: edge.ready() == 1)
        assert told == [READY]
        assert (await edge.supervisor.change("reload")).result is Result.APPLIED
        assert [text.partition("\n")[0] for text in told] == [READY, "RELOADING=1", READY]
    assert told[3:] == [STOPPING]


async def test_an_edge_whose_workers_do_not_come_up_is_not_ready() -> None:
    told: list[str] = []
    async with supervising(plan(arguments=("--fail",)), told.append) as edge:
        await edge.until(lambda: any("exit code" in line for line in edge.said))
        assert not told
    assert told == [STOPPING]


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "30000000"}, 30.0),
        ({"WATCHDOG_USEC": "2500000", "WATCHDOG_PID": "7"}, 2.5),
        ({"WATCHDOG_USEC": "2500000", "WATCHDOG_PID": "8"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({"WATCHDOG_PID": "7"}, None),
    ],
)
def test_the_watchdog_is_for_the_process_that_it_names(environment: dict[str, str], expected: float | None) -> None:
    assert watchdog_s(environment, 7) == expected
    assert environment == {}


async def test_a_watchdog_hears_that_the_loop_turns_and_nothing_once_the_edge_is_gone() -> None:
    told: list[str] = []

    async def heard() -> bool:
        return len(told) >= 3

    async with telling_that_it_lives(told.append, 0.01):
        await eventually(heard, "the watchdog has heard three times", 30)
    await asyncio.sleep(0)
    assert set(told) == {ALIVE}
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_where_no_watchdog_listens_nobody_is_told() -> None:
    told: list[str] = []
    async with telling_that_it_lives(told.append, None):
        await asyncio.sleep(0)
    assert told == []
