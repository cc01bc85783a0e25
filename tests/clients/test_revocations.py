"""The follower of the feed: what is revoked is known soon, and a feed that cannot be had costs nobody anything."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import aiohttp
import pytest
from aiohttp import web
from edgepb.cookie.v1 import cookie_service_pb2 as pb

from edge.clients.revocations import RevocationFeed
from edge.guard.revoked import RevokedTokens
from edge.telemetry.metrics import WorkerMetrics
from tests.processes import eventually

NOW = 1_800_000_000


class Feed:
    """A feed that a test fills, over real sockets. `fails` is a status to answer with instead."""

    def __init__(self) -> None:
        self.entries: list[pb.Revocation] = []
        self.page = 2
        self.fails = 0
        self.body: bytes | None = None
        self.asked: list[tuple[str, str, str]] = []
        self.changed = asyncio.Condition()
        self.url = ""

    async def add(self, **fields: int | str) -> None:
        self.entries.append(pb.Revocation(id=len(self.entries) + 1, revoked_at=NOW, **fields))  # type: ignore[arg-type]
        async with self.changed:
            self.changed.notify_all()

    async def answer(self, request: web.Request) -> web.Response:
        after, wait_s = int(request.query["after"]), float(request.query["wait_s"])
        self.asked.append((request.query["after"], request.query["wait_s"], request.headers["Authorization"]))
        if self.fails or self.body is not None:
            return web.Response(status=self.fails or 200, body=self.body)
        async with self.changed:
            with suppress(TimeoutError):
                await asyncio.wait_for(self.changed.wait_for(lambda: len(self.entries) > after), wait_s or 0.001)
        page = self.entries[after : after + self.page]
        last = page[-1].id if page else after
        feed = pb.RevocationFeed(revocations=page, cursor=last, more=last < len(self.entries), retention_s=90_000)
        return web.Response(body=feed.SerializeToString())


@asynccontextmanager
async def following(feed: Feed, wait_s: float = 30.0) -> AsyncIterator[tuple[RevocationFeed, WorkerMetrics]]:
    app = web.Application()
    app.router.add_get("/v1/revocations", feed.answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url, metrics = f"http://127.0.0.1:{runner.addresses[0][1]}", WorkerMetrics()
    try:
        async with aiohttp.ClientSession() as session:
            revoked = RevokedTokens(86_400, 1000, NOW)
            made = RevocationFeed(session, url, "token-canary", revoked, wait_s=wait_s, metrics=metrics)
            try:
                await made.start(5.0)
                yield made, metrics
            finally:
                await made.close()
    finally:
        await runner.cleanup()


async def test_all_pages_are_known_before_the_worker_serves() -> None:
    feed = Feed()
    for customer in range(1, 8):
        await feed.add(kind=pb.CUSTOMER, customer_id=customer)
    async with following(feed) as (made, _):
        assert all(made.revoked.covers(customer, "s", "e", NOW) for customer in range(1, 8))
        assert [(after, wait) for after, wait, _ in feed.asked[:4]] == [("0", "0"), ("2", "0"), ("4", "0"), ("6", "0")]
        assert {authorization for _, _, authorization in feed.asked} == {"Bearer token-canary"}


async def test_a_new_revocation_is_known_without_a_request_asking_for_it() -> None:
    feed = Feed()
    async with following(feed) as (made, metrics):
        await feed.add(kind=pb.SESSION, customer_id=7, session_id="s")
        await feed.add(kind=pb.DEVICE, customer_id=8, esn="ESN")
        await feed.add(kind=pb.CUSTOMER, customer_id=9, except_session_id="mine")

        async def known() -> bool:
            return len(made.revoked) == 3

        await eventually(known, "three revocations are known")
        assert made.revoked.covers(7, "s", "", NOW + 50)
        assert made.revoked.covers(8, "t", "ESN", NOW)
        assert made.revoked.covers(9, "t", "", NOW)
        assert not made.revoked.covers(9, "mine", "", NOW)
        assert metrics.remote_calls[("revocations", "ok")] >= 2
        assert metrics.snapshot(NOW).values["edge_revocations_age_seconds"]


async def test_a_kind_of_a_later_version_revokes_the_whole_customer() -> None:
    feed = Feed()
    await feed.add(kind=99, customer_id=7, except_session_id="mine")
    async with following(feed) as (made, _):
        assert made.revoked.covers(7, "mine", "e", NOW)


@pytest.mark.parametrize(
    ("status", "body", "outcome"),
    [(503, b"", "status_5xx"), (401, b"", "status_4xx"), (302, b"", "status_3xx"), (0, b"\xff\xff", "bad_answer")],
)
async def test_s1_a_feed_that_cannot_be_had_is_tried_again_and_holds_nothing_up(
    status: int, body: bytes, outcome: str
) -> None:
    feed = Feed()
    feed.fails, feed.body = status, body
    async with following(feed) as (made, metrics):
        assert metrics.remote_calls[("revocations", outcome)] >= 1
        feed.fails, feed.body = 0, None
        await feed.add(kind=pb.CUSTOMER, customer_id=7)

        async def known() -> bool:
            return made.revoked.covers(7, "s", "e", NOW)

        await eventually(known, "the feed is followed again")


async def test_a_database_that_was_restored_is_read_from_where_it_says() -> None:
    feed = Feed()
    feed.body = pb.RevocationFeed(cursor=500).SerializeToString()
    async with following(feed, wait_s=0.1):
        feed.body = pb.RevocationFeed(cursor=3).SerializeToString()

        async def asked_from_there() -> bool:
            return feed.asked[-1][0] == "3"

        await eventually(asked_from_there, "the next page is asked from the cursor that was given")


async def test_what_it_says_of_itself_holds_no_token() -> None:
    async with following(Feed()) as (made, _):
        assert "canary" not in repr(made)
