"""Services over TLS that ask for client certificates, among each other and with the edge: real processes."""

import asyncio
import socket
import ssl
from argparse import Namespace
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from edge import wiring
from edge.clients.tls import ServiceTls, service_session, service_tls
from edge.contract.identity import Level, Source, UserIdentity
from edge.control.load import load_config
from edge.control.snapshot import Snapshot
from edge.telemetry.metrics import WorkerMetrics
from passport.kms import KmsUnavailable
from services.kit import tls
from tests.certificates import TestAuthority
from tests.edge.raw import answering, connected, get, ok, raw_origin
from tests.edge_process.worker import started_worker
from tests.processes import REPOSITORY, Process, free_port, make_secrets, process, started
from tests.services.cookie_calls import cookie_arguments
from tests.services.kms_calls import kms_arguments

CONFIG = REPOSITORY / "config"


@pytest.fixture
def authority(tmp_path: Path) -> TestAuthority:
    made = TestAuthority(tmp_path / "certs")
    for name in ("kms", "cookie", "edge"):
        made.issue(name, ["127.0.0.1"])
    return made


def tls_arguments(authority: TestAuthority, name: str) -> list[str]:
    """Return what a service listens and calls with: its certificate, and this CA on both sides."""
    stem = authority.directory / name
    ca = str(authority.ca_file)
    return ["--certificate", f"{stem}.crt", "--key", f"{stem}.key", "--client-ca", ca, "--ca", ca]


def edge_settings(authority: TestAuthority, service: str, address: str, certificate: str = "edge") -> tuple[str, ...]:
    """Return the overrides for a service at `address` over TLS."""
    stem = authority.directory / certificate
    return (
        f"services.{service}.url=https://{address}",
        f"services.{service}.tls.ca_file={authority.ca_file}",
        f"services.{service}.tls.certificate_file={stem}.crt",
        f"services.{service}.tls.key_file={stem}.key",
    )


@asynccontextmanager
async def kms_over_tls(authority: TestAuthority, directory: Path) -> AsyncIterator[Process]:
    arguments = kms_arguments(make_secrets(directory / "secrets"), directory / "var")
    async with process("services.kms", *arguments, *tls_arguments(authority, "kms")) as kms:
        yield kms


def snapshot(directory: Path, *overrides: str) -> Snapshot:
    loaded = load_config(CONFIG, overrides, var=directory, token_files=True)
    assert isinstance(loaded, Snapshot), loaded
    return loaded


async def test_a_worker_its_kms_and_the_cookie_service_trust_each_other_by_certificate(
    authority: TestAuthority, tmp_path: Path
) -> None:
    async with kms_over_tls(authority, tmp_path) as kms:
        arguments = cookie_arguments(f"https://{kms.address}", f"https://127.0.0.1:{free_port()}", tmp_path / "secrets")
        async with process("services.cookie", *arguments, *tls_arguments(authority, "cookie")) as cookie:
            config = snapshot(tmp_path, *edge_settings(authority, "cookie", cookie.address))
            metrics = WorkerMetrics()
            async with service_session(service_tls(config.services.cookie)) as session:
                client = wiring.cookie_service(config, session, metrics)
                pair = await client.create(UserIdentity(Source.USER_CREDENTIALS, Level.HIGHEST, 7, 7), None)
            assert pair is not None, metrics.remote_calls
            settings = (
                *edge_settings(authority, "kms", kms.address),
                *edge_settings(authority, "cookie", cookie.address),
            )
            async with (
                raw_origin(answering(ok(b"served"))) as origin,
                started_worker(
                    f"https://{kms.address}", tmp_path, f'origins.api.addresses=["{origin.address}"]', *settings
                ) as worker,
            ):
                await worker.said_ready()
                async with connected(worker.port) as client_:
                    assert (await client_.ask(get())).body == b"served"
                expiries = (await worker.metrics()).values["edge_certificate_expires_seconds"]
                assert list(expiries) == [(str(authority.directory / "edge.crt"),)]


async def test_a_caller_without_a_certificate_or_with_anothers_is_refused_before_its_token_is_read(
    authority: TestAuthority, tmp_path: Path
) -> None:
    other = TestAuthority(tmp_path / "other", "other")
    other.issue("edge")
    async with kms_over_tls(authority, tmp_path) as kms:
        for context in (authority.client(), _showing(authority, other)):
            async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context)) as session:
                with pytest.raises((aiohttp.ClientError, ssl.SSLError)):
                    await session.get(f"https://{kms.address}/health")
        context = authority.client(certificate="edge")
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context)) as session:
            assert (await session.get(f"https://{kms.address}/health")).status == 200


def _showing(authority: TestAuthority, other: TestAuthority) -> ssl.SSLContext:
    context = authority.client()
    context.load_cert_chain(other.directory / "edge.crt", other.directory / "edge.key")
    return context


@pytest.mark.parametrize(("hosts", "days"), [(["127.0.0.1"], -1), (["elsewhere.test"], 30)])
async def test_t1_a_service_with_a_bad_certificate_gets_no_token(
    authority: TestAuthority, tmp_path: Path, hosts: list[str], days: int
) -> None:
    make_secrets(tmp_path / "secrets")
    authority.issue("kms", hosts, days=days)
    received: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        received.append(await reader.read(65536))
        writer.close()

    listening = socket.create_server(("127.0.0.1", 0))
    address = f"127.0.0.1:{listening.getsockname()[1]}"
    async with await asyncio.start_server(serve, sock=listening, ssl=authority.server("kms")):
        config = snapshot(tmp_path, *edge_settings(authority, "kms", address))
        async with service_session(service_tls(config.services.kms)) as session:
            keys = wiring.key_rings(config, session, WorkerMetrics())
            with pytest.raises(KmsUnavailable, match="Certificate"):
                await keys.refresh()
    assert not any(received)


async def test_a_new_certificate_of_the_edge_is_shown_from_the_next_connection_on(
    authority: TestAuthority, tmp_path: Path
) -> None:
    make_secrets(tmp_path / "secrets")
    shown: list[str] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        shown.append(writer.get_extra_info("ssl_object").getpeercert()["serialNumber"])
        writer.close()

    listening = socket.create_server(("127.0.0.1", 0))
    address = f"127.0.0.1:{listening.getsockname()[1]}"
    async with await asyncio.start_server(serve, sock=listening, ssl=authority.server("kms", clients=True)):
        config = snapshot(tmp_path, *edge_settings(authority, "kms", address))
        tls = ServiceTls(config.services.kms)
        async with service_session(tls) as session:
            serials = []
            for _ in range(2):
                serials.append(authority.serial("edge"))
                with pytest.raises(aiohttp.ClientError):
                    await session.get(f"https://{address}/")
                authority.issue("edge")
                tls.load()()
    # The client may try each request twice.
    assert list(dict.fromkeys(int(serial, 16) for serial in shown)) == serials


async def test_t2_a_service_shows_a_new_certificate_and_keeps_the_old_for_a_broken_one(
    authority: TestAuthority, tmp_path: Path
) -> None:
    async def shown() -> int:
        context = authority.client(certificate="edge")
        _, writer = await asyncio.open_connection(*address, ssl=context, server_hostname="127.0.0.1")
        serial = int(writer.get_extra_info("peercert")["serialNumber"], 16)
        writer.close()
        return serial

    async with kms_over_tls(authority, tmp_path) as kms:
        address = kms.address.rpartition(":")[::2]
        first = authority.serial("kms")
        assert await shown() == first
        (authority.directory / "kms.key").write_text("no key")
        await kms.said("certificates_kept")
        assert await shown() == first
        authority.issue("kms", ["127.0.0.1"])
        await kms.said("certificates_loaded")
        assert await shown() == authority.serial("kms") != first


async def test_t2_a_service_calls_others_with_a_new_certificate(
    authority: TestAuthority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tls, "CHECK_S", 0.01)
    stem = authority.directory / "cookie"
    options = Namespace(ca=authority.ca_file, certificate=Path(f"{stem}.crt"), key=Path(f"{stem}.key"))
    seen: list[int] = []

    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(int(writer.get_extra_info("peercert")["serialNumber"], 16))
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=authority.server("kms", clients=True))
    port = server.sockets[0].getsockname()[1]
    async with server, tls.calling_session(options) as session:
        before = authority.serial("cookie")
        authority.issue("cookie")
        while authority.serial("cookie") not in seen:
            with pytest.raises(aiohttp.ClientError):
                await session.get(f"https://127.0.0.1:{port}/")
    assert set(seen) <= {before, authority.serial("cookie")}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--certificate", "/nowhere.crt", "--key", "/nowhere.key"], "cannot be read"),
        (["--certificate", "/nowhere.crt"], "--certificate needs --key"),
        (["--client-ca", "/nowhere.crt"], "need --certificate"),
    ],
)
async def test_a_service_with_unusable_files_says_so_and_leaves(
    tmp_path: Path, arguments: list[str], said: str
) -> None:
    base = kms_arguments(make_secrets(tmp_path / "secrets"), tmp_path / "var")
    async with started("services.kms", *base, *arguments) as (kms, _):
        assert await kms.wait() == 1
        assert said in kms.output()
        assert "Traceback" not in kms.output()


def test_a7_tls_keys_beside_an_http_url_are_refused(tmp_path: Path) -> None:
    loaded = load_config(CONFIG, ("services.kms.tls.ca_file=ca.crt",), var=tmp_path)
    assert "http URL" in str(loaded)
