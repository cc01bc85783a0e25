"""Exchanges as the relay makes them, for trying one filter at a time."""

from edge.contract.exchange import Exchange, Request, Response
from edge.contract.headers import Headers
from edge.contract.identity import Level
from edge.contract.route import AuthPolicy, Route

REQUEST_ID = b"0123456789abcdeffedcba9876543210"
ANYBODY = AuthPolicy(user=Level.UNSPECIFIED, device=Level.UNSPECIFIED)


def headers_of(*fields: tuple[bytes, bytes]) -> Headers:
    """Return a header list of `(name as written, value)`."""
    headers = Headers()
    for name, value in fields:
        headers.add(name, value)
    return headers


def an_exchange(
    *fields: tuple[bytes, bytes],
    auth: AuthPolicy = ANYBODY,
    peer: str = "203.0.113.7",
    peer_trusted: bool = False,
    scheme: str = "http",
    secure: bool = False,
) -> Exchange:
    """Return an exchange whose request has these fields, from this peer, on a route with this policy."""
    request = Request(
        b"GET",
        b"/browse?x=1",
        b"/browse",
        b"edge.example",
        headers_of(*fields),
        scheme=scheme,
        peer=peer,
        peer_trusted=peer_trusted,
    )
    return Exchange(REQUEST_ID, 1_700_000_000.0, request, a_route(auth), secure=secure)


def a_route(auth: AuthPolicy) -> Route:
    """Return a route to the origin `api` with this policy."""
    return Route("browse", "api", auth, False, 1 << 20, 60.0, 15.0, 30.0)


def with_response(exchange: Exchange, *fields: tuple[bytes, bytes], status: int = 200, local: bool = False) -> Exchange:
    """Give the exchange a response with these fields."""
    exchange.response = Response(status, headers_of(*fields), b"" if local else None, local=local)
    return exchange
