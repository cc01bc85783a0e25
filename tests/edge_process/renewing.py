"""A cookie service inside a test: renews as the real one does when it is let to, and counts."""

import asyncio
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web
from edgepb.cookie.v1 import cookie_service_pb2 as pb

from tests.edge_process.cookies import ENVIRONMENT, LIFE_S, NAMES
from tests.processes import eventually
from tests.services.kms_calls import Kms
from tokens.cookie import Claims, open_insecure, seal_pair
from tokens.envelope import NONCE_BYTES
from tokens.keys.ring import KeyRing


class Renewing:
    """The service. Renewals wait for `gate`; `first_only` lets all but the first go on."""

    def __init__(self, ring: KeyRing) -> None:
        self._ring = ring
        self.url = ""
        self.calls = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.first_only = False

    async def has(self, calls: int) -> None:
        """Wait until it was asked so often."""

        async def asked() -> bool:
            return self.calls >= calls

        await eventually(asked, f"the cookie service was asked {calls} times")

    async def renew(self, request: web.Request) -> web.Response:
        """Answer as asked for."""
        self.calls += 1
        insecure = pb.RenewRequest.FromString(await request.read()).insecure
        if not self.first_only or self.calls == 1:
            await self.gate.wait()
        now = int(time.time())
        old = open_insecure(self._ring, NAMES, ENVIRONMENT, insecure, now)
        assert isinstance(old, Claims)
        new = old._replace(
            issued_at=now,
            renew_after=now + LIFE_S // 2,
            expires_at=now + LIFE_S,
            generation=old.generation + 1,
        )
        nonces = os.urandom(NONCE_BYTES), os.urandom(NONCE_BYTES)
        values = seal_pair(self._ring, NAMES, ENVIRONMENT, new, nonces)
        pair = pb.CookiePair(insecure=values[0], secure=values[1], expires_at=new.expires_at, generation=new.generation)
        return web.Response(body=pb.RenewResponse(outcome=pb.RENEWED, pair=pair).SerializeToString())


@asynccontextmanager
async def renewing(kms: Kms) -> AsyncIterator[Renewing]:
    """Serve on port 0 until the block ends, with the keys of the KMS."""
    answer = await kms.client("cookie").key_sets(["cookie"])
    service = Renewing(KeyRing.from_key_sets(answer.key_sets, answer.revision))
    application = web.Application()
    application.router.add_post("/v1/renew", service.renew)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        service.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield service
    finally:
        service.gate.set()
        await runner.cleanup()
