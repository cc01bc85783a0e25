"""Measure the real cookie service, in processes of its own, against a real subscriber service and KMS.

Closed loop: so many callers, each of which asks for the next renewal when it has the last. The service has a core for
itself; subscriber service, KMS and callers share another.
"""

import asyncio
import math
import os
import platform
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version
from itertools import cycle
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeAlias

import aiohttp
import yaml
from edgepb.cookie.v1 import cookie_service_pb2 as pb

from loadtest.bench.edge import identity_token, kms, make_secrets
from loadtest.bench.failure import BenchError
from loadtest.bench.machine import cpu_name
from loadtest.bench.processes import Program, Seat, free_port, running, wait_until_listening
from loadtest.bench.settings import Cores, assign_cores
from loadtest.simulation.calibration import QUANTILES, AtConcurrency, Calibration, Impatient
from passport.kms import KmsClient
from tokens.cookie import PURPOSE, RESCHEDULED, Claims, CookieNames, open_insecure, seal_pair
from tokens.envelope import NONCE_BYTES
from tokens.keys.ring import KeyRing

CALLERS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
BUSY_CALLERS = 64  # enough to keep the process busy all the time
SILENT_CALLERS = 64
IMPATIENT_CALLERS = (128, 256, 512, 1024)
PATIENCE_S = 0.3  # an edge's
RESCHEDULED_S = 300
SIGMAS_OF_P99 = 2.326  # of a normal distribution
WARM_UP_S = 1.0
USERS = 200
LEVEL_HIGH = 2
_Ended: TypeAlias = tuple[float, "pb.RenewOutcome | None"]  # how long it took, and its outcome; None: given up
LIBRARIES = ("aiohttp", "cryptography", "protobuf", "sqlalchemy", "uvloop")


async def calibrate(config: Path, say: Callable[[str], None], seconds: float = 4.0) -> Calibration:
    """Start everything, measure for `seconds` at each concurrency, stop everything. Raises BenchError."""
    cores = assign_cores()
    os.sched_setaffinity(0, {cores.load})
    async with AsyncExitStack() as stack:
        home = Path(stack.enter_context(TemporaryDirectory(prefix="calibrate-", ignore_cleanup_errors=True)))
        make_secrets(home / "secrets", config / "kms.yaml")
        keys = Seat(cores.load, free_port(), home)
        await stack.enter_async_context(kms(keys, config / "kms.yaml"))
        session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
        await stack.enter_async_context(session)
        start = _Start(config, cores, home, keys.port)
        token = identity_token(home / "secrets", "edge")
        async with start.subscriber() as subscriber, start.cookie(subscriber) as (service, url):
            callers = await _Callers.signed_in(session, service, url, token)
            loops: dict[int, _Loop] = {}
            for count in CALLERS:
                loops[count] = await callers.loop(count, seconds)
                level = loops[count].level(count)
                say(f"{count:4} callers: {level.renewals_per_s:5.0f} renewals/s, median {level.p50_s * 1e3:6.2f} ms")
            sealer = await _Sealer.made(session, config, keys.port, token)
            rescheduled = await replace(callers, bodies=sealer.bodies(callers.tokens)).loop(BUSY_CALLERS, seconds)
            rate = rescheduled.level(BUSY_CALLERS).renewals_per_s
            say(f"{BUSY_CALLERS:4} callers with rescheduled tokens: {rate:5.0f} renewals/s")
            impatient = [await callers.impatient(count, seconds, PATIENCE_S) for count in IMPATIENT_CALLERS]
            for one in impatient:
                say(f"{one.callers:4} that wait {PATIENCE_S} s: {one.renewed_per_s:5.0f} renewals/s")
        async with _silent() as subscriber, start.cookie(subscriber) as (service, url):
            callers = replace(callers, service=service, url=url)
            silent = await callers.loop(1, seconds)
            silent_busy = await callers.loop(SILENT_CALLERS, seconds)
            say(f"with a silent subscriber service: median {silent.quantiles()[50] * 1e3:.0f} ms")
    busy = loops[BUSY_CALLERS].level(BUSY_CALLERS)
    return Calibration(
        measured_at=datetime.now(UTC).date().isoformat(),
        machine=f"{cpu_name()}, {os.cpu_count()} cores, {platform.system()} {platform.machine()}",
        versions={"python": platform.python_version(), **{name: version(name) for name in LIBRARIES}},
        busy_s=1 / busy.renewals_per_s,
        rescheduled_busy_s=rescheduled.elapsed_s / len(rescheduled.times_s),
        wait_sigma=math.log(busy.p99_s / busy.p50_s) / SIGMAS_OF_P99,
        alone_s=loops[1].quantiles(),
        silent_busy_s=silent_busy.cpu_s / len(silent_busy.times_s),
        silent_alone_s=silent.quantiles(),
        levels=tuple(loop.level(count) for count, loop in loops.items()),
        impatient=tuple(impatient),
    )


@dataclass(slots=True, frozen=True)
class _Loop:
    """What one closed loop saw: how long each renewal took, how long all of it, the service's processor time."""

    times_s: list[float]
    unavailable: int
    elapsed_s: float
    cpu_s: float

    def quantiles(self) -> tuple[float, ...]:
        """Return the QUANTILES of the times."""
        ordered = sorted(self.times_s)
        last = len(ordered) - 1
        return tuple(ordered[round(last * one / (QUANTILES - 1))] for one in range(QUANTILES))

    def level(self, callers: int) -> AtConcurrency:
        """Return it as a row of the calibration."""
        times, count = self.quantiles(), len(self.times_s)
        return AtConcurrency(
            callers=callers,
            renewals_per_s=count / self.elapsed_s,
            unavailable=self.unavailable / count,
            cpu_s=self.cpu_s / count,
            p50_s=times[50],
            p90_s=times[90],
            p99_s=times[99],
        )


@dataclass(slots=True, frozen=True)
class _Start:
    """Starts the services."""

    config: Path
    cores: Cores
    home: Path
    kms_port: int

    @asynccontextmanager
    async def subscriber(self) -> AsyncIterator[int]:
        """Run a subscriber service that knows our users; yield its port."""
        seed, port = self.home / "subscribers.yaml", free_port()
        rows = (f"- {{customer_id: {one}, account_owner_id: {one}, member: true}}" for one in _customers())
        seed.write_text("\n".join(rows))
        arguments = ["--seed", str(seed)]
        async with self._service("origins_stub.subscriber", self.cores.load, port, arguments):
            yield port

    @asynccontextmanager
    async def cookie(self, subscriber_port: int) -> AsyncIterator[tuple[Program, str]]:
        """Run the cookie service; yield its process and its URL."""
        port = free_port()
        arguments = ["--config", str(self.config / "cookie.yaml"), "--kms", f"http://127.0.0.1:{self.kms_port}"]
        arguments += ["--subscriber", f"http://127.0.0.1:{subscriber_port}"]
        async with self._service("services.cookie", self.cores.proxy, port, arguments) as service:
            yield service, f"http://127.0.0.1:{port}"

    @asynccontextmanager
    async def _service(self, module: str, core: int, port: int, arguments: Sequence[str]) -> AsyncIterator[Program]:
        command = [sys.executable, "-m", module, "--listen", f"127.0.0.1:{port}", *arguments]
        command += ["--secrets", str(self.home / "secrets"), "--var", str(self.home)]
        async with running(module, core, command, self.home) as program:
            await wait_until_listening(program, port)
            yield program


@dataclass(slots=True, frozen=True)
class _Callers:
    """Asks one cookie service for renewals: `bodies` gives the requests, by default for our users' tokens in turn."""

    session: aiohttp.ClientSession
    service: Program
    url: str
    headers: dict[str, str]
    tokens: list[bytes]
    bodies: Iterator[bytes]

    @classmethod
    async def signed_in(cls, session: aiohttp.ClientSession, service: Program, url: str, token: str) -> "_Callers":
        """Have a token made for each user."""
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/x-protobuf"}
        made = cls(session, service, url, headers, [], iter(()))
        for customer in _customers():
            body = pb.CreateRequest(
                customer_id=customer, account_owner_id=customer, profile_id="main", esn=f"TV-{customer:012}",
                device_type=1, level=LEVEL_HIGH,
            ).SerializeToString()  # fmt: skip
            made.tokens.append(pb.CreateResponse.FromString(await made._post("/v1/create", body)).pair.insecure)
        return replace(made, bodies=cycle([_renewal(token) for token in made.tokens]))

    async def loop(self, callers: int, seconds: float) -> _Loop:
        """Renew for so long after a warm-up. Raises BenchError for an outcome that no token of ours can have."""
        await self._run(callers, WARM_UP_S)
        used, begun = self.service.cpu_s(), time.perf_counter()
        ended = await self._run(callers, seconds)
        times = [seconds for seconds, _ in ended]
        unavailable = sum(outcome == pb.UNAVAILABLE for _, outcome in ended)
        return _Loop(times, unavailable, time.perf_counter() - begun, self.service.cpu_s() - used)

    async def impatient(self, callers: int, seconds: float, patience_s: float) -> Impatient:
        """Renew for so long after a warm-up, giving up what takes too long; wait until the service is idle again."""
        await self._run(callers, WARM_UP_S, patience_s)
        begun = time.perf_counter()
        ended = await self._run(callers, seconds, patience_s)
        elapsed_s = time.perf_counter() - begun
        renewed = sum(outcome == pb.RENEWED for _, outcome in ended)
        await self._run(1, WARM_UP_S)
        return Impatient(callers, patience_s, len(ended) / elapsed_s, renewed / elapsed_s)

    async def _run(self, callers: int, seconds: float, patience_s: float | None = None) -> list[_Ended]:
        ended: list[_Ended] = []
        until = time.perf_counter() + seconds

        async def caller() -> None:
            while (begun := time.perf_counter()) < until:
                outcome = None
                with suppress(TimeoutError):
                    answer = await self._post("/v1/renew", next(self.bodies), patience_s)
                    outcome = pb.RenewResponse.FromString(answer).outcome
                    if outcome not in {pb.RENEWED, pb.UNAVAILABLE}:
                        raise BenchError(f"a renewal ended with {outcome}:\n{self.service.tail()}")
                ended.append((time.perf_counter() - begun, outcome))

        async with asyncio.TaskGroup() as group:
            for _ in range(callers):
                group.create_task(caller())
        return ended

    async def _post(self, path: str, body: bytes, patience_s: float | None = None) -> bytes:
        timeout = aiohttp.ClientTimeout(total=patience_s)
        async with self.session.post(self.url + path, data=body, headers=self.headers, timeout=timeout) as response:
            if response.status != 200:
                raise BenchError(f"{path} was answered with {response.status}:\n{self.service.tail()}")
            return await response.read()


@dataclass(slots=True, frozen=True)
class _Sealer:
    """Makes rescheduled tokens, as an edge does."""

    ring: KeyRing
    names: CookieNames
    environment: str

    @classmethod
    async def made(cls, session: aiohttp.ClientSession, config: Path, kms_port: int, token: str) -> "_Sealer":
        """Get the keys and the names."""
        answer = await KmsClient(session, f"http://127.0.0.1:{kms_port}", token).key_sets([PURPOSE, RESCHEDULED])
        cookie = yaml.safe_load((config / "cookie.yaml").read_text())
        names = CookieNames(cookie["names"]["insecure"], cookie["names"]["secure"])
        return cls(KeyRing.from_key_sets(answer.key_sets, answer.revision), names, cookie["environment"])

    def bodies(self, tokens: Sequence[bytes]) -> Iterator[bytes]:
        """Return requests for rescheduled tokens that stand in for these, none of them twice."""
        for generation, token in enumerate(cycle(tokens), start=1):
            now = time.time()
            claims = open_insecure(self.ring, self.names, self.environment, token, now)
            if not isinstance(claims, Claims):
                raise BenchError(f"a new token does not open: {claims}")
            ago = claims.expires_at - int(now) + 1  # seconds, for the token to have expired
            times = {name: getattr(claims, name) - ago for name in ("issued_at", "renew_after", "expires_at")}
            expired = claims._replace(generation=generation, **times)
            rescheduled = expired.rescheduled(now, RESCHEDULED_S, RESCHEDULED_S / 2)
            nonces = os.urandom(NONCE_BYTES), os.urandom(NONCE_BYTES)
            yield _renewal(seal_pair(self.ring, self.names, self.environment, rescheduled, nonces)[0])


@asynccontextmanager
async def _silent() -> AsyncIterator[int]:
    """Listen, take what comes and never answer; yield the port."""

    async def swallow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(swallow, "127.0.0.1", 0, backlog=1024)
    try:
        yield int(server.sockets[0].getsockname()[1])
    finally:
        server.close()


def _renewal(token: bytes) -> bytes:
    return pb.RenewRequest(insecure=token).SerializeToString()


def _customers() -> range:
    return range(1, USERS + 1)
