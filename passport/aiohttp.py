"""The Passport in aiohttp: a middleware for servers, and one for clients that passes it on."""

from collections.abc import Iterable
from typing import Final, Unpack

from aiohttp import ClientHandlerType, ClientMiddlewareType, ClientRequest, ClientResponse, web
from aiohttp.typedefs import Handler, Middleware
from yarl import URL

from passport.exchange import ExchangePassport, serving
from passport.introspector import PassportIntrospector
from passport.receiving import HEADER, PassportKeySource, PassportReceiver, ReceivingOptions, Rejection, not_met
from passport.require import RequirementNotMet

__all__ = ["HEADER", "PassportKeySource", "exchange_of", "passport_middleware", "passport_of", "propagating"]

_EXCHANGE: Final = web.RequestKey("passport_exchange", ExchangePassport)


def passport_middleware(
    source: PassportKeySource, trust_domain: str, **options: Unpack[ReceivingOptions]
) -> Middleware:
    """Return a middleware after which `passport_of(request)` is a verified Passport.

    A request without exactly one valid `X-Passport` is answered with 401 and one look for every reason; the reason
    goes to `on_refused`. Without keys the answer is 503. What `require` finds missing is answered with 401 or 403. If
    the Passport changed on the exchange, the response gets it, unless the handler set one or has begun to send.
    """
    receiver = PassportReceiver(source, trust_domain, **options)

    @web.middleware
    async def verify_passport(request: web.Request, handler: Handler) -> web.StreamResponse:
        exchange = receiver.receive(request.path, request.headers.getall(HEADER, ()))
        if exchange is None:
            return await handler(request)
        if isinstance(exchange, Rejection):
            return _answer(exchange)
        request[_EXCHANGE] = exchange
        try:
            response = await handler(request)
        except RequirementNotMet as missed:
            return _answer(not_met(missed))
        except web.HTTPException as answer:  # a response, too: that to a login is often a redirect
            _give_back(exchange, answer)
            raise
        _give_back(exchange, response)
        return response

    return verify_passport


def passport_of(request: web.Request) -> PassportIntrospector:
    """Return the newest verified Passport of a request; KeyError if it did not go through the middleware."""
    return request[_EXCHANGE].passport


def exchange_of(request: web.Request) -> ExchangePassport:
    """Return the exchange of a request that went through the middleware; KeyError if it did not."""
    return request[_EXCHANGE]


def propagating(origins: Iterable[str], exchange: ExchangePassport | None = None) -> ClientMiddlewareType:
    """Return a client middleware, for a session or for a call, that passes the Passport on and adopts what comes back.

    `origins` are those that may have it, as `http://host:port`: requests to others lose it, also after a redirect.
    Without `exchange` it is that of the request which the task serves; where there is none, nothing is sent.
    """
    allowed = frozenset(URL(origin).origin() for origin in origins)

    async def pass_on(request: ClientRequest, handler: ClientHandlerType) -> ClientResponse:
        of = exchange or serving()
        if of is None or request.url.origin() not in allowed:
            request.headers.popall(HEADER, None)
            return await handler(request)
        request.headers[HEADER] = of.header_value
        response = await handler(request)
        of.adopt_all(response.headers.getall(HEADER, ()))
        return response

    return pass_on


def _give_back(exchange: ExchangePassport, response: web.StreamResponse) -> None:
    if exchange.is_changed and not response.prepared:
        response.headers.setdefault(HEADER, exchange.header_value)


def _answer(rejection: Rejection) -> web.Response:
    return web.Response(status=rejection.status, body=rejection.body, content_type="application/json", charset="utf-8")
