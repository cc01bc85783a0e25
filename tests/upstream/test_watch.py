"""What keeps the pools up to date follows the configuration, and a reload loses no address."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

from edge.control.load import load_config
from edge.control.snapshot import Origin, Snapshot
from edge.control.values import Address
from edge.telemetry.metrics import WorkerMetrics
from edge.upstream.tls import OriginTls
from edge.upstream.watch import OriginWatch
from tests.edge.raw import until
from tests.edge.running import CONFIG
from tests.upstream.dns_server import NXDOMAIN, SERVFAIL, DnsServer, Reply, dns_server
from tests.upstream.health_origin import origin

ONE, TWO = Address("10.0.0.1", 80), Address("10.0.0.2", 80)


class PoolDouble:
    """Remembers what it is told."""

    def __init__(self) -> None:
        self.tls: OriginTls | None = None
        self.lists: list[tuple[Address, ...]] = []
        self.health: dict[Address, bool] = {}

    def set_addresses(self, addresses: Sequence[Address]) -> None:
        """Take a list."""
        self.lists.append(tuple(addresses))

    def mark_health(self, address: Address, healthy: bool) -> None:
        """Take a word."""
        self.health[address] = healthy


def origins(*overrides: str) -> Mapping[str, Origin]:
    snapshot = load_config(CONFIG, overrides)
    assert isinstance(snapshot, Snapshot), snapshot
    return snapshot.origins


def by_dns(server: DnsServer, name: str = "api.test") -> Mapping[str, Origin]:
    """Return the origins with addresses from this server, looked up all the time."""
    return origins(
        "origins.api.addresses=[]",
        f'origins.api.discovery={{"dns": {{"name": "{name}:80", "servers": ["{server.address}"], '
        '"min_refresh_s": 0.01, "max_refresh_s": 0.02}}',
    )


@asynccontextmanager
async def watching() -> AsyncIterator[tuple[OriginWatch, WorkerMetrics]]:
    """Run a watch, and see that it leaves no task."""
    before = asyncio.all_tasks()
    metrics = WorkerMetrics()
    watch = OriginWatch(metrics)
    try:
        yield watch, metrics
    finally:
        await watch.close()
    await until(lambda: asyncio.all_tasks() <= before)
    assert not metrics.sources


def value(metrics: WorkerMetrics, name: str, *labels: str) -> float | None:
    return dict(metrics.snapshot(0.0).values[name]).get(labels)


async def test_an_origin_with_addresses_of_its_own_is_left_alone() -> None:
    pool = PoolDouble()
    async with watching() as (watch, metrics):
        watch.follow(origins(), {"api": pool})
        watch.start()
        assert value(metrics, "edge_discovery_addresses", "api") is None
    assert pool.lists == []


async def test_nothing_is_looked_for_before_the_start() -> None:
    pool = PoolDouble()
    async with dns_server(Reply(("10.0.0.1",))) as server, watching() as (watch, metrics):
        watch.follow(by_dns(server), {"api": pool})
        assert server.asked == []
        watch.start()
        await until(lambda: pool.lists)
        assert pool.lists == [(ONE,)]
        assert value(metrics, "edge_discovery_addresses", "api") == 1
        assert value(metrics, "edge_discovery_refreshes_total", "api", "changed") == 1


async def test_n1_a_name_that_is_not_known_yet_blocks_nothing_and_is_looked_up_again() -> None:
    pool = PoolDouble()
    async with dns_server(Reply(rcode=NXDOMAIN)) as server, watching() as (watch, metrics):
        watch.follow(by_dns(server), {"api": pool})
        watch.start()
        await until(lambda: len(server.asked) > 8)
        assert pool.lists == []
        assert value(metrics, "edge_discovery_addresses", "api") == 0
        server.say(Reply(("10.0.0.1",)))
        await until(lambda: pool.lists == [(ONE,)])


async def test_n1_a_reload_while_dns_is_away_goes_on_with_the_addresses_that_were_known() -> None:
    before, after = PoolDouble(), PoolDouble()
    async with dns_server(Reply(("10.0.0.1",))) as server, watching() as (watch, _):
        watch.follow(by_dns(server), {"api": before})
        watch.start()
        await until(lambda: before.lists)
        server.say(Reply(rcode=SERVFAIL))
        watch.follow(by_dns(server, "other.test"), {"api": after})
        assert after.lists == [(ONE,)]
        await until(lambda: server.names[-1] == "other.test")
        server.say(Reply(("10.0.0.2",)))
        await until(lambda: after.lists == [(ONE,), (TWO,)])
        assert before.lists == [(ONE,)]


async def test_an_origin_whose_pool_stays_is_not_looked_up_anew() -> None:
    pool = PoolDouble()
    async with dns_server(Reply(("10.0.0.1",), ttl_s=3600)) as server, watching() as (watch, _):
        settings = origins(
            "origins.api.addresses=[]",
            f'origins.api.discovery={{"dns": {{"name": "api.test:80", "servers": ["{server.address}"]}}}}',
        )
        watch.follow(settings, {"api": pool})
        watch.start()
        await until(lambda: pool.lists)
        asked = len(server.asked)
        for _ in range(100):
            watch.follow(settings, {"api": pool})
        assert len(server.asked) == asked
        assert pool.lists == [(ONE,)]


async def test_an_origin_that_is_gone_is_not_looked_up_any_more() -> None:
    async with dns_server(Reply(("10.0.0.1",))) as server, watching() as (watch, metrics):
        watch.follow(by_dns(server), {"api": PoolDouble()})
        watch.start()
        await until(lambda: server.asked)
        watch.follow({}, {})
        assert value(metrics, "edge_discovery_addresses", "api") is None


async def test_addresses_that_are_found_are_checked_and_the_pool_hears_of_it() -> None:
    pool = PoolDouble()
    async with origin(500) as api, dns_server(Reply(("127.0.0.1",))) as server, watching() as (watch, metrics):
        watch.follow(
            origins(
                "origins.api.addresses=[]",
                f'origins.api.discovery={{"dns": {{"name": "api.test:{api.address.port}", '
                f'"servers": ["{server.address}"]}}}}',
                'origins.api.health_check={"path": "/health", "interval_s": 0.02}',
            ),
            {"api": pool},
        )
        watch.start()
        await until(lambda: pool.health == {api.address: False})
        assert value(metrics, "edge_origin_healthy", "api", str(api.address)) == 0
        assert (value(metrics, "edge_health_checks_total", "api", "status") or 0) >= 3
        api.status = 200
        await until(lambda: pool.health == {api.address: True})
        assert value(metrics, "edge_origin_healthy", "api", str(api.address)) == 1


async def test_addresses_of_the_configuration_are_checked_too() -> None:
    pool = PoolDouble()
    async with origin(500) as api, watching() as (watch, _):
        watch.follow(
            origins(
                f'origins.api.addresses=["{api.address}"]',
                'origins.api.health_check={"path": "/health", "interval_s": 0.02}',
            ),
            {"api": pool},
        )
        watch.start()
        await until(lambda: pool.health == {api.address: False})


async def test_a_reload_remembers_who_is_unhealthy() -> None:
    before, after = PoolDouble(), PoolDouble()
    async with origin(500) as api, watching() as (watch, _):
        for pool, interval_s in ((before, 0.02), (after, 3600)):
            watch.follow(
                origins(
                    f'origins.api.addresses=["{api.address}"]',
                    f'origins.api.health_check={{"path": "/health", "interval_s": {interval_s}}}',
                ),
                {"api": pool},
            )
            watch.start()
            told = pool.health
            await until(lambda: told)  # noqa: B023
            assert told == {api.address: False}
