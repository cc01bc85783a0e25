"""Each alert in a scenario with real processes that causes it: `make alerts`, some minutes, no part of `make test`.

Prometheus evaluates the repository's rules, in which every duration is divided by FASTER and nothing else is changed,
on a whole stack under a trickle of traffic. The first test is the control: that traffic makes nothing fire. The last
one waits until everything has recovered. docs/alerts.md has the table of alerts and scenarios.
"""

import asyncio
import contextlib
import os
import signal
import sqlite3
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import aiohttp
import psutil
import pytest
import pytest_asyncio
import yaml

from edge.supervisor.config import Result
from edge.supervisor.control_socket import ask
from passport.kms import KmsClient
from tests.certificates import TestAuthority
from tests.observability.prometheus import Prometheus, needs_prometheus, prometheus_running
from tests.observability.stack import Stack, device, running_stack, signed_in
from tests.processes import beside, dialled, eventually, free_port
from tests.services.cookie_calls import sealed
from tokens.keys.ring import KeyRing

pytestmark = [needs_prometheus, pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(180)]

FASTER = 120
"""5 minutes become 2.5 s, which at a scrape each quarter of a second has enough samples for every rate."""
CONTROL_S = 20.0
DEMO_CUSTOMER = 1001
DAY_S = 86_400
SETTINGS = (
    "edge.workers=2",
    "edge.certificate_check_s=0.2",
    "limits.max_connections=60",
    "limits.max_requests_per_client_per_s=200",
    "revocations.wait_s=0.4",
    "services.kms.refresh_s=0.4",
    "services.kms.timeout_s=0.3",
    "services.cookie.sign_out_retry_s=5",
    "timeouts.response_head_s=2",
    # What a machine that is busy with something else would make fire.
    "shedding.enabled=false",
    "timeouts.loop_blocked_s=10",
)


@dataclass(slots=True)
class World:
    """A stack, Prometheus, certificates, and the keys with which to make cookies that have expired."""

    stack: Stack
    prometheus: Prometheus
    authority: TestAuthority
    addresses: Path
    ring: KeyRing

    def expired(self, age_s: int = 15_000) -> dict[str, str]:
        """Return headers with a cookie pair of its own, made `age_s` ago, that lived for four hours."""
        insecure, secure = (value.decode() for value in sealed(self.ring, DEMO_CUSTOMER, age_s=age_s))
        return {"Cookie": f"EdgeId={insecure}; SecureEdgeId={secure}"}

    async def workers(self) -> list[int]:
        """Return the processes of the workers."""
        url = self.stack.url("admin", "/health")
        async with self.prometheus.session.get(url) as answer:
            return [worker["pid"] for worker in (await answer.json())["workers"] if worker["pid"]]

    @contextlib.contextmanager
    def stopped(self, name: str) -> Iterator[None]:
        """Halt a part: it accepts connections and answers none."""
        self.stack.signal(name, signal.SIGSTOP)
        try:
            yield
        finally:
            self.stack.signal(name, signal.SIGCONT)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    home = tmp_path_factory.mktemp("alerts")
    authority = TestAuthority(home / "certificates")
    addresses = home / "addresses.yaml"
    addresses.write_text('addresses: ["127.0.0.1:9"]\n')

    def change(config: Path) -> None:
        origins = yaml.safe_load((config / "origins.yaml").read_text())
        origins["origins"]["api"]["health_check"] = {"path": "/health", "interval_s": 0.2, "timeout_s": 0.2}
        origins["origins"]["api"]["breaker"] = {"min_calls": 5, "window_s": 5}
        origins["origins"]["found"] = {"discovery": {"file": {"path": str(addresses), "poll_s": 0.2}}}
        (config / "origins.yaml").write_text(yaml.safe_dump(origins))
        edge = yaml.safe_load((config / "edge.yaml").read_text())
        pair = yaml.safe_load(f"{{{authority.issue('edge', ['edge.test'], days=60)}}}")
        edge["listener"]["tls"] = {"address": f"127.0.0.1:{free_port()}", "certificates": [pair]}
        edge["services"]["kms"]["breaker"] = {"min_calls": 2, "window_s": 3}
        (config / "edge.yaml").write_text(yaml.safe_dump(edge))
        cookie = (config / "cookie.yaml").read_text()
        (config / "cookie.yaml").write_text(f"{cookie}\nkms_refresh_s: 0.4\nkms_timeout_s: 0.3\n")

    async with running_stack(home, *SETTINGS, change=change) as stack:
        targets = {"edge": stack.address("admin"), "kms": stack.address("kms"), "cookie": stack.address("cookie")}
        async with prometheus_running(home, targets, interval="250ms", faster=FASTER) as prometheus:
            token = (stack.var / "secrets" / "cookie.token").read_text().strip()
            keys = await KmsClient(prometheus.session, stack.url("kms"), token).key_sets(["cookie"])
            ring = KeyRing.from_key_sets(keys.key_sets, keys.revision)
            running = World(stack, prometheus, authority, addresses, ring)
            async with beside(trickle(running)):
                yield running


async def trickle(world: World) -> None:
    """Browse as devices do: signed in, nobody, and one in fifty with a cookie that has to be renewed."""
    while True:
        with contextlib.suppress(aiohttp.ClientError, TimeoutError, AssertionError):
            async with device() as session, aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as nobody:
                await signed_in(world.stack, session)
                while True:
                    for number in range(50):
                        path = ("/browse", "/account", "/echo")[number % 3]
                        await get(session, world.stack.url("edge", path))
                        await asyncio.sleep(0.01)
                    await get(nobody, world.stack.url("edge", "/browse"), world.expired())
        await asyncio.sleep(0.2)


async def can_sign_in(world: World, session: aiohttp.ClientSession) -> bool:
    """Try to sign in; a password takes its time on a busy machine."""
    try:
        await signed_in(world.stack, session)
    except AssertionError:
        return False
    return True


async def get(session: aiohttp.ClientSession, url: str, headers: dict[str, str] | None = None) -> int:
    """Ask once; return the status."""
    async with session.get(url, headers=headers, timeout=aiohttp.ClientTimeout(total=5)) as answer:
        await answer.read()
        return answer.status


async def repeatedly(action: Callable[[], Awaitable[object]], pause_s: float = 0.02) -> None:
    """Do it for ever, whatever comes of it."""
    while True:
        with contextlib.suppress(aiohttp.ClientError, OSError, TimeoutError, AssertionError):
            await action()
        await asyncio.sleep(pause_s)


async def expired_cookies(world: World, path: str, age_s: int) -> None:
    """Ask with one cookie after another, each of which has to be renewed."""
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session:
        url = world.stack.url("edge", path)
        await repeatedly(lambda: get(session, url, world.expired(age_s)))


@dataclass(slots=True)
class Caused:
    """What has fired since the harm began."""

    prometheus: Prometheus
    alerts: dict[str, dict[str, Any]] = field(default_factory=dict)

    async def fire(self, *names: str, timeout_s: float = 60.0) -> dict[str, dict[str, Any]]:
        """Wait until each of these has fired; return one of each."""

        async def all_have_fired() -> bool:
            self.alerts = await self.prometheus.firing() | self.alerts
            return self.alerts.keys() >= set(names)

        with contextlib.suppress(AssertionError):
            await eventually(all_have_fired, "they fire", timeout_s)
        assert [name for name in names if name not in self.alerts] == []
        return self.alerts


class Watched(Protocol):
    """What `causes` needs of a world."""

    prometheus: Prometheus


@asynccontextmanager
async def causes(world: Watched, *names: str) -> AsyncIterator[Caused]:
    """Do the harm in the block; all of these alerts fire, none of which did before."""

    async def none_fires() -> bool:
        return not (await world.prometheus.firing()).keys() & set(names)

    await eventually(none_fires, f"none of {names} fires yet", 60.0)
    caused = Caused(world.prometheus)
    yield caused
    await caused.fire(*names)
    for name in names:
        texts = [caused.alerts[name]["annotations"][kind] for kind in ("summary", "description")]
        assert all(text and "<" not in text and "%!" not in text for text in texts), texts


async def test_the_control_makes_nothing_fire(world: World) -> None:
    begun = time.monotonic()

    async def long_enough() -> bool:
        return time.monotonic() - begun > CONTROL_S

    await eventually(long_enough, "the control is over", 60.0)
    assert "loop_blocked" not in world.stack.log.read_text()
    fired = await world.prometheus.ask('max_over_time(ALERTS{alertstate="firing"}[10m])')
    assert [labels for labels, _ in fired] == []
    recorded = await world.prometheus.ask('{__name__=~"edge:.*:ratio_rate5m"}')
    shares = {labels["__name__"]: value for labels, value in recorded}
    assert shares["edge:local:ratio_rate5m"] > 0.9
    assert len(shares) == 8


async def test_forged_tokens(world: World) -> None:
    def forged(at: int) -> dict[str, str]:
        value = world.expired()["Cookie"].partition("; ")[0]
        start = len("EdgeId=") + at
        other = "AAAA" if value[start : start + 4] != "AAAA" else "BBBB"
        return {"Cookie": value[:start] + other + value[start + 4 :]}

    async with causes(world, "UsersTurnedAway", "TokensRefused") as caused, aiohttp.ClientSession() as session:
        url = world.stack.url("edge", "/account")
        of_no_key, of_no_use = forged(2), forged(40)
        async with (
            beside(repeatedly(lambda: get(session, url, of_no_key))),
            beside(repeatedly(lambda: get(session, url, of_no_use))),
        ):
            fired = await caused.fire("UsersTurnedAway", "TokensRefused")
            assert fired["UsersTurnedAway"]["labels"]["cause"] == "unknown_key"


async def test_the_cookie_service_halts(world: World) -> None:
    alerts = (
        "RenewalsFail",
        "CookiesRescheduled",
        "BreakerOpen",
        "RevocationFeedOld",
        "TargetDown",
        "SignOutsPending",
        "UsersTurnedAway",
    )
    async with causes(world, *alerts, "SignOutsLost") as caused, device() as leaving:
        await eventually(lambda: can_sign_in(world, leaving), "somebody is signed in")
        with world.stopped("cookie"):
            async with (
                beside(expired_cookies(world, "/browse", 15_000)),
                beside(expired_cookies(world, "/account", 2 * DAY_S)),
                leaving.post(world.stack.url("edge", "/logout")) as answer,
            ):
                assert answer.status == 200
                fired = await caused.fire(*alerts)
                assert fired["TargetDown"]["labels"]["job"] == "cookie"
                assert fired["UsersTurnedAway"]["labels"]["cause"] == "stale"
                await caused.fire("SignOutsLost")


async def test_the_cookie_service_is_slow(world: World) -> None:
    async def hampered() -> None:
        with world.stopped("cookie"):
            await asyncio.sleep(0.2)
        await asyncio.sleep(0.05)

    async with (
        causes(world, "EdgeSlow", "LocalShareLow") as caused,
        beside(repeatedly(hampered)),
        beside(expired_cookies(world, "/browse", 15_000)),
        beside(expired_cookies(world, "/browse", 16_000)),
    ):
        await caused.fire("EdgeSlow", "LocalShareLow")


async def test_the_kms_halts(world: World) -> None:
    async with causes(world, "KeysStale", "TargetDown", "BreakerOpen") as caused:
        with world.stopped("kms"):
            fired = await caused.fire("KeysStale", "TargetDown", "BreakerOpen")
            assert fired["TargetDown"]["labels"]["job"] == "kms"
            assert fired["BreakerOpen"]["labels"]["breaker"] == "service:kms"


async def test_a_stranger_asks_for_keys(world: World) -> None:
    url = world.stack.url("kms", "/v1/key-sets")
    async with causes(world, "KmsAccessRefused"), world.prometheus.session.post(url) as refused:
        assert refused.status == 401


async def test_the_kms_cannot_use_its_store(world: World) -> None:
    with closing(sqlite3.connect(world.stack.var / "kms.sqlite", timeout=10)) as store:
        async with causes(world, "KmsCallsFail") as caused:
            store.execute("ALTER TABLE audit_log RENAME TO audit_log_away")
            store.commit()
            try:
                await caused.fire("KmsCallsFail")
            finally:
                store.execute("ALTER TABLE audit_log_away RENAME TO audit_log")
                store.commit()


async def test_a_key_set_loses_its_primary(world: World) -> None:
    token = (world.stack.var / "secrets" / "operator.token").read_text().strip()
    headers = {"Authorization": f"Bearer {token}"}

    async def operate(path: str, body: object = None) -> dict[str, str]:
        url = world.stack.url("kms", path)
        async with world.prometheus.session.post(url, json=body, headers=headers) as answer:
            assert answer.status == 200, await answer.text()
            found: dict[str, str] = await answer.json()
            return found

    async with world.prometheus.session.get(world.stack.url("kms", "/v1/key-sets"), headers=headers) as answer:
        listing = await answer.json()
    (primary,) = (key for key in find_keys(listing, "cookie-rescheduled") if key["primary"])
    async with causes(world, "KeySetWithoutPrimary"):
        await operate(f"/v1/keys/{primary['key_id']}/state", {"state": "DEACTIVATED", "force": True})
    key_id = (await operate("/v1/key-sets/cookie-rescheduled/versions"))["key_id"]
    await operate(f"/v1/keys/{key_id}/state", {"state": "ACTIVE", "force": True})


def find_keys(listing: object, purpose: str) -> Sequence[dict[str, str]]:
    """Return the versions of one key set, wherever they are in the answer."""
    if isinstance(listing, list):
        return [key for each in listing for key in find_keys(each, purpose)]
    if not isinstance(listing, dict):
        return []
    if listing.get("purpose") == purpose and "key_id" in listing:
        return [listing]
    return [key for each in listing.values() for key in find_keys(each, purpose)]


async def test_the_origin_halts(world: World) -> None:
    alerts = ("OriginsFail", "ServerErrors", "BreakerOpen", "OriginWithoutAddress")
    async with causes(world, *alerts) as caused, aiohttp.ClientSession() as session:
        url = world.stack.url("edge", "/echo")
        with world.stopped("api"):

            async def many() -> None:
                await asyncio.gather(*(get(session, url) for _ in range(20)))

            async with beside(repeatedly(many)):
                fired = await caused.fire(*alerts)
                assert fired["BreakerOpen"]["labels"]["breaker"] == "origin:api"
                assert fired["OriginWithoutAddress"]["labels"]["origin"] == "api"


async def test_the_addresses_of_an_origin_are_found_no_more(world: World) -> None:
    async with causes(world, "DiscoveryOld") as caused:
        text = world.addresses.read_text()
        world.addresses.unlink()
        try:
            await caused.fire("DiscoveryOld")
        finally:
            world.addresses.write_text(text)


async def test_workers_are_killed_and_a_token_file_is_gone(world: World) -> None:
    async def kill() -> None:
        for pid in await world.workers():
            os.kill(pid, signal.SIGKILL)

    token_file = world.stack.var / "secrets" / "edge.token"
    async with causes(world, "WorkersDie", "WorkersMissing", "TokenFileUnusable") as caused:
        token = token_file.read_text()
        token_file.unlink()
        try:
            async with beside(repeatedly(kill, 1.0)):
                await caused.fire("WorkersDie", "WorkersMissing")
            await caused.fire("TokenFileUnusable")
        finally:
            token_file.write_text(token)
            token_file.chmod(0o600)
    await reloaded(world, Result.APPLIED)


async def test_a_client_asks_for_more_than_it_may(world: World) -> None:
    async with causes(world, "LoadShed") as caused, aiohttp.ClientSession() as session:
        url = world.stack.url("edge", "/echo")

        async def flood() -> None:
            await asyncio.gather(*(get(session, url) for _ in range(50)))

        async with beside(repeatedly(flood, 0.0)):
            await caused.fire("LoadShed")


async def test_many_devices_stay_connected(world: World) -> None:
    host, _, port = world.stack.address("edge").rpartition(":")
    async with causes(world, "ConnectionsFull") as caused, contextlib.AsyncExitStack() as connected:

        async def connect() -> None:  # a worker that is full turns it away: the other one may not be, yet
            await connected.enter_async_context(dialled((host, int(port))))

        async with beside(repeatedly(connect, 0.005)):
            await caused.fire("ConnectionsFull")


async def test_a_bad_configuration_is_reloaded(world: World) -> None:
    routes = world.stack.config / "routes.yaml"
    good = routes.read_text()
    async with causes(world, "ConfigChangeFailed"):
        routes.write_text(good.replace("origin: api", "origin: nowhere", 1))
        await reloaded(world, Result.INVALID)
    routes.write_text(good)
    await reloaded(world, Result.APPLIED)


async def reloaded(world: World, result: Result) -> None:
    """Reload the configuration; it must end so."""
    outcome = await asyncio.to_thread(ask, world.stack.var, "reload")
    assert outcome is not None
    assert outcome.result is result, outcome


async def test_a_certificate_is_replaced_by_one_that_expires_and_one_that_is_none(world: World) -> None:
    async with causes(world, "CertificateExpires", "CertificateNotLoaded") as caused:
        world.authority.issue("edge", ["edge.test"], days=5)
        await caused.fire("CertificateExpires")
        (world.authority.directory / "edge.crt").write_text("no certificate\n")
        await caused.fire("CertificateNotLoaded")
    world.authority.issue("edge", ["edge.test"], days=60)


async def test_the_access_log_cannot_be_written(world: World) -> None:
    file = world.stack.config / "edge.yaml"
    edge = yaml.safe_load(file.read_text())
    async with causes(world, "LogsDropped"):
        await restarted(world, {**edge, "access_log": {"path": "/dev/full"}})
    await restarted(world, edge)


async def restarted(world: World, edge: object) -> None:
    """Restart the workers with another `edge.yaml`."""
    (world.stack.config / "edge.yaml").write_text(yaml.safe_dump(edge))
    outcome = await asyncio.to_thread(ask, world.stack.var, "restart")
    assert outcome is not None
    assert outcome.result is Result.APPLIED, outcome


async def test_for_an_hour_no_key_is_rotated_and_none_remembered(world: World) -> None:
    snapshot = world.stack.var / "keys.edge.snapshot"
    async with causes(world, "KeyNotRotated", "KeySnapshotsFail") as caused:
        with closing(sqlite3.connect(world.stack.var / "kms.sqlite", timeout=10)) as store:
            store.execute(
                "UPDATE key_versions SET state_since = ? WHERE purpose = 'passport-device' AND is_primary",
                (int(time.time()) - 40 * DAY_S,),
            )
            store.commit()
        snapshot.unlink()
        (snapshot / "in the way").mkdir(parents=True)
        await caused.fire("KeyNotRotated", "KeySnapshotsFail", timeout_s=120.0)
        (snapshot / "in the way").rmdir()
        snapshot.rmdir()


async def test_the_kms_loses_its_store_and_gets_it_back(world: World) -> None:
    store, kept = world.stack.var / "kms.sqlite", world.stack.var / "kept.sqlite"
    async with causes(world, "KeyStoreLost"):
        with closing(sqlite3.connect(store, timeout=10)) as source, closing(sqlite3.connect(kept)) as copy:
            source.backup(copy)
        for file in world.stack.var.glob("kms.sqlite*"):
            file.unlink()
        await kill_kms(world)
    for file in world.stack.var.glob("kms.sqlite*"):
        file.unlink()
    kept.rename(store)
    await kill_kms(world)


async def kill_kms(world: World) -> None:
    """Kill whoever listens on the KMS's port; `edge up` starts another."""
    await asyncio.to_thread(kill_listener, world.stack.address("kms"))


def kill_listener(address: str) -> None:
    """Kill the process below this one that listens there."""
    port = int(address.rpartition(":")[2])
    for child in psutil.Process().children(recursive=True):
        if any(c.status == psutil.CONN_LISTEN and c.laddr.port == port for c in child.net_connections()):
            child.kill()


async def test_everything_recovers(world: World) -> None:
    with closing(sqlite3.connect(world.stack.var / "kms.sqlite", timeout=10)) as store:
        store.execute("UPDATE key_versions SET state_since = created WHERE state = 'ACTIVE'")
        store.commit()
    await world.prometheus.quiet(90.0)
