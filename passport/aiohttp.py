"""Verifies the Passport of every request to an aiohttp server: one middleware."""

from collections.abc import Callable
from time import time
from typing import Final, Protocol

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from passport.introspector import MAX_AGE_S, PassportIntrospector
from passport.keys import PassportKeys
from passport.refusals import PassportRefusal, PassportRefused

HEADER: Final = "X-Passport"
_PASSPORT: Final = web.RequestKey("passport", PassportIntrospector)


class PassportKeySource(Protocol):
    """Whoever keeps the keys up to date; None until there are any."""

    @property
    def passport_keys(self) -> PassportKeys | None:
        """The keys of this moment."""
        ...


def passport_middleware(
    source: PassportKeySource,
    trust_domain: str,
    *,
    public_paths: frozenset[str] = frozenset({"/health"}),
    max_age_s: float = MAX_AGE_S,
    accept_v1: bool = False,
    on_refused: Callable[[PassportRefusal], None] | None = None,
    clock: Callable[[], float] = time,
) -> Middleware:
    """Return a middleware after which `passport_of(request)` is a verified Passport.

    A request without exactly one valid `X-Passport` is answered with 401 and one look for every reason; the reason
    goes to `on_refused`. Without keys the answer is 503. Requests to `public_paths` pass without a Passport.
    """

    @web.middleware
    async def verify_passport(request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.path in public_paths:
            return await handler(request)
        keys = source.passport_keys
        if keys is None:
            return web.json_response({"reason": "keys_unavailable"}, status=503)
        try:
            value = _single(request.headers.getall(HEADER, []))
            request[_PASSPORT] = PassportIntrospector.from_base64(
                value, keys, now=clock(), trust_domain=trust_domain, max_age_s=max_age_s, accept_v1=accept_v1
            )
        except PassportRefused as refused:
            if on_refused is not None:
                on_refused(refused.reason)
            return web.json_response({"reason": "passport_refused"}, status=401)
        return await handler(request)

    return verify_passport


def passport_of(request: web.Request) -> PassportIntrospector:
    """Return the verified Passport of a request that went through the middleware; KeyError if it did not."""
    return request[_PASSPORT]


def _single(values: list[str]) -> str:
    if not values:
        raise PassportRefused(PassportRefusal.MISSING)
    if len(values) > 1:
        raise PassportRefused(PassportRefusal.REPEATED)
    return values[0]
