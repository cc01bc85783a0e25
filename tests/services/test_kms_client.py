"""The client of the key management service, against servers that answer as no such service should."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import aiohttp
import pytest
from aiohttp import web
from edgepb.kms.v1 import kms_pb2

from passport.kms import KmsClient, KmsRefused, KmsUnavailable

TOKEN = "canary-" * 6


@asynccontextmanager
async def client_of(answer: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> AsyncIterator[KmsClient]:
    application = web.Application()
    application.router.add_post("/v1/key-sets", answer)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        async with aiohttp.ClientSession() as session:
            yield KmsClient(session, f"http://127.0.0.1:{runner.addresses[0][1]}/", TOKEN, timeout_s=0.5)
    finally:
        await runner.cleanup()


def answered(status: int, body: bytes = b"", **headers: str) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def answer(_: web.Request) -> web.StreamResponse:
        return web.Response(status=status, body=body, headers=headers)

    return answer


def message(*purposes: str) -> bytes:
    key_sets = [kms_pb2.KeySet(purpose=purpose) for purpose in purposes]
    return kms_pb2.GetKeySetsResponse(key_sets=key_sets, revision=3).SerializeToString()


async def test_a_whole_answer_is_returned() -> None:
    async with client_of(answered(200, message("cookie", "passport-user"))) as client:
        assert (await client.key_sets(["passport-user", "cookie"])).revision == 3


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (200, b"\xff\xff", "not a GetKeySetsResponse"),
        (200, b"", "lacks the key sets cookie"),
        (200, message("passport-user"), "lacks the key sets cookie"),
        (200, b"\x00" * ((1 << 20) + 1), "longer than"),
        (302, b"", "status 302"),
        (500, b"", "status 500"),
        (503, message("cookie"), "status 503"),
    ],
)
async def test_what_is_no_whole_answer_is_unavailable(status: int, body: bytes, said: str) -> None:
    async with client_of(answered(status, body, Location="/v1/key-sets")) as client:
        with pytest.raises(KmsUnavailable, match=said):
            await client.key_sets(["cookie"])


def error(reason: str) -> bytes:
    return kms_pb2.Error(reason=reason).SerializeToString()


@pytest.mark.parametrize(("status", "reason"), [(401, "unknown_identity"), (403, "purpose_not_granted")])
async def test_what_asking_again_cannot_mend_is_refused(status: int, reason: str) -> None:
    async with client_of(answered(status, error(reason))) as client:
        with pytest.raises(KmsRefused, match=f"status {status}, {reason}") as caught:
            await client.key_sets(["cookie"])
    assert "canary" not in str(caught.value) + repr(client)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 407, 451])
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"Unauthorized",
        b"<html><body>Who are you?</body></html>",
        b'\n<html>{"error": "not here"}',
        b'{"reason": "unknown_identity"}',
        error(""),
        error("Not one of ours"),
        error("a" * 65),
        kms_pb2.Error(detail="no reason").SerializeToString(),
        message("cookie"),
    ],
)
async def test_k1_what_refuses_and_is_no_key_service_is_unavailable(status: int, body: bytes) -> None:
    async with client_of(answered(status, body)) as client:
        with pytest.raises(KmsUnavailable, match=f"status {status}"):
            await client.key_sets(["cookie"])


@pytest.mark.parametrize("status", [400, 404])
async def test_k1_an_error_that_says_nothing_of_the_caller_s_rights_is_unavailable(status: int) -> None:
    async with client_of(answered(status, error("bad_request"))) as client:
        with pytest.raises(KmsUnavailable, match=f"status {status}"):
            await client.key_sets(["cookie"])


async def test_a_slow_service_is_unavailable_after_the_timeout() -> None:
    ending = asyncio.Event()

    async def never(_: web.Request) -> web.StreamResponse:
        await ending.wait()
        return web.Response()

    async with client_of(never) as client:
        with pytest.raises(KmsUnavailable, match=r"did not answer in 0\.5 s"):
            await client.key_sets(["cookie"])
        ending.set()
