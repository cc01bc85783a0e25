"""How one worker begins, ends, and lives without the services beside it: real processes, seen from outside."""

import asyncio
import contextlib
import json
import os
import shutil
import signal
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio
import yaml

from tests.edge.raw import OriginConnection, raw_origin
from tests.edge_process.cookies import cookie_header
from tests.edge_process.origin import Origin, origin_running
from tests.edge_process.worker import CONFIG, Worker, running_worker, started_worker
from tests.processes import beside, dialled, eventually, free_port, make_secrets, write_secret
from tests.services.kms_calls import Kms, kms_running

pytestmark = pytest.mark.asyncio(loop_scope="module")

NAMES = ["EdgeId", "SecureEdgeId"]


@pytest_asyncio.fixture(loop_scope="module")
async def origin() -> AsyncIterator[Origin]:
    async with origin_running() as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session:
        yield session


async def get(session: aiohttp.ClientSession, worker: Worker, path: str = "/", **headers: str) -> tuple[int, str]:
    async with session.get(worker.url + path, headers=headers) as response:
        return response.status, await response.text()


async def whole_answer(worker: Worker, request: bytes) -> bytes:
    """Send bytes on a connection of their own; return all that comes until the worker closes it."""
    received = b""
    async with dialled(worker.address) as (reader, writer):
        writer.write(request)
        with contextlib.suppress(ConnectionError):
            while more := await reader.read(65536):
                received += more
    return received


GET = b"GET /slow HTTP/1.1\r\nHost: edge.test\r\n\r\n"


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT, "drain", "supervisor gone"])
async def test_w2_a_request_in_flight_is_answered_with_connection_close_and_the_worker_ends_with_0(
    kms: Kms, origin: Origin, how: signal.Signals | str
) -> None:
    origin.gate.clear()
    async with (
        running_worker(kms, origin.address) as worker,
        dialled(worker.address) as (idle_reader, _),
        beside(whole_answer(worker, GET)) as asked,
    ):
        await origin.has(1)
        begun = time.monotonic()
        if isinstance(how, signal.Signals):
            os.kill(worker.process.pid, how)
        elif how == "drain":
            worker.control.send({"type": "drain"})
        else:
            worker.control.close()
        await eventually(worker.refuses_connections, "the door is closed")
        assert await idle_reader.read() == b""
        origin.gate.set()
        answer = await asked
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert b"connection: close\r\n" in answer.lower()
        assert answer.endswith(b"the origin's answer")
        assert await worker.process.wait() == 0
        assert time.monotonic() - begun < 5
        (said,) = worker.process.output().splitlines()  # there is no cookie service here, and nothing else to say
        event = json.loads(said)
        assert (event["event"], event["level"]) == ("revocations_not_followed", "warning")
        assert event["timestamp"].endswith("Z")


async def test_w2_a_request_that_does_not_end_holds_the_worker_for_the_drain_time_only(
    kms: Kms, origin: Origin
) -> None:
    origin.gate.clear()
    async with (
        running_worker(kms, origin.address, "timeouts.drain_s=1") as worker,
        beside(whole_answer(worker, GET)) as asked,
    ):
        await origin.has(1)
        begun = time.monotonic()
        assert await worker.process.stop() == 0
        assert 0.9 < time.monotonic() - begun < 4
        assert await asked == b"", "half an answer would be worse than none"


async def ask_until_told_to_close(worker: Worker) -> bool:
    """Send one request after the other on one connection; return whether every one was answered until the last."""
    async with dialled(worker.address) as (reader, writer):
        try:
            while True:
                writer.write(GET)
                head = await reader.readuntil(b"\r\n\r\n")
                await reader.readexactly(len(b"the origin's answer"))
                if b"connection: close\r\n" in head.lower():
                    return True
                await asyncio.sleep(0.02)  # idle between two requests, as devices are
        except (asyncio.IncompleteReadError, ConnectionError):
            return False


async def test_w2_a_drain_under_load_loses_no_request(kms: Kms, origin: Origin) -> None:
    async with AsyncExitStack() as stack:
        worker = await stack.enter_async_context(running_worker(kms, origin.address))
        asking = [await stack.enter_async_context(beside(ask_until_told_to_close(worker))) for _ in range(30)]
        await origin.has(100)
        assert await worker.process.stop() == 0
        assert await asyncio.gather(*asking) == [True] * 30


async def test_a_drained_worker_has_reported_its_last_request(kms: Kms, origin: Origin) -> None:
    async with running_worker(kms, origin.address) as worker:
        await whole_answer(worker, GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        assert await worker.process.stop() == 0

        async def ended() -> bool:
            return worker.control.closed

        await eventually(ended, "the channel has ended")
        last = worker.control.messages[-1]
        assert last["type"] == "metrics"
        assert "slow" in str(last["snapshot"])


async def ends_unserved(worker: Worker, code: int) -> str:
    """Connect, wait for the worker's end and return what it said: nothing may have been answered."""
    async with beside(whole_answer(worker, GET)) as answer:
        assert await worker.process.wait() == code
        assert await answer == b""
    assert not worker.control.ready
    said = worker.process.output()
    assert "Traceback" not in said
    return said


async def test_a7_an_invalid_config_ends_with_2_and_a_line_that_says_where(kms: Kms, tmp_path: Path) -> None:
    shutil.copytree(CONFIG, tmp_path / "config")
    routes = tmp_path / "config" / "routes.yaml"
    document = yaml.safe_load(routes.read_text())
    document["routes"][0]["orign"] = "api"
    routes.write_text(yaml.safe_dump(document))
    async with started_worker(kms.process.url, kms.secrets.parent, config=tmp_path / "config") as worker:
        said = await ends_unserved(worker, 2)
    assert "routes.yaml" in said
    assert "routes[0].orign" in said


async def test_a7_an_override_that_is_invalid_ends_with_2_and_names_it(kms: Kms) -> None:
    async with started_worker(kms.process.url, kms.secrets.parent, "listener.adress=127.0.0.1:1") as worker:
        assert "listener.adress" in await ends_unserved(worker, 2)


@pytest.mark.parametrize(
    ("setting", "named"),
    [
        ("services.cookie.token_file=secrets/nobody.token", "secrets/nobody.token"),
        ("access_log.path=/nonexistent/access.log", "/nonexistent/access.log"),
    ],
)
async def test_a_file_that_cannot_be_used_ends_with_2_and_a_line_that_names_it(
    kms: Kms, setting: str, named: str
) -> None:
    async with started_worker(kms.process.url, kms.secrets.parent, setting) as worker:
        said = await ends_unserved(worker, 2)
    assert named in said
    assert len(said.splitlines()) == 1


async def test_k2_without_a_kms_a_worker_ends_with_3_and_has_served_nobody(tmp_path: Path) -> None:
    make_secrets(tmp_path / "secrets")
    nobody = f"http://127.0.0.1:{free_port()}"
    async with started_worker(nobody, tmp_path, "services.kms.start_patience_s=1") as worker:
        said = await ends_unserved(worker, 3)
    assert "no_keys" in said
    assert nobody in said
    assert "is the KMS running" in said
    assert len(said.splitlines()) == 1


async def test_k2_a_worker_that_waits_for_its_keys_ends_with_0_when_told_to(tmp_path: Path) -> None:
    make_secrets(tmp_path / "secrets")
    asked = asyncio.Event()

    async def never_answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.set()
        await reader.read()
        writer.close()

    silent = await asyncio.start_server(never_answer, "127.0.0.1", 0)
    host, port = silent.sockets[0].getsockname()
    async with silent, started_worker(f"http://{host}:{port}", tmp_path, "services.kms.timeout_s=20") as worker:
        await asked.wait()
        begun = time.monotonic()
        assert await worker.process.stop() == 0
        assert time.monotonic() - begun < 5
        assert not worker.control.ready


async def test_k2_a_worker_that_starts_before_its_kms_serves_once_the_keys_are_there(
    tmp_path: Path, origin: Origin, session: aiohttp.ClientSession
) -> None:
    address = f"127.0.0.1:{free_port()}"
    make_secrets(tmp_path / "secrets")
    settings = f'origins.api.addresses=["{origin.address}"]'
    async with (
        started_worker(f"http://{address}", tmp_path, settings) as worker,
        beside(get(session, worker)) as early,
        kms_running(tmp_path, listen=address),
    ):
        await worker.said_ready()
        assert await early == (200, "the origin's answer")


@pytest.mark.parametrize("token", ["a-token-that-the-kms-does-not-know", None])
async def test_k2_a_wrong_or_missing_token_ends_with_3_and_is_not_shown(
    kms: Kms, tmp_path: Path, token: str | None
) -> None:
    if token is not None:
        (tmp_path / "secrets").mkdir()
        write_secret(tmp_path / "secrets" / "edge.token", token)
    async with started_worker(kms.process.url, tmp_path) as worker:
        said = await ends_unserved(worker, 3)
    assert "no_keys" in said
    assert len(said.splitlines()) == 1
    assert token is None or token not in said


async def test_k3_requests_go_on_when_the_kms_is_killed(
    tmp_path: Path, origin: Origin, session: aiohttp.ClientSession
) -> None:
    async with kms_running(tmp_path) as kms:
        cookies = await cookie_header(kms)
        async with running_worker(kms, origin.address, "services.kms.refresh_s=0.2") as worker:
            assert await get(session, worker, "/account", Cookie=cookies) == (200, "the origin's answer")
            await kms.process.kill()
            await worker.process.said("keys_not_refreshed")
            for _ in range(20):
                assert await get(session, worker, "/account", Cookie=cookies) == (200, "the origin's answer")
            calls = (await worker.metrics()).values["edge_remote_calls_total"]
    assert calls[("kms", "unavailable")] >= 1
    assert calls[("kms", "ok")] >= 1


async def test_a_valid_cookie_costs_no_remote_call(kms: Kms, origin: Origin, session: aiohttp.ClientSession) -> None:
    async with running_worker(kms, origin.address) as worker:
        cookies = await cookie_header(kms)
        for _ in range(50):
            assert (await get(session, worker, "/account", Cookie=cookies))[0] == 200
        values = (await worker.metrics()).values
    # The feed of revocations is followed beside the requests, and is not there in this test.
    assert {service for service, _ in values["edge_remote_calls_total"]} == {"kms", "revocations"}
    assert values["edge_identity_resolutions_total"] == {("cookie", "ok", "local"): 50}


async def test_s1_an_expired_cookie_without_a_cookie_service_is_served_and_rescheduled(
    kms: Kms, origin: Origin, session: aiohttp.ClientSession
) -> None:
    async with running_worker(kms, origin.address) as worker:
        cookies = await cookie_header(kms, age_s=20_000)
        async with session.get(worker.url + "/account", headers={"Cookie": cookies}) as response:
            assert response.status == 200
            assert [line.partition("=")[0] for line in response.headers.getall("Set-Cookie")] == NAMES
        async with session.get(worker.url + "/browse", cookies=response.cookies) as again:
            assert again.status == 200
            assert "Set-Cookie" not in again.headers  # not due yet, or put off
        values = (await worker.metrics()).values
        assert values["edge_actions_total"] == {("cookie:rescheduled",): 1}
        calls = (await worker.metrics()).values["edge_remote_calls_total"]
    assert {outcome for service, outcome in calls if service == "cookie"} == {"unreachable"}


async def test_s1_s6_while_the_breaker_of_the_cookie_service_is_open_nobody_is_signed_out_and_nothing_forged_passes(
    kms: Kms, origin: Origin, session: aiohttp.ClientSession
) -> None:
    overrides = ("services.cookie.breaker.open_s=3600.0", "services.cookie.breaker.max_open_s=3600.0")
    async with running_worker(kms, origin.address, *overrides, "services.cookie.breaker.window_s=60.0") as worker:
        for _ in range(20):
            cookies = await cookie_header(kms, age_s=20_000)
            async with session.get(worker.url + "/browse", headers={"Cookie": cookies}) as response:
                assert response.status == 200
                assert [line.partition("=")[0] for line in response.headers.getall("Set-Cookie")] == NAMES
        assert (await get(session, worker, "/account", Cookie=await cookie_header(kms)))[0] == 200
        cut = cookies.replace("EdgeId=", "EdgeId=AAAA")
        assert (await get(session, worker, "/browse", Cookie=cut))[0] == 401
        values = (await worker.metrics()).values
    calls = values["edge_remote_calls_total"]
    assert calls[("cookie", "unreachable")] == 10
    assert calls[("cookie", "breaker_open")] == 10
    assert values["edge_breaker_state"][("service:cookie",)] == 2


async def test_w1_an_answer_that_only_its_end_ends_is_reset_when_its_worker_is_killed(kms: Kms) -> None:
    async def script(connection: OriginConnection) -> None:
        await connection.request()
        await connection.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nbegun\r\n")
        await connection.end()

    async with (
        raw_origin(script) as origin,
        running_worker(kms, origin.address) as worker,
        dialled(worker.address) as (reader, writer),
    ):
        writer.write(b"GET /download HTTP/1.0\r\n\r\n")
        await reader.readuntil(b"begun")
        os.kill(worker.process.pid, signal.SIGKILL)
        with pytest.raises(ConnectionResetError):
            await reader.read()
