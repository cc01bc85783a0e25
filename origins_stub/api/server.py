"""The API origin over HTTP: its routes, and the Passport that all but two of them need, unless it has a legacy mode."""

from collections import Counter
from collections.abc import Sequence

import structlog
from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from origins_stub.api import bodies, pages
from origins_stub.api.auth_client import AuthClient
from origins_stub.api.client_address import Network
from origins_stub.api.echo import Echo
from origins_stub.api.legacy.mode import LegacyMode
from origins_stub.api.services import Services
from origins_stub.api.sessions import Sessions
from origins_stub.api.subscriber_client import SubscriberClient
from origins_stub.kit.answers import health
from passport import Adoption, PassportKeySource, PassportRefusal
from passport.aiohttp import HEADER, passport_middleware

# /echo verifies for itself, so that it can also show a request whose Passport is refused.
PUBLIC_PATHS = frozenset({"/health", "/echo"})
_log = structlog.get_logger("origins_stub.api")


class ApiServer:
    """The API origin; `auth_url` and `subscriber_url` are where these services are.

    `trusted_proxies` are those of the edge's listener. With a `legacy` mode it serves requests without a Passport, too,
    by their cookies.
    """

    def __init__(
        self,
        auth_url: str,
        subscriber_url: str,
        keys: PassportKeySource,
        trust_domain: str,
        *,
        trusted_proxies: Sequence[Network] = (),
        legacy: LegacyMode | None = None,
    ) -> None:
        self._auth_url = auth_url
        self._subscriber_url = subscriber_url
        self._keys = keys
        self._trust_domain = trust_domain
        self._trusted_proxies = trusted_proxies
        self._legacy = legacy
        self._returned: Counter[Adoption] = Counter()

    def app(self) -> web.Application:
        """Return the application."""
        verify = passport_middleware(
            self._keys,
            self._trust_domain,
            public_paths=PUBLIC_PATHS,
            on_refused=_refused,
            on_returned=self._count_returned,
        )
        app = web.Application(middlewares=[verify if self._legacy is None else _either(verify, self._legacy)])
        if self._legacy is not None:
            self._legacy.add_to(app)
        app.router.add_get("/health", health)
        app.router.add_get("/", pages.hello)
        app.router.add_get("/browse", pages.browse)
        app.router.add_get("/account", pages.account)
        services = Services([self._auth_url, self._subscriber_url])
        subscriber = SubscriberClient(services, self._subscriber_url)
        Sessions(AuthClient(services, self._auth_url), subscriber, self._trusted_proxies).add_to(app)
        app.router.add_route("*", "/echo", Echo(self._keys, self._trust_domain))
        app.router.add_get("/download", bodies.download)
        app.router.add_post("/upload", bodies.upload)
        app.router.add_get("/slow", bodies.slow)
        app.router.add_get("/stream", bodies.stream)
        app.router.add_route("*", "/early", bodies.early)
        app.cleanup_ctx.append(services.running)
        return app

    def _count_returned(self, adoption: Adoption) -> None:
        """Count what came of the Passports that services return, and say so where one was ignored."""
        self._returned[adoption] += 1
        if adoption in {Adoption.STALE, Adoption.REFUSED}:
            _log.warning("returned_passport_ignored", outcome=adoption.value, times=self._returned[adoption])


def _refused(reason: PassportRefusal) -> None:
    _log.warning("passport_refused", reason=reason.value)


def _either(verify: Middleware, legacy: LegacyMode) -> Middleware:
    """Return a middleware that goes by the Passport where there is one, however bad, and else by the cookies.

    Only the edge reaches this origin, and it lets nobody else's Passport through: to have none is for it to say.
    """

    @web.middleware
    async def either(request: web.Request, handler: Handler) -> web.StreamResponse:
        return await (verify if HEADER in request.headers else legacy.serve)(request, handler)

    return either
