"""Several addresses: one that fails is left out, costs as little as can be, and comes back by a probe."""

import asyncio
import contextlib
import socket
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager

import h11
import pytest

from edge.contract.reasons import Reason
from edge.control.values import parse_address
from edge.net.upstream import Owner, Peer, Upstream
from edge.upstream.ejection import Standing
from edge.upstream.endpoint import Endpoint
from edge.upstream.pool import OriginPool
from tests.edge.raw import (
    OriginConnection,
    RawClient,
    RawOrigin,
    Script,
    answering,
    connected,
    get,
    ok,
    raw_origin,
    request,
    response,
    until,
)
from tests.edge.running import RunningEdge, running_edge
from tests.edge.test_pool import Gate
from tests.edge.test_relay import problem

QUICK = ("origins.api.ejection.base_s=0.3", "origins.api.ejection.max_s=5.0")
LONG = ("origins.api.ejection.base_s=60.0", "origins.api.ejection.max_s=60.0")
WAIT = "origins.api.wait_timeout_s=30.0"


def addresses(*origins: RawOrigin | str) -> str:
    """Return the override that names these as the origin's addresses."""
    listed = [origin if isinstance(origin, str) else origin.address for origin in origins]
    return f"origins.api.addresses={listed!r}".replace("'", '"')


def pool_of(edge: RunningEdge) -> OriginPool:
    """Return the pool of the one origin."""
    return edge.engine.pools["api"]


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


async def test_a_connect_to_an_address_that_went_meanwhile_serves_nobody() -> None:
    async with contextlib.AsyncExitStack() as stack:
        first, second = await origins(stack, answering(ok()), answering(ok()))
        edge = await stack.enter_async_context(running_edge(first.address))
        pool, asking = pool_of(edge), Asking()
        pool.request(asking)
        went = pool._only
        pool.set_addresses([parse_address(second.address)])
        await until(lambda: asking.connection)
        assert asking.connection is not None
        assert asking.connection.address is not went
        await until(lambda: not pool._connecting and pool.open_connections == 1)


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


async def test_an_avoided_address_is_never_taken() -> None:
    async with contextlib.AsyncExitStack() as stack:
        three = await origins(stack, *[answering(ok())] * 3)
        edge = await stack.enter_async_context(running_edge(three[0].address, addresses(*three)))
        pool, (first, second, third) = pool_of(edge), (endpoint_of(edge, each) for each in three)
        for _ in range(20):
            asking = Asking()
            pool.request(asking, avoid=(first, third))
            await until(lambda: asking.connection)  # noqa: B023 - waited for in this turn
            assert asking.connection is not None
            assert asking.connection.address is second
        pool.set_addresses([first.address, third.address])
        last = Asking()
        pool.request(last, avoid=(first, third))
        assert last.reason is Reason.ORIGIN_CONNECT_FAILED


async def test_who_waits_for_an_address_that_goes_is_not_given_one_that_it_avoids() -> None:
    async with contextlib.AsyncExitStack() as stack:
        first, second = await origins(stack, answering(ok()), answering(ok()))
        one_each = ("origins.api.max_connections_per_address=1", WAIT)
        edge = await stack.enter_async_context(running_edge(first.address, addresses(first, second), *one_each))
        pool, avoided = pool_of(edge), endpoint_of(edge, first)
        holding, waiting = Asking(), Asking()
        pool.request(holding, avoid=(avoided,))
        await until(lambda: holding.connection)
        pool.request(waiting, avoid=(avoided,))
        pool.set_addresses([avoided.address])
        assert waiting.reason is Reason.ORIGIN_CONNECT_FAILED
        assert not pool._waiting


async def test_a_retry_waits_for_no_connect_to_the_address_that_it_avoids() -> None:
    async with contextlib.AsyncExitStack() as stack:
        first, second = await origins(stack, answering(ok()), answering(ok()))
        edge = await stack.enter_async_context(running_edge(first.address, addresses(first, second)))
        pool, avoided, opened = pool_of(edge), endpoint_of(edge, first), asyncio.Event()
        open_now = pool._connector.open

        async def open_late(peer: Peer, owner: Owner) -> Upstream | Reason:
            if peer is avoided:
                await opened.wait()
            return await open_now(peer, owner)

        pool._connector.open = open_late  # type: ignore[method-assign]
        other, asking = Asking(), Asking()
        pool.request(other, avoid=(endpoint_of(edge, second),))
        pool.cancel(other)
        pool.request(asking, avoid=(avoided,))
        await until(lambda: asking.connection)
        assert asking.connection is not None
        assert asking.connection.address is not avoided
        opened.set()


# Addresses that fail.


class Moody:
    """An origin whose answer can be changed while it runs: `ok`, `500`, `404`, `reset`, `cut`, `hang`."""

    def __init__(self, mood: str, name: bytes = b"moody") -> None:
        self.mood = mood
        self.asked = 0
        self._name = name

    async def __call__(self, connection: OriginConnection) -> None:
        """Answer as the mood of the moment is."""
        while await connection.request() is not None:
            self.asked += 1
            if self.mood == "ok":
                await connection.send(ok(self._name))
            elif self.mood.isdigit():
                await connection.send(response(self.mood.encode() + b" No", b"Content-Length: 2") + b"no")
            elif self.mood == "cut":
                await connection.send(response(b"200 OK", b"Content-Length: 100") + b"half")
                connection.reset()
            elif self.mood == "reset":
                connection.reset()
            else:
                await connection.end()


async def statuses(port: int, count: int, asked: bytes | None = None) -> list[int]:
    """Ask one after the other, each on a connection of its own; 0 for an answer that was broken off."""
    seen = []
    for _ in range(count):
        async with connected(port) as client:
            try:
                seen.append((await client.ask(asked or get())).status)
            except (ConnectionError, h11.RemoteProtocolError):
                seen.append(0)
    return seen


def ejections(edge: RunningEdge) -> dict[str, int]:
    """Return how many there were, by cause."""
    counted: dict[str, int] = {}
    for (_, _, cause), number in edge.metrics.ejections.items():
        counted[str(cause)] = counted.get(str(cause), 0) + number
    return counted


@contextmanager
def closed_port() -> Iterator[tuple[socket.socket, str]]:
    """Hold a port on which nothing listens: connects are refused until somebody listens on the socket."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        held.setblocking(False)
        yield held, f"127.0.0.1:{held.getsockname()[1]}"


@contextmanager
def black_hole() -> Iterator[str]:
    """Listen with a full backlog: connects get no answer."""
    with contextlib.ExitStack() as stack:
        held = stack.enter_context(socket.socket())
        held.bind(("127.0.0.1", 0))
        held.listen(0)
        for _ in range(4):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(held.getsockname())
        yield f"127.0.0.1:{held.getsockname()[1]}"


@pytest.mark.parametrize(
    ("mood", "cause", "seen"),
    [("500", "status_5xx", 500), ("reset", "origin_closed", 502), ("cut", "origin_cut", 0)],
)
async def test_b1_b7_an_address_that_fails_costs_five_requests_and_is_left_out(
    mood: str, cause: str, seen: int
) -> None:
    bad = Moody(mood)
    async with contextlib.AsyncExitStack() as stack:
        running = await origins(stack, bad, *[answering(ok())] * 3)
        edge = await stack.enter_async_context(running_edge(running[0].address, addresses(*running), *LONG))
        post = request(b"POST", b"/upload", b"Content-Length: 3", body=b"abc")
        answers = []
        while not ejections(edge):
            answers += await statuses(edge.port, 10, post)
        assert {*answers} == {200, seen}
        assert bad.asked == answers.count(seen) == 5
        assert await statuses(edge.port, 40, post) == [200] * 40
        assert ejections(edge) == {cause: 1}


@pytest.mark.parametrize("key", ["request_timeout_s", "response_head_timeout_s"])
async def test_b4_an_address_that_does_not_answer_is_left_out_whichever_timeout_says_so(key: str) -> None:
    bad = Moody("hang")
    async with contextlib.AsyncExitStack() as stack:
        running = await origins(stack, bad, *[answering(ok())] * 3)
        overrides = (addresses(*running), *LONG, f"routes.root.{key}=0.05", "origins.api.ejection.min_requests=3")
        edge = await stack.enter_async_context(running_edge(running[0].address, *overrides))
        devices = [await stack.enter_async_context(connected(edge.port)) for _ in range(5)]
        while bad.asked < 10 and not ejections(edge):
            for device in devices:
                await device.send(get())
            assert {(await device.response()).status for device in devices} <= {200, 504}
        assert ejections(edge) == {"origin_timeout": 1}


async def test_an_ejected_address_returns_by_a_probe_and_is_used_again() -> None:
    bad = Moody("500")
    async with contextlib.AsyncExitStack() as stack:
        running = await origins(stack, bad, answering(ok(b"good")))
        edge = await stack.enter_async_context(running_edge(running[0].address, addresses(*running), *QUICK))
        endpoint = endpoint_of(edge, running[0])
        while not ejections(edge):
            await statuses(edge.port, 1)
        bad.mood = "ok"
        while endpoint not in pool_of(edge)._rotation.active:
            assert await statuses(edge.port, 1) == [200]
        assert 0.0 < endpoint.weight < 1.0
        asked = bad.asked
        while bad.asked < asked + 3:
            assert await statuses(edge.port, 1) == [200]


async def until_close(connection: OriginConnection) -> None:
    """Answer one request with a body that only the connection's end ends."""
    await connection.request()
    await connection.send(response(b"200 OK") + b"all")


async def test_a_probe_whose_answer_ends_with_its_connection_brings_the_address_back() -> None:
    bad = Moody("500")

    async def script(connection: OriginConnection) -> None:
        await (until_close if bad.mood == "ok" else bad)(connection)

    async with contextlib.AsyncExitStack() as stack:
        running = await origins(stack, script, answering(ok()))
        edge = await stack.enter_async_context(running_edge(running[0].address, addresses(*running), *QUICK))
        while not ejections(edge):
            await statuses(edge.port, 1)
        bad.mood = "ok"
        async with asyncio.timeout(8):
            while endpoint_of(edge, running[0]) not in pool_of(edge)._rotation.active:
                assert await statuses(edge.port, 1) == [200]


async def test_a_probe_that_is_a_stream_brings_the_address_back_before_its_end() -> None:
    bad = Moody("500")

    async def script(connection: OriginConnection) -> None:
        if bad.mood != "ok":
            await bad(connection)
            return
        await connection.request()
        await connection.send(response(b"200 OK", b"Transfer-Encoding: chunked") + b"3\r\nabc\r\n")
        await connection.end()

    async with contextlib.AsyncExitStack() as stack:
        running = await origins(stack, script, answering(ok()))
        edge = await stack.enter_async_context(running_edge(running[0].address, addresses(*running), *QUICK))
        endpoint = endpoint_of(edge, running[0])
        while not ejections(edge):
            await statuses(edge.port, 1)
        bad.mood = "ok"
        device = await stack.enter_async_context(connected(edge.port))
        while endpoint.probe is None:
            await device.send(get())
            head = await device.receive_until(b"\r\n\r\n")
            await device.receive_until(b"abc" if b"chunked" in head else b"hello")
        await until(lambda: endpoint in pool_of(edge)._rotation.active)
        assert device.left == b"\r\n"


@pytest.mark.parametrize("mood", ["500", "reset", "cut"])
async def test_each_probe_that_fails_doubles_the_time_until_the_next(mood: str) -> None:
    bad = Moody(mood)
    async with contextlib.AsyncExitStack() as stack:
        running = await origins(stack, bad, answering(ok()))
        edge = await stack.enter_async_context(running_edge(running[0].address, addresses(*running), *QUICK))
        endpoint = endpoint_of(edge, running[0])
        post = request(b"POST", b"/upload", b"Content-Length: 3", body=b"abc")
        while not ejections(edge):
            await statuses(edge.port, 1, post)
        asked = bad.asked
        while bad.asked < asked + 2:
            await statuses(edge.port, 1, post)
        await until(lambda: endpoint.standing is Standing.EJECTED)
        assert endpoint.record.level == 3
        assert sum(ejections(edge).values()) == 3


async def test_at_most_one_probe_is_in_flight() -> None:
    bad = Moody("500")
    async with contextlib.AsyncExitStack() as stack:
        running = await origins(stack, bad, answering(ok(b"good")))
        edge = await stack.enter_async_context(running_edge(running[0].address, addresses(*running), *QUICK))
        endpoint = endpoint_of(edge, running[0])
        while not ejections(edge):
            await statuses(edge.port, 1)
        bad.mood, asked = "hang", bad.asked
        devices = [await stack.enter_async_context(connected(edge.port)) for _ in range(10)]
        for device in devices:
            await until(lambda: pool_of(edge)._rotation.ready or endpoint.probe)
            await device.send(get())
        await until(lambda: bad.asked > asked)
        answered = [device for device in devices if await answers_soon(device)]
        assert len(answered) == 9
        assert bad.asked == asked + 1
        (probing,) = [device for device in devices if device not in answered]
        probing.reset()  # no verdict: another request may be the probe
        bad.mood = "ok"
        while endpoint not in pool_of(edge)._rotation.active:
            assert await statuses(edge.port, 1) == [200]


async def answers_soon(device: RawClient) -> bool:
    """Say whether an answer comes; the one that does not holds the probe."""
    try:
        async with asyncio.timeout(1.0):
            return (await device.response()).status == 200
    except TimeoutError:
        return False


async def test_4xx_are_no_errors_of_an_address() -> None:
    async with contextlib.AsyncExitStack() as stack:
        running = await origins(stack, Moody("404"), answering(ok()))
        edge = await stack.enter_async_context(running_edge(running[0].address, addresses(*running)))
        answers = await statuses(edge.port, 60)
        assert answers.count(404) > 10
        assert not ejections(edge)


async def test_b13_an_error_that_all_addresses_answer_with_ejects_none() -> None:
    bad = [Moody("500") for _ in range(3)]
    async with contextlib.AsyncExitStack() as stack:
        running = await origins(stack, *bad)
        overrides = (addresses(*running), "origins.api.breaker.failure_rate=1.0", "origins.api.breaker.min_calls=10000")
        edge = await stack.enter_async_context(running_edge(running[0].address, *overrides))
        devices = [await stack.enter_async_context(connected(edge.port)) for _ in range(9)]
        for _ in range(12):  # at a time, so that all are asked before one has answered five
            for device in devices:
                await device.send(get())
            assert {(await device.response()).status for device in devices} == {500}
        assert not ejections(edge)
        assert min(each.asked for each in bad) > 10


async def test_b1_a_request_whose_address_is_gone_goes_to_another_even_with_a_body() -> None:
    with closed_port() as (_, gone):
        async with contextlib.AsyncExitStack() as stack:
            (good,) = await origins(stack, answering(ok(b"good", b"Connection: close")))
            edge = await stack.enter_async_context(running_edge(gone, addresses(gone, good), *LONG))
            post = request(b"POST", b"/upload", b"Content-Length: 3", body=b"abc")
            assert await statuses(edge.port, 30, post) == [200] * 30
            assert ejections(edge) == {"origin_connect_failed": 1}
            assert len(good.requests) == 30


async def test_b3_a_black_hole_costs_one_connect_timeout_and_no_request() -> None:
    with black_hole() as hole:
        async with contextlib.AsyncExitStack() as stack:
            (good,) = await origins(stack, answering(ok(b"good", b"Connection: close")))
            overrides = (addresses(hole, good), "origins.api.connect_timeout_s=1.0", *LONG, WAIT)
            edge = await stack.enter_async_context(running_edge(hole, *overrides))
            clock, slow = asyncio.get_running_loop().time, 0
            for _ in range(40):
                began = clock()
                assert await statuses(edge.port, 1) == [200]
                slow += clock() - began >= 0.95
            assert slow <= 1
            assert ejections(edge) == {"origin_connect_timeout": 1}


async def test_b3_requests_behind_a_black_hole_are_served_as_soon_as_one_has_found_out() -> None:
    with black_hole() as hole:
        async with contextlib.AsyncExitStack() as stack:
            (good,) = await origins(stack, answering(ok(b"good", b"Connection: close")))
            overrides = (addresses(hole, good), "origins.api.connect_timeout_s=0.5", *LONG, WAIT)
            edge = await stack.enter_async_context(running_edge(hole, *overrides))
            devices = [await stack.enter_async_context(connected(edge.port)) for _ in range(20)]
            for device in devices:
                await device.send(get())
            assert [(await device.response()).status for device in devices] == [200] * 20


async def test_b2_all_addresses_down_is_a_503_at_once_and_the_first_one_back_serves() -> None:
    with closed_port() as (first, one), closed_port() as (_, other):
        async with contextlib.AsyncExitStack() as stack:
            edge = await stack.enter_async_context(running_edge(one, addresses(one, other), *QUICK))
            assert await statuses(edge.port, 20) == [503] * 20
            assert len(pool_of(edge)._rotation.active) == 1
            server = await asyncio.start_server(RawOrigin(answering(ok(b"back")), 65536)._serve, sock=first)
            stack.push_async_callback(server.wait_closed)
            stack.callback(server.close)
            async with asyncio.timeout(8):
                while await statuses(edge.port, 1) != [200]:
                    pass
            assert await statuses(edge.port, 10) == [200] * 10


async def test_b2_a_wait_for_connects_that_all_hang_is_a_connect_timeout() -> None:
    with black_hole() as first, black_hole() as second:
        overrides = (addresses(first, second), "origins.api.connect_timeout_s=30.0", "origins.api.wait_timeout_s=0.3")
        async with running_edge(first, *overrides) as edge, connected(edge.port) as client:
            answer = await client.ask(get())
            assert (answer.status, problem(answer)["reason"]) == (503, "origin_connect_timeout")


async def test_b5_requests_pass_by_an_address_that_does_not_answer() -> None:
    async with contextlib.AsyncExitStack() as stack:
        running = await origins(stack, Moody("hang"), answering(ok()))
        edge = await stack.enter_async_context(running_edge(running[0].address, addresses(*running)))
        asking = asyncio.create_task(statuses(edge.port, 1000))
        await until(lambda: running[0].requests)
        assert await statuses(edge.port, 50) == [200] * 50
        assert len(running[0].requests) == 1
        asking.cancel()


# Connections.


async def test_idle_connections_to_all_addresses_serve_without_any_task() -> None:
    async with contextlib.AsyncExitStack() as stack:
        running = await origins(stack, *[answering(ok())] * 3)
        edge = await stack.enter_async_context(running_edge(running[0].address, addresses(*running)))
        client = await stack.enter_async_context(connected(edge.port))
        pool, started = pool_of(edge), 0
        while not all(endpoint.idle for endpoint in pool._rotation.endpoints):
            await client.ask(get())
        spawn = pool._spawn

        def counting(work: Coroutine[None, None, None]) -> object:
            nonlocal started
            started += 1
            return spawn(work)

        pool._spawn = counting
        for _ in range(50):
            await client.ask(get())
        assert started == 0


async def test_no_more_connections_go_to_one_address_than_it_may_have() -> None:
    gates = [Gate(), Gate()]
    async with contextlib.AsyncExitStack() as stack:
        running = await origins(stack, *gates)
        limit = "origins.api.max_connections_per_address=2"
        edge = await stack.enter_async_context(running_edge(running[0].address, addresses(*running), limit, WAIT))
        devices = [await stack.enter_async_context(connected(edge.port)) for _ in range(10)]
        for device in devices:
            await device.send(get())
        await until(lambda: len(running[0].requests) + len(running[1].requests) == 4)
        for gate in gates:
            gate.open.set()
        assert [(await device.response()).status for device in devices] == [200] * 10
        assert [len(origin.connections) for origin in running] == [2, 2]


async def test_an_idle_connection_to_any_address_serves_when_no_other_may_be_opened() -> None:
    async with contextlib.AsyncExitStack() as stack:
        running = await origins(stack, *[answering(ok())] * 3)
        edge = await stack.enter_async_context(
            running_edge(running[0].address, addresses(*running), "origins.api.max_connections=1")
        )
        assert await statuses(edge.port, 20) == [200] * 20
        assert sum(len(origin.connections) for origin in running) == 1


async def test_a_connection_takes_its_number_of_requests_less_a_fifth_at_most_and_is_closed() -> None:
    async with contextlib.AsyncExitStack() as stack:
        (origin,) = await origins(stack, answering(ok()))
        limit = "origins.api.max_requests_per_connection=10"
        edge = await stack.enter_async_context(running_edge(origin.address, limit))
        assert await statuses(edge.port, 60) == [200] * 60
        assert all(8 <= len(each.requests) <= 10 for each in origin.connections[:-1])
        assert len(origin.connections) >= 6


async def test_a_connection_that_is_too_old_takes_no_more_requests() -> None:
    async with contextlib.AsyncExitStack() as stack:
        (origin,) = await origins(stack, answering(ok()))
        edge = await stack.enter_async_context(running_edge(origin.address, "origins.api.max_connection_age_s=0.4"))
        async with asyncio.timeout(8):
            while len(origin.connections) < 3:
                assert await statuses(edge.port, 1) == [200]
        await until(lambda: edge.engine.origin_connections == 0)


async def test_the_metrics_of_an_origin() -> None:
    with closed_port() as (_, gone):
        async with contextlib.AsyncExitStack() as stack:
            (good,) = await origins(stack, answering(ok()))
            edge = await stack.enter_async_context(running_edge(gone, addresses(gone, good), *LONG))
            while not ejections(edge):
                await statuses(edge.port, 1)
            values = edge.metrics.snapshot(0.0).values
            of_api = {labels: value for labels, value in values["edge_origin_addresses"] if labels[0] == "api"}
            assert of_api == {
                ("api", "known"): 2,
                ("api", "ejected"): 1,
                ("api", "unhealthy"): 0,
            }
            assert values["edge_origin_ejections_total"] == [(("api", gone, "origin_connect_failed"), 1)]
            assert dict(values["edge_origin_connections"])["api",] == pool_of(edge).open_connections
            assert dict(values["edge_origin_waiting"])["api",] == 0
