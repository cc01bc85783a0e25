"""Everything that runs for one scenario: origins, the fault proxy, the edge; and the means to harm them."""

import asyncio
import json
import os
import sys
import time
from collections.abc import AsyncIterator, Callable, Container, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import aiohttp
import psutil
from prometheus_client.parser import text_string_to_metric_families

from loadtest.bench.edge import EdgePorts, edge_command, overrides
from loadtest.bench.failure import BenchError
from loadtest.bench.processes import Program, running, stop, wait_until_listening
from loadtest.chaos.base import VISITORS, Base
from loadtest.chaos.certificates import OLD_TLS, make_certificates
from loadtest.chaos.control import call
from loadtest.chaos.faults import Fault
from loadtest.chaos.load import Load, stopped_afterwards
from loadtest.chaos.monitor import Monitor
from loadtest.chaos.name_server import NameServer
from loadtest.chaos.outcomes import Outcome, Sighting, read_sightings
from loadtest.chaos.plan import Plan, Stream
from loadtest.chaos.ports import free_port
from loadtest.chaos.settings import Phases, Settings
from loadtest.chaos.setup import Setup, write_config

READY_S = 40.0
START_AHEAD_S = 1.5
CONNECT_S = 0.003  # one after the other
FOREVER_S = 900.0
IDS_PER_CLIENT = 10_000_000
ESTABLISHED = "01"  # of /proc/net/tcp
CROWD_NETWORK = "01007F"  # 127.0.1, as that file has it
INSIDE = Path(__file__).parent / "inside"
FIRST_NAMED = 21  # 127.0.0.21 and following, where DNS leads


@dataclass(slots=True, frozen=True)
class CrowdOf:
    """So many connections of a kind of crowd.py, `rate` of them a second."""

    kind: str
    count: int
    rate: float = 500.0


class Stage:
    """One scenario's processes. Origins are numbered: those of `faulty` first, then the one of `calm`."""

    def __init__(self, base: Base, setup: Setup, home: Path, stack: AsyncExitStack) -> None:
        self.base = base
        self.setup = setup
        self.home = home
        self.config = home / "config"
        self.port, self.admin_port = free_port(), free_port()
        port = free_port()  # a name has one port, and its addresses differ in the host
        self.origin_ports = [port if setup.dns else free_port() for _ in range(setup.addresses + 1)]
        self.gate_ports = [free_port() for _ in range(setup.addresses)] if setup.through_proxy else []
        self.edge_program: Program | None = None
        self.monitor = Monitor(self._edge_processes)
        self.name_server: NameServer | None = None
        self.pipe_fd: int | None = None
        self._stack = stack
        self._origins: dict[int, Program] = {}
        self._origin_controls = [free_port() for _ in self.origin_ports]
        self._gate_control = free_port()
        self._clients = 0
        self._crowds: dict[str, tuple[Program, int]] = {}

    @property
    def jars(self) -> bool:
        """Whether clients take the cookies that they are given."""
        return False

    @property
    def settings(self) -> Settings:
        """The run's."""
        return self.base.settings

    @property
    def workers(self) -> int:
        """How many the edge has."""
        return self.setup.workers or self.settings.workers

    @property
    def phases(self) -> Phases:
        """The run's."""
        return self.base.settings.phases

    # Starting.

    async def start(self) -> None:
        """Start everything."""
        make_certificates(self.home / "certificates")
        if self.setup.pipe is not None:
            os.mkfifo(self.home / self.setup.pipe)
            self.pipe_fd = os.open(self.home / self.setup.pipe, os.O_RDWR | os.O_NONBLOCK)
            self._stack.callback(os.close, self.pipe_fd)
        await asyncio.gather(*(self.start_origin(number) for number in range(len(self.origin_ports))))
        if self.gate_ports:
            pairs = [f"{gate}={port}" for gate, port in zip(self.gate_ports, self.origin_ports, strict=False)]
            arguments = (str(self._gate_control), str(self.settings.seed), *pairs)
            proxy = await self._run("fault_proxy", "loadtest.chaos.fault_proxy", *arguments)
            await wait_until_listening(proxy, self._gate_control)
        addresses = [self._origin_address(number) for number in range(len(self.origin_ports))]
        faulty = [f"127.0.0.1:{port}" for port in self.gate_ports] or addresses[:-1]
        name_port = free_port() if self.setup.dns else None
        if name_port is not None:
            self.name_server = NameServer([address.partition(":")[0] for address in faulty])
            await self.name_server.start(name_port)
            self._stack.callback(self.name_server.close)
        write_config(self.setup, self.settings.config, self.home, faulty, addresses[-1], name_server=name_port)
        await self.start_edge()
        self._stack.push_async_callback(self.monitor.stop)
        self.monitor.start()

    async def start_origin(self, number: int) -> None:
        """Start an origin, or start it again."""
        control = self._origin_controls[number]
        seed = str(self.settings.seed + number)
        arguments = [self._origin_address(number), str(control), seed, str(self.origin_log(number))]
        if number < len(self.setup.names):
            name = self.setup.names[number]
            file = self.home / "certificates" / name
            arguments += [f"{file}.crt", f"{file}.key", *(["old"] if name == OLD_TLS else [])]
        program = await self._run(f"origin-{number}", "loadtest.chaos.origin", *arguments)
        await wait_until_listening(program, control)
        self._origins[number] = program

    async def start_edge(self) -> None:
        """Start the edge and wait until all its workers serve."""
        values = {
            **overrides(EdgePorts(self.port, self.admin_port, self.base.kms_port, 9), VISITORS, "off"),
            "edge.workers": self.workers,
            **{name: self._placed(value) for name, value in self.setup.edge.items()},
        }
        del values["origins.api.addresses"]
        command = self.limited(edge_command(self.config, self.base.home, values))
        core, env = self.base.cores.edge, self._edge_environment()
        self.edge_program = await self._stack.enter_async_context(running("edge", core, command, self.home, env))
        await self.until_ready(self.workers)

    def limited(self, command: list[str]) -> list[str]:
        """Return the command, with as few file descriptors as the scenario gives it."""
        most = self.setup.fd_limit
        return command if most is None else ["prlimit", f"--nofile={most}:{most}", *command]

    async def until_settled(self) -> None:
        """Wait until the worker that stands by is there."""
        deadline = time.monotonic() + READY_S
        while not (await self.metrics()).get('edge_workers{state="standby"}'):
            if time.monotonic() > deadline:
                raise BenchError("No worker stands by")
            await asyncio.sleep(0.1)

    async def until_ready(self, workers: int, without: int | None = None) -> None:
        """Wait until so many workers serve, the process `without` not counted."""
        deadline = time.monotonic() + READY_S
        while len(set(await self.worker_pids()) - {without}) < workers:
            if self.edge.process.returncode is not None or time.monotonic() > deadline:
                raise BenchError(f"The edge does not serve:\n{self.edge.tail()}")
            await asyncio.sleep(0.02)

    async def _run(self, name: str, module: str, *arguments: str) -> Program:
        command = [sys.executable, "-m", module, *arguments]
        return await self._stack.enter_async_context(running(name, self.base.cores.rest, command, self.home))

    # Load.

    @asynccontextmanager
    async def load(
        self, *streams: Stream, ca: str | None = None, kept: int = 0, cookies: Path | None = None
    ) -> AsyncIterator[Load]:
        """Run a client until the block ends; its outcomes are there afterwards.

        `kept` connections are opened before it begins, the others as they are needed. `cookies` is a file of header
        fields to show in the place of the usual ones, whatever is given for them.
        """
        self._clients += 1
        name = f"client-{self._clients}"
        log = self.home / f"{name}.outcomes"
        started = time.monotonic() + START_AHEAD_S + kept * CONNECT_S
        plan = Plan(
            self.port, started, FOREVER_S, self.settings.seed, streams,
            str(cookies or self.base.cookies), str(log), ca,
            kept_connections=kept, first_id=self._clients * IDS_PER_CLIENT, jars=self.jars and cookies is None,
        )  # fmt: skip
        plan.write(self.home / f"{name}.plan")
        command = [sys.executable, "-m", "loadtest.chaos.client", str(self.home / f"{name}.plan")]
        async with (
            running(name, self.base.cores.rest, command, self.home) as program,
            stopped_afterwards(Load(log, program, started)) as load,
        ):
            await asyncio.sleep(max(0.0, started - time.monotonic()))
            if program.process.returncode is not None:
                raise BenchError(f"The client ended at once:\n{program.tail()}")
            yield load

    def origin_log(self, number: int) -> Path:
        """Return the log of an origin."""
        return self.home / f"origin-{number}.requests"

    def sightings_of(self, outcomes: Iterable[Outcome]) -> list[Sighting]:
        """Return what origins have seen of these requests; a crowd's are left out."""
        return self.sightings_by_id({one.id for one in outcomes})

    def sightings_by_id(self, asked: Container[str]) -> list[Sighting]:
        """Return what origins have seen of the requests with these ids."""
        found = read_sightings([self.origin_log(number) for number in range(len(self.origin_ports))])
        return [one for one in found if one.id in asked]

    @property
    def calm_origin(self) -> int:
        """The number of the origin of `calm`."""
        return len(self.origin_ports) - 1

    # Harm.

    async def fault(self, fault: Fault, *gates: int) -> None:
        """Let a fault reign at these gates, or at all."""
        for gate in gates or range(len(self.gate_ports)):
            await call(self._gate_control, gate=gate, **fault.command())

    async def gate_counts(self, gate: int) -> dict[str, int]:
        """Return what has happened at a gate: connections accepted and open, answers struck."""
        return {name: int(str(value)) for name, value in (await call(self._gate_control, gate=gate)).items()}

    async def mood(self, *origins: int, **moods: float) -> None:
        """Set moods of these origins, or of all of `faulty`."""
        for number in origins or range(len(self.origin_ports) - 1):
            await call(self._origin_controls[number], **moods)

    async def kill_origin(self, number: int) -> None:
        """End an origin with SIGKILL."""
        program = self._origins[number]
        program.process.kill()
        await program.process.wait()

    async def start_crowd(self, crowd: CrowdOf) -> None:
        """Send a crowd to the edge; it stays until it is stopped, or the stage is."""
        control = free_port()
        arguments = (str(control), str(self.port), crowd.kind, str(crowd.count), str(crowd.rate))
        program = await self._run(f"crowd-{crowd.kind}", "loadtest.chaos.crowd", *arguments)
        await wait_until_listening(program, control)
        self._crowds[crowd.kind] = (program, control)

    async def crowd_counts(self, kind: str) -> dict[str, object]:
        """Return what has become of a crowd: opened, open, ended by the edge, failed, and the statuses it saw."""
        return await call(self._crowds[kind][1])

    def crowd_connections(self) -> int:
        """Return how many connections the edge still has with crowds; a crowd that does not read cannot tell."""
        lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
        ours = f":{self.port:04X}"
        return sum(
            local.endswith(ours) and remote[2:8] == CROWD_NETWORK and state == ESTABLISHED
            for _, local, remote, state, *_ in lines
        )

    async def stop_crowd(self, kind: str) -> None:
        """End a crowd, which closes its connections."""
        await stop(self._crowds[kind][0].process)

    async def start_busy(self) -> None:
        """Start a program that does nothing on the edge's core, all the time."""
        command = [sys.executable, "-c", "while True: pass"]
        await self._stack.enter_async_context(running("busy", self.base.cores.edge, command, self.home))

    def ask_to_leave(self) -> None:
        """Tell the edge to drain and to end then."""
        self.edge.process.terminate()

    async def stop_edge(self) -> None:
        """End the edge and everything of it."""
        await stop(self.edge.process)

    # Looking.

    @property
    def edge(self) -> Program:
        """The edge's process."""
        assert self.edge_program is not None
        return self.edge_program

    async def health(self) -> dict[str, list[dict[str, object]]]:
        """Return what /health says; without workers when there is no answer."""
        try:
            async with (
                aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(2.0)) as session,
                session.get(f"http://127.0.0.1:{self.admin_port}/health") as answer,
            ):
                found: dict[str, list[dict[str, object]]] = json.loads(await answer.read())
                return found
        except (aiohttp.ClientError, TimeoutError):
            return {"workers": []}

    async def worker_pids(self) -> list[int]:
        """Return the process ids of the workers that serve."""
        workers = (await self.health())["workers"]
        return [int(str(one["pid"])) for one in workers if one["state"] == "ready" and one["pid"]]

    async def metrics(self) -> dict[str, float]:
        """Return the edge's metrics, labels in the name as in the text format: `name{label="value"}`."""
        async with aiohttp.ClientSession() as session, session.get(self.metrics_url) as answer:
            text = await answer.text()
        found = {}
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                labels = ",".join(f'{name}="{value}"' for name, value in sample.labels.items())
                found[f"{sample.name}{{{labels}}}" if labels else sample.name] = sample.value
        return found

    async def counts(self, metric: str) -> dict[str, int]:
        """Return the series of one counter, by their labels."""
        found = await self.metrics()
        return {name.removeprefix(metric): int(value) for name, value in found.items() if name.startswith(metric)}

    @property
    def metrics_url(self) -> str:
        """Where the edge's metrics are."""
        return f"http://127.0.0.1:{self.admin_port}/metrics"

    def _edge_environment(self) -> dict[str, str]:
        packages = os.environ.get("PYTHONPATH") if self.base.packages is None else str(self.base.packages)
        paths = [str(INSIDE) if self.setup.bugs else None, packages]
        return {"PYTHONPATH": os.pathsep.join(path for path in paths if path)}

    def _origin_address(self, number: int) -> str:
        host = f"127.0.0.{FIRST_NAMED + number}" if self.setup.dns else "127.0.0.1"
        return f"{host}:{self.origin_ports[number]}"

    def _placed(self, value: object) -> object:
        return json.loads(json.dumps(value).replace("{home}", str(self.home)))

    def _edge_processes(self) -> Sequence[psutil.Process]:
        return self.edge_program.tree() if self.edge_program is not None else ()


StageMaker: TypeAlias = Callable[[Base, Setup, Path, AsyncExitStack], Stage]


@asynccontextmanager
async def staged(base: Base, name: str, setup: Setup, make: StageMaker | None = None) -> AsyncIterator[Stage]:
    """Start a stage in a directory of its own; stop everything on it afterwards. `make` is `Stage` by default."""
    home = base.home / f"{name}-{os.urandom(3).hex()}"
    home.mkdir()
    async with AsyncExitStack() as stack:
        stage = (make or Stage)(base, setup, home, stack)
        await stage.start()
        yield stage
