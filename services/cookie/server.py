"""The HTTP surface of the cookie service (docs/services.md, The cookie service)."""

import secrets
from collections.abc import Callable, Mapping
from typing import Final, Protocol

import structlog
from aiohttp import web
from edgepb.cookie.v1 import cookie_service_pb2 as pb

from services.cookie.config import CookieConfig, Right
from services.cookie.feed import Feed
from services.cookie.issuing import Issuer, acceptable
from services.cookie.metrics import CONTENT_TYPE, Calls, exposition
from services.cookie.presented import Keys, fresh_nonces
from services.cookie.renewal import Renewer
from services.cookie.revocation import kind_of
from services.cookie.session_update import unacceptable
from services.cookie.store import Store
from services.cookie.updating import Updater
from services.kit.callers import Callers
from services.kit.database_calls import DatabaseUnavailable
from services.kit.wire import message_response, read_message
from tokens.cookie import NoSealingKeyError

_SESSION_ID_BYTES: Final = 16
_MAX_WAIT_S: Final = 60.0
_MAX_CURSOR_DIGITS: Final = 18
_log = structlog.get_logger()


class ServedKeys(Keys, Protocol):
    """Keys that can be told of."""

    def health(self) -> Mapping[str, str | float]:
        """Return where the keys are from, and how old they are."""
        ...


class AskedSubscribers(Protocol):
    """A subscriber service that can be told of."""

    def health(self) -> str:
        """Return whether it is asked."""
        ...


class CookieServer:
    """Handlers over one issuer, one renewer, one updater, one store and its feed. `clock` gives epoch seconds."""

    def __init__(
        self,
        *,
        config: CookieConfig,
        callers: Callers,
        issuer: Issuer,
        keys: ServedKeys,
        subscribers: AskedSubscribers,
        renewer: Renewer,
        updater: Updater,
        store: Store,
        feed: Feed,
        clock: Callable[[], float],
    ) -> None:
        self._config = config
        self._callers = callers
        self._issuer = issuer
        self._keys = keys
        self._subscribers = subscribers
        self._renewer = renewer
        self._updater = updater
        self._store = store
        self._feed = feed
        self._clock = clock
        self._calls = Calls()

    def application(self, max_body_bytes: int) -> web.Application:
        """Return the application to serve."""
        application = web.Application(client_max_size=max_body_bytes)
        application.router.add_get("/health", self.health)
        application.router.add_get("/metrics", self.metrics)
        application.router.add_post("/v1/create", self.create)
        application.router.add_post("/v1/renew", self.renew)
        application.router.add_post("/v1/update", self.update)
        application.router.add_post("/v1/revocations", self.revoke)
        application.router.add_get("/v1/revocations", self.follow)
        application.on_shutdown.append(self._end)
        return application

    async def health(self, _: web.Request) -> web.Response:
        """Answer `GET /health`: the process serves, with which keys, and whom its renewals ask."""
        return web.json_response(
            {
                "status": "ok",
                "keys": self._keys.health(),
                "subscriber_breaker": self._subscribers.health(),
                "database_breaker": self._store.health(),
            }
        )

    async def metrics(self, _: web.Request) -> web.Response:
        """Answer `GET /metrics`."""
        breakers = {"subscriber": self._subscribers.health(), "database": self._store.health()}
        body = exposition(self._calls, breakers, self._keys.health())
        return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE})

    async def create(self, request: web.Request) -> web.Response:
        """Answer CreateRequest with a pair of a new session."""
        caller = self._caller(request, Right.CREATE)
        if isinstance(caller, web.Response):
            return caller
        message = await read_message(request, pb.CreateRequest)
        if message is None or not acceptable(message):
            return _error(400, "bad_request")
        now, session_id = self._clock(), secrets.token_hex(_SESSION_ID_BYTES)
        claims = self._issuer.first(message, session_id, now, await self._revoked_last(message, session_id))
        try:
            pair = self._issuer.seal(self._keys.ring, claims, fresh_nonces())
        except NoSealingKeyError as problem:
            _log.error("not_created", detail=problem.reason)
            self._calls.count("create", "keys_unavailable")
            return _error(503, "keys_unavailable")
        self._calls.count("create", "created")
        _log.info("created", device_type=claims.device_type, level=claims.level)
        return message_response(pb.CreateResponse(pair=pair))

    async def renew(self, request: web.Request) -> web.Response:
        """Answer RenewRequest with an outcome; every outcome is a 200."""
        caller = self._caller(request, Right.RENEW)
        if isinstance(caller, web.Response):
            return caller
        message = await read_message(request, pb.RenewRequest)
        if message is None:
            return _error(400, "bad_request")
        renewal = await self._renewer.renew(message.insecure)
        outcome = pb.RenewOutcome.Name(renewal.outcome).lower()
        self._calls.count("renew", outcome)
        _log.info("renewal", outcome=outcome, detail=renewal.detail)
        return message_response(pb.RenewResponse(outcome=renewal.outcome, pair=renewal.pair, moved_to=renewal.moved_to))

    async def update(self, request: web.Request) -> web.Response:
        """Answer UpdateRequest with an outcome; every outcome is a 200."""
        caller = self._caller(request, Right.UPDATE)
        if isinstance(caller, web.Response):
            return caller
        message = await read_message(request, pb.UpdateRequest)
        if message is None:
            return _error(400, "bad_request")
        field = unacceptable(message)
        if field:
            return _error(400, f"bad_{field}")
        update = await self._updater.update(message)
        outcome = pb.RenewOutcome.Name(update.outcome).lower()
        self._calls.count("update", outcome)
        _log.info("update", outcome=outcome, detail=update.detail)
        return message_response(pb.UpdateResponse(outcome=update.outcome, pair=update.pair, moved_to=update.moved_to))

    async def revoke(self, request: web.Request) -> web.Response:
        """Answer RevokeRequest with what is stored from now on."""
        caller = self._caller(request, Right.REVOKE)
        if isinstance(caller, web.Response):
            return caller
        message = await read_message(request, pb.RevokeRequest)
        kind = None if message is None else kind_of(message)
        if message is None or kind is None:
            return _error(400, "bad_request")
        reason = pb.RevocationReason.Name(message.reason).lower()
        try:
            revocation = await self._store.revoke(message, kind, caller)
        except DatabaseUnavailable as problem:
            self._calls.count("revoke", "database_unavailable")
            _log.error("not_revoked", reason=reason, by=caller, detail=str(problem))
            return _error(503, "database_unavailable")
        self._feed.stored(revocation)
        self._calls.count("revoke", "revoked")
        _log.info("revoked", reason=reason, by=caller, id=revocation.id)
        return message_response(pb.RevokeResponse(revocation=revocation))

    async def follow(self, request: web.Request) -> web.Response:
        """Answer with the feed after the cursor `after`, as soon as there is something, or after `wait_s`."""
        caller = self._caller(request, Right.FOLLOW)
        if isinstance(caller, web.Response):
            return caller
        after, wait_s = _cursor(request.query.get("after", "0")), _wait_s(request.query.get("wait_s", "0"))
        if after is None or wait_s is None:
            return _error(400, "bad_request")
        try:
            return message_response(await self._feed.page(after, wait_s))
        except DatabaseUnavailable:
            return _error(503, "database_unavailable")

    async def _revoked_last(self, message: pb.CreateRequest, session_id: str) -> int:
        """Return after when the pair is to be issued.

        Unknown is no reason not to sign in: at worst a pair is revoked with what was revoked just before.
        """
        try:
            return (await self._store.revoked(message.customer_id, session_id, message.esn)).newest
        except DatabaseUnavailable as problem:
            _log.warning("created_without_a_look_at_revocations", problem=str(problem))
            return 0

    def _caller(self, request: web.Request, right: Right) -> str | web.Response:
        """Return the identity that calls, or the refusal of one that is none, or that has no such right."""
        identity = self._callers.identify(request.headers.get("Authorization"))
        if identity is None:
            return _error(401, "unknown_identity")
        if right not in self._config.identities[identity]:
            _log.warning("not_granted", identity=identity, right=right)
            return _error(403, "not_granted")
        return identity

    async def _end(self, _: web.Application) -> None:
        self._feed.end()


def _cursor(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) <= _MAX_CURSOR_DIGITS else None


def _wait_s(text: str) -> float | None:
    """Read a wait in seconds, none longer than a minute."""
    try:
        wait_s = float(text)
    except ValueError:
        return None
    return min(wait_s, _MAX_WAIT_S) if wait_s >= 0 else None


def _error(status: int, reason: str) -> web.Response:
    return message_response(pb.Error(reason=reason), status)
