"""A worker's whole data plane on a loopback socket, in the test's own loop: real chain, real keys, no KMS process."""

import asyncio
import os
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from edgepb.kms.v1 import kms_pb2

from edge import wiring
from edge.contract.dials import Dials
from edge.contract.filters import InboundFilter, OutboundFilter
from edge.contract.identity import DeviceIdentity, UserIdentity
from edge.contract.ports import CookiePair, CookieService, RenewalOutcome, RenewedCookie, Revocation
from edge.contract.session_changes import SessionChanges
from edge.control.load import load_config
from edge.control.snapshot import Snapshot
from edge.net.listening import listen
from edge.relay.engine import Engine
from edge.telemetry.log_line import LineWriter
from edge.telemetry.metrics import WorkerMetrics
from edge.telemetry.rollout import RolloutRecorder
from edge.telemetry.telemetry import Telemetry
from passport.keys import PassportKeys
from tests.processes import all_api_at
from tokens.cookie import Claims, CookieNames, seal_pair
from tokens.keys.ring import KeyRing

CONFIG = Path(__file__).parents[2] / "config"
NAMES = CookieNames()
ENVIRONMENT = "local"
PURPOSES = ("cookie", "cookie-rescheduled", "passport-user", "passport-device", "passport-auth")


def key_sets(first_id: int = 1) -> list[kms_pb2.KeySet]:
    """Return one active primary key for every purpose."""
    return [
        kms_pb2.KeySet(
            purpose=purpose,
            versions=[
                kms_pb2.KeyVersion(
                    key_id=first_id + place, state=kms_pb2.ACTIVE, material=os.urandom(32), primary=True, created=1
                )
            ],
        )
        for place, purpose in enumerate(PURPOSES)
    ]


class Keys:
    """The key holder of a worker, filled at once."""

    def __init__(self) -> None:
        sets = key_sets()
        self.ring = KeyRing.from_key_sets(sets, 1)
        self.passport_keys = PassportKeys.from_key_sets(sets)

    def refresh_soon(self) -> None:
        """Do nothing: these keys never change."""

    def stale(self) -> bool:
        """Tell that they are the newest."""
        return False

    def cookies(
        self,
        customer_id: int = 7,
        *,
        issued_at: int | None = None,
        life_s: int = 14400,
        esn: str = "NFCDCH-02-TEST",
        device_type: int = 0,
        session_id: str = "session",
    ) -> str:
        """Return a `Cookie` header value with a fresh pair."""
        issued_at = int(time.time()) if issued_at is None else issued_at
        claims = Claims(
            customer_id=customer_id,
            account_owner_id=customer_id,
            profile_id="",
            esn=esn,
            device_type=device_type,
            session_id=session_id,
            issued_at=issued_at,
            renew_after=issued_at + life_s // 2,
            expires_at=issued_at + life_s,
            generation=1,
            level=2,
        )
        insecure, secure = seal_pair(self.ring, NAMES, ENVIRONMENT, claims, (os.urandom(12), os.urandom(12)))
        return f"EdgeId={insecure.decode()}; SecureEdgeId={secure.decode()}"


@dataclass
class CookieServiceDouble:
    """The cookie service's port: answers as told, counts its calls."""

    renewal: RenewedCookie = field(default_factory=lambda: RenewedCookie(RenewalOutcome.UNAVAILABLE))
    pair: CookiePair | None = None
    calls: int = 0

    async def create(self, user: UserIdentity, device: DeviceIdentity | None) -> CookiePair | None:
        """Return the pair it was given."""
        self.calls += 1
        return self.pair

    async def renew(self, insecure: bytes) -> RenewedCookie:
        """Return the outcome it was given."""
        self.calls += 1
        return self.renewal

    async def update(self, insecure: bytes, changes: SessionChanges) -> RenewedCookie:
        """Make none."""
        self.calls += 1
        return RenewedCookie(RenewalOutcome.UNAVAILABLE)

    async def revoke(self, revocation: Revocation, *, age_s: int = 0) -> bool:
        """Say that it is done."""
        return True


@dataclass
class RunningEdge:
    """A data plane that serves."""

    port: int
    engine: Engine
    keys: Keys
    counted: WorkerMetrics
    service: CookieServiceDouble
    dials: Dials

    def filters(self, snapshot: Snapshot) -> "Filters":
        """Return the filters of another configuration."""
        return build_filters(snapshot, self.keys, self.service, self.counted, self.dials)

    @property
    def metrics(self) -> WorkerMetrics:
        """What it has counted so far."""
        self.counted.refresh()
        return self.counted

    @property
    def url(self) -> str:
        """Where it serves."""
        return f"http://127.0.0.1:{self.port}"


Filters = tuple[list[InboundFilter], list[OutboundFilter]]
CookieServiceOf = Callable[[Snapshot, WorkerMetrics], CookieService]
"""Makes a worker's client of a cookie service."""


def build_filters(
    snapshot: Snapshot, keys: Keys, service: CookieService, metrics: WorkerMetrics, dials: Dials
) -> Filters:
    """Return what a worker would serve with."""
    hashes, samples = LineWriter(b"k" * 32), snapshot.shadow.max_samples_per_s
    rollout = RolloutRecorder(metrics, hashes, snapshot.device_types, samples, time.monotonic)
    return wiring.build_filters(snapshot, keys, service, dials=dials, rollout=rollout, metrics=metrics)  # type: ignore[arg-type]


@asynccontextmanager
async def running_edge(
    origin: str,
    *overrides: str,
    change: Callable[[Filters], Filters] = lambda filters: filters,
    keys: Keys | None = None,
    cookies: CookieServiceOf | None = None,
) -> AsyncIterator[RunningEdge]:
    """Serve the repository's config with its origin at `origin` (HOST:PORT); `change` may alter the filter lists.

    Without `cookies` the cookie service is the double. `keys` are those that it shares with others, if any.
    """
    settings = (*all_api_at(origin), "access_log.path=off", *overrides)
    snapshot = load_config(CONFIG, settings)
    assert isinstance(snapshot, Snapshot), snapshot
    loop = asyncio.get_running_loop()
    keys, service, metrics, dials = keys or Keys(), CookieServiceDouble(), WorkerMetrics(), Dials()
    called = service if cookies is None else cookies(snapshot, metrics)
    filters = change(build_filters(snapshot, keys, called, metrics, dials))
    engine = wiring.build_engine(snapshot, filters, Telemetry(metrics, None), loop)
    certificates = wiring.listener_certificates(snapshot)
    watch = wiring.certificate_watch(snapshot, [certificates], engine, metrics)
    watching = asyncio.create_task(watch.run())
    listening = socket.create_server(("127.0.0.1", 0))
    server = await listen(engine, listening, 100, certificates, snapshot.listener.proxy_protocol.peers())
    engine.start()
    try:
        yield RunningEdge(listening.getsockname()[1], engine, keys, metrics, service, dials)
    finally:
        watching.cancel()
        server.close()
        await engine.close()
        if isinstance(server, asyncio.AbstractServer):
            await server.wait_closed()
