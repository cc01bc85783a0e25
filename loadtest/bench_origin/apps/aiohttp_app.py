"""The aiohttp app, as the stub origin is one: also in the form of before, when an origin opened cookies itself."""

import time
from collections.abc import Awaitable, Callable

import uvloop
from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from loadtest.bench_origin.apps.app import HOST, NOBODY, App, page, read_arguments
from loadtest.bench_origin.credentials import ENVIRONMENT, NAMES, TRUST_DOMAIN
from loadtest.bench_origin.settings import Reads
from passport.aiohttp import passport_middleware, passport_of
from tokens.cookie import Claims, open_pair
from tokens.cookie_header import CookieScanner
from tokens.envelope import Refusal
from tokens.keys.ring import KeyRing

_CLAIMS = web.RequestKey("claims", Claims)


def cookie_middleware(ring: KeyRing) -> Middleware:
    """Return a middleware that opens the cookie pair of each request, and refuses what is not good."""
    scanner = CookieScanner((NAMES.insecure, NAMES.secure))

    @web.middleware
    async def open_cookies(request: web.Request, handler: Handler) -> web.StreamResponse:
        now = time.time()
        claims = _claims(scanner, ring, request, now)
        if claims is None or claims.expired(now):
            return web.json_response({"reason": "token_refused"}, status=401)
        request[_CLAIMS] = claims
        return await handler(request)

    return open_cookies


def _claims(scanner: CookieScanner, ring: KeyRing, request: web.Request, now: float) -> Claims | None:
    found = scanner.scan([value.encode("latin-1") for value in request.headers.getall("Cookie", ())]).found
    if isinstance(found, Refusal):
        return None
    insecure, secure = found
    if insecure is None or secure is None:
        return None
    opened = open_pair(ring, NAMES, ENVIRONMENT, (insecure, secure), now)
    return opened if isinstance(opened, Claims) else None


def _parts(app: App) -> tuple[list[Middleware], Callable[[web.Request], Awaitable[web.Response]]]:
    async def of_passport(request: web.Request) -> web.Response:
        return _answer(passport_of(request).customer_id)

    async def of_cookies(request: web.Request) -> web.Response:
        return _answer(request[_CLAIMS].customer_id)

    async def of_nothing(_: web.Request) -> web.Response:
        return _answer(NOBODY)

    if app.reads is Reads.PASSPORT:
        return [passport_middleware(app, TRUST_DOMAIN)], of_passport
    if app.reads is Reads.COOKIES:
        return [cookie_middleware(app.ring)], of_cookies
    return [], of_nothing


def _answer(customer_id: int | None) -> web.Response:
    return web.Response(body=page(customer_id), content_type="application/json")


def main() -> None:
    """Serve."""
    app = read_arguments()
    middlewares, browse = _parts(app)
    application = web.Application(middlewares=middlewares)
    application.router.add_get("/browse", browse)
    web.run_app(application, host=HOST, port=app.port, access_log=None, print=None, loop=uvloop.new_event_loop())


if __name__ == "__main__":
    main()
