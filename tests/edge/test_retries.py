"""What is sent again, how often, where to, and within which time: docs/resilience.md, "Retries" and "Deadlines"."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from edge.control.values import parse_address
from resilience.breaker import State
from tests.edge.raw import (
    OriginConnection,
    RawOrigin,
    Script,
    answering,
    connected,
    get,
    ok,
    raw_origin,
    request,
    until,
)
from tests.edge.running import RunningEdge, running_edge
from tests.edge.test_pool import stale_after_first
from tests.edge.test_relay import problem


def dying(*, head_only: bool = False) -> Script:
    """Return an origin that takes a request and closes without a word."""

    async def script(connection: OriginConnection) -> None:
        await connection.request(head_only=head_only)

    return script


@asynccontextmanager
async def several_dying(count: int, *overrides: str) -> AsyncIterator[tuple[RunningEdge, list[RawOrigin]]]:
    """Run so many origins that close without a word, and an edge that knows them as one."""
    async with AsyncExitStack() as stack:
        origins = [await stack.enter_async_context(raw_origin(dying())) for _ in range(count)]
        listed = ", ".join(f'"{origin.address}"' for origin in origins)
        settings = (f"origins.api.addresses=[{listed}]", "origins.api.retry_backoff_s=0.001", *overrides)
        yield await stack.enter_async_context(running_edge(origins[0].address, *settings)), origins


def held(edge: RunningEdge) -> int:
    """Return how many permits of the origin are out."""
    return edge.engine.guards["api"].limit.in_flight


def free_address() -> str:
    """Return an address that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as gone:
        return f"127.0.0.1:{gone.getsockname()[1]}"


# What is sent again.


@pytest.mark.parametrize("size", [None, 1, 7])
@pytest.mark.parametrize(
    ("method", "framing", "body"),
    [
        (b"PUT", b"Content-Length: 3", b"abc"),
        (b"DELETE", b"Content-Length: 3", b"abc"),
        (b"GET", b"Content-Length: 3", b"abc"),
        (b"PUT", b"Transfer-Encoding: chunked", b"2\r\nab\r\n1\r\nc\r\n0\r\n\r\n"),
        (b"PUT", b"Transfer-Encoding: chunked", b"3\r\nabc\r\n0\r\nx-sum: 1\r\n\r\n"),
    ],
)
async def test_b10_a_small_body_is_sent_once_more_whole(
    method: bytes, framing: bytes, body: bytes, size: int | None
) -> None:
    async with (
        raw_origin(stale_after_first("close")) as origin,
        running_edge(origin.address) as edge,
        connected(edge.port) as client,
    ):
        assert (await client.ask(get())).body == b"0"
        answer = await client.ask(request(method, b"/echo", framing, body=body), size=size)
        assert (answer.status, answer.body) == (200, b"1")
        assert origin.requests[-1].body == b"abc"
        assert (origin.requests[-1].trailers != []) == (b"x-sum" in body)
        assert edge.metrics.retries == {("api", "answered"): 1}
        await until(lambda: held(edge) == 0)


async def test_b10_a_body_that_still_comes_is_sent_on_after_what_was_kept() -> None:
    async def script(connection: OriginConnection) -> None:
        if connection.number == 0:
            await connection.request()
            await connection.send(ok())
            await connection.request(head_only=True)
        else:
            await connection.request()
            await connection.send(ok(b"again"))

    async with raw_origin(script) as origin, running_edge(origin.address) as edge, connected(edge.port) as client:
        assert (await client.ask(get())).status == 200
        await client.send(request(b"PUT", b"/upload", b"Content-Length: 6", body=b"abc"))
        await until(lambda: len(origin.connections) == 2)
        await client.send(b"def")
        assert (await client.response(b"PUT")).body == b"again"
        assert origin.requests[-1].body == b"abcdef"


@pytest.mark.parametrize("method", [b"POST", b"PATCH"])
async def test_b10_what_is_not_idempotent_is_never_sent_twice(method: bytes) -> None:
    async with (
        raw_origin(stale_after_first("reset")) as origin,
        running_edge(origin.address) as edge,
        connected(edge.port) as client,
    ):
        assert (await client.ask(get())).body == b"0"
        answer = await client.ask(request(method, b"/echo", b"Content-Length: 3", body=b"abc"))
        assert (answer.status, problem(answer)["reason"]) == (502, "origin_closed")
        assert len([seen for seen in origin.requests if seen.method == method]) == 1


async def test_no_connection_means_nothing_was_sent_so_a_post_goes_to_another_address() -> None:
    async with (
        raw_origin(answering(ok(b"up"))) as origin,
        running_edge(origin.address, f'origins.api.addresses=["{free_address()}", "{origin.address}"]') as edge,
        connected(edge.port) as client,
    ):
        for _ in range(4):
            answer = await client.ask(request(b"POST", b"/upload", b"Content-Length: 3", body=b"abc"))
            assert answer.body == b"up"
        assert len(origin.requests) == 4


async def test_a_get_that_killed_its_address_is_not_sent_to_it_again_when_it_is_the_only_one() -> None:
    async with raw_origin(dying()) as origin, running_edge(origin.address) as edge, connected(edge.port) as client:
        answer = await client.ask(get())
        assert (answer.status, problem(answer)["reason"]) == (502, "origin_closed")
        assert len(origin.requests) == 1
        assert edge.metrics.retries == {("api", "no_address"): 1}


async def test_an_answer_that_has_begun_is_never_asked_for_again() -> None:
    async def script(connection: OriginConnection) -> None:
        await connection.request()
        if len(origin.requests) == 1:
            await connection.send(ok())
            await connection.request()
        await connection.send(b"HTTP/1.1 2")

    async with raw_origin(script) as origin, running_edge(origin.address) as edge, connected(edge.port) as client:
        assert (await client.ask(get())).status == 200
        answer = await client.ask(get())
        assert (answer.status, problem(answer)["reason"]) == (502, "origin_cut")
        assert len(origin.requests) == 2


@pytest.mark.parametrize("retries", [0, 1, 3])
async def test_a_route_says_how_often(retries: int) -> None:
    async with several_dying(4, f"routes.root.retries={retries}") as (edge, origins), connected(edge.port) as client:
        assert (await client.ask(get())).status == 502
        assert sum(len(origin.requests) for origin in origins) == 1 + retries
        assert held(edge) == 0
        assert edge.metrics.retries.get(("api", "failed"), 0) == retries
        assert {outcome for _, outcome in edge.metrics.retries} <= {"failed"}


@pytest.mark.parametrize("addresses", [2, 3, 4])
async def test_a_retry_goes_to_no_address_that_has_failed_the_request(addresses: int) -> None:
    async with several_dying(addresses, "routes.root.retries=10") as (edge, origins), connected(edge.port) as client:
        answer = await client.ask(get())
        assert (answer.status, problem(answer)["reason"]) == (502, "origin_closed")
        assert [len(origin.requests) for origin in origins] == [1] * addresses
        assert held(edge) == 0
        assert edge.metrics.retries == {("api", "failed"): addresses - 1, ("api", "no_address"): 1}


async def test_an_address_that_goes_during_the_back_off_leaves_the_last_failure() -> None:
    overrides = ("origins.api.retry_backoff_s=0.5",)
    async with several_dying(2, *overrides) as (edge, origins), connected(edge.port) as client:
        edge.engine._context.random = lambda: 1.0
        await client.send(get())
        await until(lambda: any(origin.requests for origin in origins) and held(edge) == 0)
        (failed,) = (origin for origin in origins if origin.requests)
        edge.engine.pools["api"].set_addresses([parse_address(failed.address)])
        answer = await client.response()
        assert (answer.status, problem(answer)["reason"]) == (502, "origin_closed")
        assert sum(len(origin.requests) for origin in origins) == 1
        assert edge.metrics.retries == {("api", "no_address"): 1}


async def test_without_budget_nothing_is_sent_again() -> None:
    overrides = ("origins.api.retry_budget.share=0.0", "origins.api.retry_budget.floor_per_s=0.1")

    async def script(connection: OriginConnection) -> None:
        await connection.request()
        await connection.send(ok())
        await connection.request()

    async with (
        raw_origin(script) as origin,
        running_edge(origin.address, *overrides) as edge,
        connected(edge.port) as client,
    ):
        assert [(await client.ask(get())).status for _ in range(3)] == [200, 200, 502]
        assert edge.metrics.retries == {("api", "answered"): 1, ("api", "no_budget"): 1}


async def test_what_is_turned_away_pays_for_no_retry() -> None:
    held_up = asyncio.Event()

    async def script(connection: OriginConnection) -> None:
        while (asked := await connection.request()) is not None:
            if asked.target == b"/held":
                await held_up.wait()
            if asked.target == b"/stale" and len(connection.requests) > 1:
                return
            await connection.send(ok())

    one_at_a_time = ("initial", "minimum", "maximum")
    overrides = (
        "origins.api.retry_budget.share=0.1",
        "origins.api.retry_budget.floor_per_s=0.1",
        *(f"origins.api.concurrency_limit.{bound}=1" for bound in one_at_a_time),
    )
    async with (
        raw_origin(script) as origin,
        running_edge(origin.address, *overrides) as edge,
        connected(edge.port) as client,
        connected(edge.port) as holding,
    ):
        assert [(await client.ask(get(target))).status for target in (b"/", b"/stale")] == [200, 200]
        assert edge.metrics.retries == {("api", "answered"): 1}
        await holding.send(get(b"/held"))
        await until(lambda: held(edge))
        assert {(await client.ask(get())).status for _ in range(50)} == {503}
        held_up.set()
        assert (await holding.response()).status == 200
        assert (await client.ask(get(b"/stale"))).status == 502
        assert edge.metrics.retries[("api", "no_budget")] == 1


async def test_a_device_that_leaves_during_the_back_off_leaves_nothing_behind() -> None:
    async with (
        raw_origin(dying()) as one,
        raw_origin(dying()) as other,
        running_edge(
            one.address,
            f'origins.api.addresses=["{one.address}", "{other.address}"]',
            "origins.api.retry_backoff_s=3600.0",
        ) as edge,
        connected(edge.port) as client,
    ):
        await client.send(get())
        await until(lambda: one.requests or other.requests)
        await until(lambda: held(edge) == 0)
        client.reset()
        await until(lambda: edge.metrics.retries == {("api", "given_up"): 1})
        assert not edge.engine.connections
        assert len(one.requests) + len(other.requests) == 1


# The deadline.


async def test_the_origin_is_told_how_long_the_request_may_take() -> None:
    async with (
        raw_origin(answering(ok())) as origin,
        running_edge(origin.address, "timeouts.request_s=20.0") as edge,
        connected(edge.port) as client,
    ):
        await client.ask(get())
        (told,) = origin.requests[0].all(b"x-request-timeout-ms")
        assert 10_000 < int(told) <= 20_000


async def test_h4_a_client_cannot_say_how_long_its_request_may_take() -> None:
    async with raw_origin(answering(ok())) as origin, running_edge(origin.address) as edge, connected(edge.port) as it:
        await it.ask(get(b"/", b"X-Request-Timeout-Ms: 1", b"x_request_timeout_ms: 2", b"X-Request-TimeoutMs: 3"))
        told = [value for name, value in origin.requests[0].headers if b"timeout" in name]
        assert len(told) == 1
        assert int(told[0]) > 1000


async def test_another_attempt_has_what_is_left_of_the_deadline() -> None:
    slow = asyncio.Event()

    async def script(connection: OriginConnection) -> None:
        while await connection.request() is not None:
            if len(connection.requests) == 2:
                await slow.wait()
                return
            await connection.send(ok())

    async with raw_origin(script) as origin, running_edge(origin.address) as edge, connected(edge.port) as client:
        assert (await client.ask(get())).status == 200
        await client.send(get())
        await until(lambda: len(origin.requests) == 2)
        await asyncio.sleep(0.05)
        slow.set()
        assert (await client.response()).status == 200
        first, second = (int(seen.all(b"x-request-timeout-ms")[0]) for seen in origin.requests[1:])
        assert second <= first - 50


# The race of B10: an idle connection is closed as a request is sent on it.


class Racing:
    """An origin that answers, and closes the connection a moment later; it knows what it was asked."""

    def __init__(self) -> None:
        self.seen: list[bytes] = []

    async def __call__(self, connection: OriginConnection) -> None:
        """Serve one request, or as many as come before the moment has passed."""
        while True:
            reading = asyncio.ensure_future(connection.request())
            if connection.requests:
                for _ in range(len(self.seen) % 12):
                    await asyncio.sleep(0)
            else:
                await asyncio.wait({reading})
            if not reading.done() or (asked := reading.result()) is None:
                reading.cancel()
                connection.close()
                return
            self.seen.append(asked.target)
            await connection.send(ok(asked.target))


async def test_b10_no_get_fails_and_no_post_is_seen_twice_however_the_race_ends() -> None:
    origin_script = Racing()
    async with (
        raw_origin(origin_script) as origin,
        running_edge(origin.address, "origins.api.retry_budget.floor_per_s=1000.0") as edge,
        connected(edge.port) as client,
    ):
        posts = []
        for turn in range(600):
            target = b"/echo/%d" % turn
            if turn % 2:
                assert (await client.ask(get(target))).body == target
            else:
                answer = await client.ask(request(b"POST", target, b"Content-Length: 0"))
                assert answer.status in {200, 502}
                posts.append(target)
        assert all(origin_script.seen.count(target) <= 1 for target in posts)
        assert held(edge) == 0
        assert edge.engine.guards["api"].breaker.state is State.CLOSED
        assert edge.metrics.retries.get(("api", "answered"), 0) > 0
