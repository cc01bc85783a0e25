"""TLS in a real worker process."""

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest
from cryptography import x509

from tests.certificates import TestAuthority
from tests.edge.raw import RawClient, answering, connected, get, ok, raw_origin
from tests.edge_process.edge import ALONE, running_edge
from tests.edge_process.worker import running_worker, started_worker
from tests.processes import dialled, eventually
from tests.services.kms_calls import Kms

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_a_worker_ends_tls_and_loads_new_certificates(kms: Kms, tmp_path: Path) -> None:
    authority = TestAuthority(tmp_path)
    pair = authority.issue("edge", ["localhost"])
    settings = ("listener.local_plain_http=false", f"listener.tls.certificates=[{{{pair}}}]")
    async with (
        raw_origin(answering(ok())) as origin,
        running_worker(kms, origin.address, *settings, "edge.certificate_check_s=0.05") as worker,
    ):
        async with connected(worker.port, tls=authority.client()) as client:
            assert (await client.ask(get())).status == 200
        authority.issue("edge", ["localhost"])
        await worker.process.said("certificates_loaded")
        async with connected(worker.port, tls=authority.client()) as client:
            assert (await client.ask(get())).status == 200
            der = client.writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        assert x509.load_der_x509_certificate(der).serial_number == authority.serial("edge")
        expiries = (await worker.metrics()).values["edge_certificate_expires_seconds"]
        assert list(expiries) == [(str(tmp_path / "edge.crt"),)]


async def test_w2_a_handshake_that_is_under_way_when_a_worker_stops_is_finished_and_the_request_answered(
    kms: Kms, tmp_path: Path
) -> None:
    authority = TestAuthority(tmp_path)
    pair = authority.issue("edge", ["localhost"])
    settings = ("listener.local_plain_http=false", f"listener.tls.certificates=[{{{pair}}}]")
    async with (
        raw_origin(answering(ok())) as origin,
        running_worker(kms, origin.address, *settings) as worker,
        dialled(worker.address) as (reader, writer),
    ):
        worker.process.send(signal.SIGTERM)
        await eventually(worker.refuses_connections, "the door is closed")
        await writer.start_tls(authority.client(), server_hostname="localhost")
        answer = await RawClient(reader, writer).ask(get())
        assert (answer.status, answer.get(b"connection")) == (200, b"close")
        writer.close()
        assert await worker.process.wait() == 0


async def test_a_worker_whose_certificate_cannot_be_used_says_so_and_leaves(kms: Kms, tmp_path: Path) -> None:
    pair = '"certificate_file": "/nowhere/edge.crt", "key_file": "/nowhere/edge.key"'
    settings = ("listener.local_plain_http=false", f"listener.tls.certificates=[{{{pair}}}]")
    async with started_worker(kms.process.url, kms.secrets.parent, *settings) as worker:
        assert await worker.process.wait() == 2
        assert "/nowhere/edge.crt cannot be read" in worker.process.output()


async def test_the_groups_are_those_of_the_intermediate_settings(kms: Kms, tmp_path: Path) -> None:
    """A client may choose a group of 8192 bits at no cost of its own: 0.1 s of the worker for each handshake."""
    authority = TestAuthority(tmp_path / "certs")
    settings = (
        "listener.local_plain_http=false",
        f"listener.tls.certificates=[{{{authority.issue('edge', ['localhost'])}}}]",
    )
    async with (
        raw_origin(answering(ok())) as origin,
        running_edge(kms, tmp_path, origin.address, ALONE, *settings) as edge,
    ):
        for groups, taken in (("X25519", 1), ("P-256", 1), ("P-384", 1), ("ffdhe2048", 0), ("ffdhe8192", 0)):
            assert await _offering(groups, edge.address[1], authority.ca_file) == taken, groups


async def _offering(groups: str, port: int, ca: Path) -> bool:
    """Say whether a handshake succeeds with a client that knows these groups only."""
    settings = ca.with_name("openssl.cnf")
    settings.write_text(f"openssl_conf = a\n[a]\nssl_conf = b\n[b]\nsystem_default = c\n[c]\nGroups = {groups}\n")
    program = (
        "import socket, ssl, sys;"
        "context = ssl.create_default_context(cafile=sys.argv[2]);"
        "context.wrap_socket(socket.create_connection(('127.0.0.1', int(sys.argv[1]))), server_hostname='localhost')"
    )
    client = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", program, str(port), str(ca)),
        env={**os.environ, "OPENSSL_CONF": str(settings)},
        stderr=asyncio.subprocess.PIPE,
    )
    _, said = await client.communicate()
    assert client.returncode == 0 or b"do_handshake" in said, said
    return client.returncode == 0


async def test_plain_http_and_tls_side_by_side_through_a_rolling_restart(kms: Kms, tmp_path: Path) -> None:
    authority = TestAuthority(tmp_path / "certs")
    pair = authority.issue("edge", ["localhost"])
    beside = (f"listener.tls.certificates=[{{{pair}}}]", "listener.tls.address=127.0.0.1:0")
    async with raw_origin(answering(ok())) as origin, running_edge(kms, tmp_path, origin.address, *beside) as edge:
        assert edge.tls is not None
        for turn in range(2):
            before = await edge.pids()
            for _ in range(4):  # whichever worker takes it
                async with connected(edge.address[1]) as plain, connected(edge.tls[1], tls=authority.client()) as tls:
                    assert (await plain.ask(get())).status == 200
                    assert (await tls.ask(get())).status == 200
            if turn == 0:
                code, said = await edge.command("restart")
                assert code == 0, said
                assert not set(before) & set(await edge.pids())
    assert {request.get(b"x-forwarded-proto") for request in origin.requests} == {b"http", b"https"}
