"""Upgrades over TLS, where half an end does not exist: one end ends both, and what was sent before it arrives."""

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from tests.certificates import TestAuthority
from tests.edge.raw import OriginConnection, RawClient, connected, get, raw_origin, until
from tests.edge.running import RunningEdge, running_edge
from tests.edge.test_tls import certificates
from tests.edge.test_tls_origins import over_tls
from tests.edge.test_upgrade import ALLOWED, SWITCHING, WEBSOCKET, echoing, ends, websocket_app


@pytest.fixture
def authority(tmp_path: Path) -> TestAuthority:
    made = TestAuthority(tmp_path)
    made.issue("edge", ["localhost"])
    made.issue("origin", ["127.0.0.1"])
    return made


class Sides:
    """Which of the edge's two sides speaks TLS."""

    def __init__(self, authority: TestAuthority, sides: str) -> None:
        device, origin = "device" in sides, "origin" in sides
        self.device: ssl.SSLContext | None = authority.client() if device else None
        self.origin: ssl.SSLContext | None = authority.server("origin") if origin else None
        self.settings = (
            ALLOWED,
            *(certificates(authority.pair("edge")) if device else ()),
            *(over_tls(authority) if origin else ()),
        )

    @asynccontextmanager
    async def upgraded(self, edge: RunningEdge) -> AsyncIterator[RawClient]:
        """Connect and upgrade to a WebSocket."""
        async with connected(edge.port, tls=self.device) as client:
            await client.send(get(b"/echo", *WEBSOCKET))
            assert (await client.receive_until(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
            yield client


EITHER = pytest.mark.parametrize("sides", ["device", "origin", "device and origin"])


@EITHER
async def test_bytes_pass_both_ways_until_the_device_ends(authority: TestAuthority, sides: str) -> None:
    secured = Sides(authority, sides)
    async with (
        raw_origin(echoing(), tls=secured.origin) as origin,
        running_edge(origin.address, *secured.settings) as edge,
    ):
        async with secured.upgraded(edge) as client:
            for word in (b"hello", b"x" * 200_000):
                await client.send(word)
                assert await client.receive(len(word)) == word
            client.close()
            await until(lambda: not edge.engine.connections and edge.engine.origin_connections == 0)
            await until(lambda: origin.connections[0].ended)
        assert ends(edge) == {("echo", "closed"): 1}


@EITHER
async def test_the_origins_last_words_reach_the_device(authority: TestAuthority, sides: str) -> None:
    async def script(connection: OriginConnection) -> None:
        await connection.request(head_only=True)
        await connection.send(SWITCHING + b"last words")
        connection.close()

    secured = Sides(authority, sides)
    async with (
        raw_origin(script, tls=secured.origin) as origin,
        running_edge(origin.address, *secured.settings) as edge,
    ):
        async with secured.upgraded(edge) as client:
            assert await client.rest() == b"last words"
            client.close()
        await until(lambda: not edge.engine.connections and edge.engine.origin_connections == 0)
        assert ends(edge) == {("echo", "closed"): 1}


async def test_a_websocket_of_a_library_over_tls(authority: TestAuthority) -> None:
    secured = Sides(authority, "device")
    async with (
        websocket_app() as address,
        running_edge(address, *secured.settings) as edge,
        aiohttp.ClientSession() as session,
    ):
        url = f"https://localhost:{edge.port}/echo"
        async with session.ws_connect(url, ssl=secured.device or True) as socket:
            await socket.send_str("hello")
            assert (await socket.receive(timeout=8)).data == "HELLO"
            await socket.send_str("close")
            assert (await socket.receive(timeout=8)).data == 4001
        await until(lambda: ends(edge) == {("echo", "closed"): 1})
        assert edge.metrics.refusals == {}
