"""Several addresses: one that fails is left out, costs as little as can be, and comes back by a probe."""

import contextlib

from edge.contract.reasons import Reason
from edge.control.values import parse_address
from edge.net.upstream import Upstream
from edge.upstream.endpoint import Endpoint
from edge.upstream.pool import OriginPool
from tests.edge.raw import RawOrigin, Script, answering, connected, get, ok, raw_origin, until
from tests.edge.running import RunningEdge, running_edge
from tests.edge.test_pool import Gate


def addresses(*origins: RawOrigin | str) -> str:
    """Return the override that names these as the origin's addresses."""
    listed = [origin if isinstance(origin, str) else origin.address for origin in origins]
    return f"origins.api.addresses={listed!r}".replace("'", '"')


def pool_of(edge: RunningEdge) -> OriginPool:
    """Return the pool of the one origin."""
    return edge.engine._pools["api"]


def endpoint_of(edge: RunningEdge, origin: RawOrigin | str) -> Endpoint:
    """Return what the edge keeps of an address."""
    address = parse_address(origin if isinstance(origin, str) else origin.address)
    return next(each for each in pool_of(edge)._rotation.endpoints if each.address == address)


async def origins(stack: contextlib.AsyncExitStack, *scripts: Script) -> list[RawOrigin]:
    """Run an origin for each script."""
    return [await stack.enter_async_context(raw_origin(script)) for script in scripts]


async def test_requests_are_spread_over_all_addresses() -> None:
    async with contextlib.AsyncExitStack() as stack:
        running = await origins(stack, *[answering(ok(b"%d" % number)) for number in range(4)])
        edge = await stack.enter_async_context(running_edge(running[0].address, addresses(*running)))
        client = await stack.enter_async_context(connected(edge.port))
        bodies = [(await client.ask(get())).body for _ in range(200)]
        assert all(bodies.count(b"%d" % number) > 20 for number in range(4))


async def test_an_address_that_went_gets_no_request_more_and_one_that_came_does() -> None:
    async with contextlib.AsyncExitStack() as stack:
        first, second = await origins(stack, answering(ok(b"first")), answering(ok(b"second")))
        edge = await stack.enter_async_context(running_edge(first.address))
        client = await stack.enter_async_context(connected(edge.port))
        assert (await client.ask(get())).body == b"first"
        pool_of(edge).set_addresses([parse_address(second.address)])
        assert [(await client.ask(get())).body for _ in range(3)] == [b"second"] * 3
        await until(lambda: first.connections[0].ended)
        assert pool_of(edge).open_connections == 1


async def test_a_connection_in_use_to_an_address_that_went_ends_with_its_request() -> None:
    gate = Gate()
    async with contextlib.AsyncExitStack() as stack:
        first, second = await origins(stack, gate, answering(ok(b"second")))
        edge = await stack.enter_async_context(running_edge(first.address))
        client = await stack.enter_async_context(connected(edge.port))
        await client.send(get())
        await until(lambda: first.requests)
        pool_of(edge).set_addresses([parse_address(second.address)])
        gate.open.set()
        assert (await client.response()).body == b"0"
        await until(lambda: first.connections[0].ended)
        assert (await client.ask(get())).body == b"second"


async def test_an_origin_without_addresses_answers_503_at_once() -> None:
    async with contextlib.AsyncExitStack() as stack:
        (first,) = await origins(stack, answering(ok()))
        edge = await stack.enter_async_context(running_edge(first.address))
        client = await stack.enter_async_context(connected(edge.port))
        pool_of(edge).set_addresses([])
        assert (await client.ask(get())).status == 503
        pool_of(edge).set_addresses([parse_address(first.address)])
        assert (await client.ask(get())).status == 200


async def test_an_unhealthy_address_gets_no_request_unless_all_are() -> None:
    async with contextlib.AsyncExitStack() as stack:
        first, second = await origins(stack, answering(ok(b"first")), answering(ok(b"second")))
        edge = await stack.enter_async_context(running_edge(first.address, addresses(first, second)))
        client = await stack.enter_async_context(connected(edge.port))
        pool = pool_of(edge)
        pool.mark_health(parse_address(first.address), healthy=False)
        assert {(await client.ask(get())).body for _ in range(20)} == {b"second"}
        pool.mark_health(parse_address(second.address), healthy=False)
        assert {(await client.ask(get())).body for _ in range(60)} == {b"first", b"second"}


class Asking:
    """A waiter that wants a connection and keeps what it hears."""

    def __init__(self) -> None:
        self.connection: Upstream | None = None
        self.reason: Reason | None = None

    def connection_ready(self, connection: Upstream) -> None:
        """Keep it."""
        self.connection = connection

    def connection_failed(self, reason: Reason) -> None:
        """Keep why."""
        self.reason = reason


async def test_an_avoided_address_is_not_taken_while_there_is_another() -> None:
    async with contextlib.AsyncExitStack() as stack:
        first, second = await origins(stack, answering(ok()), answering(ok()))
        edge = await stack.enter_async_context(running_edge(first.address, addresses(first, second)))
        pool, avoided = pool_of(edge), endpoint_of(edge, first)
        for _ in range(20):
            asking = Asking()
            pool.request(asking, avoid=avoided)
            await until(lambda: asking.connection)  # noqa: B023 - waited for in this turn
            assert asking.connection is not None
            assert asking.connection.address is not avoided
        for _ in range(20):
            connection = pool.acquire(avoid=avoided)
            assert connection is None or connection.address is not avoided
        pool.set_addresses([avoided.address])
        last = Asking()
        pool.request(last, avoid=avoided)
        await until(lambda: last.connection)
        assert last.connection is not None
        assert last.connection.address is avoided
