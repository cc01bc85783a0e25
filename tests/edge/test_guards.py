"""Breaker and concurrency limit of an origin on the way of a request: docs/resilience.md.

`held` is what must come back to 0 however an exchange ends.
"""

import asyncio
import contextlib
import json
import random
from collections.abc import AsyncIterator

import pytest

from edge.contract.reasons import Reason
from edge.control.load import load_config
from edge.control.snapshot import Snapshot
from edge.telemetry.catalogue import METRICS
from resilience.breaker import State
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
from tests.edge.running import CONFIG, RunningEdge, running_edge
from tests.edge.test_relay import problem
from tests.edge.test_reload import reload
from tests.edge.test_retries import free_address, held

# Opens on the fourth failure and stays open for a test's life; nothing is slow.
TOUCHY = (
    "origins.api.breaker.window_s=60.0",
    "origins.api.breaker.min_calls=4",
    "origins.api.breaker.open_s=3600.0",
    "origins.api.breaker.max_open_s=3600",
)
# The same, but half-opens at once.
BRIEF = ("origins.api.breaker.min_calls=4", "origins.api.breaker.open_s=0.001", "origins.api.breaker.max_open_s=0.001")


def state(edge: RunningEdge) -> State:
    """Return the state of the breaker as of now."""
    return edge.engine.guards["api"].breaker.state


@contextlib.asynccontextmanager
async def served(script: Script, *overrides: str) -> AsyncIterator[tuple[RawOrigin, RunningEdge, RawClient]]:
    """Run an origin, an edge before it, and connect."""
    async with (
        raw_origin(script) as origin,
        running_edge(origin.address, *overrides) as edge,
        connected(edge.port) as c,
    ):
        yield origin, edge, c


async def silent(connection: OriginConnection) -> None:
    """Take whatever comes and never answer."""
    await connection.end()


# What opens the breaker.


async def failing_with_500(connection: OriginConnection) -> None:
    await answering(response(b"500 Oops", b"Content-Length: 0"))(connection)


async def resetting(connection: OriginConnection) -> None:
    await connection.request()
    connection.reset()


async def cutting(connection: OriginConnection) -> None:
    await connection.request()
    await connection.send(response(b"200 OK", b"Content-Length: 10") + b"half")


async def speaking_nonsense(connection: OriginConnection) -> None:
    await connection.request()
    await connection.send(b"nonsense\r\n\r\n")


@pytest.mark.parametrize("script", [failing_with_500, resetting, cutting, speaking_nonsense, silent])
async def test_an_origin_that_fails_is_left_alone(script: Script) -> None:
    async with served(script, *TOUCHY, "timeouts.response_head_s=0.05") as (origin, edge, _):
        for _ in range(4):
            assert state(edge) is State.CLOSED
            async with connected(edge.port) as client:
                await client.send(get())
                with contextlib.suppress(ConnectionError):
                    await client.receive_until(b"\r\n\r\n")
                    await client.rest() if script is cutting else None
        await until(lambda: state(edge) is State.OPEN)
        connections = len(origin.connections)
        async with connected(edge.port) as client:
            for _ in range(20):
                answer = await client.ask(get())
                assert (answer.status, problem(answer)["reason"]) == (503, "origin_unavailable")
                assert int(answer.all(b"retry-after")[0]) > 1000
        assert len(origin.connections) == connections
        assert held(edge) == 0
        assert edge.metrics.refusals[(Reason.ORIGIN_UNAVAILABLE, "api")] == 20


@pytest.mark.parametrize(
    ("framing", "after"), [(b"Content-Length: 100", State.OPEN), (b"Transfer-Encoding: chunked", State.CLOSED)]
)
async def test_b6_an_answer_that_stops_is_a_failure_where_its_length_says_that_more_must_come(
    framing: bytes, after: State
) -> None:
    async def stalling(connection: OriginConnection) -> None:
        await connection.request()
        await connection.send(response(b"200 OK", framing) + b"4\r\nhalf\r\n")
        await connection.end()

    async with served(stalling, *TOUCHY, "timeouts.idle_s=0.05") as (_, edge, _):
        for _ in range(4):
            async with connected(edge.port) as client:
                await client.send(get())
                with pytest.raises(ConnectionResetError):
                    await client.rest()
        assert state(edge) is after
        assert held(edge) == 0


async def test_an_origin_that_dies_of_requests_on_kept_connections_is_left_alone() -> None:
    async def script(connection: OriginConnection) -> None:
        if await connection.request() is not None:
            await connection.send(ok())
            await connection.request()
            await asyncio.sleep(1.2)  # not the race of a kept connection that is closed as it is used again

    half = "origins.api.breaker.failure_rate=0.5"
    async with served(script, *TOUCHY, half) as (_, edge, _), contextlib.AsyncExitStack() as stack:
        devices = [await stack.enter_async_context(connected(edge.port)) for _ in range(12)]
        for _ in range(2):
            for device in devices:
                await device.send(get())
            answers = [await device.response() for device in devices]
        assert {(answer.status, problem(answer)["reason"]) for answer in answers} == {(502, "origin_closed")}
        assert state(edge) is State.OPEN


async def test_streams_that_all_end_with_their_instance_do_not_open_the_breaker_for_the_rest() -> None:
    gone = asyncio.Event()

    async def script(connection: OriginConnection) -> None:
        while (asked := await connection.request()) is not None:
            if asked.target != b"/stream":
                await connection.send(ok())
                continue
            await connection.send(response(b"200 OK", b"Transfer-Encoding: chunked") + b"4\r\nlast\r\n")
            await gone.wait()
            connection.reset()

    async with served(script, *TOUCHY, "origins.api.breaker.window_s=1.0") as (_, edge, client):
        async with contextlib.AsyncExitStack() as stack:
            watching = [await stack.enter_async_context(connected(edge.port)) for _ in range(30)]
            for device in watching:
                await device.send(get(b"/stream"))
                await device.receive_until(b"last\r\n")
            await asyncio.sleep(1.0)  # what makes them old
            for _ in range(10):
                assert (await client.ask(get())).status == 200
            gone.set()
            for device in watching:
                with pytest.raises(ConnectionResetError):
                    await device.rest()
        assert state(edge) is State.CLOSED
        assert (await client.ask(get())).status == 200


async def test_b2_an_origin_that_is_gone_is_left_alone_and_asked_again_when_it_is_back() -> None:
    address = free_address()
    host, _, port = address.partition(":")
    overrides = (
        "origins.api.breaker.min_calls=4",
        "origins.api.breaker.open_s=0.2",
        "origins.api.breaker.max_open_s=0.2",
    )
    async with running_edge(address, *overrides) as edge, connected(edge.port) as client:
        reasons = []
        while state(edge) is State.CLOSED:
            answer = await client.ask(get())
            reasons.append(problem(answer)["reason"])
            assert answer.all(b"retry-after") == [b"1"]
        assert reasons == ["origin_connect_failed"] * 4
        assert problem(await client.ask(get()))["reason"] == "origin_unavailable"

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(ok(b"back", b"Connection: close"))
            writer.close()

        server = await asyncio.start_server(serve, host, int(port))
        async with asyncio.timeout(8):
            while (await client.ask(get())).status != 200:
                pass
        assert state(edge) is State.CLOSED
        server.close()
        await server.wait_closed()


@pytest.mark.parametrize("status", [b"200 OK", b"204 No Content", b"304 Not Modified", b"404 Gone", b"429 Slow"])
async def test_answers_below_500_never_open_it(status: bytes) -> None:
    answer = response(status) if status[:1] == b"3" or status[:3] == b"204" else response(status, b"Content-Length: 0")
    async with served(answering(answer), *TOUCHY) as (_, edge, client):
        for _ in range(30):
            await client.ask(get())
        assert state(edge) is State.CLOSED
        assert held(edge) == 0


async def test_devices_that_leave_never_open_it() -> None:
    async with served(silent, *TOUCHY) as (origin, edge, _):
        for _ in range(10):
            async with connected(edge.port) as client:
                await client.send(get())
                await until(lambda: held(edge) == 1 and origin.connections and origin.connections[-1].received)
                client.reset()
                await until(lambda: held(edge) == 0)
        assert state(edge) is State.CLOSED


async def losing_patience(connection: OriginConnection) -> None:
    await connection.request(head_only=True)
    connection.reset()


async def test_devices_that_are_slow_to_send_never_open_it_when_the_origin_loses_patience() -> None:
    async with served(losing_patience, *TOUCHY) as (_, edge, _):
        for _ in range(10):
            async with connected(edge.port) as client:
                await client.send(UPLOAD)
                assert problem(await client.response(b"POST"))["reason"] == "origin_closed"
        assert state(edge) is State.CLOSED
        assert held(edge) == 0


async def test_devices_that_are_slow_to_read_never_open_it_when_the_origin_loses_patience() -> None:
    async def script(connection: OriginConnection) -> None:
        await connection.request()
        sending = asyncio.ensure_future(
            connection.send(response(b"200 OK", b"Content-Length: 50000000") + b"a" * 10**7)
        )
        await asyncio.wait({sending}, timeout=0.05)
        sending.cancel()
        connection.reset()

    async with served(script, *TOUCHY) as (_, edge, _):
        for _ in range(8):
            async with connected(edge.port, receive_buffer=4096) as client:
                await client.send(get())
                await until(lambda: any(each.full for each in edge.engine.connections))
                with contextlib.suppress(ConnectionError):
                    await client.rest()
            await until(lambda: len(edge.engine.connections) == 1)
        assert state(edge) is State.CLOSED


async def failing_at_sign_in(connection: OriginConnection) -> None:
    while (asked := await connection.request()) is not None:
        await connection.send(ok() if asked.target == b"/" else response(b"503 Busy", b"Content-Length: 0"))


async def test_a_storm_of_sign_ins_that_fail_closes_sign_ins_and_nobodys_browsing() -> None:
    login = request(b"POST", b"/login", b"Content-Length: 2", body=b"{}")
    sign_in = [setting.replace("origins.api.", "origins.sign_in.") for setting in TOUCHY]
    async with served(failing_at_sign_in, *TOUCHY, *sign_in) as (origin, edge, client):
        assert [(await client.ask(login)).status for _ in range(4)] == [503] * 4
        assert edge.engine.guards["sign_in"].breaker.state is State.OPEN
        reached = len(origin.requests)
        assert problem(await client.ask(login))["reason"] == "origin_unavailable"
        assert len(origin.requests) == reached
        async with connected(edge.port) as other:
            assert [(await other.ask(get())).status for _ in range(20)] == [200] * 20
        assert state(edge) is State.CLOSED


def test_whatever_may_be_asked_without_a_session_and_begins_one_has_an_origin_of_its_own() -> None:
    snapshot = load_config(CONFIG)
    assert isinstance(snapshot, Snapshot)
    apart = {route.id for route in snapshot.routes.all if route.origin == "sign_in"}
    assert apart == {"login", "signup", "signup_plan", "signup_complete", "activation"}
    assert snapshot.origins["sign_in"].addresses == snapshot.origins["api"].addresses


async def test_a_reload_keeps_the_breaker_of_an_origin_that_did_not_change() -> None:
    async with served(failing_with_500, *TOUCHY) as (origin, edge, client):
        while state(edge) is State.CLOSED:
            await client.ask(get())
        guard = edge.engine.guards["api"]
        reload(edge, origin.address, *TOUCHY)
        assert edge.engine.guards["api"] is guard
        assert problem(await client.ask(get()))["reason"] == "origin_unavailable"
        reload(edge, origin.address)
        assert state(edge) is State.CLOSED


async def test_kept_connections_that_the_origin_closes_never_open_it() -> None:
    async def script(connection: OriginConnection) -> None:
        await connection.request()
        await connection.send(ok())
        await connection.request()

    async with served(script, *TOUCHY) as (_, edge, client):
        for _ in range(10):
            assert (await client.ask(get())).status == 200
            await client.ask(request(b"POST", b"/upload", b"Content-Length: 0"))
        assert state(edge) is State.CLOSED
        assert held(edge) == 0


# Half-open.


async def test_one_probe_at_a_time_and_its_success_lets_all_through() -> None:
    gate = asyncio.Event()
    bad = True

    async def script(connection: OriginConnection) -> None:
        while await connection.request() is not None:
            if bad:
                await connection.send(response(b"500 Oops", b"Content-Length: 0"))
            else:
                await gate.wait()
                await connection.send(ok(b"well"))

    async with served(script, *BRIEF) as (origin, edge, client), contextlib.AsyncExitStack() as stack:
        while state(edge) is State.CLOSED:
            await client.ask(get())
        bad = False
        asked = len(origin.requests)
        devices = [await stack.enter_async_context(connected(edge.port)) for _ in range(20)]
        await asyncio.sleep(0.01)
        await client.send(get())
        await until(lambda: len(origin.requests) == asked + 1)
        for device in devices:
            assert problem(await device.ask(get()))["reason"] == "origin_unavailable"
        assert len(origin.requests) == asked + 1
        gate.set()
        assert (await client.response()).body == b"well"
        assert state(edge) is State.CLOSED
        for device in devices:
            assert (await device.ask(get())).status == 200


async def test_a_probe_whose_device_leaves_gives_its_place_to_the_next() -> None:
    bad = True

    async def script(connection: OriginConnection) -> None:
        while await connection.request() is not None:
            if bad:
                await connection.send(response(b"500 Oops", b"Content-Length: 0"))
            elif len(origin.requests) > asked + 1:
                await connection.send(ok(b"well"))

    async with served(script, *BRIEF) as (origin, edge, client):
        while state(edge) is State.CLOSED:
            await client.ask(get())
        bad, asked = False, len(origin.requests)
        await asyncio.sleep(0.01)
        async with connected(edge.port) as leaving:
            await leaving.send(get())
            await until(lambda: len(origin.requests) == asked + 1)
            assert state(edge) is State.HALF_OPEN
            leaving.reset()
            await until(lambda: held(edge) == 0)
        assert (await client.ask(get())).body == b"well"
        assert state(edge) is State.CLOSED


# Every end gives the permit back once.

_BAD_ANSWERS = (
    b"nonsense\r\n\r\n",
    response(b"200 OK", b"Content-Length: 10") + b"half",
    response(b"500 Oops", b"Content-Length: 0"),
)


async def answering_early(connection: OriginConnection) -> None:
    await connection.request(head_only=True)
    await connection.send(response(b"413 Too Much", b"Content-Length: 0"))
    await connection.end()


async def interim_then_ok(connection: OriginConnection) -> None:
    await connection.request()
    await connection.send(response(b"103 Early Hints", b"Link: </x>") + ok())


async def streaming(connection: OriginConnection) -> None:
    await connection.request()
    await connection.send(response(b"200 OK", b"Transfer-Encoding: chunked") + b"3\r\nabc\r\n")
    await connection.end()


UPLOAD = request(b"POST", b"/upload", b"Content-Length: 100000", body=b"begun")
ENDS: dict[str, tuple[Script, bytes, str]] = {
    "answered": (answering(ok()), get(), "head"),
    "head": (answering(response(b"200 OK", b"Content-Length: 5")), request(b"HEAD", b"/"), "head"),
    "interim": (interim_then_ok, get(), "head"),
    "early answer": (answering_early, UPLOAD, "head"),
    "cut": (cutting, get(), "end"),
    "reset": (resetting, get(), "head"),
    "nonsense": (speaking_nonsense, get(), "head"),
    "head too late": (silent, get(), "head"),
    "upload stalls": (silent, UPLOAD, "head"),
    "body too large": (
        silent,
        request(b"POST", b"/upload", b"Transfer-Encoding: chunked", body=b"5\r\nabcde\r\n"),
        "head",
    ),
    "body broken": (silent, request(b"POST", b"/upload", b"Transfer-Encoding: chunked", body=b"zz\r\n"), "head"),
    "device leaves before the head": (silent, get(), "leave"),
    "device leaves in an upload": (silent, UPLOAD, "leave"),
    "device leaves in the answer": (streaming, get(), "leave after head"),
    "device leaves a long poll": (silent, get(b"/stream"), "leave"),
    "long poll too late": (silent, get(b"/stream"), "head"),
}


@pytest.mark.parametrize("end", ENDS)
async def test_however_it_ends_the_permit_comes_back_once(end: str) -> None:
    script, asked, then = ENDS[end]
    overrides: tuple[str, ...] = (
        "timeouts.response_head_s=0.2",
        "timeouts.idle_s=0.2",
        "routes.upload.max_request_body_bytes=100000",
        "routes.stream.long_poll=true",
    )
    if end == "body too large":
        overrides = (*overrides, "routes.upload.max_request_body_bytes=3")
    async with served(script, *overrides) as (origin, edge, _):
        for _ in range(3):
            async with connected(edge.port) as client:
                await client.send(asked)
                if then == "leave":
                    await until(lambda: origin.connections and origin.connections[-1].received)
                    client.reset()
                else:
                    await client.receive_until(b"\r\n\r\n")
                    if then == "leave after head":
                        client.reset()
                    elif then == "end":
                        with contextlib.suppress(ConnectionError):
                            await client.rest()
            await until(lambda: len(edge.engine.connections) == 1)
            assert held(edge) == 0


async def test_a_refusal_of_an_outbound_filter_gives_the_permit_back() -> None:
    from edge.contract.exchange import Exchange
    from edge.contract.filters import OnError, Refuse

    class Refusing:
        id = "refusing"
        on_error = OnError.CLOSED
        deadline_s = 1.0
        concurrency = 1

        def outbound(self, exchange: Exchange) -> Refuse:
            return Refuse(502, Reason.FILTER_ERROR, "no")

    async with (
        raw_origin(answering(ok())) as origin,
        running_edge(origin.address, change=lambda filters: (filters[0], [Refusing(), *filters[1]])) as edge,
        connected(edge.port) as client,
    ):
        for _ in range(3):
            assert (await client.ask(get())).status == 502
        assert held(edge) == 0


# The concurrency limit.

NARROW = (
    "origins.api.concurrency_limit.minimum=2",
    "origins.api.concurrency_limit.initial=2",
    "origins.api.concurrency_limit.maximum=2",
)


async def test_b4_what_comes_beyond_the_limit_is_a_503_at_once() -> None:
    async with served(silent, *NARROW) as (origin, edge, client), contextlib.AsyncExitStack() as stack:
        for _ in range(2):
            waiting = await stack.enter_async_context(connected(edge.port))
            await waiting.send(get())
        await until(lambda: held(edge) == 2)
        for _ in range(10):
            answer = await client.ask(get())
            # Some are refused on their heads, and have no request id: nothing was begun.
            assert (answer.status, json.loads(answer.body)["reason"]) == (503, "origin_overloaded")
            assert answer.all(b"retry-after") == [b"1"]
        assert len(origin.connections) == 2
        waiting.reset()
        await until(lambda: held(edge) == 1)
        await client.send(get())
        await until(lambda: held(edge) == 2)


async def test_an_answer_that_streams_on_takes_no_place_after_its_head() -> None:
    async with served(streaming, *NARROW) as (_, edge, _), contextlib.AsyncExitStack() as stack:
        for _ in range(5):
            client = await stack.enter_async_context(connected(edge.port))
            await client.send(get())
            await client.receive_until(b"abc")
        assert held(edge) == 0


async def test_m1_an_upload_takes_a_place_only_once_it_has_come() -> None:
    async with served(silent, *NARROW) as (_, edge, client), contextlib.AsyncExitStack() as stack:
        for _ in range(5):  # more than there are places
            slow = await stack.enter_async_context(connected(edge.port))
            await slow.send(request(b"POST", b"/upload", b"Content-Length: 6", body=b"hal"))
        await until(lambda: edge.engine.origin_connections == 5)
        assert held(edge) == 0
        await slow.send(b"f\r\n")
        await until(lambda: held(edge) == 1)
        await client.send(get())
        await until(lambda: held(edge) == 2)


async def test_m1_an_upload_that_is_answered_or_given_up_before_its_end_gives_back_no_place() -> None:
    early = response(b"413 Content Too Large", b"Content-Length: 0", b"Connection: close")

    async def script(connection: OriginConnection) -> None:
        asked = await connection.request(head_only=True)
        if asked is not None and asked.target == b"/upload":
            await connection.send(early)
        else:
            await connection.request()  # which never comes

    async with served(script, *NARROW) as (_, edge, client):
        await client.send(request(b"POST", b"/upload", b"Content-Length: 6", body=b"hal"))
        assert (await client.response()).status == 413
        async with connected(edge.port) as other:
            await other.send(request(b"POST", b"/upload?other", b"Content-Length: 6", body=b"hal"))
            await until(lambda: edge.engine.origin_connections >= 1)
            other.reset()
        await until(lambda: edge.engine.origin_connections == 0)
        assert held(edge) == 0


# Long polls.

LONG_POLL = ("routes.stream.long_poll=true", "routes.upload.long_poll=true")
POLLS = (get(b"/stream"), request(b"POST", b"/upload", b"Content-Length: 3", body=b"abc"))


class Polled:
    """An origin that answers other requests as it is told to, and polls once something has happened."""

    def __init__(self) -> None:
        self.happened = asyncio.Event()
        self.works = True
        self.polls = 0

    async def __call__(self, connection: OriginConnection) -> None:
        """Serve requests."""
        while (asked := await connection.request()) is not None:
            if self.works and asked.target != b"/":
                self.polls += 1
                await self.happened.wait()
            await connection.send(ok(b"news") if self.works else response(b"500 Oops", b"Content-Length: 0"))


@pytest.mark.parametrize("poll", POLLS)
async def test_long_polls_take_no_place_and_are_neither_slow_nor_load(poll: bytes) -> None:
    origin_script, slow = Polled(), ("origins.api.breaker.slow_call_s=0.001", "origins.api.breaker.slow_call_rate=0.5")
    async with (
        served(origin_script, *NARROW, *TOUCHY, *slow, *LONG_POLL) as (_, edge, client),
        contextlib.AsyncExitStack() as stack,
    ):
        polling = [await stack.enter_async_context(connected(edge.port)) for _ in range(8)]
        for each in polling:
            await each.send(poll)
        await until(lambda: origin_script.polls == 8)
        assert held(edge) == 0
        assert (await client.ask(get())).body == b"news"
        swept = edge.engine.rejections.load.swept_at
        await until(lambda: edge.engine.rejections.load.swept_at > swept)
        assert edge.engine._context.waiting == 0
        origin_script.happened.set()
        for each in polling:
            assert (await each.response()).body == b"news"
        assert len(edge.engine.guards["api"].limit._samples) <= 1  # of the request that was none
        assert state(edge) is State.CLOSED
        assert held(edge) == 0


@pytest.mark.parametrize("poll", POLLS)
async def test_a_long_poll_as_a_probe_has_its_time_and_keeps_no_other_out(poll: bytes) -> None:
    origin_script = Polled()
    patience = ("origins.api.breaker.half_open_max_s=0.05", "origins.api.breaker.slow_call_s=0.05")
    async with (
        served(origin_script, *BRIEF, *LONG_POLL, *patience) as (_, edge, client),
        connected(edge.port) as polling,
        connected(edge.port) as other,
    ):
        origin_script.works = False
        while state(edge) is State.CLOSED:
            await client.ask(get())
        origin_script.works = True
        await asyncio.sleep(0.01)
        await polling.send(poll)
        await until(lambda: origin_script.polls == 1)
        await asyncio.sleep(0.06)
        assert state(edge) is State.HALF_OPEN
        assert problem(await other.ask(poll))["reason"] == "origin_unavailable"
        assert state(edge) is State.HALF_OPEN
        origin_script.happened.set()
        assert (await polling.response()).body == b"news"
        assert state(edge) is State.CLOSED
        assert (await client.ask(get())).body == b"news"


async def test_a_full_origin_gets_no_long_polls() -> None:
    async with served(silent, *NARROW, *LONG_POLL) as (_, edge, client), contextlib.AsyncExitStack() as stack:
        for _ in range(2):
            waiting = await stack.enter_async_context(connected(edge.port))
            await waiting.send(get())
        await until(lambda: held(edge) == 2)
        assert json.loads((await client.ask(get(b"/stream"))).body)["reason"] == "origin_overloaded"
        assert held(edge) == 2


async def test_l1_the_critical_have_the_last_places_of_an_origin() -> None:
    ten = [f"origins.api.concurrency_limit.{name}=10" for name in ("minimum", "initial", "maximum")]
    priorities = {b"/browse": "bulk", b"/echo": "best_effort", b"/": "degraded", b"/account": "critical"}
    routes = [f"routes.{target.decode()[1:]}.priority={name}" for target, name in priorities.items() if target != b"/"]
    free = [f"routes.{name}.auth.user=none" for name in ("browse", "account")]
    async with served(silent, *ten, *routes, *free) as (_, edge, client), contextlib.AsyncExitStack() as stack:
        for target, places in zip(priorities, (5, 7, 9, 10), strict=True):
            while held(edge) < places:
                waiting, before = await stack.enter_async_context(connected(edge.port)), held(edge)
                await waiting.send(get(target))
                await until(lambda before=before: held(edge) > before)  # type: ignore[misc]
            assert json.loads((await client.ask(get(target))).body)["reason"] == "origin_overloaded"


async def test_the_metrics_tell_states_limits_and_what_is_in_flight() -> None:
    async with served(failing_with_500, *TOUCHY) as (_, edge, client):
        while state(edge) is State.CLOSED:
            await client.ask(get())
        values = edge.metrics.snapshot(0.0).values
        assert dict(values["edge_breaker_state"])["origin:api",] == 2
        assert values["edge_breaker_transitions_total"] == [(("origin:api", "open"), 1)]
        assert dict(values["edge_concurrency_limit"])["api",] == 256
        assert dict(values["edge_concurrency_in_flight"])["api",] == 0
        assert {metric.name for metric in METRICS} >= set(values)


def erratic(draw: random.Random) -> Script:
    """Return an origin that fails in every way, and answers now and then."""

    async def script(connection: OriginConnection) -> None:
        while await connection.request(head_only=draw.random() < 0.2) is not None:
            turn = draw.randrange(8)
            if turn > 4:
                await connection.send(ok())
                continue
            if turn == 0:
                connection.reset()
            elif turn == 1:
                await connection.end()
            else:
                await connection.send(_BAD_ANSWERS[turn - 2])
            return

    return script


async def erratic_device(port: int, draw: random.Random) -> None:
    """Ask, and leave at some moment."""
    asked = draw.choice((get(), UPLOAD, request(b"PUT", b"/upload", b"Content-Length: 3", body=b"abc")))
    with contextlib.suppress(OSError, AssertionError):
        async with connected(port) as client:
            await client.send(asked)
            if draw.random() < 0.3:
                await asyncio.sleep(draw.random() / 50)
                client.reset()
            else:
                await client.receive_until(b"\r\n\r\n")


@pytest.mark.parametrize("seed", range(2))
async def test_z1_after_everything_at_random_every_permit_is_back(seed: int) -> None:
    draw = random.Random(seed)  # noqa: S311 - a test's
    overrides = (
        *BRIEF,
        "origins.api.concurrency_limit.minimum=2",
        "origins.api.concurrency_limit.initial=10",
        "origins.api.concurrency_limit.maximum=10",
        "origins.api.retry_backoff_s=0.01",
        "timeouts.response_head_s=0.2",
        "timeouts.idle_s=0.3",
        "routes.upload.retries=3",
        "routes.root.retries=3",
        "routes.upload.long_poll=true",
    )
    async with raw_origin(erratic(draw)) as one, raw_origin(erratic(draw)) as other:
        addresses = f'origins.api.addresses=["{one.address}", "{other.address}"]'
        async with running_edge(one.address, addresses, *overrides) as edge:
            for _ in range(5):
                await asyncio.gather(*(erratic_device(edge.port, draw) for _ in range(20)))
            await until(lambda: not edge.engine.connections)
            assert held(edge) == 0
            await until(edge.engine.guards["api"].breaker.acquire)  # it lets a probe through, or all
