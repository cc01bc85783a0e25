"""The subscriber service over HTTP: `/v1/subscribers/{customer_id}` for services, `/v1/me` for who has a Passport."""

import asyncio
from collections.abc import AsyncIterator

import structlog
from aiohttp import web

from origins_stub.kit.answers import health, json_answer, problem, read_json
from origins_stub.kit.bearer import Callers
from origins_stub.subscriber.store import MAX_ID, Membership, Subscriber, SubscriberStore
from passport import PassportKeySource, PassportRefusal, require
from passport.aiohttp import passport_middleware, passport_of

USER_SIGNERS = frozenset({"passport-auth"})
"""Who may have changed the user of a Passport on its way to here. Their keys could sign, too: hand them to few."""
_log = structlog.get_logger("origins_stub.subscriber")


class SubscriberServer:
    """Answer `readers` about subscribers, and let `writers` change them; with `keys`, tell users of themselves."""

    def __init__(
        self,
        store: SubscriberStore,
        readers: Callers,
        writers: Callers,
        keys: PassportKeySource | None = None,
        trust_domain: str = "",
    ) -> None:
        self._store = store
        self._readers = readers
        self._writers = writers
        self._keys = keys
        self._trust_domain = trust_domain

    def app(self) -> web.Application:
        """Return the application."""
        app = web.Application()
        app.router.add_get("/health", health)
        app.router.add_get("/v1/subscribers/{customer_id:[0-9]{1,19}}", self._get)
        app.router.add_put("/v1/subscribers/{customer_id:[0-9]{1,19}}", self._put)
        if self._keys is not None:
            app.add_subapp("/v1/me", self._me_app(self._keys))
        app.cleanup_ctx.append(self._open)
        return app

    def _me_app(self, keys: PassportKeySource) -> web.Application:
        verify = passport_middleware(keys, self._trust_domain, user_signers=USER_SIGNERS, on_refused=_refused)
        app = web.Application(middlewares=[verify])
        app.router.add_get("", self._me)
        return app

    async def _open(self, _: web.Application) -> AsyncIterator[None]:
        yield
        self._store.close()

    async def _get(self, request: web.Request) -> web.Response:
        if self._readers.identity(request) is None and self._writers.identity(request) is None:
            return _unknown_caller()
        customer_id = int(request.match_info["customer_id"])
        subscriber = await asyncio.to_thread(self._store.get, customer_id) if customer_id <= MAX_ID else None
        if subscriber is None:
            return _no_such_subscriber()
        return json_answer(200, subscriber.model_dump())

    async def _me(self, request: web.Request) -> web.Response:
        passport = passport_of(request)
        require(passport)
        customer_id = passport.customer_id or 0
        subscriber = await asyncio.to_thread(self._store.get, customer_id)
        member = subscriber is not None and subscriber.member
        return json_answer(200, {"customer_id": customer_id, "member": member})

    async def _put(self, request: web.Request) -> web.Response:
        if self._writers.identity(request) is None:
            known = self._readers.identity(request) is not None
            return problem(403, "not_allowed", "This caller may only read.") if known else _unknown_caller()
        customer_id = int(request.match_info["customer_id"])
        if not 0 < customer_id <= MAX_ID:
            return _no_such_subscriber()
        membership = await read_json(request, Membership)
        if isinstance(membership, web.Response):
            return membership
        subscriber = Subscriber(customer_id=customer_id, **membership.model_dump())
        await asyncio.to_thread(self._store.put, subscriber)
        return json_answer(200, subscriber.model_dump())


def _refused(reason: PassportRefusal) -> None:
    _log.warning("passport_refused", reason=reason.value)


def _no_such_subscriber() -> web.Response:
    return problem(404, "no_such_subscriber", "There is no subscriber with this customer id.")


def _unknown_caller() -> web.Response:
    answer = problem(401, "unknown_caller", "A bearer token of a known caller is needed.")
    answer.headers["WWW-Authenticate"] = "Bearer"
    return answer
