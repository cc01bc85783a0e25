"""An answer that only the end of the connection ends, cut: its device must not take what it got for all there is.

HTTP/1.0 has no chunks: without a length, a clean end says that the answer is whole (RFC 9112 §8).
"""

import asyncio
from pathlib import Path

import pytest

from tests.certificates import TestAuthority
from tests.edge.raw import OriginConnection, RawClient, Script, connected, raw_origin, response, until
from tests.edge.running import running_edge
from tests.edge.test_tls import certificates

ASKED = b"GET /download HTTP/1.0\r\n\r\n"
CHUNKED = response(b"200 OK", b"Transfer-Encoding: chunked") + b"5\r\nbegun\r\n"
UNTIL_CLOSE = response(b"200 OK", b"Connection: close") + b"begun"
CUTS: dict[str, tuple[bytes, str | bytes, tuple[str, ...]]] = {
    "origin closes": (CHUNKED, "close", ()),
    "origin resets": (CHUNKED, "reset", ()),
    "origin resets what its end would end": (UNTIL_CLOSE, "reset", ()),
    "origin breaks the framing": (CHUNKED, b"nonsense\r\n", ()),
    "origin falls silent": (CHUNKED, "", ("routes.download.idle_timeout_s=0.2",)),
    "time is up": (CHUNKED, "", ("routes.download.request_timeout_s=0.2",)),
}


def beginning(answer: bytes, seen: asyncio.Event, then: str | bytes) -> Script:
    """Return an origin that sends the beginning of an answer and, once that was seen, ends like this, or sends that."""

    async def script(connection: OriginConnection) -> None:
        await connection.request()
        await connection.send(answer)
        await seen.wait()
        if isinstance(then, bytes):
            await connection.send(then)
        elif then:
            getattr(connection, then)()
        await connection.end()

    return script


async def read_head(client: RawClient) -> None:
    """Read a head, which must leave it to the connection's end where the answer ends."""
    head = await client.receive_until(b"\r\n\r\n")
    assert b"connection: close\r\n" in head
    assert b"content-length" not in head
    assert b"transfer-encoding" not in head


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize("cut", CUTS)
async def test_b7_b8_b9_a_cut_answer_that_the_end_would_end_is_reset(cut: str, tls: bool, tmp_path: Path) -> None:
    answer, then, overrides = CUTS[cut]
    authority, seen = TestAuthority(tmp_path), asyncio.Event()
    listener = certificates(authority.issue("edge", ["localhost"])) if tls else ()
    async with (
        raw_origin(beginning(answer, seen, then)) as origin,
        running_edge(origin.address, *listener, *overrides) as edge,
        connected(edge.port, tls=authority.client() if tls else None) as client,
    ):
        await client.send(ASKED)
        await read_head(client)
        seen.set()
        with pytest.raises(ConnectionResetError):
            await client.rest()
        assert edge.metrics.requests == {("download", 200, "cut"): 1}


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
async def test_m1_what_is_given_up_unread_after_its_exchange_is_reset(tls: bool, tmp_path: Path) -> None:
    mib = 1 << 20

    async def script(connection: OriginConnection) -> None:
        await connection.request()
        await connection.send(response(b"200 OK", b"Connection: close") + b"a" * 8 * mib)

    authority = TestAuthority(tmp_path)
    listener = certificates(authority.issue("edge", ["localhost"])) if tls else ()
    overrides = ("limits.min_response_bytes_per_s=0", "timeouts.idle_s=0.3")
    async with raw_origin(script) as origin, running_edge(origin.address, *listener, *overrides) as edge:
        edge.engine.write_buffer_bytes = 64 * mib  # all of it is written at once
        async with connected(edge.port, receive_buffer=4096, tls=authority.client() if tls else None) as client:
            await client.send(ASKED)
            await read_head(client)
            await until(lambda: edge.metrics.requests == {("download", 200, "ok"): 1})
            await until(lambda: not edge.engine.connections)
            with pytest.raises(ConnectionResetError):
                await client.rest()
