"""A listener behind load balancers that speak the PROXY protocol: whose word counts, and for what."""

import asyncio
import contextlib
import socket
import struct
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest

from edge.net.listening import take_queued
from edge.net.proxy_listener import ProxyPeers
from edge.net.proxy_protocol import SIGNATURE
from edge.net.tls import KeyPair
from edge.net.tls_listener import ListenerCertificates, ServerCertificate, TlsSettings
from tests.certificates import TestAuthority
from tests.edge.raw import RawClient, RawResponse, answering, connected, get, ok, raw_origin, until
from tests.edge.running import RunningEdge, running_edge
from tests.processes import beside

TRUSTED = "listener.proxy_protocol.trusted_peers=[127.0.0.0/8]"
V1 = b"PROXY TCP4 203.0.113.9 192.0.2.1 4711 443\r\n"


def v2(source: str, *, command: int = 0x21) -> bytes:
    address = ip_address(source)
    family = 0x11 if address.version == 4 else 0x21
    body = address.packed + bytes(len(address.packed)) + struct.pack("!HH", 4711, 443)
    return SIGNATURE + struct.pack("!BBH", command, family, len(body)) + body


async def forwarded(*overrides: str, preamble: bytes, lines: tuple[bytes, ...] = ()) -> list[bytes]:
    """Return the X-Forwarded-For that an origin sees of a request after `preamble`."""
    async with (
        raw_origin(answering(ok())) as origin,
        running_edge(origin.address, TRUSTED, *overrides) as edge,
        connected(edge.port, preamble=preamble) as client,
    ):
        assert (await client.ask(get(b"/", *lines))).status == 200
    return origin.requests[0].all(b"x-forwarded-for")


@pytest.mark.parametrize(
    ("header", "seen"),
    [
        (V1, b"203.0.113.9"),
        (b"PROXY TCP6 2001:db8::9 2001:db8::1 4711 443\r\n", b"2001:db8::9"),
        (v2("203.0.113.9"), b"203.0.113.9"),
        (v2("2001:db8::9"), b"2001:db8::9"),
        (v2("::ffff:203.0.113.9"), b"203.0.113.9"),
        (b"PROXY UNKNOWN\r\n", b"127.0.0.1"),
        (v2("203.0.113.9", command=0x20), b"127.0.0.1"),
    ],
)
async def test_the_client_is_the_one_that_the_proxy_names(header: bytes, seen: bytes) -> None:
    assert await forwarded(preamble=header) == [seen]


@pytest.mark.parametrize("header", [V1, v2("2001:db8::9")])
async def test_a_header_in_pieces_and_a_request_right_behind_it_are_told_apart(header: bytes) -> None:
    async with raw_origin(answering(ok())) as origin, running_edge(origin.address, TRUSTED) as edge:
        async with connected(edge.port) as slow:
            await slow.send(header, size=1)
            assert (await slow.ask(get())).status == 200
        async with connected(edge.port) as fast:
            assert (await fast.ask(header + get(), method=b"GET")).status == 200
            assert (await fast.ask(get())).status == 200
    assert len({request.get(b"x-forwarded-for") for request in origin.requests}) == 1


async def test_the_header_comes_before_the_handshake(tmp_path: Path) -> None:
    authority = TestAuthority(tmp_path)
    pair = authority.issue("edge", ["localhost"])
    shown = ("listener.local_plain_http=false", f"listener.tls.certificates=[{{{pair}}}]")
    async with raw_origin(answering(ok())) as origin, running_edge(origin.address, TRUSTED, *shown) as edge:
        async with connected(edge.port, tls=authority.client(), preamble=V1) as client:
            assert (await client.ask(get())).status == 200
        with pytest.raises((ConnectionError, OSError)):
            async with connected(edge.port, tls=authority.client()):
                pass
    assert origin.requests[0].all(b"x-forwarded-for") == [b"203.0.113.9"]
    assert origin.requests[0].all(b"x-forwarded-proto") == [b"https"]


async def refused(edge: RunningEdge, client: RawClient, why: str) -> None:
    """Wait until the edge has counted a refusal; the client must be told nothing."""
    with contextlib.suppress(ConnectionError):
        assert await client.rest() == b""
    await until(lambda: edge.metrics.dropped.get((why,)))


@pytest.mark.parametrize(
    "sent",
    [
        get(),
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"PROXY TCP4 203.0.113.9 192.0.2.1 4711 0443\r\n" + get(),
        b"PROXY TCP4 " + b"1" * 200,
        v2("203.0.113.9")[:12] + b"\x31" + v2("203.0.113.9")[13:],
    ],
)
async def test_what_does_not_begin_with_a_header_is_reset(sent: bytes) -> None:
    async with (
        raw_origin(answering(ok())) as origin,
        running_edge(origin.address, TRUSTED) as edge,
        connected(edge.port) as client,
    ):
        await client.send(sent)
        await refused(edge, client, "proxy_header")
    assert not origin.connections


async def test_h16_a_header_from_an_address_that_is_not_trusted_is_reset() -> None:
    elsewhere = "listener.proxy_protocol.trusted_peers=[127.0.0.2/32, 10.0.0.0/8]"
    async with raw_origin(answering(ok())) as origin, running_edge(origin.address, elsewhere) as edge:
        with contextlib.suppress(ConnectionError):  # as early as that
            async with connected(edge.port) as client:
                assert await client.rest() == b""
        await until(lambda: edge.metrics.dropped.get(("proxy_untrusted",)))
        async with connected(edge.port, source="127.0.0.2") as client:
            assert (await client.ask(V1 + get(), method=b"GET")).status == 200
    assert len(origin.requests) == 1


async def test_a_header_that_never_ends_is_given_up() -> None:
    short = "listener.proxy_protocol.header_timeout_s=0.1"
    async with (
        raw_origin(answering(ok())) as origin,
        running_edge(origin.address, TRUSTED, short) as edge,
        connected(edge.port) as client,
    ):
        await client.send(V1[:20])
        await refused(edge, client, "proxy_timeout")


@pytest.mark.parametrize("header", [b"PROXY UNKNOWN\r\n", v2("203.0.113.9", command=0x20)])
async def test_h15_nobody_known_is_not_believed_although_the_load_balancer_is_a_trusted_proxy(header: bytes) -> None:
    claim = (b"X-Forwarded-For: 198.51.100.1",)
    proxies = "listener.trusted_proxies=[127.0.0.0/8]"
    assert await forwarded(proxies, preamble=header, lines=claim) == [b"127.0.0.1"]


async def test_h15_a_client_behind_the_load_balancer_is_believed_only_as_a_trusted_proxy_itself() -> None:
    claim = (b"X-Forwarded-For: 198.51.100.1",)
    assert await forwarded("listener.trusted_proxies=[127.0.0.0/8]", preamble=V1, lines=claim) == [b"203.0.113.9"]
    believed = await forwarded("listener.trusted_proxies=[203.0.113.0/24]", preamble=V1, lines=claim)
    assert believed == [b"198.51.100.1, 203.0.113.9"]


async def test_without_trusted_peers_a_header_is_no_request() -> None:
    async with (
        raw_origin(answering(ok())) as origin,
        running_edge(origin.address) as edge,
        connected(edge.port) as client,
    ):
        answer: RawResponse = await client.ask(V1 + get(), method=b"GET")
        assert answer.status == 400
    assert not origin.connections


async def test_w2_a_connection_that_waits_with_its_header_when_the_door_closes_is_taken() -> None:
    async with raw_origin(answering(ok())) as origin, running_edge(origin.address) as edge:
        with socket.create_server(("127.0.0.1", 0)) as door:
            door.setblocking(False)
            async with connected(door.getsockname()[1], preamble=V1) as client:
                take_queued(edge.engine, door, None, ProxyPeers([ip_network("127.0.0.0/8")]))
                assert len(edge.engine.arriving) == 1  # what a drain waits for
                assert (await client.ask(get())).status == 200


async def test_w2_handshakes_that_stall_when_the_door_closes_hold_nobody_up_and_the_drain_not_for_long(
    tmp_path: Path,
) -> None:
    authority = TestAuthority(tmp_path)
    authority.issue("edge", ["localhost"])
    settings = ServerCertificate(KeyPair(tmp_path / "edge.crt", tmp_path / "edge.key"))
    certificates = ListenerCertificates(TlsSettings((settings,), handshake_timeout_s=60))
    async with raw_origin(answering(ok())) as origin, running_edge(origin.address) as edge:
        with socket.create_server(("127.0.0.1", 0)) as door:
            door.setblocking(False)
            port = door.getsockname()[1]
            async with connected(port), connected(port), asyncio.timeout(10):
                queued = socket.create_connection(("127.0.0.1", port))

                def ask() -> bytes:
                    with authority.client().wrap_socket(queued, server_hostname="localhost") as secured:
                        secured.sendall(get())
                        return secured.recv(65536)

                async with beside(asyncio.to_thread(ask)) as asking:
                    take_queued(edge.engine, door, certificates)
                    await until(lambda: len(edge.engine.arriving) > 2)
                    async with asyncio.timeout(6):
                        await edge.engine.drain(60, grace_s=1.0)
                    assert (await asking).startswith(b"HTTP/1.1 200 ")
                    assert edge.engine.arriving  # and reset as the worker leaves


async def test_connections_that_wait_when_the_door_closes_need_a_header_too() -> None:
    async with raw_origin(answering(ok())) as origin, running_edge(origin.address) as edge:
        with socket.create_server(("127.0.0.1", 0)) as door:
            door.setblocking(False)
            port = door.getsockname()[1]
            async with connected(port) as good, connected(port) as bad:
                peers = ProxyPeers([ip_network("127.0.0.0/8")])
                take_queued(edge.engine, door, None, peers)
                assert (await good.ask(V1 + get(), method=b"GET")).status == 200
                await bad.send(get())
                await refused(edge, bad, "proxy_header")
    assert len(origin.requests) == 1
