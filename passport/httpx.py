"""Passes the Passport on in calls of httpx clients, and adopts the one that comes back: event hooks of a client."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import httpx

from passport.exchange import ExchangePassport, serving
from passport.receiving import HEADER

Hooks = Mapping[str, list[Callable[..., Any]]]
"""`event_hooks` of a client, as httpx has them."""


def propagating(origins: Iterable[str], exchange: ExchangePassport | None = None) -> Hooks:
    """Return hooks for `httpx.Client(event_hooks=…)` that pass the Passport on and adopt what comes back.

    `origins` are those that may have it, as `http://host:port`: requests to others lose it, also after a redirect.
    Without `exchange` it is that of the request which the thread or task serves; where there is none, nothing is sent.
    """
    passing = _Passing(origins, exchange)
    return {"request": [passing.send], "response": [passing.adopt]}


def async_propagating(origins: Iterable[str], exchange: ExchangePassport | None = None) -> Hooks:
    """Return hooks for `httpx.AsyncClient(event_hooks=…)`: see `propagating`."""
    passing = _Passing(origins, exchange)

    async def send(request: httpx.Request) -> None:
        passing.send(request)

    async def adopt(response: httpx.Response) -> None:
        passing.adopt(response)

    return {"request": [send], "response": [adopt]}


class _Passing:
    def __init__(self, origins: Iterable[str], exchange: ExchangePassport | None) -> None:
        self._allowed = frozenset(_origin(httpx.URL(origin)) for origin in origins)
        self._exchange = exchange

    def send(self, request: httpx.Request) -> None:
        exchange = self._of(request)
        if exchange is None:
            request.headers.pop(HEADER, None)  # httpx copies the headers of a request that is redirected
        else:
            request.headers[HEADER] = exchange.header_value

    def adopt(self, response: httpx.Response) -> None:
        exchange = self._of(response.request)
        if exchange is not None:
            exchange.adopt_all(response.headers.get_list(HEADER))

    def _of(self, request: httpx.Request) -> ExchangePassport | None:
        return (self._exchange or serving()) if _origin(request.url) in self._allowed else None


def _origin(url: httpx.URL) -> tuple[str, str, int | None]:
    return url.scheme, url.host, url.port or {"http": 80, "https": 443}.get(url.scheme)
