"""The HTTP surface of the key management service (docs/keys.md, The interface).

The order of every request: who is it, may it, do it together with its row in the audit log, answer. An access that
cannot be logged is not done and not answered.
"""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Final, TypeVar

from aiohttp import web
from edgepb.kms.v1 import kms_pb2
from sqlalchemy.exc import SQLAlchemyError

from services.kit.callers import Callers
from services.kit.wire import health, message_response, read_message
from services.kms.access import STATUS, Action, Caller, Outcome, may_fetch, may_operate
from services.kms.answers import (
    JsonObject,
    check_json,
    entry_json,
    key_sets_message,
    listing_json,
    standing_json,
    version_json,
)
from services.kms.config import KmsConfig
from services.kms.metrics import CONTENT_TYPE, Counts, exposition
from services.kms.requests import KeyRequest, audit_page, audit_place, key_request, move_request
from services.kms.rotation import Wait
from services.kms.store import Store

_AUDIT_ROWS_AT_A_TIME: Final = 5_000
T = TypeVar("T")


@dataclass(slots=True, frozen=True)
class _Done:
    """How an operator's call ended. `logged` says whether the audit log has it already."""

    outcome: Outcome
    body: JsonObject | None = None
    logged: bool = True


class KmsServer:
    """Handlers over one store, whose calls run on one thread, one at a time."""

    def __init__(self, config: KmsConfig, callers: Callers, store: Store) -> None:
        self._config = config
        self._callers = callers
        self._store = store
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="store")
        self._failed = 0

    def application(self, max_body_bytes: int) -> web.Application:
        """Return the application to serve."""
        application = web.Application(client_max_size=max_body_bytes)
        add = application.router.add_route
        add("GET", "/health", health)
        add("GET", "/metrics", self.metrics)
        add("POST", "/v1/key-sets", self.get_key_sets)
        add("GET", "/v1/key-sets", self._operator(Action.LIST_VERSIONS, self._list))
        add("POST", "/v1/key-sets/{purpose}/versions", self._operator(Action.ADD_VERSION, self._add))
        add("POST", "/v1/keys/{key_id}/state", self._operator(Action.MOVE_VERSION, self._move))
        add("GET", "/v1/audit", self._operator(Action.READ_AUDIT, self._read_audit))
        add("GET", "/v1/audit/check", self._operator(Action.CHECK_AUDIT, self._check_audit))
        return application

    def close(self) -> None:
        """Wait for the store's last call, then close it."""
        self._thread.shutdown()
        self._store.close()

    async def rotate(self) -> Sequence[Wait]:
        """Make the moves that are due by age; return those that must wait."""
        return await self._run(lambda: self._store.rotate(self._config.rotation, time.time()))

    async def metrics(self, _: web.Request) -> web.Response:
        """Answer `GET /metrics`; without what the store says while it cannot be read."""
        standings = None
        with contextlib.suppress(SQLAlchemyError):
            standings = await self._run(lambda: self._store.standings(time.time()))
        counts = Counts(dict(self._store.accesses), self._failed)
        body = exposition(counts, standings, self._config.key_sets)
        return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE})

    async def get_key_sets(self, request: web.Request) -> web.Response:
        """Answer GetKeySetsRequest with the key sets, material included, or with an Error."""
        identity = self._callers.identify(request.headers.get("Authorization"))
        caller, wanted, outcome = _caller(request, identity), KeyRequest(), Outcome.UNKNOWN_IDENTITY
        if identity is not None:
            wanted = key_request(await read_message(request, kms_pb2.GetKeySetsRequest))
            outcome = may_fetch(self._config, identity, wanted.purposes)
        if identity is None or outcome is not Outcome.GRANTED:
            await self._refuse(caller, Action.GET_KEY_SETS, ",".join(wanted.purposes), outcome)
            return message_response(kms_pb2.Error(reason=outcome.value), STATUS[outcome])
        fetch = partial(self._store.fetch, caller, wanted.purposes, wanted.report, time.time())
        versions, revision = await self._run(fetch)
        grants = self._config.identities[identity].grants
        return message_response(key_sets_message(grants, wanted.purposes, versions, revision))

    async def _list(self, _: web.Request, caller: Caller) -> _Done:
        listing = await self._run(lambda: self._store.listing(caller, self._config.key_sets, time.time()))
        return _Done(Outcome.GRANTED, listing_json(listing))

    async def _add(self, request: web.Request, caller: Caller) -> _Done:
        purpose = request.match_info["purpose"]
        if purpose not in self._config.key_sets:
            return _Done(Outcome.NO_SUCH_KEY_SET, logged=False)
        version = await self._run(lambda: self._store.add_version(caller, purpose, time.time()))
        return _Done(Outcome.GRANTED, version_json(version))

    async def _move(self, request: web.Request, caller: Caller) -> _Done:
        wanted = await move_request(request)
        if wanted is None:
            return _Done(Outcome.BAD_REQUEST, logged=False)
        move = partial(self._store.move, caller, wanted.key_id, wanted.state, time.time(), force=wanted.force)
        moved = await self._run(move)
        body = {} if moved.standing is None else standing_json(moved.standing)
        return _Done(moved.outcome, {**body, "reason": moved.outcome.value})

    async def _read_audit(self, request: web.Request, caller: Caller) -> _Done:
        page = audit_page(request)
        if page is None:
            return _Done(Outcome.BAD_REQUEST, logged=False)
        before, limit = page
        entries = await self._run(lambda: self._store.newest_entries(caller, before, limit, time.time()))
        return _Done(Outcome.GRANTED, {"entries": [entry_json(each) for each in entries]})

    async def _check_audit(self, request: web.Request, caller: Caller) -> _Done:
        try:
            after = audit_place(request)
        except ValueError:
            return _Done(Outcome.BAD_REQUEST, logged=False)
        check = await self._run(lambda: self._store.check_audit(caller, after, _AUDIT_ROWS_AT_A_TIME, time.time()))
        return _Done(Outcome.GRANTED, check_json(check))

    def _operator(
        self, action: Action, work: Callable[[web.Request, Caller], Awaitable[_Done]]
    ) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def handle(request: web.Request) -> web.Response:
            identity = self._callers.identify(request.headers.get("Authorization"))
            caller = _caller(request, identity)
            if identity is None:
                done = _Done(Outcome.UNKNOWN_IDENTITY, logged=False)
            elif may_operate(self._config, identity) is Outcome.GRANTED:
                done = await work(request, caller)
            else:
                done = _Done(Outcome.NOT_AN_OPERATOR, logged=False)
            if not done.logged:
                await self._refuse(caller, action, "", done.outcome)
            body: JsonObject = {"reason": done.outcome.value} if done.body is None else done.body
            return web.json_response(body, status=STATUS[done.outcome])

        return handle

    async def _refuse(self, caller: Caller, action: Action, subject: str, outcome: Outcome) -> None:
        await self._run(lambda: self._store.record(caller.access(time.time(), action, subject, outcome)))

    async def _run(self, call: Callable[[], T]) -> T:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, call)
        except SQLAlchemyError:
            self._failed += 1
            raise


def _caller(request: web.Request, identity: str | None) -> Caller:
    return Caller(identity or "", request.remote or "")
