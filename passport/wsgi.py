"""The Passport in WSGI: a middleware for every application. Needs no framework; Flask has `passport.flask`."""

import sys
from collections.abc import Iterable
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, Unpack

from passport.exchange import ExchangePassport
from passport.introspector import PassportIntrospector
from passport.receiving import HEADER, PassportKeySource, PassportReceiver, ReceivingOptions, Rejection, not_met
from passport.require import RequirementNotMet

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

    _ExcInfo = tuple[type[BaseException], BaseException, TracebackType] | tuple[None, None, None]

_KEY: Final = "passport.exchange"
_VARIABLE: Final = "HTTP_" + HEADER.upper().replace("-", "_")


class PassportMiddleware:
    """Lets only requests through that bring one valid Passport; `passport_of` then has it.

    Others get 401 and one look for every reason, which goes to `on_refused`. Without keys the answer is 503. What
    `require` finds missing is answered with 401 or 403, unless the framework answers first. If the Passport changed on
    the exchange before the response began, the response gets it, unless the application set one.
    """

    def __init__(
        self,
        app: "WSGIApplication",
        source: PassportKeySource,
        trust_domain: str,
        **options: Unpack[ReceivingOptions],
    ) -> None:
        self._app = app
        self._receiver = PassportReceiver(source, trust_domain, **options)

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        """Serve one request."""
        value = environ.get(_VARIABLE)
        # Servers join headers of one name with commas; no Passport has one.
        values = value.split(",") if value is not None else ()
        exchange = self._receiver.receive(environ.get("PATH_INFO", ""), values)
        if exchange is None:
            return self._app(environ, start_response)
        if isinstance(exchange, Rejection):
            return _answer(exchange, start_response)
        environ[_KEY] = exchange
        try:
            return self._app(environ, _Start(exchange, start_response))
        except RequirementNotMet as missed:
            return _answer(not_met(missed), start_response, raised=True)


def passport_of(environ: "WSGIEnvironment") -> PassportIntrospector:
    """Return the newest verified Passport of a request; KeyError if it did not go through the middleware."""
    return exchange_of(environ).passport


def exchange_of(environ: "WSGIEnvironment") -> ExchangePassport:
    """Return the exchange of a request that went through the middleware; KeyError if it did not."""
    exchange: ExchangePassport = environ[_KEY]
    return exchange


class _Start:
    """`start_response`, with the Passport among the headers if that changed."""

    __slots__ = ("_exchange", "_start_response")

    def __init__(self, exchange: ExchangePassport, start_response: "StartResponse") -> None:
        self._exchange = exchange
        self._start_response = start_response

    def __call__(
        self, status: str, headers: list[tuple[str, str]], exc_info: "_ExcInfo | None" = None, /
    ) -> "Callable[[bytes], Any]":
        if self._exchange.is_changed and not any(name.lower() == HEADER.lower() for name, _ in headers):
            headers = [*headers, (HEADER, self._exchange.header_value)]
        return self._start_response(status, headers, exc_info) if exc_info else self._start_response(status, headers)


def _answer(rejection: Rejection, start_response: "StartResponse", *, raised: bool = False) -> Iterable[bytes]:
    body = rejection.body
    status = f"{rejection.status} {HTTPStatus(rejection.status).phrase}"
    headers = [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
    if raised:  # the application may have called it, too
        start_response(status, headers, sys.exc_info())
    else:
        start_response(status, headers)
    return [body]
