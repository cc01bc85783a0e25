"""The cookie service itself inside a test: its application on a loopback socket, over SQLite and an edge's keys."""

import secrets
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
from aiohttp import web
from edgepb.cookie.v1 import cookie_service_pb2 as pb

from edge import wiring
from edge.clients.cookie_service import CookieServiceClient
from edge.control.snapshot import Snapshot
from edge.telemetry.metrics import WorkerMetrics
from services.cookie.config import CookieConfig
from services.cookie.feed import feed
from services.cookie.renewal import Renewer
from services.cookie.server import CookieServer
from services.cookie.store import MIGRATIONS, Store
from services.cookie.subscriber import SubscriberClient
from services.cookie.updating import Updater
from services.kit.callers import Callers
from services.kit.config import read_config
from services.kit.database import Database
from services.kit.database_calls import DatabaseCalls
from services.kit.process import MAX_BODY_BYTES
from tests.edge.running import CONFIG, Keys
from tests.services.subscriber import subscribers_running
from tokens.keys.ring import KeyRing

_PATIENCE = "revocations: {check_timeout_s: 5.0}\nsubscriber_timeout_s: 5.0\n"


class _ServedKeys:
    """The edge's keys, as the service has them."""

    def __init__(self, keys: Keys) -> None:
        self.ring: KeyRing = keys.ring

    async def current(self) -> bool:
        return True

    def health(self) -> Mapping[str, str | float]:
        return {}


@dataclass(slots=True, frozen=True)
class RunningCookieService:
    """A service that serves, for edges that hold `keys`; `settings` are what they need to call it."""

    url: str
    token: str
    token_file: Path
    keys: Keys
    session: aiohttp.ClientSession

    @property
    def settings(self) -> tuple[str, ...]:
        """Overrides of an edge's config."""
        return (
            f"services.cookie.url={self.url}",
            f"services.cookie.token_file={self.token_file}",
            "services.cookie.timeout_s=5",
            "services.cookie.create_timeout_s=5",
        )

    def client(self, snapshot: Snapshot, metrics: WorkerMetrics) -> CookieServiceClient:
        """Return an edge's own client of the service."""
        return wiring.cookie_service(snapshot, self.session, metrics)

    async def create(self, **fields: int | str) -> pb.CookiePair:
        """Return the pair of a session that begins."""
        request = pb.CreateRequest(**fields)  # type: ignore[arg-type]
        answer = await self._call("POST", "/v1/create", request.SerializeToString())
        return pb.CreateResponse.FromString(answer).pair

    async def renew(self, insecure: bytes) -> pb.RenewResponse:
        """Return what becomes of a token that is due."""
        answer = await self._call("POST", "/v1/renew", pb.RenewRequest(insecure=insecure).SerializeToString())
        return pb.RenewResponse.FromString(answer)

    async def revoked(self, after: int = 0) -> pb.RevocationFeed:
        """Return what was revoked since."""
        return pb.RevocationFeed.FromString(await self._call("GET", f"/v1/revocations?after={after}"))

    async def _call(self, method: str, path: str, body: bytes = b"") -> bytes:
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/x-protobuf"}
        async with self.session.request(method, self.url + path, data=body, headers=headers) as answer:
            assert answer.status == 200
            return await answer.read()


@asynccontextmanager
async def cookie_service_running(directory: Path) -> AsyncIterator[RunningCookieService]:
    """Serve on port 0 until the block ends. Everybody is a member but those whom `tests.services.subscriber` names."""
    keys, token, token_file = Keys(), secrets.token_urlsafe(32), directory / "edge.token"
    token_file.write_text(token)
    file = directory / "cookie.yaml"
    file.write_text((CONFIG / "cookie.yaml").read_text() + _PATIENCE)
    config = read_config(file, CookieConfig)
    async with AsyncExitStack() as stack:
        subscribers = await stack.enter_async_context(subscribers_running())
        session = await stack.enter_async_context(aiohttp.ClientSession())
        database = Database(config.database, directory / "cookie.sqlite")
        calls = DatabaseCalls(database, config.database)
        stack.callback(calls.close)
        database.upgrade(MIGRATIONS)
        store = Store(calls, time.time, config.revocations, config.database_breaker.breaker("database"))
        breaker = config.subscriber_breaker.breaker("subscriber")
        asked = SubscriberClient(session, subscribers.url, token, config.subscriber_timeout_s, breaker)
        issuer, served, overlap_s = config.issuer(), _ServedKeys(keys), config.rescheduled_renewals.overlap_s
        server = CookieServer(
            config=config,
            callers=Callers({"edge": token}),
            issuer=issuer,
            keys=served,
            subscribers=asked,
            renewer=Renewer(issuer, served, store, asked, time.time, overlap_s=overlap_s),
            updater=Updater(issuer, served, store, time.time, overlap_s=overlap_s),
            store=store,
            feed=await stack.enter_async_context(feed(store)),
            clock=time.time,
        )
        runner = web.AppRunner(server.application(MAX_BODY_BYTES), access_log=None, shutdown_timeout=1)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield RunningCookieService(f"http://127.0.0.1:{runner.addresses[0][1]}", token, token_file, keys, session)
