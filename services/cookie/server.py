"""The HTTP surface of the cookie service (docs/services.md, The cookie service)."""

import secrets
from collections.abc import Callable

import structlog
from aiohttp import web
from edgepb.cookie.v1 import cookie_service_pb2 as pb

from services.cookie.issuing import Issuer, acceptable
from services.cookie.renewal import Keys, Renewer, fresh_nonces
from services.kit.callers import Callers
from services.kit.wire import health, message_response, read_message
from tokens.cookie import NoSealingKeyError

_SESSION_ID_BYTES = 16
_log = structlog.get_logger()


class CookieServer:
    """Handlers over one issuer and one renewer. `clock` gives epoch seconds."""

    def __init__(
        self, issuer: Issuer, keys: Keys, renewer: Renewer, callers: Callers, clock: Callable[[], float]
    ) -> None:
        self._issuer = issuer
        self._keys = keys
        self._renewer = renewer
        self._callers = callers
        self._clock = clock

    def application(self, max_body_bytes: int) -> web.Application:
        """Return the application to serve."""
        application = web.Application(client_max_size=max_body_bytes)
        application.router.add_get("/health", health)
        application.router.add_post("/v1/create", self.create)
        application.router.add_post("/v1/renew", self.renew)
        return application

    async def create(self, request: web.Request) -> web.Response:
        """Answer CreateRequest with a pair of a new session."""
        if not self._knows(request):
            return _error(401, "unknown_identity")
        message = await read_message(request, pb.CreateRequest)
        if message is None or not acceptable(message):
            return _error(400, "bad_request")
        claims = self._issuer.first(message, secrets.token_hex(_SESSION_ID_BYTES), self._clock())
        try:
            pair = self._issuer.seal(self._keys.ring, claims, fresh_nonces())
        except NoSealingKeyError:
            _log.error("not_created", detail="no_sealing_key")
            return _error(503, "keys_unavailable")
        _log.info("created", device_type=claims.device_type, level=claims.level)
        return message_response(pb.CreateResponse(pair=pair))

    async def renew(self, request: web.Request) -> web.Response:
        """Answer RenewRequest with an outcome; every outcome is a 200."""
        if not self._knows(request):
            return _error(401, "unknown_identity")
        message = await read_message(request, pb.RenewRequest)
        if message is None:
            return _error(400, "bad_request")
        renewal = await self._renewer.renew(message.insecure)
        _log.info("renewal", outcome=pb.RenewOutcome.Name(renewal.outcome).lower(), detail=renewal.detail)
        return message_response(pb.RenewResponse(outcome=renewal.outcome, pair=renewal.pair))

    def _knows(self, request: web.Request) -> bool:
        return self._callers.identify(request.headers.get("Authorization")) is not None


def _error(status: int, reason: str) -> web.Response:
    return message_response(pb.Error(reason=reason), status)
