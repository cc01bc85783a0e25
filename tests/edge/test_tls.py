"""TLS termination: certificates by name, protocol versions, reload, client certificates; on real sockets."""

import asyncio
import socket
import ssl
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from edge.contract.exchange import Exchange
from edge.contract.filters import CONTINUE, OnError, Verdict
from edge.contract.identity import ClientCertificate
from edge.net import tls
from edge.net.tls import CIPHERS
from tests.certificates import TestAuthority
from tests.edge.raw import (
    OriginConnection,
    RawClient,
    RawOrigin,
    answering,
    connected,
    get,
    ok,
    raw_origin,
    request,
    until,
)
from tests.edge.running import Filters, RunningEdge, running_edge

PLAIN_OFF = "listener.local_plain_http=false"
QUICK = "edge.certificate_check_s=0.02"


@pytest.fixture
def authority(tmp_path: Path) -> TestAuthority:
    return TestAuthority(tmp_path)


def certificates(*rows: str) -> tuple[str, ...]:
    """Return the overrides for a listener that shows these certificates."""
    return PLAIN_OFF, "listener.tls.certificates=[" + ", ".join(f"{{{row}}}" for row in rows) + "]"


def shown(client: RawClient) -> x509.Certificate:
    """Return the certificate that the edge showed."""
    session = client.writer.get_extra_info("ssl_object")
    return x509.load_der_x509_certificate(session.getpeercert(binary_form=True))


def handshakes(edge: RunningEdge, result: str) -> int:
    return edge.metrics.tls_handshakes.get(("device", result), 0)


class Spy:
    """A filter that keeps every exchange."""

    id: ClassVar[str] = "hygiene"
    on_error: ClassVar[OnError] = OnError.CLOSED
    deadline_s: ClassVar[float] = 1.0
    concurrency: ClassVar[int] = 1

    def __init__(self) -> None:
        self.exchanges: list[Exchange] = []

    def inbound(self, exchange: Exchange) -> Verdict:
        self.exchanges.append(exchange)
        return CONTINUE

    def add_to(self, filters: Filters) -> Filters:
        return [*filters[0], self], filters[1]


async def refused(port: int, context: ssl.SSLContext, server_name: str = "localhost") -> bool:
    """Say whether the edge lets nobody in with that context: the handshake fails, or the alert follows it."""
    try:
        async with connected(port, tls=context, server_name=server_name) as client:
            await client.send(get())
            return await client.rest() == b""
    except (ssl.SSLError, ConnectionError):
        return True


async def test_a_request_over_tls_is_answered_and_its_origin_is_told_https(authority: TestAuthority) -> None:
    pair = authority.issue("edge", ["localhost"])
    async with (
        raw_origin(answering(ok(b"over tls"))) as origin,
        running_edge(origin.address, *certificates(pair)) as edge,
        connected(edge.port, tls=authority.client()) as client,
    ):
        answer = await client.ask(get())
        again = await client.ask(get())
    assert (answer.status, answer.body, again.status) == (200, b"over tls", 200)
    assert origin.requests[0].all(b"x-forwarded-proto") == [b"https"]
    assert (handshakes(edge, "started"), handshakes(edge, "completed")) == (1, 1)


async def test_a_device_that_leaves_over_tls_before_its_answer_ends_its_exchange_without_a_word_in_the_log(
    authority: TestAuthority, caplog: pytest.LogCaptureFixture
) -> None:
    pair = authority.issue("edge", ["localhost"])
    async with raw_origin(OriginConnection.end) as origin, running_edge(origin.address, *certificates(pair)) as edge:
        async with connected(edge.port, tls=authority.client()) as client:
            await client.send(get())
            await until(lambda: origin.connections and origin.connections[0].received)
            client.close()  # says so: close_notify
            await until(lambda: not edge.engine.connections)
        await until(lambda: origin.connections[0].ended)
    assert caplog.messages == []


async def test_an_exchange_over_tls_is_secure_and_one_over_plain_http_is_not(authority: TestAuthority) -> None:
    pair, spy = authority.issue("edge", ["localhost"]), Spy()
    async with raw_origin(answering(ok())) as origin:
        async with (
            running_edge(origin.address, *certificates(pair), change=spy.add_to) as edge,
            connected(edge.port, tls=authority.client()) as client,
        ):
            await client.ask(get())
        async with (
            running_edge(origin.address, PLAIN_OFF, change=spy.add_to) as edge,
            connected(edge.port) as client,
        ):
            await client.ask(get())
    assert [(exchange.secure, exchange.client_certificate) for exchange in spy.exchanges] == [
        (True, None),
        (False, None),
    ]


async def test_each_name_is_shown_its_certificate(authority: TestAuthority) -> None:
    default = authority.issue("default", ["localhost"])
    exact = authority.issue("exact", ["api.edge.test"])
    wild = authority.issue("wild", ["*.edge.test"])
    named = authority.issue("named", ["elsewhere.test"]) + ', "server_names": ["*.named.test"]'
    cases = {
        "localhost": "default",
        "api.edge.test": "exact",
        "API.edge.test": "exact",
        "www.edge.test": "wild",
        "a.b.edge.test": "default",
        "edge.test": "default",
        "x.named.test": "named",
        "elsewhere.test": "default",
    }
    context = authority.client()
    context.check_hostname = False
    async with (
        raw_origin(answering(ok())) as origin,
        running_edge(origin.address, *certificates(default, exact, wild, named)) as edge,
    ):
        for name, expected in cases.items():
            async with connected(edge.port, tls=context, server_name=name) as client:
                assert shown(client).serial_number == authority.serial(expected), name
        async with connected(edge.port, tls=context, server_name="") as client:
            assert shown(client).serial_number == authority.serial("default")


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_tls_1_2_and_1_3_are_spoken_with_http_1_1_only(authority: TestAuthority, version: ssl.TLSVersion) -> None:
    pair = authority.issue("edge", ["localhost"])
    context = authority.client()
    context.minimum_version = context.maximum_version = version
    context.set_alpn_protocols(["h2", "http/1.1"])
    async with (
        raw_origin(answering(ok())) as origin,
        running_edge(origin.address, *certificates(pair)) as edge,
        connected(edge.port, tls=context) as client,
    ):
        session = client.writer.get_extra_info("ssl_object")
        assert session.version() == {"TLSv1_2": "TLSv1.2", "TLSv1_3": "TLSv1.3"}[version.name]
        assert session.selected_alpn_protocol() == "http/1.1"
        assert (await client.ask(get())).status == 200


@pytest.mark.parametrize(
    ("version", "ciphers"),
    [
        (ssl.TLSVersion.TLSv1_1, "ALL:@SECLEVEL=0"),
        (ssl.TLSVersion.TLSv1_2, "AES128-GCM-SHA256"),  # no forward secrecy
        (ssl.TLSVersion.TLSv1_2, "ECDHE-ECDSA-AES128-SHA256"),  # no authenticated encryption
    ],
)
@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
async def test_what_the_intermediate_settings_leave_out_is_refused(
    authority: TestAuthority, version: ssl.TLSVersion, ciphers: str
) -> None:
    pair = authority.issue("edge", ["localhost"])
    context = authority.client()
    context.set_ciphers(ciphers)
    context.minimum_version = context.maximum_version = version
    async with raw_origin(answering(ok())) as origin, running_edge(origin.address, *certificates(pair)) as edge:
        assert await refused(edge.port, context)
        assert (handshakes(edge, "started"), handshakes(edge, "completed")) == (1, 0)
    assert not origin.requests


async def test_min_version_1_3_refuses_1_2(authority: TestAuthority) -> None:
    pair = authority.issue("edge", ["localhost"])
    context = authority.client()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    async with (
        raw_origin(answering(ok())) as origin,
        running_edge(origin.address, *certificates(pair), "listener.tls.min_version='1.3'") as edge,
    ):
        assert await refused(edge.port, context)


def test_every_cipher_suite_is_known_to_this_openssl() -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_ciphers(CIPHERS)
    names = [cipher["name"] for cipher in context.get_ciphers() if not cipher["name"].startswith("TLS_")]
    assert names == CIPHERS.split(":")


def session_of(
    context: ssl.SSLContext, port: int, before: ssl.SSLSession | None = None
) -> tuple[ssl.SSLSession | None, bool | None, bytes]:
    """Ask once, with a session if there is one; return the session, whether one was resumed, and what was answered."""
    with (
        socket.create_connection(("127.0.0.1", port)) as sock,
        context.wrap_socket(sock, server_hostname="localhost", session=before) as secured,
    ):
        secured.sendall(get())
        answer = secured.recv(65536)
        session, reused = secured.session, secured.session_reused
        if answer:
            secured.unwrap().close()  # a session by its id is forgotten unless the connection is closed in order
        return session, reused, answer


def unanswered(context: ssl.SSLContext, port: int, session: ssl.SSLSession | None) -> bool:
    """Say whether nothing comes back: the handshake fails, or the connection is reset after it."""
    try:
        return not session_of(context, port, session)[2]
    except OSError:
        return True


async def test_a_tls_1_2_session_is_resumed_after_a_reload(authority: TestAuthority) -> None:
    pair = authority.issue("edge", ["localhost"])
    context = authority.client()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    async with (
        raw_origin(answering(ok())) as origin,
        running_edge(origin.address, *certificates(pair), QUICK) as edge,
    ):
        session, *_ = await asyncio.to_thread(session_of, context, edge.port)
        authority.issue("edge", ["localhost"])
        await until(lambda: reloads(edge, authority, "loaded"))
        _, reused, _ = await asyncio.to_thread(session_of, context, edge.port, session)
    assert reused


async def test_a_device_that_never_finishes_its_handshake_is_let_go(authority: TestAuthority) -> None:
    pair = authority.issue("edge", ["localhost"])
    async with (
        raw_origin(answering(ok())) as origin,
        running_edge(origin.address, *certificates(pair), "timeouts.tls_handshake_s=0.1") as edge,
        connected(edge.port) as silent,
        connected(edge.port) as plain,
    ):
        await plain.send(get())
        for client in (silent, plain):
            assert not (await ended(client)).startswith(b"HTTP/")
        assert not edge.engine.connections


async def ended(client: RawClient) -> bytes:
    try:
        return await client.rest()
    except ConnectionError:
        return b""


async def test_a_large_answer_arrives_whole_and_the_connection_is_closed_properly(authority: TestAuthority) -> None:
    pair = authority.issue("edge", ["localhost"])
    body = bytes(range(256)) * 16384
    async with (
        raw_origin(answering(ok(body))) as origin,
        running_edge(origin.address, *certificates(pair)) as edge,
        connected(edge.port, tls=authority.client()) as client,
    ):
        answer = await client.ask(get(b"/", b"Connection: close"))
        assert answer.body == body
        assert await client.rest() == b""
        await until(lambda: not edge.engine.connections)


async def test_an_upload_over_tls_arrives_whole(authority: TestAuthority) -> None:
    pair = authority.issue("edge", ["localhost"])
    body = bytes(range(256)) * 8192
    async with (
        raw_origin(answering(ok())) as origin,
        running_edge(origin.address, *certificates(pair)) as edge,
        connected(edge.port, tls=authority.client()) as client,
    ):
        sent = request(b"POST", b"/upload", b"Content-Length: %d" % len(body), body=body)
        assert (await client.ask(sent)).status == 200
    assert origin.requests[0].body == body


# Reload (FAULTS T2).


def reloads(edge: RunningEdge, authority: TestAuthority, result: str, name: str = "edge") -> int:
    return edge.metrics.certificate_reloads.get((str(authority.directory / f"{name}.crt"), result), 0)


async def test_t2_new_certificates_are_shown_without_touching_what_is_open(authority: TestAuthority) -> None:
    pair = authority.issue("edge", ["localhost"])
    first = authority.serial("edge")
    async with (
        raw_origin(answering(ok())) as origin,
        running_edge(origin.address, *certificates(pair), QUICK) as edge,
        connected(edge.port, tls=authority.client()) as early,
    ):
        assert (await early.ask(get())).status == 200
        authority.issue("edge", ["localhost"])
        await until(lambda: reloads(edge, authority, "loaded"))
        async with connected(edge.port, tls=authority.client()) as late:
            assert shown(late).serial_number == authority.serial("edge") != first
            assert (await late.ask(get())).status == 200
        assert shown(early).serial_number == first
        assert (await early.ask(get())).status == 200


def broken_text(authority: TestAuthority) -> None:
    (authority.directory / "edge.crt").write_text("not a certificate")


def half_a_file(authority: TestAuthority) -> None:
    path = authority.directory / "edge.crt"
    path.write_bytes(path.read_bytes()[:200])


def another_key(authority: TestAuthority) -> None:
    authority.issue("other", ["localhost"])
    (authority.directory / "edge.key").write_bytes((authority.directory / "other.key").read_bytes())


def no_key(authority: TestAuthority) -> None:
    (authority.directory / "edge.key").unlink()


def expired(authority: TestAuthority) -> None:
    authority.issue("edge", ["localhost"], days=-1)


def unreadable(authority: TestAuthority) -> None:
    authority.issue_unreadable("edge")


@pytest.mark.parametrize("break_it", [broken_text, half_a_file, another_key, no_key, expired, unreadable])
async def test_t2_a_broken_replacement_keeps_the_old_certificate_and_is_counted(
    authority: TestAuthority, break_it: Callable[[TestAuthority], None], capsys: pytest.CaptureFixture[str]
) -> None:
    pair = authority.issue("edge", ["localhost"])
    serial = authority.serial("edge")
    async with (
        raw_origin(answering(ok())) as origin,
        running_edge(origin.address, *certificates(pair), QUICK) as edge,
    ):
        break_it(authority)
        await until(lambda: reloads(edge, authority, "kept"))
        async with connected(edge.port, tls=authority.client()) as client:
            assert shown(client).serial_number == serial
            assert (await client.ask(get())).status == 200
        assert "certificates_kept" in capsys.readouterr().out
        authority.issue("edge", ["localhost"])
        await until(lambda: reloads(edge, authority, "loaded"))
        async with connected(edge.port, tls=authority.client()) as client:
            assert shown(client).serial_number == authority.serial("edge")


async def test_the_expiry_of_each_certificate_is_a_metric_and_follows_a_reload(authority: TestAuthority) -> None:
    pair = authority.issue("edge", ["localhost"], days=10)
    name = str(authority.directory / "edge.crt")
    async with (
        raw_origin(answering(ok())) as origin,
        running_edge(origin.address, *certificates(pair), QUICK) as edge,
    ):
        now = 1_000_000.0
        before = dict(edge.metrics.snapshot(now).values["edge_certificate_expires_seconds"])[(name,)]
        authority.issue("edge", ["localhost"], days=20)
        await until(lambda: reloads(edge, authority, "loaded"))
        after = dict(edge.metrics.snapshot(now).values["edge_certificate_expires_seconds"])[(name,)]
    assert after - before == pytest.approx(10 * 86400, abs=120)


# Client certificates.


def asking(authority: TestAuthority, how: str, *more: str) -> tuple[str, ...]:
    ca = (f"listener.tls.client_certificates={how}", f"listener.tls.client_ca_file={authority.ca_file}", *more)
    return (*certificates(authority.issue("edge", ["localhost"])), *ca)


@asynccontextmanager
async def spied(authority: TestAuthority, how: str, *more: str) -> AsyncIterator[tuple[RunningEdge, Spy, RawOrigin]]:
    """Run an edge that asks for client certificates, with an origin behind it."""
    spy = Spy()
    async with (
        raw_origin(answering(ok())) as origin,
        running_edge(origin.address, *asking(authority, how, *more), change=spy.add_to) as edge,
    ):
        yield edge, spy, origin


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_a_client_certificate_reaches_the_exchange(authority: TestAuthority, version: ssl.TLSVersion) -> None:
    authority.issue("device", ["device.test"], uri="spiffe://edge.test/device/7")
    context = authority.client(certificate="device")
    context.minimum_version = context.maximum_version = version
    async with spied(authority, "required") as (edge, spy, _), connected(edge.port, tls=context) as client:
        assert (await client.ask(get())).status == 200
    found = spy.exchanges[0].client_certificate
    assert isinstance(found, ClientCertificate)
    assert (found.subject, found.dns_names) == ("CN=device", ("device.test",))
    assert found.uris == ("spiffe://edge.test/device/7",)
    der = ssl.PEM_cert_to_DER_cert((authority.directory / "device.crt").read_text())
    assert found.fingerprint == x509.load_der_x509_certificate(der).fingerprint(hashes.SHA256()).hex()
    assert "device" not in repr(found)


async def test_a_client_certificate_that_cannot_be_read_is_refused(authority: TestAuthority) -> None:
    authority.issue_unreadable("device")
    async with spied(authority, "optional") as (edge, spy, _):
        assert await refused(edge.port, authority.client(certificate="device"))
        assert not edge.engine.connections
    assert not spy.exchanges


async def test_a_client_certificate_reaches_the_exchange_of_an_upgrade(authority: TestAuthority) -> None:
    authority.issue("device", ["device.test"])
    upgrade = get(b"/echo", b"Connection: Upgrade", b"Upgrade: x-line")
    allowed = 'routes.echo.upgrade=["x-line"]'
    async with (
        spied(authority, "required", allowed) as (edge, spy, _),
        connected(edge.port, tls=authority.client(certificate="device")) as client,
    ):
        assert (await client.ask(upgrade)).status == 200
    assert spy.exchanges[0].client_certificate is not None


async def test_without_a_certificate_optional_lets_in_and_required_does_not(authority: TestAuthority) -> None:
    async with (
        spied(authority, "optional") as (edge, spy, _),
        connected(edge.port, tls=authority.client()) as client,
    ):
        assert (await client.ask(get())).status == 200
    assert spy.exchanges[0].client_certificate is None
    async with spied(authority, "required") as (edge, spy, origin):
        assert await refused(edge.port, authority.client())
    assert not spy.exchanges
    assert not origin.requests


@pytest.mark.parametrize("how", ["optional", "required"])
async def test_a_client_certificate_of_another_ca_expired_or_revoked_is_refused(
    authority: TestAuthority, tmp_path: Path, how: str
) -> None:
    other = TestAuthority(tmp_path / "other", "other")
    for name, days in (("device", 30), ("late", -1), ("revoked", 30)):
        authority.issue(name, days=days)
    other.issue("foreign")
    revocations = authority.revocations("revoked")
    foreign = authority.client()
    foreign.load_cert_chain(other.directory / "foreign.crt", other.directory / "foreign.key")
    async with spied(authority, how, f"listener.tls.client_crl_file={revocations}") as (edge, spy, _):
        assert await refused(edge.port, foreign)
        assert await refused(edge.port, authority.client(certificate="late"))
        assert await refused(edge.port, authority.client(certificate="revoked"))
        assert not spy.exchanges
        async with connected(edge.port, tls=authority.client(certificate="device")) as client:
            assert (await client.ask(get())).status == 200


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_a_client_certificate_revoked_meanwhile_is_refused_though_its_session_is_known(
    authority: TestAuthority, version: ssl.TLSVersion
) -> None:
    authority.issue("device")
    context = authority.client(certificate="device")
    context.minimum_version = context.maximum_version = version
    revocations = authority.revocations()
    async with spied(authority, "required", f"listener.tls.client_crl_file={revocations}", QUICK) as (edge, spy, _):
        session, _, answer = await asyncio.to_thread(session_of, context, edge.port)
        assert answer.startswith(b"HTTP/1.1 200 ")
        authority.revocations("device")
        await until(lambda: reloads(edge, authority, "loaded"))
        for _ in range(2):
            assert await asyncio.to_thread(unanswered, context, edge.port, session)
        assert len(spy.exchanges) == 1


async def test_a_session_from_before_a_reload_of_client_cas_costs_one_try(
    authority: TestAuthority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tls, "time", SimpleNamespace(time=lambda: time.time() - 60))
    authority.issue("device")
    context = authority.client(certificate="device")
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    async with spied(authority, "required", QUICK) as (edge, _, _):
        session = (await asyncio.to_thread(session_of, context, edge.port))[0]
        _, reused, _ = await asyncio.to_thread(session_of, context, edge.port, session)
        assert reused
        monkeypatch.setattr(tls, "time", time)
        authority.issue("edge", ["localhost"])
        await until(lambda: reloads(edge, authority, "loaded"))
        assert await asyncio.to_thread(unanswered, context, edge.port, session)
        assert edge.metrics.dropped == {("tls_session_outdated",): 1}
        _, reused, answer = await asyncio.to_thread(session_of, context, edge.port, session)
        assert (reused, answer[:12]) == (False, b"HTTP/1.1 200")


@pytest.mark.parametrize(
    "name", [b"Client-Cert", b"Client-Cert-Chain", b"X-Forwarded-Client-Cert", b"X-SSL-Client-Cert", b"X_SSL_Client_DN"]
)
async def test_h15_a_client_certificate_in_a_header_is_none_and_reaches_no_origin(
    authority: TestAuthority, name: bytes
) -> None:
    async with (
        spied(authority, "optional", "listener.trusted_proxies=[127.0.0.0/8]") as (edge, spy, origin),
        connected(edge.port, tls=authority.client()) as client,
    ):
        assert (await client.ask(get(b"/", name + b": :MIIB:"))).status == 200
    assert spy.exchanges[0].client_certificate is None
    assert not origin.requests[0].all(name.lower())


async def test_a_refusal_while_the_body_still_comes_reaches_the_device(authority: TestAuthority) -> None:
    pair = authority.issue("edge", ["localhost"])
    small = "limits.max_request_body_bytes=1000"
    body = bytes(1 << 20)
    async with (
        raw_origin(answering(ok())) as origin,
        running_edge(origin.address, *certificates(pair), small) as edge,
        connected(edge.port, tls=authority.client()) as client,
    ):
        client.writer.write(request(b"POST", b"/upload", b"Content-Length: %d" % len(body), body=body))
        answer = await client.response(b"POST")
        assert answer.status == 413
        assert b"body_too_large" in answer.body
    assert not origin.requests
