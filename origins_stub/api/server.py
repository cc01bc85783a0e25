"""The API origin over HTTP: its routes, and the Passport that all but two of them need."""

import structlog
from aiohttp import web

from origins_stub.api import bodies, pages
from origins_stub.api.auth_client import AuthClient
from origins_stub.api.echo import Echo
from origins_stub.api.sessions import Sessions
from origins_stub.kit.answers import health
from passport import PassportRefusal
from passport.aiohttp import PassportKeySource, passport_middleware

# /echo verifies for itself, so that it can also show a request whose Passport is refused.
PUBLIC_PATHS = frozenset({"/health", "/echo"})
_log = structlog.get_logger("origins_stub.api")


class ApiServer:
    """The API origin; `auth_url` is where the auth service is."""

    def __init__(self, auth_url: str, keys: PassportKeySource, trust_domain: str) -> None:
        self._auth_url = auth_url
        self._keys = keys
        self._trust_domain = trust_domain

    def app(self) -> web.Application:
        """Return the application."""
        verify = passport_middleware(self._keys, self._trust_domain, public_paths=PUBLIC_PATHS, on_refused=_refused)
        app = web.Application(middlewares=[verify])
        app.router.add_get("/health", health)
        app.router.add_get("/", pages.hello)
        app.router.add_get("/browse", pages.browse)
        app.router.add_get("/account", pages.account)
        auth = AuthClient(self._auth_url)
        sessions = Sessions(auth)
        app.router.add_post("/login", sessions.login)
        app.router.add_post("/logout", sessions.logout)
        app.router.add_route("*", "/echo", Echo(self._keys, self._trust_domain))
        app.router.add_get("/download", bodies.download)
        app.router.add_post("/upload", bodies.upload)
        app.router.add_get("/slow", bodies.slow)
        app.router.add_get("/stream", bodies.stream)
        app.router.add_route("*", "/early", bodies.early)
        app.cleanup_ctx.append(auth.running)
        return app


def _refused(reason: PassportRefusal) -> None:
    _log.warning("passport_refused", reason=reason.value)
