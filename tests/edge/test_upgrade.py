"""Upgrades: the chain decides on the head, a 101 must be what was asked for, then bytes pass until both sides end."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from edge.contract.exchange import Exchange, Response
from edge.contract.filters import CONTINUE, Answer, NeedBody, OnError, Refuse, Verdict
from edge.contract.headers import Headers
from edge.contract.reasons import Reason
from edge.control.errors import ConfigErrors
from edge.control.load import load_config
from tests.edge.raw import (
    OriginConnection,
    RawClient,
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
from tests.edge.running import CONFIG, Filters, RunningEdge, running_edge
from tests.edge.test_identity_headers import introspect

pytestmark = pytest.mark.usefixtures("every_delivery")

KEY = b"dGhlIHNhbXBsZSBub25jZQ=="  # RFC 6455 §1.3, with its answer
ACCEPT = b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
WEBSOCKET = (b"Connection: Upgrade", b"Upgrade: websocket", b"Sec-WebSocket-Version: 13", b"Sec-WebSocket-Key: " + KEY)
SWITCH = (b"Connection: Upgrade", b"Upgrade: websocket", b"Sec-WebSocket-Accept: " + ACCEPT)
SWITCHING = response(b"101 Switching Protocols", *SWITCH)
ALLOWED = 'routes.echo.upgrade=["websocket", "x-line/1"]'
SIZES = pytest.mark.parametrize("size", [None, 1, 7])


def echoing(answer: bytes = SWITCHING, size: int | None = None) -> Script:
    """Return an origin that switches and sends back every byte, until the device ends."""

    async def script(connection: OriginConnection) -> None:
        if await connection.request(head_only=True) is None:
            return
        await connection.send(answer, size=size)
        while data := await connection.read():
            await connection.send(data)

    return script


@asynccontextmanager
async def upgraded(edge: RunningEdge, *lines: bytes) -> AsyncIterator[RawClient]:
    """Connect and upgrade to a WebSocket."""
    async with connected(edge.port) as client:
        await client.send(get(b"/echo", *WEBSOCKET, *lines))
        assert (await client.receive_until(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
        yield client


def ends(edge: RunningEdge) -> dict[tuple[str | int, ...], int]:
    """Return the ended upgrades by route and cause."""
    return edge.metrics.upgrades.ended


@SIZES
async def test_bytes_pass_both_ways_after_the_chain_has_run(size: int | None) -> None:
    async with (
        raw_origin(echoing(SWITCHING + b"first words", size)) as origin,
        running_edge(origin.address, ALLOWED) as edge,
        connected(edge.port) as client,
    ):
        await client.send(get(b"/echo?x", *WEBSOCKET, b"X-Passport: forged"), size=size)
        head = await client.receive_until(b"\r\n\r\n")
        lines = head.lower().split(b"\r\n")
        assert lines[0].startswith(b"http/1.1 101 ")
        assert lines.count(b"connection: upgrade") == lines.count(b"upgrade: websocket") == 1
        assert b"sec-websocket-accept: " + ACCEPT.lower() in lines
        assert await client.receive(11) == b"first words"
        for word in (b"\x00\xff", b"GET / HTTP/1.1\r\n\r\n", b"x" * 100_000):
            await client.send(word, size=None if len(word) > 100 else size)
            assert await client.receive(len(word)) == word
        assert edge.metrics.upgrades.open == {"echo": 1}
        assert edge.engine._context.guards["api"].limit.in_flight == 0
        client.half_close()
        assert await client.rest() == b""
        await until(lambda: not edge.engine.connections)
        asked = origin.requests[0]
        assert (asked.get(b"connection"), asked.get(b"upgrade"), asked.target) == (b"upgrade", b"websocket", b"/echo?x")
        assert introspect(asked, edge.keys).customer_id is None
        assert edge.metrics.requests == {("echo", 101, "ok"): 1}
        assert edge.metrics.refusals == {}
        assert edge.metrics.upgrades.open == {"echo": 0}
        assert ends(edge) == {("echo", "closed"): 1}
        assert edge.metrics.upgrades.bytes == {("echo", "in"): 100_020, ("echo", "out"): 100_031}
        await until(lambda: edge.engine.origin_connections == 0)


async def test_bytes_sent_before_the_101_go_to_the_new_protocol_and_those_before_a_refusal_are_a_request() -> None:
    async def refusing(connection: OriginConnection) -> None:
        while await connection.request() is not None:
            await connection.send(response(b"426 Upgrade Required", b"Upgrade: websocket", b"Content-Length: 0"))

    early = get(b"/browse")
    async with (
        raw_origin(echoing()) as origin,
        running_edge(origin.address, ALLOWED) as edge,
        connected(edge.port) as client,
    ):
        await client.send(get(b"/echo", *WEBSOCKET) + early)
        await client.receive_until(b"\r\n\r\n")
        assert await client.receive(len(early)) == early
    async with (
        raw_origin(refusing) as origin,
        running_edge(origin.address, ALLOWED) as edge,
        connected(edge.port) as client,
    ):
        await client.send(get(b"/echo", *WEBSOCKET) + early)
        assert (await client.response()).status == 426
        assert (await client.response()).status == 401  # what came early has met the chain, as any request
        assert [asked.target for asked in origin.requests] == [b"/echo"]


@pytest.mark.parametrize(
    "answer",
    [
        ok(b"plain"),
        ok(b"", b"Connection: Upgrade", b"Upgrade: websocket"),
        response(b"400 Bad Request", b"Content-Length: 0"),
        response(b"200 OK", b"Transfer-Encoding: chunked") + b"5\r\nhello\r\n0\r\n\r\n",
    ],
)
@SIZES
async def test_an_upgrade_that_the_origin_refuses_is_a_normal_answer(answer: bytes, size: int | None) -> None:
    async def script(connection: OriginConnection) -> None:
        while await connection.request() is not None:
            await connection.send(answer, size=size)

    async with (
        raw_origin(script) as origin,
        running_edge(origin.address, ALLOWED) as edge,
        connected(edge.port) as client,
    ):
        answered = await client.ask(get(b"/echo", *WEBSOCKET))
        assert answered.status == int(answer[9:12])
        assert answered.get(b"upgrade") is answered.get(b"connection") is None
        # The device's connection goes on; the origin's may wait for something else than a request.
        assert (await client.ask(get(b"/"))).status == int(answer[9:12])
        assert len(origin.connections) == 2
        assert ends(edge) == {}


WRONG = {
    "no_upgrade": response(b"101 Switching Protocols", b"Connection: Upgrade", SWITCH[2]),
    "no_connection": response(b"101 Switching Protocols", b"Upgrade: websocket", SWITCH[2]),
    "other_protocol": response(b"101 Switching Protocols", SWITCH[0], b"Upgrade: h2c", SWITCH[2]),
    "two_protocols": response(b"101 Switching Protocols", SWITCH[0], b"Upgrade: websocket, h2c", SWITCH[2]),
    "two_fields": response(b"101 Switching Protocols", *SWITCH, b"Upgrade: websocket"),
    "no_accept": response(b"101 Switching Protocols", *SWITCH[:2]),
    "wrong_accept": response(b"101 Switching Protocols", *SWITCH[:2], b"Sec-WebSocket-Accept: " + KEY),
    "two_accepts": response(b"101 Switching Protocols", *SWITCH, SWITCH[2]),
    "with_length": response(b"101 Switching Protocols", *SWITCH, b"Content-Length: 5"),
    "chunked": response(b"101 Switching Protocols", *SWITCH, b"Transfer-Encoding: chunked"),
    "http10": SWITCHING.replace(b"HTTP/1.1", b"HTTP/1.0"),
}


@SIZES
@pytest.mark.parametrize("name", WRONG)
async def test_b12_a_101_that_is_not_what_was_asked_for_is_a_502(name: str, size: int | None) -> None:
    async with (
        raw_origin(echoing(WRONG[name] + ok(b"evil"), size)) as origin,
        running_edge(origin.address, ALLOWED) as edge,
        connected(edge.port) as client,
    ):
        answer = await client.ask(get(b"/echo", *WEBSOCKET))
        assert answer.status == 502
        assert b"evil" not in answer.body
        await until(lambda: origin.connections[0].ended)
        guard = edge.engine._context.guards["api"]
        assert guard.limit.in_flight == 0
        assert edge.metrics.refusals == {("origin_protocol_error", "api"): 1}


@pytest.mark.parametrize(
    "asked",
    [
        get(b"/echo"),
        get(b"/", *WEBSOCKET),  # a route that allows none
        get(b"/echo", WEBSOCKET[1], *WEBSOCKET[2:]),  # not of this hop
        get(b"/echo", b"Connection: Upgrade", b"Upgrade: h2c", *WEBSOCKET[2:]),
        get(b"/echo", *WEBSOCKET).replace(b"HTTP/1.1", b"HTTP/1.0"),
        request(b"POST", b"/echo", *WEBSOCKET, b"Content-Length: 0"),
        request(b"OPTIONS", b"/echo", *WEBSOCKET),
    ],
)
async def test_b12_what_may_not_be_upgraded_is_asked_without_and_a_101_is_a_502(asked: bytes) -> None:
    async with (
        raw_origin(answering(SWITCHING)) as origin,
        running_edge(origin.address, ALLOWED) as edge,
        connected(edge.port) as client,
    ):
        assert (await client.ask(asked, method=b"GET")).status == 502
        assert origin.requests[0].get(b"upgrade") is origin.requests[0].get(b"connection") is None


async def test_the_first_protocol_that_the_route_allows_is_asked_for() -> None:
    lines = (b"Connection: x, UPGRADE", b"Upgrade: h2c, , X-Line/1", b"Upgrade: websocket", b"X: hop")
    switching = response(b"101 Switching Protocols", b"Connection: Upgrade", b"Upgrade: X-Line/1")
    async with (
        raw_origin(echoing(switching)) as origin,
        running_edge(origin.address, ALLOWED) as edge,
        connected(edge.port) as client,
    ):
        await client.send(get(b"/echo", *lines))
        assert b"upgrade: x-line/1\r\n" in await client.receive_until(b"\r\n\r\n")
        assert origin.requests[0].all(b"upgrade") == [b"x-line/1"]
        assert origin.requests[0].get(b"x") is None
        await client.send(b"line\n")
        assert await client.receive(5) == b"line\n"


@pytest.mark.parametrize("framing", [b"Content-Length: 5", b"Transfer-Encoding: chunked"])
async def test_s6_an_upgrade_with_a_body_is_refused_where_upgrades_are_allowed_too(framing: bytes) -> None:
    async with (
        raw_origin(echoing()) as origin,
        running_edge(origin.address, ALLOWED) as edge,
        connected(edge.port) as client,
    ):
        answer = await client.ask(request(b"GET", b"/echo", *WEBSOCKET, framing, body=b"hello"))
        assert (answer.status, origin.connections) == (400, [])


async def test_an_upgrade_is_refused_like_any_request_when_nobody_has_signed_in() -> None:
    allowed = 'routes.account.upgrade=["websocket"]'
    async with (
        raw_origin(echoing()) as origin,
        running_edge(origin.address, allowed) as edge,
        connected(edge.port) as client,
    ):
        assert (await client.ask(get(b"/account", *WEBSOCKET))).status == 401
        assert origin.connections == []
        cookie = b"Cookie: " + edge.keys.cookies(7).encode()
        await client.send(get(b"/account", *WEBSOCKET, cookie))
        assert b" 101 " in await client.receive_until(b"\r\n\r\n")
        assert introspect(origin.requests[0], edge.keys).customer_id == 7
        assert origin.requests[0].get(b"cookie") is None


# Identity headers never pass by upgrade, neither way.


@pytest.mark.parametrize("name", [b"X-Passport", b"x_passport", b"X-Edge-User", b"X-Forwarded-For", b"x.passport"])
async def test_h9_an_upgrade_carries_no_identity_of_the_clients_to_the_origin(name: bytes) -> None:
    async with (
        raw_origin(echoing()) as origin,
        running_edge(origin.address, ALLOWED) as edge,
        upgraded(edge, name + b": forged", b"Connection: X-Passport, Upgrade"),
    ):
        assert b"forged" not in origin.connections[0].received
        assert introspect(origin.requests[0], edge.keys).customer_id is None


async def test_h9_x6_a_101_tells_the_device_nothing_internal() -> None:
    async def script(connection: OriginConnection) -> None:
        asked = await connection.request(head_only=True)
        assert asked is not None
        passport = asked.get(b"x-passport") or b""
        lines = (b"X-Passport: " + passport, b"x_edge_user: 7", b"X-Debug: " + passport, b"X-Public: 1")
        await connection.send(response(b"101 Switching Protocols", *SWITCH, *lines) + b"hello")
        await connection.end()

    async with raw_origin(script) as origin, running_edge(origin.address, ALLOWED) as edge:
        async with connected(edge.port) as client:
            await client.send(get(b"/echo", *WEBSOCKET))
            head = await client.receive_until(b"hello")
        names = [line.split(b":")[0].lower() for line in head.split(b"\r\n")[1:-2]]
        assert sorted(names) == [b"connection", b"sec-websocket-accept", b"upgrade", b"x-public"]


# Filters.


class _Outbound:
    """A filter that does one thing to a response."""

    id = "probe"
    on_error = OnError.CLOSED
    deadline_s = 5.0
    concurrency = 8

    def __init__(self, act: Callable[[Exchange], Any]) -> None:
        self._act = act

    def outbound(self, exchange: Exchange) -> Any:
        """Act on a 101."""
        return self._act(exchange) if exchange.response is not None and exchange.response.status == 101 else CONTINUE


class _Same:
    """A transform that changes nothing."""

    def feed(self, piece: bytes) -> bytes:
        """Return it."""
        return piece

    def finish(self) -> bytes:
        """Return nothing."""
        return b""


def adding(act: Callable[[Exchange], Any]) -> Callable[[Filters], Filters]:
    """Put a filter before the others."""
    return lambda filters: (filters[0], [_Outbound(act), *filters[1]])


def _transform(exchange: Exchange) -> Verdict:
    assert exchange.response is not None
    exchange.response.transform = _Same()
    return CONTINUE


def _status(exchange: Exchange) -> Verdict:
    assert exchange.response is not None
    exchange.response.status = 200
    return CONTINUE


def _fail(exchange: Exchange) -> Verdict:
    raise RuntimeError(exchange.id)


@pytest.mark.parametrize(
    ("act", "status"),
    [
        (lambda _: Refuse(403, Reason.LEVEL_TOO_LOW), 403),
        (lambda _: Answer(Response(202, Headers(), b"instead")), 202),
        (lambda _: NeedBody(10), 500),
        (_transform, 500),
        (_status, 500),
        (_fail, 500),
    ],
)
async def test_f1_a_filter_that_does_not_pass_a_101_ends_the_upgrade(
    act: Callable[[Exchange], Any], status: int
) -> None:
    async with (
        raw_origin(echoing(SWITCHING + b"secret")) as origin,
        running_edge(origin.address, ALLOWED, change=adding(act)) as edge,
        connected(edge.port) as client,
    ):
        answer = await client.ask(get(b"/echo", *WEBSOCKET))
        assert answer.status == status
        assert b"secret" not in answer.body
        await until(lambda: origin.connections[0].ended)
        assert (await client.ask(get(b"/account"))).status == 401
        assert ends(edge) == {}


async def test_what_comes_while_a_filter_waits_is_held_and_passed_on_in_order() -> None:
    go, waiting = asyncio.Event(), asyncio.Event()

    async def wait() -> Verdict:
        waiting.set()
        await go.wait()
        return CONTINUE

    async with (
        raw_origin(echoing(SWITCHING + b"early ")) as origin,
        running_edge(origin.address, ALLOWED, change=adding(lambda _: wait())) as edge,
        connected(edge.port) as client,
    ):
        await client.send(get(b"/echo", *WEBSOCKET) + b"words")
        await waiting.wait()
        go.set()
        await client.receive_until(b"\r\n\r\n")
        assert await client.receive(11) == b"early words"


# Ends.


async def test_each_side_ends_for_itself() -> None:
    go = asyncio.Event()

    async def script(connection: OriginConnection) -> None:
        await connection.request(head_only=True)
        await connection.send(SWITCHING + b"all I say")
        connection.half_close()
        await connection.end()
        go.set()

    async with raw_origin(script) as origin, running_edge(origin.address, ALLOWED) as edge:
        async with upgraded(edge) as client:
            assert await client.rest() == b"all I say"
            await client.send(b"still ")
            await client.send(b"talking")
            client.half_close()
            await go.wait()
            assert origin.connections[0].received.endswith(b"still talking")
            await until(lambda: not edge.engine.connections)
        assert ends(edge) == {("echo", "closed"): 1}


async def test_a_device_that_ends_first_hears_the_origin_out() -> None:
    async def script(connection: OriginConnection) -> None:
        await connection.request(head_only=True)
        await connection.send(SWITCHING)
        await connection.end()
        await connection.send(b"last words")

    async with raw_origin(script) as origin, running_edge(origin.address, ALLOWED) as edge:
        async with connected(edge.port) as client:
            await client.send(get(b"/echo", *WEBSOCKET))
            client.half_close()
            assert (await client.rest()).endswith(b"\r\n\r\nlast words")
        await until(lambda: ends(edge) == {("echo", "closed"): 1})


async def test_a_device_that_breaks_off_breaks_the_origins_connection_off() -> None:
    async with raw_origin(echoing()) as origin, running_edge(origin.address, ALLOWED) as edge:
        async with upgraded(edge) as client:
            client.reset()
            await until(lambda: origin.connections[0].ended)
        await until(lambda: edge.engine.origin_connections == 0)
        assert edge.metrics.requests == {("echo", 101, "client_gone"): 1}
        assert ends(edge) == {("echo", "client_gone"): 1}


async def test_an_origin_that_breaks_off_breaks_the_devices_connection_off() -> None:
    async def script(connection: OriginConnection) -> None:
        await connection.request(head_only=True)
        await connection.send(SWITCHING)
        await connection.read()
        connection.reset()

    async with raw_origin(script) as origin, running_edge(origin.address, ALLOWED) as edge:
        async with upgraded(edge) as client:
            await client.send(b"bye")
            with pytest.raises(ConnectionResetError):
                await client.rest()
        assert ends(edge) == {("echo", "origin_cut"): 1}


@pytest.mark.parametrize(
    ("setting", "cause"),
    [("timeouts.upgrade_idle_s=0.3", "upgrade_idle"), ("routes.echo.upgrade_life_s=0.3", "upgrade_expired")],
)
async def test_an_upgraded_connection_has_an_idle_limit_and_a_life_of_its_own(setting: str, cause: str) -> None:
    async with (
        raw_origin(echoing()) as origin,
        running_edge(origin.address, ALLOWED, setting) as edge,
        upgraded(edge) as client,
    ):
        assert await client.rest() == b""
        await until(lambda: origin.connections[0].ended)
        assert ends(edge) == {("echo", cause): 1}
        assert edge.metrics.requests == {("echo", 101, "cut"): 1}


async def test_an_end_that_leaves_something_unsent_is_a_reset_for_the_origin() -> None:
    gate = asyncio.Event()
    ended: list[BaseException | None] = []

    async def script(connection: OriginConnection) -> None:
        await connection.request(head_only=True)
        await connection.send(SWITCHING)
        await gate.wait()
        try:
            while await connection._reader.read(65536):
                pass
            ended.append(None)
        except ConnectionError as error:
            ended.append(error)

    async with (
        raw_origin(script, receive_buffer=4096, limit=4096) as origin,
        running_edge(origin.address, ALLOWED, "routes.echo.upgrade_idle_timeout_s=0.3") as edge,
        upgraded(edge) as client,
    ):
        sending = asyncio.create_task(client.send(b"a" * (32 << 20)))
        await until(lambda: ends(edge) == {("echo", "upgrade_idle"): 1})
        gate.set()
        await until(lambda: ended)
        assert isinstance(ended[0], ConnectionResetError)
        await asyncio.gather(sending, return_exceptions=True)


async def test_neither_the_limits_of_an_exchange_nor_those_of_its_bodies_end_an_upgraded_connection() -> None:
    short = ("timeouts.request_s=0.2", "timeouts.idle_s=0.2", "timeouts.response_head_s=0.2")
    async with (
        raw_origin(echoing()) as origin,
        running_edge(origin.address, ALLOWED, *short) as edge,
        upgraded(edge) as client,
    ):
        relay = next(iter(edge.engine.connections))._handler
        assert relay is not None
        relay.sweep(edge.engine.clock() + 100)
        await client.send(b"here")
        assert await client.receive(4) == b"here"


async def test_one_side_alone_has_the_idle_limit_of_a_body() -> None:
    async with (
        raw_origin(echoing()) as origin,
        running_edge(origin.address, ALLOWED, "timeouts.idle_s=0.2") as edge,
        upgraded(edge) as client,
    ):

        async def silent(connection: OriginConnection) -> None:
            await connection.request(head_only=True)
            await connection.send(SWITCHING)
            await connection.end()
            await asyncio.Event().wait()

        origin._script = silent
        async with upgraded(edge) as other:
            other.half_close()
            assert await other.rest() == b""
        await until(lambda: ends(edge) == {("echo", "upgrade_idle"): 1})
        await client.send(b"here")
        assert await client.receive(4) == b"here"


async def test_a_drain_ends_upgraded_connections_in_order_and_lets_no_new_one_in() -> None:
    async with (
        raw_origin(echoing()) as origin,
        running_edge(origin.address, ALLOWED) as edge,
        upgraded(edge) as client,
        connected(edge.port) as late,
    ):
        await late.send(b"GET /echo HTTP/1.1\r\n")
        await until(lambda: any(not each._reader.idle for each in edge.engine.connections))
        draining = asyncio.create_task(edge.engine.drain(1.5))
        await asyncio.sleep(0)
        await late.send(b"\r\n".join([b"Host: edge.test", *WEBSOCKET, b"", b""]))
        assert (await late.response()).status == 503
        late.close()
        await client.send(b"still here")
        assert await client.receive(10) == b"still here"
        assert await client.rest() == b""
        client.close()
        await draining
        await until(lambda: not edge.engine.connections)
        assert ends(edge) == {("echo", "draining"): 1}
        assert len(origin.connections) == 1


async def test_a_slow_side_stops_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    piece = b"x" * 65536

    async def flooding(connection: OriginConnection) -> None:
        await connection.request(head_only=True)
        await connection.send(SWITCHING)
        while not connection.gone:
            await connection.send(piece)

    async with (
        raw_origin(flooding) as origin,
        running_edge(origin.address, ALLOWED) as edge,
        connected(edge.port, receive_buffer=65536) as client,
    ):
        await client.send(get(b"/echo", *WEBSOCKET))
        await until(lambda: edge.engine.connections and next(iter(edge.engine.connections))._full)
        seen, still = -1, 0
        while still < 10:
            await asyncio.sleep(0.02)
            still = still + 1 if origin.connections[0].sent == seen else 0
            seen = origin.connections[0].sent
        assert next(iter(edge.engine.connections))._transport.get_write_buffer_size() < 1 << 20
        await client.receive_until(b"\r\n\r\n")
        await client.receive(1 << 20)
        client.reset()
        await until(lambda: edge.engine.origin_connections == 0)


# Libraries that are not ours.


@asynccontextmanager
async def websocket_app() -> AsyncIterator[str]:
    """Run an aiohttp server that answers each message; "close" makes it close."""

    async def talk(asked: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(protocols=("chat",), max_msg_size=1 << 24)
        await socket.prepare(asked)
        async for message in socket:
            if message.data == "close":
                await socket.close(code=4001, message=b"as you wish")
            elif message.type is aiohttp.WSMsgType.TEXT:
                await socket.send_str(message.data.upper())
            else:
                await socket.send_bytes(message.data[::-1])
        return socket

    app = web.Application()
    app.router.add_get("/echo", talk)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def test_aiohttp_talks_to_aiohttp_with_compression_sub_protocol_pings_and_close_codes() -> None:
    async with websocket_app() as address, running_edge(address, ALLOWED) as edge, aiohttp.ClientSession() as session:
        async with session.ws_connect(f"{edge.url}/echo", protocols=("chat",), compress=15) as socket:
            assert (socket.protocol, socket.compress) == ("chat", 15)
            for turn in range(50):
                await socket.send_str(f"hello {turn}")
                assert (await socket.receive(timeout=8)).data == f"HELLO {turn}"
            body = bytes(range(256)) * 8192
            await socket.send_bytes(body)
            assert (await socket.receive(timeout=8)).data == body[::-1]
            await socket.ping()
            await socket.send_str("close")
            ended = await socket.receive(timeout=8)
            assert (ended.type, ended.data) == (aiohttp.WSMsgType.CLOSE, 4001)
        await until(lambda: ends(edge) == {("echo", "closed"): 1})
        assert edge.metrics.refusals == {}
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await session.ws_connect(f"{edge.url}/account")
        assert refused.value.status == 401


async def test_many_websockets_at_a_time_hear_only_their_own() -> None:
    async def talk(session: aiohttp.ClientSession, url: str, number: int) -> None:
        async with session.ws_connect(url) as socket:
            for turn in range(20):
                await socket.send_str(f"device {number} turn {turn}")
                assert (await socket.receive(timeout=8)).data == f"DEVICE {number} TURN {turn}"

    async with websocket_app() as address, running_edge(address, ALLOWED) as edge, aiohttp.ClientSession() as session:
        await asyncio.gather(*(talk(session, f"{edge.url}/echo", number) for number in range(40)))
        await until(lambda: ends(edge) == {("echo", "closed"): 40})
        await until(lambda: edge.engine.origin_connections == 0)


@pytest.mark.parametrize("protocol", ["h2c", "http/2.0", "tls/1.2", "h2", "HTTP", "web socket", ""])
def test_a_route_cannot_allow_a_protocol_that_carries_requests_past_the_filters(protocol: str) -> None:
    found = load_config(CONFIG, (f'routes.echo.upgrade=["{protocol}"]',))
    assert isinstance(found, ConfigErrors)
