"""A new configuration in a worker that serves: nobody's connection is lost, what did not change goes on."""

import asyncio
import gc
import weakref
from collections.abc import Iterator

import pytest

from edge import wiring
from edge.control.load import load_config
from edge.control.snapshot import Snapshot
from tests.edge.raw import OriginConnection, answering, connected, get, ok, raw_origin, until
from tests.edge.running import CONFIG, RunningEdge, running_edge
from tests.processes import all_api_at


def reload(edge: RunningEdge, origin: str, *overrides: str) -> None:
    """Let the worker serve the repository's config with these overrides from now on."""
    settings = (*all_api_at(origin), "access_log.path=off", *overrides)
    snapshot = load_config(CONFIG, settings)
    assert isinstance(snapshot, Snapshot), snapshot
    filters = edge.filters(snapshot)
    edge.engine.adopt(edge.engine.prepare(snapshot, *wiring.chains(snapshot, filters, edge.metrics)))


async def test_w3_a_reload_keeps_the_clients_connection_and_that_of_an_origin_that_did_not_change() -> None:
    async with (
        raw_origin(answering(ok(), ok())) as origin,
        running_edge(origin.address) as edge,
        connected(edge.port) as client,
    ):
        assert (await client.ask(get())).status == 200
        pool = edge.engine.pools["api"]
        reload(edge, origin.address, "limits.max_request_body_bytes=10")
        assert (await client.ask(get())).status == 200
        assert len(origin.connections) == 1
        assert edge.engine.pools["api"] is pool


async def test_w3_the_next_request_of_a_connection_is_served_by_the_new_configuration() -> None:
    async with (
        raw_origin(answering(ok(b"old"))) as before,
        raw_origin(answering(ok(b"new"))) as after,
        running_edge(before.address) as edge,
        connected(edge.port) as client,
    ):
        assert (await client.ask(get())).body == b"old"
        reload(edge, after.address)
        assert (await client.ask(get())).body == b"new"


async def test_w3_a_target_that_was_known_finds_its_new_route() -> None:
    async with (
        raw_origin(answering(ok())) as origin,
        running_edge(origin.address) as edge,
        connected(edge.port) as client,
    ):
        assert (await client.ask(get(b"/echo"))).status == 200
        reload(edge, origin.address, "routes.echo.auth.user=high")
        assert (await client.ask(get(b"/echo"))).status == 401


async def test_w3_an_exchange_in_flight_ends_on_the_configuration_it_began_on() -> None:
    go = asyncio.Event()

    async def script(connection: OriginConnection) -> None:
        await connection.request()
        await go.wait()
        await connection.send(ok(b"old"))
        await connection.end()

    async with (
        raw_origin(script) as before,
        raw_origin(answering(ok(b"new"))) as after,
        running_edge(before.address) as edge,
        connected(edge.port) as early,
        connected(edge.port) as late,
    ):
        await early.send(get())
        await until(lambda: before.requests)
        reload(edge, after.address)
        assert (await late.ask(get())).body == b"new"
        go.set()
        assert (await early.response()).body == b"old"


async def test_w3_a_request_that_waits_for_a_replaced_pool_is_answered_from_it_or_in_its_time() -> None:
    go = asyncio.Event()

    async def script(connection: OriginConnection) -> None:
        await connection.request()
        await go.wait()
        await connection.send(ok(b"old"))
        await connection.end()

    overrides = ("origins.api.max_connections=1", "origins.api.wait_timeout_s=0.1")
    async with (
        raw_origin(script) as before,
        raw_origin(answering(ok(b"new"))) as after,
        running_edge(before.address, *overrides) as edge,
        connected(edge.port) as first,
        connected(edge.port) as second,
    ):
        await first.send(get())
        await until(lambda: before.requests)
        await second.send(get())
        await until(lambda: edge.engine.pools["api"]._waiting)
        reload(edge, after.address)
        refused = await second.response()
        assert refused.status == 503
        assert b"origin_pool_exhausted" in refused.body
        go.set()
        assert (await first.response()).body == b"old"


@pytest.fixture
def _no_collector() -> Iterator[None]:
    """Stop the cyclic collector: in a worker it may not come by for hours, and nothing of a reload may need it."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("_no_collector")
async def test_w3_a_replaced_pool_is_closed_after_its_last_exchange() -> None:
    async with (
        raw_origin(answering(ok())) as before,
        raw_origin(answering(ok())) as after,
        running_edge(before.address) as edge,
        connected(edge.port) as client,
    ):
        await client.ask(get())
        gone = weakref.ref(edge.engine._context)
        reload(edge, after.address)
        await client.ask(get())
        await until(lambda: not edge.engine._origins.retired)
        assert gone() is None
        assert edge.engine.origin_connections == 1


async def test_w3_draining_is_told_to_exchanges_that_began_before_a_reload() -> None:
    go = asyncio.Event()

    async def script(connection: OriginConnection) -> None:
        await connection.request()
        await go.wait()
        await connection.send(ok())
        await connection.end()

    async with raw_origin(script) as origin, running_edge(origin.address) as edge, connected(edge.port) as client:
        await client.send(get())
        await until(lambda: origin.requests)
        reload(edge, origin.address, "limits.max_request_body_bytes=10")
        draining = asyncio.create_task(edge.engine.drain(5))
        await asyncio.sleep(0)
        go.set()
        assert (await client.response()).get(b"connection") == b"close"
        await draining


async def test_w3_counters_go_on_after_a_reload() -> None:
    async with (
        raw_origin(answering(ok(), ok())) as origin,
        running_edge(origin.address) as edge,
        connected(edge.port) as client,
    ):
        await client.ask(get())
        reload(edge, origin.address, "limits.max_request_body_bytes=10")
        await client.ask(get())
        assert sum(edge.metrics.requests.values()) == 2
        assert edge.metrics.filter_costs["cookie"] is edge.metrics.filter_cost("cookie")


async def test_w3_what_was_prepared_and_discarded_changes_nothing() -> None:
    async with (
        raw_origin(answering(ok(), ok())) as origin,
        running_edge(origin.address) as edge,
        connected(edge.port) as client,
    ):
        await client.ask(get())
        serving = edge.engine._context
        snapshot = load_config(CONFIG, (*all_api_at(origin.address), "limits.max_headers=50"))
        assert isinstance(snapshot, Snapshot)
        filters = edge.filters(snapshot)
        edge.engine.discard(edge.engine.prepare(snapshot, *wiring.chains(snapshot, filters, edge.metrics)))
        assert edge.engine._context is serving
        assert (await client.ask(get())).status == 200
        assert len(origin.connections) == 1


async def test_f6_what_was_remembered_under_the_old_configuration_counts_for_nothing_under_the_new() -> None:
    async with (
        raw_origin(answering(ok(), ok())) as origin,
        running_edge(origin.address) as edge,
        connected(edge.port) as client,
    ):
        request = get(b"/account", b"Cookie: " + edge.keys.cookies().encode())
        assert (await client.ask(request)).status == 200
        assert (await client.ask(request)).status == 200
        reload(edge, origin.address, "edge.environment=another")
        assert (await client.ask(request)).status == 401
