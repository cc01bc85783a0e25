"""A subscriber service inside a test: a real aiohttp server whose answer depends on the customer id it is asked for."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

MEMBER = 1001
MEMBER_WITH_NEW_OWNER = 1002
FORMER_MEMBER = 1003
STATUS_500, STATUS_404, STATUS_401, REDIRECT, SLOW, CUT, NOT_JSON, OTHER_USER, NOT_BOOLEAN, ENDLESS = range(2001, 2011)
FAILING = (STATUS_500, STATUS_404, STATUS_401, REDIRECT, SLOW, CUT, NOT_JSON, OTHER_USER, NOT_BOOLEAN, ENDLESS)

_STATUS = {STATUS_500: 500, STATUS_404: 404, STATUS_401: 401}


class Subscribers:
    """The server's state: its URL, and the `Authorization` values that it was asked with."""

    def __init__(self) -> None:
        self.url = ""
        self.asked_with: list[str] = []
        self.ending = asyncio.Event()

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.asked_with.append(request.headers.get("Authorization", ""))
        customer_id = int(request.match_info["customer_id"])
        if customer_id in _STATUS:
            return web.json_response(_said(customer_id, member=False), status=_STATUS[customer_id])
        if customer_id == REDIRECT:
            raise web.HTTPFound(f"/v1/subscribers/{FORMER_MEMBER}")
        if customer_id == SLOW:
            await self.ending.wait()
        if customer_id == CUT:
            assert request.transport is not None
            request.transport.abort()
        return web.Response(text=_body(customer_id), content_type="application/json")


@asynccontextmanager
async def subscribers_running() -> AsyncIterator[Subscribers]:
    """Serve on port 0 until the block ends."""
    subscribers = Subscribers()
    application = web.Application()
    application.router.add_get("/v1/subscribers/{customer_id}", subscribers.answer)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        subscribers.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield subscribers
    finally:
        subscribers.ending.set()
        await runner.cleanup()


def _said(customer_id: int, *, member: object) -> dict[str, object]:
    owner = 77 if customer_id == MEMBER_WITH_NEW_OWNER else customer_id
    return {"customer_id": customer_id, "account_owner_id": owner, "member": member, "plan": "a field of later times"}


def _body(customer_id: int) -> str:
    if customer_id == NOT_JSON:
        return "no"
    if customer_id == ENDLESS:
        return json.dumps(_said(customer_id, member=False)) + " " * 100_000
    if customer_id == OTHER_USER:
        return json.dumps(_said(MEMBER, member=False))
    if customer_id == NOT_BOOLEAN:
        return json.dumps(_said(customer_id, member=0))
    return json.dumps(_said(customer_id, member=customer_id != FORMER_MEMBER))
