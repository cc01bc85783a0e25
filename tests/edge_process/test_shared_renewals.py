"""One expired cookie at two workers and at two edges that share a Redis: one renewal, whoever dies in the middle."""

import asyncio
import re
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import pytest_asyncio

from tests.edge_process.cookies import cookie_header
from tests.edge_process.edge import ALONE, running_edge
from tests.edge_process.origin import Origin
from tests.edge_process.renewing import Renewing, renewing
from tests.edge_process.worker import Worker, running_worker
from tests.processes import dialled, eventually, free_port
from tests.redis_server import NEEDS_REDIS, redis_running
from tests.services.kms_calls import Kms

pytestmark = [NEEDS_REDIS, pytest.mark.asyncio(loop_scope="module")]

EXPIRED_S = 20_000
NEW_PAIR = re.compile(rb"(?im)^set-cookie: EdgeId=([A-Za-z0-9_-]+);")
# All that a busy machine may need: what is tried here is who renews, not how fast.
PATIENCE = (
    "renewal.wait_s=4.0",
    "services.cookie.timeout_s=4.0",
    "services.renewals.timeout_s=1.0",
    "services.renewals.lock_s=5.0",
)


@pytest_asyncio.fixture(loop_scope="module")
async def service(kms: Kms) -> AsyncIterator[Renewing]:
    async with renewing(kms) as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def redis_url() -> AsyncIterator[str]:
    async with redis_running() as redis:
        yield redis.url


@asynccontextmanager
async def edge_of_its_own(
    kms: Kms, origin: Origin, service: Renewing, redis_url: str, *overrides: str
) -> AsyncIterator[Worker]:
    settings = (f"services.cookie.url={service.url}", f"services.renewals.redis_url={redis_url}", *PATIENCE)
    async with running_worker(kms, origin.address, *settings, *overrides) as worker:
        yield worker


async def ask(address: tuple[str, int], cookie: str) -> bytes:
    """Ask on a connection of its own; return the whole answer."""
    async with dialled(address) as (reader, writer):
        writer.write(
            f"GET /account HTTP/1.1\r\nHost: edge.test\r\nConnection: close\r\nCookie: {cookie}\r\n\r\n".encode()
        )
        return await reader.read()


def statuses(answers: list[bytes]) -> set[bytes]:
    return {answer.split(b" ", 2)[1] for answer in answers}


def new_pairs(answers: list[bytes]) -> set[bytes]:
    """Return the EdgeId values that were set; every answer sets one."""
    found = [NEW_PAIR.search(answer) for answer in answers]
    assert all(found), next(answer for answer, one in zip(answers, found, strict=True) if one is None)
    return {one[1] for one in found if one is not None}


async def shared(workers: list[Worker], outcome: str) -> float:
    """Return how often a renewal was shared so, over all workers."""
    series = [(await worker.metrics()).values.get("edge_remote_calls_total", {}) for worker in workers]
    return sum(each.get(("renewals", outcome), 0) for each in series)


async def test_r1_s4_two_hundred_requests_over_two_edges_are_one_renewal_and_one_new_token(
    kms: Kms, origin: Origin, service: Renewing, redis_url: str
) -> None:
    async with (
        edge_of_its_own(kms, origin, service, redis_url) as one,
        edge_of_its_own(kms, origin, service, redis_url, "edge.id=edge-2") as other,
    ):
        service.gate.clear()
        cookie = await cookie_header(kms, 7, age_s=EXPIRED_S)
        asking = [asyncio.ensure_future(ask(each.address, cookie)) for each in [one, other] * 100]
        await service.has(1)
        service.gate.set()
        answers = await asyncio.gather(*asking)
        assert statuses(answers) == {b"200"}
        assert len(new_pairs(answers)) == 1
        assert service.calls == 1
        assert (await shared([one, other], "led"), await shared([one, other], "followed")) == (1, 1)


async def test_r1_s4_two_workers_of_one_edge_renew_once_also_when_the_first_client_hangs_up(
    kms: Kms, origin: Origin, service: Renewing, redis_url: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    settings = (f"services.cookie.url={service.url}", f"services.renewals.redis_url={redis_url}", *PATIENCE)
    async with running_edge(kms, tmp_path_factory.mktemp("edge"), origin.address, ALONE, *settings) as edge:
        service.gate.clear()
        cookie = await cookie_header(kms, 8, age_s=EXPIRED_S)
        first = asyncio.ensure_future(ask(edge.address, cookie))
        await service.has(1)
        asking = [asyncio.ensure_future(ask(edge.address, cookie)) for _ in range(199)]
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        service.gate.set()
        answers = await asyncio.gather(*asking)
        assert statuses(answers) == {b"200"}
        assert len(new_pairs(answers)) == 1
        assert service.calls == 1


async def test_r2_r3_when_the_leader_is_killed_another_takes_over_within_the_life_of_its_lock(
    kms: Kms, origin: Origin, service: Renewing, redis_url: str
) -> None:
    quick = ("services.cookie.timeout_s=0.5", "services.renewals.lock_s=0.6")
    async with (
        edge_of_its_own(kms, origin, service, redis_url, *quick) as one,
        edge_of_its_own(kms, origin, service, redis_url, *quick) as other,
    ):
        service.gate.clear()
        service.first_only = True
        cookie = await cookie_header(kms, 9, age_s=EXPIRED_S)
        lost = asyncio.ensure_future(ask(one.address, cookie))
        await service.has(1)
        one.process.send(signal.SIGKILL)
        answers = await asyncio.gather(*(ask(other.address, cookie) for _ in range(20)))
        assert statuses(answers) == {b"200"}
        assert len(new_pairs(answers)) == 1
        assert service.calls == 2
        assert await shared([other], "took_over") == 1
        await asyncio.gather(lost, return_exceptions=True)


async def test_r6_when_redis_dies_in_the_middle_every_worker_renews_for_itself_and_nobody_notices(
    kms: Kms, origin: Origin, service: Renewing
) -> None:
    async with (
        redis_running() as redis,
        edge_of_its_own(kms, origin, service, redis.url) as one,
        edge_of_its_own(kms, origin, service, redis.url) as other,
    ):
        service.gate.clear()
        cookie = await cookie_header(kms, 10, age_s=EXPIRED_S)
        first = [asyncio.ensure_future(ask(one.address, cookie)) for _ in range(20)]
        await service.has(1)
        second = [asyncio.ensure_future(ask(other.address, cookie)) for _ in range(20)]
        await redis.process.kill()
        await service.has(2)
        service.gate.set()
        answers = await asyncio.gather(*first, *second)
        assert statuses(answers) == {b"200"}
        assert len(new_pairs(answers)) == 2
        assert service.calls == 2
        again = await asyncio.gather(*(ask(each.address, cookie) for each in (one, other)))
        assert statuses(again) == {b"200"}


@pytest.mark.parametrize("how", ["nobody listens", "it hangs"])
async def test_r6_without_redis_there_is_one_renewal_for_each_worker_and_nobody_is_signed_out(
    kms: Kms, origin: Origin, service: Renewing, how: str
) -> None:
    async with redis_running() as redis:
        redis.process.send(signal.SIGSTOP)
        url = redis.url if how == "it hangs" else f"redis://127.0.0.1:{free_port()}"
        quick = "services.renewals.timeout_s=0.05"
        async with (
            edge_of_its_own(kms, origin, service, url, quick) as one,
            edge_of_its_own(kms, origin, service, url, quick) as other,
        ):
            cookie = await cookie_header(kms, 11, age_s=EXPIRED_S)
            answers = await asyncio.gather(*(ask(each.address, cookie) for each in [one, other] * 20))
            assert statuses(answers) == {b"200"}
            assert len(new_pairs(answers)) == 2
            assert service.calls == 2
            outcome = "timeout" if how == "it hangs" else "unreachable"
            assert await shared([one, other], outcome) == 2


async def test_d8_a_reload_in_the_middle_of_a_renewal_makes_no_second_one(
    kms: Kms, origin: Origin, service: Renewing, tmp_path_factory: pytest.TempPathFactory
) -> None:
    settings = (f"services.cookie.url={service.url}", *PATIENCE[:2])
    async with running_edge(kms, tmp_path_factory.mktemp("edge"), origin.address, ALONE, *settings, workers=1) as edge:
        service.gate.clear()
        cookie = await cookie_header(kms, 12, age_s=EXPIRED_S)
        before = [asyncio.ensure_future(ask(edge.address, cookie)) for _ in range(5)]
        await service.has(1)
        edge.edit("routes.yaml", "id: stream\n    path: /stream", "id: stream\n    path: /renamed")
        assert (await edge.reload()).result == 0
        after = [asyncio.ensure_future(ask(edge.address, cookie)) for _ in range(5)]

        async def all_wait() -> bool:
            return await edge.metric('edge_connections{side="device"}') == 10

        await eventually(all_wait, "all requests wait")
        service.gate.set()
        answers = await asyncio.gather(*before, *after)
        assert statuses(answers) == {b"200"}
        assert len(new_pairs(answers)) == 1
        assert service.calls == 1
