"""Active checks of real aiohttp origins: what is asked, what counts as well, and what the pool is told."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from edge.control.origins_file import HealthCheck
from edge.control.tls import OriginTlsRow
from edge.control.values import Address, parse_address
from edge.telemetry.metrics import Series, WorkerMetrics
from edge.upstream.health.checks import HealthChecks, health_session
from edge.upstream.tls import OriginTls
from tests.certificates import TestAuthority
from tests.edge.raw import answering, ok, raw_origin, until
from tests.upstream.health_origin import origin


@dataclass
class Checked:
    """Running checks and what they told."""

    checks: HealthChecks
    counts: Series
    marked: list[tuple[Address, bool]]


@asynccontextmanager
async def checked(*addresses: Address, tls: OriginTls | None = None, **settings: object) -> AsyncIterator[Checked]:
    """Check addresses every few milliseconds."""
    wanted = {"path": "/health", "interval_s": 0.02, "timeout_s": 5.0, **settings}
    marked: list[tuple[Address, bool]] = []
    counts: Series = {}
    async with health_session() as session:
        checks = HealthChecks(
            "api",
            HealthCheck.model_validate(wanted),
            session=session,
            at_once=asyncio.Semaphore(2),
            mark=lambda address, healthy: marked.append((address, healthy)),
            counts=counts,
            tls=tls,
        )
        checks.set_addresses(addresses)
        yield Checked(checks, counts, marked)
        await asyncio.gather(*checks.close(), return_exceptions=True)


def free_address() -> Address:
    """Return an address that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return Address("127.0.0.1", sock.getsockname()[1])


async def test_a_check_is_a_bare_get_on_a_connection_of_its_own() -> None:
    async with origin() as api, checked(api.address, path="/health?deep=%2e/x") as running:
        await until(lambda: running.counts.get(("api", "good"), 0) >= 3)
        for request in api.asked:
            assert (request.method, request.raw_path) == ("GET", "/health?deep=%2e/x")
            names = {"host", "user-agent", "accept", "accept-encoding", "connection"}
            assert set(map(str.lower, request.headers)) == names
            assert request.headers["Connection"] == "close"
            assert request.host == str(api.address)
        assert len(api.peers) == len(api.asked)
        assert running.marked == []


async def test_the_host_header_can_be_said() -> None:
    async with origin() as api, checked(api.address, host="api.internal"):
        await until(lambda: api.asked)
        assert api.asked[0].host == "api.internal"


@pytest.mark.parametrize("status", [301, 404, 500, 503])
async def test_a_status_out_of_range_is_bad_and_a_redirect_is_not_followed(status: int) -> None:
    async with origin(status) as api, checked(api.address) as running:
        await until(lambda: running.marked)
        assert running.marked == [(api.address, False)]
        assert set(running.counts) == {("api", "status")}
        assert {request.path for request in api.asked} == {"/health"}


async def test_the_range_of_good_statuses_can_be_said() -> None:
    async with origin(404) as api, checked(api.address, min_status=200, max_status=499) as running:
        await until(lambda: running.counts.get(("api", "good"), 0) >= 3)


async def test_an_instance_that_hangs_or_is_gone_is_unhealthy() -> None:
    async with origin(silent=True) as api, checked(api.address, timeout_s=0.05) as running:
        await until(lambda: running.marked)
        assert set(running.counts) == {("api", "timeout")}
    gone = free_address()
    async with checked(gone) as running:
        await until(lambda: running.marked)
        assert running.marked == [(gone, False)]
        assert set(running.counts) == {("api", "failed")}


async def test_an_instance_that_talks_nonsense_is_unhealthy() -> None:
    async def nonsense(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"\0SSH-2.0 hello\r\n\r\n" * 1000)
        writer.close()

    server = await asyncio.start_server(nonsense, "127.0.0.1", 0)
    address = Address("127.0.0.1", server.sockets[0].getsockname()[1])
    async with server, checked(address) as running:
        await until(lambda: running.marked)
        assert running.marked == [(address, False)]


async def test_an_instance_that_recovers_is_marked_healthy_after_enough_good_checks() -> None:
    async with origin(500) as api, checked(api.address, healthy_after=4) as running:
        await until(lambda: running.marked)
        before = len(api.asked)
        api.status = 200
        await until(lambda: len(running.marked) == 2)
        assert running.marked == [(api.address, False), (api.address, True)]
        assert running.counts[("api", "good")] >= 4
        assert len(api.asked) >= before + 4


async def test_only_the_addresses_of_now_are_checked() -> None:
    async with origin() as old, origin() as new, checked(old.address) as running:
        await until(lambda: old.asked)
        running.checks.set_addresses([new.address])
        await until(lambda: len(new.asked) >= 2)
        asked = len(old.asked)
        await until(lambda: len(new.asked) >= 6)
        assert len(old.asked) <= asked + 1
        assert set(running.checks.healthy) == {new.address}


async def test_checks_that_wait_for_their_turn_do_not_time_out() -> None:
    """Two at a time, two that hang: the one that is well has its whole time when its turn comes."""
    async with (
        origin(silent=True) as one,
        origin(silent=True) as other,
        origin() as well,
        checked(one.address, other.address, well.address, timeout_s=0.3) as running,
    ):
        await until(lambda: len(running.marked) == 2 and running.counts.get(("api", "good"), 0) >= 3)
        assert running.checks.healthy == {one.address: False, other.address: False, well.address: True}


async def test_a_check_of_an_origin_over_tls_verifies_it_and_t1_a_bad_certificate_is_bad_health(tmp_path: Path) -> None:
    authority = TestAuthority(tmp_path)
    for name, good in (("origin.test", True), ("elsewhere.test", False)):
        authority.issue("origin", [name])
        row = OriginTlsRow(enabled=True, ca_file=authority.ca_file, server_name="origin.test")
        async with (
            raw_origin(answering(ok()), tls=authority.server("origin")) as api,
            checked(parse_address(api.address), tls=OriginTls("api", row, WorkerMetrics())) as running,
        ):
            await until(lambda: running.counts)
            assert set(running.counts) == {("api", "good" if good else "failed")}
            assert bool(api.requests) is good
