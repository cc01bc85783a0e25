"""Stand-ins for the KMS and for the feed of revocations: as many keys, and as many revocations, as are wanted."""

import asyncio
import os
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web
from edgepb.cookie.v1 import cookie_service_pb2 as cookie_pb
from edgepb.kms.v1 import kms_pb2

from loadtest.chaos.ports import free_port
from tokens.cookie import PURPOSE
from tokens.keys.ring import KeyRing

PAGE = 10_000  # entries: as many as the cookie service sends
RETENTION_S = 90_000
FIRST_REVOKED = 9_000_000_000  # customers that nobody here is
KINDS = (cookie_pb.CUSTOMER, cookie_pb.SESSION, cookie_pb.DEVICE)


def grown(answer: kms_pb2.GetKeySetsResponse, keys: int) -> kms_pb2.GetKeySetsResponse:
    """Return a KMS's answer whose cookie key set has `keys` versions: its own, and others that open only."""
    more = kms_pb2.GetKeySetsResponse()
    more.CopyFrom(answer)
    taken = {version.key_id for key_set in more.key_sets for version in key_set.versions}
    (cookie,) = (key_set for key_set in more.key_sets if key_set.purpose == PURPOSE)
    while len(cookie.versions) < keys:
        key_id = secrets.randbits(31)
        if key_id not in taken:
            taken.add(key_id)
            cookie.versions.add(key_id=key_id, state=kms_pb2.DEACTIVATED, material=os.urandom(32), created=1)
    return more


def sealing_rings(answer: kms_pb2.GetKeySetsResponse) -> list[KeyRing]:
    """Return a ring for each cookie key of an answer, in which that one seals: as it did before it was retired."""
    (cookie,) = (key_set for key_set in answer.key_sets if key_set.purpose == PURPOSE)
    rings = []
    for version in cookie.versions:
        alone = kms_pb2.KeyVersion()
        alone.CopyFrom(version)
        alone.state, alone.primary = kms_pb2.ACTIVE, True
        rings.append(KeyRing.from_key_sets([kms_pb2.KeySet(purpose=PURPOSE, versions=[alone])], 1))
    return rings


def page(after: int, count: int, revoked_at: int) -> cookie_pb.RevocationFeed:
    """Return the page of a feed of `count` entries that begins after a cursor: customers, sessions, devices in turn."""
    feed = cookie_pb.RevocationFeed(cursor=min(after + PAGE, count), retention_s=RETENTION_S)
    for number in range(after, feed.cursor):
        kind = KINDS[number % len(KINDS)]
        feed.revocations.add(
            id=number + 1, kind=kind, customer_id=FIRST_REVOKED + number, revoked_at=revoked_at,
            session_id=f"{number:032x}" if kind == cookie_pb.SESSION else "",
            esn=f"GONE-TV-{number:016X}" if kind == cookie_pb.DEVICE else "",
        )  # fmt: skip
    feed.more = feed.cursor < count
    return feed


@asynccontextmanager
async def supply(answer: kms_pb2.GetKeySetsResponse | None, revocations: int, revoked_at: int) -> AsyncIterator[int]:
    """Serve keys and revocations on a port of loopback, and yield it. Its caller closes what it started first."""
    runner = web.AppRunner(_application(answer, revocations, revoked_at), access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    port = free_port()
    try:
        await web.TCPSite(runner, "127.0.0.1", port).start()
        yield port
    finally:
        await runner.cleanup()


def _application(answer: kms_pb2.GetKeySetsResponse | None, revocations: int, revoked_at: int) -> web.Application:
    async def key_sets(request: web.Request) -> web.Response:
        asked = kms_pb2.GetKeySetsRequest.FromString(await request.read())
        if answer is None:
            return web.Response(status=404)
        wanted = [key_set for key_set in answer.key_sets if key_set.purpose in asked.purposes]
        given = kms_pb2.GetKeySetsResponse(key_sets=wanted, revision=answer.revision)
        return web.Response(body=given.SerializeToString(), content_type="application/x-protobuf")

    async def feed(request: web.Request) -> web.Response:
        after = int(request.query["after"])
        if after >= revocations:
            await asyncio.sleep(float(request.query["wait_s"]))
        body = page(min(after, revocations), revocations, revoked_at).SerializeToString()
        return web.Response(body=body, content_type="application/x-protobuf")

    application = web.Application()
    application.router.add_post("/v1/key-sets", key_sets)
    application.router.add_get("/v1/revocations", feed)
    return application
