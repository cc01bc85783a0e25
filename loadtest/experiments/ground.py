"""What all experiments stand on: cores, an origin, keys and cookies, and edges that are started on demand."""

import asyncio
import json
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import psutil
from prometheus_client.parser import text_string_to_metric_families

from loadtest.bench import edge, nginx
from loadtest.bench.cookies import cookie_field
from loadtest.bench.edges import SIGNED_IN_PATH
from loadtest.bench.failure import BenchError
from loadtest.bench.jwts import tampered
from loadtest.bench.load import write_requests
from loadtest.bench.processes import Program, Seat, running, wait_until_listening
from loadtest.bench.settings import Cores
from loadtest.bench.visitors import Visitor, visitors
from loadtest.chaos.ports import free_port
from loadtest.experiments.settings import Length, Settings
from passport.kms import KmsClient
from tokens.cookie import PURPOSE, CookieNames
from tokens.keys.ring import KeyRing

NAMES = CookieNames(edge.INSECURE_COOKIE, edge.SECURE_COOKIE)
START_S = 120.0  # ten thousand routes, a million revocations
LOOK_S = 0.05


@dataclass(slots=True, frozen=True)
class Programs:
    """What is run: `packages` are those of the compiled edge, None for the sources; `unmetered` those that do not
    count, None where the experiment is not wanted."""

    wrk: str
    nginx: str
    packages: Path | None
    unmetered: Path | None


@dataclass(slots=True, frozen=True)
class RunningEdge:
    """One edge, where it listens and where its admin listener is."""

    name: str
    program: Program
    port: int
    admin_port: int
    home: Path

    def url(self, path: str = SIGNED_IN_PATH) -> str:
        """Return where it serves a path."""
        return f"http://127.0.0.1:{self.port}{path}"


@dataclass(slots=True, frozen=True)
class Ground:
    """Shared by the experiments of a run. `fields` are header fields with a good cookie pair each."""

    settings: Settings
    programs: Programs
    cores: Cores
    home: Path
    session: aiohttp.ClientSession
    people: Sequence[Visitor]
    ring: KeyRing
    fields: Sequence[str]
    kms_port: int
    origin_port: int
    say: Callable[[str], None]

    @property
    def length(self) -> Length:
        """How much is measured."""
        return self.settings.length

    @property
    def secrets(self) -> Path:
        """The directory of master key and identity tokens."""
        return self.home / "secrets"

    def requests(self, name: str, fields: Sequence[str] | None = None) -> Path:
        """Write a file of requests; by default with every good cookie once."""
        return write_requests(self.home / f"{name}.requests", self.fields if fields is None else fields)

    @asynccontextmanager
    async def edge(
        self,
        name: str,
        values: Mapping[str, object] | None = None,
        *,
        packages: Path | None = None,
        config: Path | None = None,
        cores: Sequence[int] | None = None,
        access_log: str = "off",
    ) -> AsyncIterator[RunningEdge]:
        """Run an edge until left, and see that it lets good cookies in and no other.

        `values` override its configuration, `packages` is the compiled edge by default, `cores` the core of its own.
        No worker stands by: its start would disturb what is measured, and its memory be counted.
        """
        home = self.home / name
        home.mkdir()
        (home / "secrets").symlink_to(self.secrets)
        ports = edge.EdgePorts(free_port(), free_port(), self.kms_port, self.origin_port)
        overrides = {
            **edge.overrides(ports, self.length.tokens, access_log), "edge.standby": False, **(values or {})
        }  # fmt: skip
        command = edge.edge_command(config or self.settings.config, home, overrides)
        packages = packages or self.programs.packages
        env = None if packages is None else {"PYTHONPATH": os.pathsep.join([str(packages), str(packages / "proto")])}
        async with running(f"edge-{name}", cores or [self.cores.proxy], command, home, env) as program:
            await wait_until_listening(program, ports.admin, START_S)
            one = RunningEdge(name, program, ports.listen, ports.admin, home)
            await self.until_ready(one, int(str(overrides["edge.workers"])))
            yield one

    async def until_ready(self, one: RunningEdge, workers: int) -> None:
        """Wait until all workers serve; an edge that ended, or that does not get there, is a `BenchError`."""
        deadline = time.monotonic() + START_S
        while len(await self.worker_pids(one)) < workers:
            if one.program.process.returncode is not None or time.monotonic() > deadline:
                raise BenchError(f"The edge {one.name} does not serve:\n{one.program.tail()}")
            await asyncio.sleep(LOOK_S)

    async def check(self, one: RunningEdge, path: str = SIGNED_IN_PATH, good: str | None = None) -> None:
        """Raise `BenchError` unless a good cookie is let in and a bad one is not."""
        good = self.fields[0] if good is None else good
        for field, expected in ((good, 200), (tampered(good), 401)):
            name, _, value = field.partition(": ")
            async with self.session.get(one.url(path), headers={name: value, "Connection": "close"}) as answer:
                if answer.status != expected:
                    raise BenchError(f"{one.name}: {answer.status} instead of {expected}: {await answer.text()}")

    async def worker_pids(self, one: RunningEdge) -> list[int]:
        """Return the process ids of the workers that serve."""
        try:
            async with self.session.get(f"http://127.0.0.1:{one.admin_port}/health") as answer:
                workers = json.loads(await answer.read())["workers"]
        except (aiohttp.ClientError, TimeoutError, ValueError):
            return []
        return [int(each["pid"]) for each in workers if each["state"] == "ready" and each["pid"]]

    async def worker(self, one: RunningEdge) -> psutil.Process:
        """Return the one worker of an edge."""
        (pid,) = await self.worker_pids(one)
        return psutil.Process(pid)

    async def exposition(self, one: RunningEdge) -> str:
        """Return the edge's metrics as text."""
        async with self.session.get(f"http://127.0.0.1:{one.admin_port}/metrics") as answer:
            return await answer.text()

    async def series(self, one: RunningEdge, name: str) -> list[tuple[dict[str, str], float]]:
        """Return the labels and values of one metric."""
        return samples(await self.exposition(one), name)


def samples(exposition: str, name: str) -> list[tuple[dict[str, str], float]]:
    """Return labels and values of the samples of that name."""
    return [
        (dict(sample.labels), sample.value)
        for family in text_string_to_metric_families(exposition)
        for sample in family.samples
        if sample.name == name
    ]


@asynccontextmanager
async def ground(
    settings: Settings, programs: Programs, cores: Cores, say: Callable[[str], None]
) -> AsyncIterator[Ground]:
    """Start KMS and origin, seal a cookie pair for each visitor; stop everything on leaving. `home` goes with it."""
    settings.var.mkdir(parents=True, exist_ok=True)
    async with AsyncExitStack() as stack:
        scratch = tempfile.TemporaryDirectory(prefix="run-", dir=settings.var.resolve(), ignore_cleanup_errors=True)
        home = Path(stack.enter_context(scratch))
        edge.make_secrets(home / "secrets", settings.config / "kms.yaml")
        session = await stack.enter_async_context(aiohttp.ClientSession())
        kms_port, origin_port = free_port(), free_port()
        keys = Seat(cores.origin, kms_port, home)
        await stack.enter_async_context(edge.kms(keys, settings.config / "kms.yaml"))
        seat = Seat(cores.origin, origin_port, home / "origin")
        origin = nginx.nginx("origin", programs.nginx, seat, nginx.render_origin(seat))
        await stack.enter_async_context(origin)
        token = edge.identity_token(home / "secrets", "cookie")
        answer = await KmsClient(session, f"http://127.0.0.1:{kms_port}", token).key_sets([PURPOSE])
        ring = KeyRing.from_key_sets(answer.key_sets, answer.revision)
        people = visitors(settings.length.tokens)
        say(f"Sealing cookies for {len(people):,} visitors")
        now = int(time.time())
        fields = [cookie_field(ring, NAMES, edge.ENVIRONMENT, one, now) for one in people]
        yield Ground(settings, programs, cores, home, session, people, ring, fields, kms_port, origin_port, say)


def python(module: str, *arguments: str) -> list[str]:
    """Return the command line of a module of this repository."""
    return [sys.executable, "-m", module, *arguments]
