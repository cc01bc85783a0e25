"""A stage with all token services on it, each behind a gate of the fault proxy, and devices that keep their cookies."""

import asyncio
import json
import secrets
import shutil
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, Final

import aiohttp
import yaml
from edgepb.kms.v1 import kms_pb2

from loadtest.bench import edge
from loadtest.bench.failure import BenchError
from loadtest.bench.processes import Program, running, wait_until_listening
from loadtest.bench.visitors import visitors
from loadtest.chaos.base import Base
from loadtest.chaos.control import call
from loadtest.chaos.devices import Jars, Lives, read_jars, sealed_jars, spread_ages
from loadtest.chaos.faults import Fault, Kind
from loadtest.chaos.jar import JARS, Jar
from loadtest.chaos.person import Person
from loadtest.chaos.ports import free_port
from loadtest.chaos.result import Result
from loadtest.chaos.settings import Phases
from loadtest.chaos.setup import Setup
from loadtest.chaos.stage import Stage
from loadtest.chaos.stepped_clock import environment, set_clock
from passport.kms import KmsClient
from tokens.cookie import PURPOSE, RESCHEDULED, Claims, CookieNames, open_insecure
from tokens.keys.ring import KeyRing

KMS, SUBSCRIBER, COOKIE = SERVICES = ("kms", "subscriber", "cookie")
NAMES: Final = CookieNames(edge.INSECURE_COOKIE, edge.SECURE_COOKIE)
COMMAND_S = 60.0
SPARE = 128
FORGED = 40
SHARING_S = 0.25  # one call to Redis: on a busy machine the usual 50 ms are missed
OVERLAP_S = 2  # how long a rescheduled token that was renewed is good
UNUSED_S = 6  # a key that was used within this time is not destroyed


@dataclass(slots=True, frozen=True)
class Course:
    """How many devices, how long their cookies live, and the phases: each long enough for cookies to expire in it."""

    devices: int
    lives: Lives
    phases: Phases


# A device comes back several times in the life of a cookie; rescheduled ones live for as long as the fault lasts. In
# the full form nearly all of them are rescheduled in a fault, and all renewals are less than the service can do.
COURSES: Final = {
    "quick": Course(500, Lives(16, 14, 6), Phases(1.0, 4.0, 5.0, 16.0)),
    "usual": Course(2000, Lives(40, 36, 15), Phases(3.0, 8.0, 12.0, 34.0)),
    "full": Course(2000, Lives(64, 60, 60), Phases(5.0, 20.0, 60.0, 90.0)),
}


class TokenStage(Stage):
    """A stage with a KMS, a subscriber service and a cookie service of its own, and an edge that calls them."""

    courses: ClassVar[Mapping[str, Course]] = COURSES
    cookie_settings: ClassVar[Mapping[str, object]] = {}

    def __init__(self, base: Base, setup: Setup, home: Path, stack: AsyncExitStack) -> None:
        self.course = self.courses[base.settings.length]
        self.ports = {name: free_port() for name in SERVICES}
        self.gates = {name: free_port() for name in SERVICES}
        self.rings: list[KeyRing] = []
        self.starts_s: list[float] = []
        self._services: dict[str, Program] = {}
        self._service_control = free_port()
        self._people = self._primary_id = 0
        lives = self.course.lives
        overrides: Mapping[str, object] = {
            "services.cookie.url": f"http://127.0.0.1:{self.gates[COOKIE]}",
            "cookies.cache_entries": 4 * self.course.devices,
            "renewal.reschedule_life_s": lives.rescheduled_s,
            "services.kms.refresh_s": 1,
            **setup.edge,
        }
        own = replace(base, home=home, kms_port=self.gates[KMS], cookies=home / "cookies")
        super().__init__(own, replace(setup, edge=overrides), home, stack)

    @property
    def phases(self) -> Phases:
        """Those of the course."""
        return self.course.phases

    @property
    def jars(self) -> bool:
        """Clients are devices."""
        return True

    async def start(self) -> None:
        """Start the services, the edge before them, and sign everybody in."""
        edge.make_secrets(self.home / "secrets", self.settings.config / "kms.yaml")
        self._write_files()
        pairs = [f"{self.gates[name]}={self.ports[name]}" for name in SERVICES]
        arguments = (str(self._service_control), str(self.settings.seed), *pairs)
        proxy = await self._run("service_proxy", "loadtest.chaos.fault_proxy", *arguments)
        await wait_until_listening(proxy, self._service_control)
        await asyncio.gather(*(self.start_service(name) for name in SERVICES))
        await super().start()
        await self.learn_keys()
        self.sign_in(spread_ages(self.course.devices, self.course.lives, self.settings.seed))

    async def start_edge(self) -> None:
        """Start the edge, and keep how long that took."""
        began = time.monotonic()
        await super().start_edge()
        self.starts_s.append(round(time.monotonic() - began, 2))

    # Services.

    async def start_service(self, name: str, skew_s: float = 0.0) -> None:
        """Start a service, or start it again; its clock is `skew_s` ahead."""
        module = f"origins_stub.{name}" if name == SUBSCRIBER else f"services.{name}"
        line = ["-m", module] if not skew_s else ["-m", "loadtest.chaos.skewed", str(skew_s), module]
        command = [sys.executable, *line, "--listen", f"127.0.0.1:{self.ports[name]}"]
        command += ["--secrets", str(self.home / "secrets"), "--var", str(self.home / name)]
        command += ["--seed", str(self.home / "seed.yaml")] if name == SUBSCRIBER else []
        command += ["--config", str(self.home / f"{name}.yaml")] if name != SUBSCRIBER else []
        for other in (KMS, SUBSCRIBER) if name == COOKIE else ():
            command += [f"--{other}", f"http://127.0.0.1:{self.gates[other]}"]
        program = await self._stack.enter_async_context(running(name, self.base.cores.rest, command, self.home))
        await wait_until_listening(program, self.ports[name], 40.0)
        self._services[name] = program

    async def kill_service(self, name: str) -> None:
        """End a service with SIGKILL: nobody listens there any more."""
        program = self._services[name]
        program.process.kill()
        await program.process.wait()
        await self.service_fault(name, Fault(Kind.REFUSE))

    async def revive_service(self, name: str) -> None:
        """Start it again."""
        await self.start_service(name)
        await self.service_fault(name, Fault())

    async def service_fault(self, name: str, fault: Fault) -> None:
        """Let a fault reign at the gate of a service."""
        await call(self._service_control, gate=SERVICES.index(name), **fault.command())

    async def learn_keys(self) -> None:
        """Fetch the keys of today, to see what devices hold; those of before are kept, the newest first."""
        async with aiohttp.ClientSession() as session:
            client = KmsClient(session, f"http://127.0.0.1:{self.ports[KMS]}", self.token(COOKIE))
            answer = await client.key_sets([PURPOSE, RESCHEDULED])
        (cookie,) = [one for one in answer.key_sets if one.purpose == PURPOSE]
        (self._primary_id,) = [version.key_id for version in cookie.versions if version.primary]
        self.rings.insert(0, KeyRing.from_key_sets(answer.key_sets, answer.revision))

    def token(self, identity: str) -> str:
        """Return the bearer token of an identity."""
        return edge.identity_token(self.home / "secrets", identity)

    # Devices.

    def people(self, *ages_s: int) -> list[Person]:
        """Return others than the devices of the load, who signed in so many seconds ago; at most SPARE in all."""
        first = self.course.devices + self._people
        self._people += len(ages_s)
        if self._people > SPARE:
            raise BenchError(f"There are no more than {SPARE} people")
        fields = sealed_jars(
            self.rings[0], NAMES, edge.ENVIRONMENT, ages_s, self.course.lives, int(time.time()), first=first
        )
        some = visitors(first + len(ages_s))[first:]
        return [
            Person(self.port, one.customer_id, Jar(0, field.encode())) for one, field in zip(some, fields, strict=True)
        ]

    def claims(self, person: Person) -> Claims | None:
        """Return what somebody's cookie says, None where there is none."""
        opened = open_insecure(self.rings[0], NAMES, edge.ENVIRONMENT, person.token, time.time())
        return opened if isinstance(opened, Claims) else None

    def forged(self) -> list[str]:
        """Return header fields with expired pairs that no edge must take: each kind of them as often."""
        lives, now, ring = self.course.lives, int(time.time()), self.rings[0]
        other = [kms_pb2.KeyVersion(key_id=secrets.randbits(31), state=kms_pb2.ACTIVE, primary=True)]
        found = []
        for _ in range(FORGED):
            other[0].key_id, other[0].material = secrets.randbits(31), secrets.token_bytes(32)
            stranger = KeyRing.from_key_sets([kms_pb2.KeySet(purpose=PURPOSE, versions=other)], 1)
            age_s = [lives.life_s + 1]
            found += sealed_jars(stranger, NAMES, edge.ENVIRONMENT, age_s, lives, now)
            found += sealed_jars(ring, NAMES, "elsewhere", age_s, lives, now)
            (good,) = sealed_jars(ring, NAMES, edge.ENVIRONMENT, age_s, lives, now)
            found += [good.replace("; ", "x; "), good.replace("; ", "; ", 1)[:-40].replace("; ", "AAAA; ")]
            other[0].key_id = self._primary_id
            impostor = KeyRing.from_key_sets([kms_pb2.KeySet(purpose=PURPOSE, versions=other)], 1)
            found += sealed_jars(impostor, NAMES, edge.ENVIRONMENT, age_s, lives, now)
        return found

    def sign_in(self, ages_s: list[int], lives: Lives | None = None) -> None:
        """Give each device cookies that are so old, and live as long as is usual or as `lives` says."""
        lives = lives or self.course.lives
        fields = sealed_jars(self.rings[0], NAMES, edge.ENVIRONMENT, ages_s, lives, int(time.time()))
        self.base.cookies.touch(mode=0o600)
        self.base.cookies.write_text("\n".join(fields))

    def read_jars(self) -> Jars:
        """Return what the devices of the first client held."""
        lines = (self.home / f"client-1.outcomes{JARS}").read_text().splitlines()
        return read_jars(lines, self.rings, NAMES, edge.ENVIRONMENT, time.time())

    async def ask_service(
        self, name: str, method: str, path: str, identity: str, body: bytes | Mapping[str, object] | None = None
    ) -> tuple[int, bytes]:
        """Call a service directly, in the name of an identity; return status and answer."""
        headers = {"Authorization": f"Bearer {self.token(identity)}"}
        if isinstance(body, bytes):
            headers["Content-Type"] = "application/x-protobuf"
        data = body if isinstance(body, bytes) else json.dumps(body or {}).encode()
        url = f"http://127.0.0.1:{self.ports[name]}{path}"
        async with (
            aiohttp.ClientSession() as session,
            session.request(method, url, data=data, headers={"Content-Type": "application/json", **headers}) as answer,
        ):
            return answer.status, await answer.read()

    # The edge.

    async def calls(self, service: str = COOKIE) -> dict[str, int]:
        """Return how many calls the edge made to a service, by outcome."""
        counts: dict[str, int] = {}
        for name, value in (await self.metrics()).items():
            if name.startswith("edge_remote_calls_total{") and f'service="{service}"' in name:
                counts[name.partition('outcome="')[2].partition('"')[0]] = int(value)
        return counts

    async def command(self, *words: str) -> tuple[int, str]:
        """Run `edge WORDS` on this edge; return the exit code and what it said."""
        line = [str(Path(sys.executable).parent / "edge"), *words, "--var", str(self.home)]
        process = await asyncio.create_subprocess_exec(
            *line, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
        )
        said, _ = await asyncio.wait_for(process.communicate(), COMMAND_S)
        return process.returncode or 0, said.decode(errors="replace")

    def _write_files(self) -> None:
        for name in SERVICES:
            (self.home / name).mkdir(mode=0o700)
        lives = self.course.lives
        shipped = yaml.safe_load((self.settings.config / "cookie.yaml").read_text())
        own = {
            "environment": edge.ENVIRONMENT,
            "names": {"insecure": NAMES.insecure, "secure": NAMES.secure},
            "life_s": lives.life_s,
            "renew_after_share": lives.due_s / lives.life_s,
            "kms_refresh_s": 1,
            **self.cookie_settings,
        }
        (self.home / "cookie.yaml").write_text(yaml.safe_dump({**shipped, **own}))
        keys = yaml.safe_load((self.settings.config / "kms.yaml").read_text())
        (self.home / "kms.yaml").write_text(yaml.safe_dump({**keys, "destroy_unused_s": UNUSED_S}))
        seed = [
            {"customer_id": one.customer_id, "account_owner_id": one.account_owner_id, "member": True}
            for one in visitors(self.course.devices + SPARE)
        ]
        (self.home / "seed.yaml").write_text(json.dumps(seed))


class OutageStage(TokenStage):
    """One whose cookies outlive a minute of outage, as they do outside: a part of them is due in it, half of those end.

    With shorter ones a minute would be as long as a life, and everybody would have to be renewed after it.
    """

    courses: ClassVar[Mapping[str, Course]] = {
        **COURSES,
        "full": Course(2000, Lives(330, 300, 180), Phases(5.0, 20.0, 60.0, 230.0)),
    }


class HoursStage(TokenStage):
    """One whose cookies live as long as they do outside: for clocks that are a minute off."""

    courses: ClassVar[Mapping[str, Course]] = {
        name: replace(course, lives=Lives(14_400, 7_200, course.lives.rescheduled_s))
        for name, course in COURSES.items()
    }


class ClockStage(HoursStage):
    """One whose edge has a wall clock of its own."""

    def __init__(self, base: Base, setup: Setup, home: Path, stack: AsyncExitStack) -> None:
        super().__init__(base, setup, home, stack)
        self._clock = home / "clock"
        set_clock(self._clock, 0.0)

    def set_edge_clock(self, skew_s: float) -> None:
        """Let the edge's clock be so many seconds ahead, or behind, from now on."""
        set_clock(self._clock, skew_s)

    def _edge_environment(self) -> dict[str, str]:
        usual = super()._edge_environment()
        return {**usual, **environment(self._clock, usual["PYTHONPATH"])}


class ShortMemoryStage(TokenStage):
    """One whose cookie service renews a rescheduled cookie again for a few seconds only."""

    cookie_settings: ClassVar[Mapping[str, object]] = {"rescheduled_renewals": {"overlap_s": OVERLAP_S}}


class SharingStage(HoursStage):
    """One whose workers share renewals through a Redis; where there is no redis-server, the edge has one worker.

    What was renewed is not due again for as long as anything is seen of it.
    """

    def __init__(self, base: Base, setup: Setup, home: Path, stack: AsyncExitStack) -> None:
        self._redis = shutil.which("redis-server")
        self._redis_port = free_port()
        if self._redis is None:
            setup = replace(setup, workers=1)
        else:
            url = f"redis://127.0.0.1:{self._redis_port}/0"
            sharing = {"services.renewals.redis_url": url, "services.renewals.timeout_s": SHARING_S}
            setup = replace(setup, edge={**sharing, **setup.edge})
        super().__init__(base, setup, home, stack)

    async def start(self) -> None:
        """Start the Redis, too."""
        if self._redis is not None:
            line = [self._redis, "--port", str(self._redis_port), "--bind", "127.0.0.1", "--save", ""]
            core = self.base.cores.rest
            program = await self._stack.enter_async_context(running("redis", core, line, self.home))
            await wait_until_listening(program, self._redis_port)
        await super().start()


def with_services(run: Callable[[TokenStage], Awaitable[Result]]) -> Callable[[Stage], Awaitable[Result]]:
    """Make a scenario of one that needs the services."""

    async def scenario(stage: Stage) -> Result:
        if not isinstance(stage, TokenStage):
            raise BenchError("This scenario needs the token services")
        return await run(stage)

    return scenario
