"""A revoked user and a whole edge: two workers, a cookie service, a KMS, each in a process of its own."""

import asyncio
import time
from collections.abc import AsyncIterator

import aiohttp
import pytest
import pytest_asyncio
from edgepb.cookie.v1 import cookie_service_pb2 as pb

from tests.edge_process.cookies import cookie_header
from tests.edge_process.edge import ALONE, Edge, running_edge
from tests.edge_process.origin import Origin
from tests.processes import eventually
from tests.services.cookie_calls import Cookies, cookies_running
from tests.services.kms_calls import Kms
from tests.services.subscriber import MEMBER, subscribers_running

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def cookies(kms: Kms, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Cookies]:
    directory = tmp_path_factory.mktemp("cookies")
    async with subscribers_running() as subscribers, cookies_running(kms, subscribers.url, directory) as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def edge(
    kms: Kms, cookies: Cookies, origin: Origin, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Edge]:
    home = tmp_path_factory.mktemp("edge")
    async with running_edge(kms, home, origin.address, ALONE, f"services.cookie.url={cookies.process.url}") as running:
        yield running


async def statuses(edge: Edge, cookie: str, number: int = 24) -> set[int]:
    """Ask over as many connections of their own, so that every worker is asked."""

    async def ask() -> int:
        connector = aiohttp.TCPConnector(force_close=True)
        url = f"http://{edge.address[0]}:{edge.address[1]}/account"
        async with (
            aiohttp.ClientSession(connector=connector) as session,
            session.get(url, headers={"Cookie": cookie}) as response,
        ):
            return response.status

    return set(await asyncio.gather(*(ask() for _ in range(number))))


async def test_r10_a_revoked_user_is_out_on_every_worker_within_two_seconds_without_a_remote_call(
    edge: Edge, cookies: Cookies, kms: Kms
) -> None:
    revoked, other = await cookie_header(kms, MEMBER), await cookie_header(kms, MEMBER + 1)
    assert await statuses(edge, revoked) == {200}
    await cookies.revoke(pb.SIGN_OUT_EVERYWHERE, MEMBER)
    began = time.monotonic()

    async def out_everywhere() -> bool:
        return await statuses(edge, revoked) == {401}

    await eventually(out_everywhere, "the user is out on every worker")
    assert time.monotonic() - began < 2.0
    assert await statuses(edge, other) == {200}

    labels = '{result="revoked",source="cookie",where="local"}'

    async def counted() -> bool:
        return bool(await edge.metric(f"edge_identity_resolutions_total{labels}"))

    await eventually(counted, "the metrics say who was turned away")
    for outcome in ("renewed", "revoked", "timeout", "unreachable"):
        assert await edge.metric(f'edge_remote_calls_total{{outcome="{outcome}",service="cookie"}}') is None


async def test_r10_who_was_revoked_stays_out_while_the_cookie_service_is_down(
    edge: Edge, cookies: Cookies, kms: Kms
) -> None:
    expired = await cookie_header(kms, MEMBER + 2, age_s=20_000)
    await cookies.revoke(pb.PASSWORD_CHANGED, MEMBER + 2)

    async def out_everywhere() -> bool:
        return await statuses(edge, expired, 8) == {401}

    await eventually(out_everywhere, "the user is out on every worker")
    await cookies.process.kill()
    assert await statuses(edge, expired) == {401}
    assert await statuses(edge, await cookie_header(kms, MEMBER + 3, age_s=20_000)) == {200}
