"""`edge up` over small parts: order, output, deaths, stopping. Every part is a real process."""

import asyncio
import os
import shutil
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import yaml

from edge.control.errors import ConfigErrors
from edge.control.load import load_config
from edge.control.values import Address
from edge.up import run
from edge.up.run import Up
from edge.up.stack import Part, Settings, stack
from tests.processes import REPOSITORY, eventually

NOWHERE = Address("127.0.0.1", 0)


@pytest.fixture(autouse=True)
def _from_the_repository(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(REPOSITORY), os.environ.get("PYTHONPATH", "")]))


def settings(tmp_path: Path, *, ephemeral: bool = True) -> Settings:
    snapshot = load_config(REPOSITORY / "config", ["admin.address=127.0.0.1:0"], var=tmp_path)
    assert not isinstance(snapshot, ConfigErrors)
    return Settings(REPOSITORY / "config", tmp_path, (), snapshot, ephemeral)


def tiny(name: str, *flags: str, wave: int = 0, listen: Address = NOWHERE) -> Part:
    def command(_: Settings, at: "dict[str, Address]") -> list[str]:
        return [sys.executable, "-m", "tests.cli.tiny_part", "--listen", str(at[name]), *flags]

    return Part(name, "small", wave, listen, command)  # type: ignore[arg-type]


class Terminal:
    """One `edge up` in the test's loop, and what it printed."""

    def __init__(self, what: Settings, parts: list[Part]) -> None:
        self.said: list[tuple[str, str]] = []
        self.ready = asyncio.Event()
        self.up = Up(what, parts, lambda name, line: self.said.append((name, line)), lambda _: self.ready.set())
        self.task = asyncio.create_task(self.up.run())

    def lines(self, name: str = "") -> list[str]:
        return [line for who, line in self.said if who == name]

    async def until(self, condition: Callable[[], bool]) -> None:
        async def holds() -> bool:
            return condition()

        await eventually(holds, str(self.said))

    def pid(self, name: str) -> int:
        (child,) = [running.child for running in self.up.parts if running.part.name == name]
        assert child is not None
        return child.pid


@asynccontextmanager
async def terminal(what: Settings, *parts: Part) -> AsyncIterator[Terminal]:
    opened = Terminal(what, list(parts))
    try:
        yield opened
    finally:
        if not opened.task.done():
            os.kill(os.getpid(), signal.SIGINT)
        await opened.task


async def test_waves_start_in_order_and_every_part_learns_the_real_addresses(tmp_path: Path) -> None:
    async with terminal(settings(tmp_path), tiny("second", wave=1), tiny("first", wave=0)) as edge_up:
        await edge_up.ready.wait()
        started = [who for who, line in edge_up.said if line.startswith("tiny on")]
        assert started == ["first", "second"]
        assert all(address.port > 0 for address in edge_up.up.addresses.values())


async def test_ctrl_c_stops_all_in_reverse_order_and_the_last_words_are_printed(tmp_path: Path) -> None:
    async with terminal(settings(tmp_path), tiny("a", wave=0), tiny("b", wave=1)) as edge_up:
        await edge_up.ready.wait()
        pids = [edge_up.pid("a"), edge_up.pid("b")]
        os.kill(os.getpid(), signal.SIGINT)
        assert await edge_up.task == 0
        assert [who for who, line in edge_up.said if line == "tiny leaves"] == ["b", "a"]
        assert not any(map(alive, pids))


async def test_a_part_that_dies_is_said_and_started_again_on_its_address(tmp_path: Path) -> None:
    async with terminal(settings(tmp_path), tiny("a")) as edge_up:
        await edge_up.ready.wait()
        address, first = edge_up.up.addresses["a"], edge_up.pid("a")
        os.kill(first, signal.SIGKILL)
        await edge_up.until(lambda: sum(line.startswith(f"tiny on {address}") for line in edge_up.lines("a")) == 2)
        assert edge_up.lines() == ["a was ended by signal 9; it is started again in 0.1 s"]
        assert edge_up.pid("a") != first


async def test_a_part_that_cannot_start_is_said_and_nothing_stays_running(tmp_path: Path) -> None:
    async with terminal(settings(tmp_path), tiny("a"), tiny("b", "--fail", wave=1), tiny("c", wave=2)) as edge_up:
        assert await edge_up.task == 1
        assert edge_up.lines("b") == ["tiny cannot start: it was told so"]
        assert edge_up.lines() == ["b could not start; see its lines above"]
        assert edge_up.lines("a")[-1] == "tiny leaves"
        assert not edge_up.lines("c")


async def test_taken_ports_are_all_said_before_anything_is_started(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as two:
        taken = [Address(*server.getsockname()) for server in (one, two)]
        parts = [tiny("a", listen=taken[0]), tiny("b", listen=taken[1]), tiny("c")]
        async with terminal(settings(tmp_path, ephemeral=False), *parts) as edge_up:
            assert await edge_up.task == 2
            said = edge_up.lines()
            assert said[0].startswith(f"a cannot start: port {taken[0].port} on 127.0.0.1 is taken")
            assert said[1].startswith(f"b cannot start: port {taken[1].port} on 127.0.0.1 is taken")
            assert len(edge_up.said) == 3


async def test_a_part_that_does_not_stop_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "STOP_TIMEOUT_S", 0.1)
    async with terminal(settings(tmp_path), tiny("a", "--deaf")) as edge_up:
        await edge_up.ready.wait()
        os.kill(os.getpid(), signal.SIGTERM)
        assert await edge_up.task == 0
        assert edge_up.lines()[-1] == "a does not stop and is ended"


async def test_a_second_ctrl_c_ends_a_part_that_does_not_stop_at_once(tmp_path: Path) -> None:
    async with terminal(settings(tmp_path), tiny("a", "--deaf")) as edge_up:
        await edge_up.ready.wait()
        os.kill(os.getpid(), signal.SIGINT)
        await edge_up.until(lambda: edge_up.lines() == ["stopping"])
        os.kill(os.getpid(), signal.SIGINT)
        assert await edge_up.task == 0


async def test_ctrl_c_while_a_part_is_starting_stops_all(tmp_path: Path) -> None:
    async with terminal(settings(tmp_path), tiny("a"), tiny("b", "--never-ready", wave=1)) as edge_up:
        await edge_up.until(lambda: bool(edge_up.lines("b")))
        os.kill(os.getpid(), signal.SIGINT)
        assert await edge_up.task == 0
        assert [who for who, line in edge_up.said if line == "tiny leaves"] == ["b", "a"]


async def test_a_part_that_is_never_ready_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "READY_TIMEOUT_S", 0.3)
    async with terminal(settings(tmp_path), tiny("b", "--never-ready")) as edge_up:
        assert await edge_up.task == 1
        assert edge_up.lines() == ["b is not ready after 0.3 s; giving up"]


async def test_children_leave_when_edge_up_is_killed(tmp_path: Path) -> None:
    script = (
        "import asyncio, sys\n"
        "from edge.up.child import start\n"
        "async def main():\n"
        "    line = [sys.executable, '-m', 'tests.cli.tiny_part', '--listen', '127.0.0.1:0']\n"
        "    child, ready = await start(line, print)\n"
        "    await ready\n"
        "    print('pid', child.pid, flush=True)\n"
        "    await asyncio.Event().wait()\n"
        "asyncio.run(main())\n"
    )
    parent = await asyncio.create_subprocess_exec(sys.executable, "-c", script, stdout=asyncio.subprocess.PIPE)
    assert parent.stdout is not None
    line = b""
    while not line.startswith(b"pid "):
        line = await parent.stdout.readline()
    pid = int(line.split()[1])
    parent.kill()
    await parent.wait()

    async def gone() -> bool:
        return not alive(pid)

    await eventually(gone, "the child has left")


def alive(pid: int) -> bool:
    """Say whether a process runs; one that nobody has waited for yet does not."""
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False


def test_every_origin_at_the_apis_address_follows_it_to_its_free_port(tmp_path: Path) -> None:
    config = tmp_path / "config"
    shutil.copytree(REPOSITORY / "config", config)
    origins = yaml.safe_load((config / "origins.yaml").read_text())
    origins["origins"]["apart"] = dict(
        origins["origins"]["api"], addresses=list(origins["origins"]["api"]["addresses"])
    )
    (config / "origins.yaml").write_text(yaml.safe_dump(origins))
    snapshot = load_config(config, [], var=tmp_path)
    assert not isinstance(snapshot, ConfigErrors)
    asked = Settings(config, tmp_path, (), snapshot, ephemeral=True)
    (edge,) = [part for part in stack(asked, None) if part.name == "edge"]
    at = {name: Address("127.0.0.1", 4000 + number) for number, name in enumerate(("kms", "cookie", "api", "edge"))}
    line = edge.command(asked, at)
    assert {'origins.api.addresses=["127.0.0.1:4002"]', 'origins.apart.addresses=["127.0.0.1:4002"]'} <= set(line)


@pytest.mark.parametrize("legacy", [False, True])
def test_only_an_api_in_legacy_mode_is_told_to_report_wrong_identities(tmp_path: Path, legacy: bool) -> None:
    sets = [f"origins.api.accepts_legacy={str(legacy).lower()}"]
    snapshot = load_config(REPOSITORY / "config", sets, var=tmp_path)
    assert not isinstance(snapshot, ConfigErrors)
    asked = Settings(REPOSITORY / "config", tmp_path, (), snapshot, ephemeral=True, wrong_identities="0.02:7")
    (api,) = [part for part in stack(asked, None) if part.name == "api"]
    names = ("kms", "subscriber", "cookie", "auth", "api")
    line = api.command(asked, {name: Address("127.0.0.1", 4000 + number) for number, name in enumerate(names)})
    assert (line[-2:] == ["--wrong-identities", "0.02:7"]) is legacy
