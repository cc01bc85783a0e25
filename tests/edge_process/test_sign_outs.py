"""Sign-outs that the cookie service does not take at once: a whole worker, before a service under the test's hand."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import web
from edgepb.cookie.v1 import cookie_service_pb2 as pb

from passport.keys import PassportKeys
from tests.edge_process.cookies import cookie_header
from tests.edge_process.hostile_origin import hostile_origin
from tests.edge_process.worker import Worker, running_worker
from tests.processes import dialled, eventually
from tests.services.kms_calls import Kms

pytestmark = pytest.mark.asyncio(loop_scope="module")

SESSION = "00112233445566778899aabbccddeeff"


class CookieService:
    """Answers revocations with `status`, and keeps the sessions it was asked to revoke."""

    def __init__(self) -> None:
        self.url = ""
        self.status = 503
        self.asked: list[tuple[int, str]] = []

    async def answer(self, request: web.Request) -> web.Response:
        if request.method == "POST":
            revoke = pb.RevokeRequest.FromString(await request.read())
            self.asked.append((self.status, revoke.session_id))
        return web.Response(status=self.status if request.method == "POST" else 403)

    async def has(self, tries: int) -> None:
        async def asked() -> bool:
            return len(self.asked) >= tries

        await eventually(asked, f"the service was asked {tries} times")


@asynccontextmanager
async def signed_out(kms: Kms, *overrides: str) -> AsyncIterator[tuple[Worker, CookieService]]:
    """Run a worker at which somebody has signed out that the cookie service did not hear of."""
    service, app = CookieService(), web.Application()
    app.router.add_route("*", "/v1/revocations", service.answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    key_sets = (await kms.client("auth").key_sets(["passport-auth"])).key_sets
    signer = PassportKeys.from_key_sets(key_sets).signer("passport-auth")
    assert signer is not None
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        service.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        async with (
            hostile_origin(signer, 7) as origin,
            running_worker(kms, origin.address, f"services.cookie.url={service.url}", *overrides) as worker,
        ):
            head = "POST /logout HTTP/1.1\r\nHost: edge.test\r\nConnection: close\r\nContent-Length: 0\r\n"
            async with dialled(worker.address) as (reader, writer):
                writer.write(f"{head}Cookie: {await cookie_header(kms)}\r\n\r\n".encode())
                answer = await reader.read()
            assert answer.startswith(b"HTTP/1.1 200 "), answer
            assert b"SecureEdgeId=; Max-Age=0" in answer
            await service.has(1)
            yield worker, service
    finally:
        await runner.cleanup()


async def test_c11_a_sign_out_that_failed_is_made_known_when_the_service_is_back(kms: Kms) -> None:
    async with signed_out(kms) as (worker, service):
        await service.has(2)
        assert next(iter((await worker.metrics()).values["edge_sign_outs_pending"].values())) == 1
        service.status = 200

        async def made_known() -> bool:
            return (200, SESSION) in service.asked

        await eventually(made_known, "the session is revoked")
        assert {session for _, session in service.asked} == {SESSION}

        async def counted() -> bool:
            return (await worker.metrics()).values["edge_sign_outs_total"] == {("done_later",): 1}

        await eventually(counted, "it is counted")


async def test_w2_a_worker_that_leaves_tries_a_sign_out_once_more(kms: Kms) -> None:
    async with signed_out(kms) as (worker, service):
        service.status = 200
        assert await worker.process.stop() == 0
        assert service.asked[-1] == (200, SESSION)
        assert "sign_outs_given_up" not in worker.process.output()


async def test_w2_a_worker_that_leaves_without_the_service_says_how_many_sign_outs_are_lost(kms: Kms) -> None:
    async with signed_out(kms) as (worker, service):
        before = len(service.asked)
        assert await worker.process.stop() == 0
        assert len(service.asked) > before
        assert '"number": 1' in next(line for line in worker.process.output().splitlines() if "given_up" in line)
        assert SESSION not in worker.process.output()
