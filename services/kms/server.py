"""The HTTP surface of the key management service (docs/keys.md, The interface).

The order of every request: who is it, may it, do it, write the access log, answer. An access that cannot be logged
is not answered.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import structlog
from aiohttp import web
from edgepb.kms.v1 import kms_pb2

from services.kit.callers import Callers
from services.kit.wire import health, message_response, read_message
from services.kms.access import STATUS, Access, Action, Outcome, may_fetch, may_operate
from services.kms.answers import JsonObject, key_sets_message, version_json
from services.kms.config import KmsConfig
from services.kms.states import State
from services.kms.store import Store

_MAX_PURPOSES = 32
_MAX_PURPOSE_LENGTH = 63
_KEY_ID_LENGTH = 8
_log = structlog.get_logger()
T = TypeVar("T")


@dataclass(slots=True, frozen=True)
class _Done:
    """How an operator's call ended: what the access log and the answer say. `body` is None for a refusal."""

    outcome: Outcome
    subject: str = ""
    body: JsonObject | None = None


class KmsServer:
    """Handlers over one store, whose calls run on one thread, one at a time."""

    def __init__(self, config: KmsConfig, callers: Callers, store: Store) -> None:
        self._config = config
        self._callers = callers
        self._store = store
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="store")

    def application(self, max_body_bytes: int) -> web.Application:
        """Return the application to serve."""
        application = web.Application(client_max_size=max_body_bytes)
        application.router.add_get("/health", health)
        application.router.add_post("/v1/key-sets", self.get_key_sets)
        application.router.add_get("/v1/key-sets", self.list_versions)
        application.router.add_post("/v1/key-sets/{purpose}/versions", self.add_version)
        application.router.add_post("/v1/keys/{key_id}/state", self.move_version)
        return application

    def close(self) -> None:
        """Wait for the store's last call, then close it."""
        self._thread.shutdown()
        self._store.close()

    async def get_key_sets(self, request: web.Request) -> web.Response:
        """Answer GetKeySetsRequest with the key sets, material included, or with an Error."""
        identity = self._callers.identify(request.headers.get("Authorization"))
        purposes: list[str] = []
        outcome = Outcome.UNKNOWN_IDENTITY
        if identity is not None:
            purposes = await _wanted_purposes(request)
            outcome = may_fetch(self._config, identity, purposes)
        await self._record(request, identity, Action.GET_KEY_SETS, ",".join(purposes), outcome)
        if outcome is not Outcome.GRANTED:
            return message_response(kms_pb2.Error(reason=outcome.value), STATUS[outcome])
        versions, revision = await self._run(lambda: self._store.open_versions(purposes))
        return message_response(key_sets_message(purposes, versions, revision))

    async def list_versions(self, request: web.Request) -> web.Response:
        """Answer an operator with all versions, without material."""
        return await self._operate(request, Action.LIST_VERSIONS, self._list)

    async def add_version(self, request: web.Request) -> web.Response:
        """Add a PRE_ACTIVE version to a key set, for an operator."""
        return await self._operate(request, Action.ADD_VERSION, self._add)

    async def move_version(self, request: web.Request) -> web.Response:
        """Move a version to the state that the JSON body names, for an operator."""
        return await self._operate(request, Action.MOVE_VERSION, self._move)

    async def _list(self, _: web.Request) -> _Done:
        versions, revision = await self._run(lambda: self._store.versions(self._config.key_sets))
        body: JsonObject = {"revision": revision, "versions": [version_json(each) for each in versions]}
        return _Done(Outcome.GRANTED, body=body)

    async def _add(self, request: web.Request) -> _Done:
        purpose = request.match_info["purpose"]
        if purpose not in self._config.key_sets:
            return _Done(Outcome.NO_SUCH_KEY_SET)
        version = await self._run(lambda: self._store.add_version(purpose, time.time()))
        return _Done(Outcome.GRANTED, f"{purpose} {version.key_id:08x}", version_json(version))

    async def _move(self, request: web.Request) -> _Done:
        text = request.match_info["key_id"]
        wanted = await _wanted_state(request)
        if wanted is None or len(text) != _KEY_ID_LENGTH or not set(text) <= set("0123456789abcdef"):
            return _Done(Outcome.BAD_REQUEST)
        subject = f"{text} {wanted}"
        try:
            moved = await self._run(lambda: self._store.move(int(text, 16), wanted))
        except KeyError:
            return _Done(Outcome.NO_SUCH_KEY, subject)
        if moved is None:
            return _Done(Outcome.ILLEGAL_MOVE, subject)
        return _Done(Outcome.GRANTED, subject, version_json(moved))

    async def _operate(
        self, request: web.Request, action: Action, work: Callable[[web.Request], Awaitable[_Done]]
    ) -> web.Response:
        identity = self._callers.identify(request.headers.get("Authorization"))
        if identity is None:
            done = _Done(Outcome.UNKNOWN_IDENTITY)
        elif may_operate(self._config, identity) is Outcome.GRANTED:
            done = await work(request)
        else:
            done = _Done(Outcome.NOT_AN_OPERATOR)
        await self._record(request, identity, action, done.subject, done.outcome)
        body: JsonObject = {"reason": done.outcome.value} if done.body is None else done.body
        return web.json_response(body, status=STATUS[done.outcome])

    async def _record(
        self, request: web.Request, identity: str | None, action: Action, subject: str, outcome: Outcome
    ) -> None:
        access = Access(time.time(), identity or "", request.remote or "", action, subject, outcome)
        await self._run(lambda: self._store.record(access))
        log = _log.info if outcome is Outcome.GRANTED else _log.warning
        log("access", identity=access.identity, peer=access.peer, action=action, subject=subject, outcome=outcome)

    async def _run(self, call: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, call)


async def _wanted_purposes(request: web.Request) -> list[str]:
    """Return the purposes asked for; empty when the body cannot be read as a request for some."""
    message = await read_message(request, kms_pb2.GetKeySetsRequest)
    purposes = [] if message is None else list(message.purposes)
    readable = len(purposes) <= _MAX_PURPOSES and all(0 < len(each) <= _MAX_PURPOSE_LENGTH for each in purposes)
    return purposes if readable else []


async def _wanted_state(request: web.Request) -> State | None:
    try:
        body = await request.json()
        return State(body["state"])
    except (ValueError, KeyError, TypeError):
        return None
