"""N1 through a running data plane: whatever DNS or a file does, known origins are reached and requests never wait."""

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from edge.control.origins_file import DnsDiscovery
from edge.upstream.discovery.dns_lookup import look_up
from tests.edge.raw import WAIT_S, RawClient, answering, connected, get, ok, raw_origin, reset, until
from tests.edge.running import RunningEdge, running_edge
from tests.edge.test_relay import problem
from tests.upstream.dns_server import NXDOMAIN, REFUSED, SERVFAIL, DnsServer, Reply, dns_server
from tests.upstream.health_origin import origin

FAILURES = {
    "nxdomain": Reply(rcode=NXDOMAIN),
    "servfail": Reply(rcode=SERVFAIL),
    "refused": Reply(rcode=REFUSED),
    "timeout": Reply(silent=True),
    "empty": Reply(),
    "garbage": Reply(garbage=b"\x81\x80garbage"),
    "nowhere": Reply(("0.0.0.0", "::")),
}
failures = pytest.mark.parametrize("failure", FAILURES.values(), ids=FAILURES)


@asynccontextmanager
async def edge_by_dns(server: DnsServer, port: int) -> AsyncIterator[RunningEdge]:
    """Run a data plane that looks its origin up all the time."""
    dns = {
        "name": f"api.test:{port}",
        "servers": [server.address],
        "timeout_s": 0.1,
        "min_refresh_s": 0.01,
        "max_refresh_s": 0.02,
    }
    discovery = f"origins.api.discovery={json.dumps({'dns': dns})}"
    async with running_edge("127.0.0.1:1", "origins.api.addresses=[]", discovery) as edge:
        yield edge


@asynccontextmanager
async def edge_by_file(path: Path) -> AsyncIterator[RunningEdge]:
    """Run a data plane that finds its origin in a file."""
    discovery = f"origins.api.discovery={json.dumps({'file': {'path': str(path), 'poll_s': 0.01}})}"
    async with running_edge("127.0.0.1:1", "origins.api.addresses=[]", discovery) as edge:
        yield edge


@asynccontextmanager
async def instance(host: str, port: int = 0) -> AsyncIterator[int]:
    """Run an origin at a loopback address that answers with that address; gives its port."""

    open_now: set[asyncio.StreamWriter] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        open_now.add(writer)
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while await reader.readuntil(b"\r\n\r\n"):
                writer.write(ok(host.encode()))
        writer.close()

    server = await asyncio.start_server(serve, host, port)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for writer in open_now:
            reset(writer)
        await server.wait_closed()


def port_of(address: str) -> int:
    return int(address.rpartition(":")[2])


def refreshes(edge: RunningEdge, result: str) -> int:
    return edge.metrics.discovery_refreshes.get(("api", result), 0)


def failed_refreshes(edge: RunningEdge) -> int:
    return sum(
        number
        for (_, result), number in edge.metrics.discovery_refreshes.items()
        if result not in {"changed", "unchanged"}
    )


def healthy(edge: RunningEdge) -> dict[str, bool]:
    values = edge.metrics.snapshot(0.0).values["edge_origin_healthy"]
    return {labels[1]: bool(value) for labels, value in values}


async def looked(edge: RunningEdge, result: str) -> None:
    """Wait for one more look with this result."""
    before = refreshes(edge, result)
    await until(lambda: refreshes(edge, result) > before)


async def answered_by(client: RawClient, host: str) -> None:
    """Ask until the instance at this address answers; no answer on the way is a bad one."""
    async with asyncio.timeout(WAIT_S):
        while True:
            answer = await client.ask(get())
            assert answer.status == 200
            if answer.body == host.encode():
                return


@failures
async def test_n1_a_name_that_is_not_known_yet_is_a_503_until_it_is(failure: Reply) -> None:
    async with (
        raw_origin(answering(ok())) as api,
        dns_server(failure) as server,
        edge_by_dns(server, port_of(api.address)) as edge,
        connected(edge.port) as client,
    ):
        answer = await client.ask(get())
        assert answer.status == 503
        assert problem(answer)["reason"] in {"origin_connect_failed", "origin_unavailable"}
        await until(lambda: failed_refreshes(edge) >= 3)
        assert (await client.ask(get())).status == 503
        server.say(Reply(("127.0.0.1",)))
        await until(lambda: refreshes(edge, "changed"))
        assert (await client.ask(get())).status == 200


@failures
async def test_n1_a_known_name_is_served_whatever_the_name_server_says_later(failure: Reply) -> None:
    async with (
        raw_origin(answering(ok(b"hello", b"Connection: close"))) as api,
        dns_server(Reply(("127.0.0.1",))) as server,
        edge_by_dns(server, port_of(api.address)) as edge,
        connected(edge.port) as client,
    ):
        await until(lambda: refreshes(edge, "changed"))
        server.say(failure)
        async with asyncio.timeout(WAIT_S):
            while failed_refreshes(edge) < 5:
                assert (await client.ask(get())).body == b"hello"
        assert refreshes(edge, "changed") == 1
        server.say(Reply(("127.0.0.1",)))
        await looked(edge, "unchanged")
        await until(lambda: not edge.engine.origin_connections)


async def test_n1_a_name_server_that_is_gone_takes_nothing_with_it() -> None:
    async with raw_origin(answering(ok(b"hello", b"Connection: close"))) as api, contextlib.AsyncExitStack() as stack:
        async with dns_server(Reply(("127.0.0.1",))) as server:
            edge = await stack.enter_async_context(edge_by_dns(server, port_of(api.address)))
            await until(lambda: refreshes(edge, "changed"))
        client = await stack.enter_async_context(connected(edge.port))
        async with asyncio.timeout(WAIT_S):
            while failed_refreshes(edge) < 3:
                assert (await client.ask(get())).status == 200
        await until(lambda: not edge.engine.origin_connections)


async def test_n1_changing_answers_with_a_time_to_live_of_nothing_lose_no_request() -> None:
    async with (
        instance("127.0.0.1") as port,
        instance("127.0.0.2", port),
        instance("127.0.0.3", port),
        dns_server(Reply(("127.0.0.1",), ttl_s=0)) as server,
        edge_by_dns(server, port) as edge,
        connected(edge.port) as client,
    ):
        await until(lambda: refreshes(edge, "changed"))
        for host in ("127.0.0.2", "127.0.0.3", "127.0.0.1"):
            server.say(Reply((host,), ttl_s=0))
            await answered_by(client, host)
        server.say(Reply(("127.0.0.1", "127.0.0.2", "127.0.0.3"), ttl_s=0))
        for host in ("127.0.0.1", "127.0.0.2", "127.0.0.3"):
            await answered_by(client, host)


async def test_n1_requests_do_not_wait_while_a_look_is_on_its_way() -> None:
    """One look hangs for as long as it may; any number of requests are answered meanwhile."""
    dns: dict[str, object] = {"timeout_s": 30.0, "min_refresh_s": 0.01, "max_refresh_s": 0.01}
    async with raw_origin(answering(ok())) as api, dns_server(Reply(("127.0.0.1",))) as server:
        dns |= {"name": f"api.test:{port_of(api.address)}", "servers": [server.address]}
        discovery = f"origins.api.discovery={json.dumps({'dns': dns})}"
        async with (
            running_edge("127.0.0.1:1", "origins.api.addresses=[]", discovery) as edge,
            connected(edge.port) as client,
        ):
            await until(lambda: refreshes(edge, "changed"))
            server.say(Reply(silent=True))
            asked = len(server.asked)
            await until(lambda: len(server.asked) > asked)
            looks = dict(edge.metrics.discovery_refreshes)
            for _ in range(200):
                assert (await client.ask(get())).status == 200
            assert edge.metrics.discovery_refreshes == looks


@pytest.mark.skipif(not socket.has_ipv6, reason="needs IPv6")
async def test_n1_an_ipv6_address_is_used_and_a_family_that_fails_is_no_loss() -> None:
    async with (
        instance("::1") as port,
        dns_server() as server,
        edge_by_dns(server, port) as edge,
        connected(edge.port) as client,
    ):
        server.say(Reply(("::1",)), "AAAA")
        await until(lambda: refreshes(edge, "changed"))
        assert (await client.ask(get())).body == b"::1"
        server.say(Reply(rcode=SERVFAIL), "A")
        await until(lambda: refreshes(edge, "servfail") >= 3)
        assert (await client.ask(get())).body == b"::1"


def write(path: Path, text: str) -> None:
    path.write_text(text)


async def test_n1_a_file_is_followed_and_a_broken_one_keeps_the_last_good_list(tmp_path: Path) -> None:
    path = tmp_path / "api.yaml"
    async with instance("127.0.0.1") as port, instance("127.0.0.2", port):
        write(path, f"addresses: ['127.0.0.1:{port}']")
        async with edge_by_file(path) as edge, connected(edge.port) as client:
            await until(lambda: refreshes(edge, "changed"))
            assert (await client.ask(get())).body == b"127.0.0.1"
            for text, result in (("addresses: ['127.0.0.1", "invalid"), ("", "empty"), ("[]", "invalid")):
                write(path, text)
                await looked(edge, result)
                assert (await client.ask(get())).body == b"127.0.0.1"
            write(path, f"['127.0.0.2:{port}']")
            await answered_by(client, "127.0.0.2")
            path.unlink()
            await until(lambda: refreshes(edge, "unreadable"))
            assert (await client.ask(get())).body == b"127.0.0.2"


async def test_a_file_that_is_not_there_yet_is_a_503_until_it_is(tmp_path: Path) -> None:
    path = tmp_path / "api"
    async with raw_origin(answering(ok())) as api, edge_by_file(path) as edge, connected(edge.port) as client:
        assert (await client.ask(get())).status == 503
        write(path, f"{api.address}\n")
        await until(lambda: refreshes(edge, "changed"))
        assert (await client.ask(get())).status == 200


async def test_an_unhealthy_address_gets_no_request_until_it_is_well_again() -> None:
    check = 'origins.api.health_check={"path": "/health", "interval_s": 0.02}'
    async with (
        origin() as one,
        origin() as other,
        running_edge(str(one.address), f'origins.api.addresses=["{one.address}", "{other.address}"]', check) as edge,
        connected(edge.port) as client,
    ):
        one.status = 503
        await until(lambda: not healthy(edge)[str(one.address)])
        asked = one.requests
        for _ in range(30):
            assert (await client.ask(get())).status == 200
        assert one.requests == asked
        one.status = 200
        await until(lambda: healthy(edge)[str(one.address)])
        async with asyncio.timeout(WAIT_S):
            while one.requests == asked:
                assert (await client.ask(get())).status == 200


async def test_addresses_that_are_all_unhealthy_are_asked_all_the_same() -> None:
    check = 'origins.api.health_check={"path": "/health", "interval_s": 0.02}'
    async with origin() as api, running_edge(str(api.address), check) as edge, connected(edge.port) as client:
        api.status = 503
        await until(lambda: not healthy(edge)[str(api.address)])
        assert (await client.ask(get())).status == 200


async def test_a_look_that_is_cancelled_at_any_moment_leaves_no_socket() -> None:
    """One that is left open would keep uvloop, and so a worker, from ending."""
    async with dns_server(Reply(silent=True)) as server:
        settings = DnsDiscovery.model_validate({"name": "api.test:80", "servers": [server.address]})
        before = open_files()
        for turns in range(12):
            task = asyncio.create_task(look_up(settings))
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        await until(lambda: open_files() <= before)


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))
