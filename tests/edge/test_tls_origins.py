"""TLS to origins: what is verified before a byte of a request leaves (FAULTS T1), and what is shown to them."""

import asyncio
import socket
import ssl
from pathlib import Path

import pytest
from cryptography import x509

from tests.certificates import TestAuthority
from tests.edge.raw import (
    OriginConnection,
    RawOrigin,
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

BODY = b"a body that nobody else may read"


@pytest.fixture
def authority(tmp_path: Path) -> TestAuthority:
    made = TestAuthority(tmp_path)
    made.issue("origin", ["127.0.0.1", "origin.test"])
    return made


def over_tls(authority: TestAuthority, *more: str) -> tuple[str, ...]:
    return ("origins.api.tls.enabled=true", f"origins.api.tls.ca_file={authority.ca_file}", *more)


def handshakes(edge: RunningEdge, result: str) -> int:
    return edge.metrics.tls_handshakes.get(("origin", result), 0)


async def test_a_request_to_an_origin_over_tls_and_the_next_on_the_same_connection(authority: TestAuthority) -> None:
    async with (
        raw_origin(answering(ok(b"one"), ok(b"two")), tls=authority.server("origin")) as origin,
        running_edge(origin.address, *over_tls(authority)) as edge,
        connected(edge.port) as client,
    ):
        assert (await client.ask(get())).body == b"one"
        sent = request(b"POST", b"/upload", b"Content-Length: %d" % len(BODY), body=BODY)
        assert (await client.ask(sent)).body == b"two"
    assert len(origin.connections) == 1
    assert origin.requests[1].body == BODY
    assert handshakes(edge, "completed") == 1


async def test_the_origin_is_asked_for_the_configured_name(authority: TestAuthority) -> None:
    authority.issue("named", ["origin.test"])
    context = authority.server("named")
    asked: list[str | None] = []
    context.sni_callback = lambda _, name, __: asked.append(name)
    async with (
        raw_origin(answering(ok()), tls=context) as origin,
        running_edge(origin.address, *over_tls(authority, "origins.api.tls.server_name=origin.test")) as edge,
        connected(edge.port) as client,
    ):
        assert (await client.ask(get())).status == 200
    assert asked == ["origin.test"]


async def test_the_edge_shows_its_certificate_to_an_origin_that_asks(authority: TestAuthority) -> None:
    authority.issue("edge-client")
    pair = [f"origins.api.tls.{name}={authority.directory}/edge-client.{end}" for name, end in FILES]
    shown: list[int] = []

    async def script(connection: OriginConnection) -> None:
        der = connection.session.getpeercert(binary_form=True)
        assert der is not None
        shown.append(x509.load_der_x509_certificate(der).serial_number)
        while await connection.request() is not None:
            await connection.send(ok())
            connection.close()

    async with (
        raw_origin(script, tls=authority.server("origin", clients=True)) as origin,
        running_edge(origin.address, *over_tls(authority, *pair, "edge.certificate_check_s=0.02")) as edge,
        connected(edge.port) as client,
    ):
        assert (await client.ask(get())).status == 200
        first = authority.serial("edge-client")
        authority.issue("edge-client")
        name = str(authority.directory / "edge-client.crt")
        await until(lambda: edge.metrics.certificate_reloads.get((name, "loaded")))
        assert dict(edge.metrics.snapshot(0).values["edge_certificate_expires_seconds"])[(name,)] > 0
        assert (await client.ask(get())).status == 200
    assert shown == [first, authority.serial("edge-client")]


FILES = (("certificate_file", "crt"), ("key_file", "key"))


async def test_without_a_certificate_an_origin_that_asks_for_one_answers_nobody(authority: TestAuthority) -> None:
    async with (
        raw_origin(answering(ok()), tls=authority.server("origin", clients=True)) as origin,
        running_edge(origin.address, *over_tls(authority)) as edge,
        connected(edge.port) as client,
    ):
        assert (await client.ask(get())).status in {502, 503}
    assert not origin.requests


# T1.


async def refused(origin: RawOrigin, authority: TestAuthority, *problems: str, more: tuple[str, ...] = ()) -> None:
    """Ask twice through an edge; both must be a 502 that says why, and the origin must have read nothing."""
    async with running_edge(origin.address, *over_tls(authority, *more)) as edge, connected(edge.port) as client:
        for sent in (get(), request(b"POST", b"/upload", b"Content-Length: %d" % len(BODY), body=BODY)):
            answer = await client.ask(sent)
            assert answer.status == 502
            assert b"origin_tls_failed" in answer.body
            if client.gone:
                break
        assert sum(handshakes(edge, problem) for problem in problems) >= 1, edge.metrics.tls_handshakes
        assert handshakes(edge, "completed") == 0
        assert ("origin_tls_failed", "api") in edge.metrics.refusals
    assert not any(connection.received for connection in origin.connections)
    assert not origin.requests


@pytest.mark.parametrize(
    ("hosts", "days", "problem"),
    [
        (["127.0.0.1"], -1, "expired"),
        (["elsewhere.test"], 30, "wrong_name"),
        ([], 30, "wrong_name"),
        (["localhost"], 30, "wrong_name"),
    ],
)
async def test_t1_a_bad_certificate_is_a_502_and_no_byte_of_the_request_leaves(
    authority: TestAuthority,
    hosts: list[str],
    days: int,
    problem: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    authority.issue("origin", hosts, days=days)
    async with raw_origin(answering(ok()), tls=authority.server("origin")) as origin:
        await refused(origin, authority, problem)
        said = capsys.readouterr().out
    assert said.count("origin_tls_failed") == 1  # the same failure is not said again at once
    assert problem in said
    assert origin.address in said
    assert BODY.decode() not in said


async def test_t1_a_certificate_of_another_ca_or_of_none_is_refused(authority: TestAuthority, tmp_path: Path) -> None:
    other = TestAuthority(tmp_path / "other", "other")
    other.issue("origin", ["127.0.0.1"])
    async with raw_origin(answering(ok()), tls=other.server("origin")) as origin:
        await refused(origin, authority, "unknown_ca")
    async with raw_origin(answering(ok()), tls=other.server("other")) as origin:
        await refused(origin, authority, "self_signed")


async def test_t1_a_revoked_certificate_is_refused_and_another_is_not(authority: TestAuthority) -> None:
    authority.issue("gone", ["127.0.0.1"])
    revocations = f"origins.api.tls.crl_file={authority.revocations('gone')}"
    async with raw_origin(answering(ok()), tls=authority.server("gone")) as origin:
        await refused(origin, authority, "revoked", more=(revocations,))
    async with (
        raw_origin(answering(ok()), tls=authority.server("origin")) as origin,
        running_edge(origin.address, *over_tls(authority, revocations)) as edge,
        connected(edge.port) as client,
    ):
        assert (await client.ask(get())).status == 200


@pytest.mark.parametrize("how", ["revoked", "unknown_ca"])
async def test_t1_a_connection_that_nobody_vouches_for_any_more_takes_no_more_requests(
    authority: TestAuthority, tmp_path: Path, how: str
) -> None:
    trusted = tmp_path / "trusted.crt"
    trusted.write_bytes(authority.ca_file.read_bytes())
    files = (f"origins.api.tls.ca_file={trusted}", f"origins.api.tls.crl_file={authority.revocations()}")
    async with (
        raw_origin(answering(ok(b"one"), ok(b"two")), tls=authority.server("origin")) as origin,
        running_edge(origin.address, *over_tls(authority, *files, "edge.certificate_check_s=0.02")) as edge,
        connected(edge.port) as client,
    ):
        assert (await client.ask(get())).body == b"one"
        if how == "revoked":
            authority.revocations("origin")
        else:
            trusted.write_bytes(TestAuthority(tmp_path / "other", "other").ca_file.read_bytes())
        await until(lambda: origin.connections[0].ended)
        answer = await client.ask(get())
        assert answer.status == 502
        assert b"origin_tls_failed" in answer.body
        assert handshakes(edge, how) >= 1
    assert len(origin.requests) == 1


async def test_the_edge_s_own_new_certificate_closes_no_connection(authority: TestAuthority) -> None:
    authority.issue("edge-client")
    pair = [f"origins.api.tls.{name}={authority.directory}/edge-client.{end}" for name, end in FILES]
    async with (
        raw_origin(answering(ok(), ok()), tls=authority.server("origin", clients=True)) as origin,
        running_edge(origin.address, *over_tls(authority, *pair, "edge.certificate_check_s=0.02")) as edge,
        connected(edge.port) as client,
    ):
        assert (await client.ask(get())).status == 200
        authority.issue("edge-client")
        name = str(authority.directory / "edge-client.crt")
        await until(lambda: edge.metrics.certificate_reloads.get((name, "loaded")))
        swept = edge.engine.turn
        await until(lambda: edge.engine.turn > swept)
        assert (await client.ask(get())).status == 200
    assert len(origin.connections) == 1


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
async def test_t1_an_origin_that_speaks_tls_1_0_only_is_refused(authority: TestAuthority) -> None:
    context = authority.server("origin")
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1
    async with raw_origin(answering(ok()), tls=context) as origin:
        await refused(origin, authority, "closed", "protocol")  # it may tell why before it closes


async def test_t1_an_origin_without_tls_is_refused(authority: TestAuthority) -> None:
    async def script(connection: OriginConnection) -> None:
        await connection.read()
        await connection.send(ok())

    async with (
        raw_origin(script) as origin,
        running_edge(origin.address, *over_tls(authority)) as edge,
        connected(edge.port) as client,
    ):
        assert (await client.ask(get())).status == 502
    assert b"GET" not in origin.connections[0].received
    assert handshakes(edge, "protocol") == 1


async def test_t1_a_handshake_that_stalls_ends_in_time_and_other_origins_are_unaffected(
    authority: TestAuthority,
) -> None:
    async def stall(connection: OriginConnection) -> None:
        await connection.end()

    more = over_tls(authority, "origins.api.tls.handshake_timeout_s=0.2")
    async with raw_origin(stall) as stalling, raw_origin(answering(ok(b"well"))) as well:
        other = f'origins.well={{"addresses": ["{well.address}"]}}'
        async with (
            running_edge(stalling.address, *more, other, "routes.echo.origin=well") as edge,
            connected(edge.port) as client,
            connected(edge.port) as neighbour,
        ):
            await client.send(get())
            assert (await neighbour.ask(get(b"/echo"))).body == b"well"
            answer = await client.response()
            assert answer.status == 502
            assert b"origin_tls_failed" in answer.body
    assert handshakes(edge, "timeout") == 1
    assert b"GET" not in stalling.connections[0].received


async def test_an_address_that_refuses_is_no_failure_of_tls(authority: TestAuthority) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{closed.getsockname()[1]}"
        async with running_edge(address, *over_tls(authority)) as edge, connected(edge.port) as client:
            assert b"origin_connect_failed" in (await client.ask(get())).body
    assert not edge.metrics.tls_handshakes


@pytest.mark.parametrize("said_goodbye", [True, False])
async def test_b7_an_answer_that_only_the_end_ends_is_whole_with_close_notify_only(
    authority: TestAuthority, said_goodbye: bool
) -> None:
    async def script(connection: OriginConnection) -> None:
        await connection.request()
        await connection.send(response(b"200 OK") + BODY)
        if said_goodbye:
            connection.close()
        else:
            connection.cut()
        await connection.end()

    async with (
        raw_origin(script, tls=authority.server("origin")) as origin,
        running_edge(origin.address, *over_tls(authority)) as edge,
        connected(edge.port) as client,
    ):
        await client.send(get())
        if said_goodbye:
            assert (await client.response()).body == BODY
        else:
            with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
                await client.receive(1 << 16)


async def test_origin_tls_over_ten_thousand_bytes_each_way_and_back_pressure(authority: TestAuthority) -> None:
    body = bytes(range(256)) * 8192
    async with (
        raw_origin(answering(ok(body)), tls=authority.server("origin")) as origin,
        running_edge(origin.address, *over_tls(authority)) as edge,
        connected(edge.port) as client,
    ):
        sent = request(b"POST", b"/upload", b"Content-Length: %d" % len(body), body=body)
        assert (await client.ask(sent)).body == body
    assert origin.requests[0].body == body
