"""The Passport in ASGI: a middleware for Starlette, FastAPI and every other application. Needs no framework."""

from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any, Final, Unpack

from passport.exchange import ExchangePassport
from passport.introspector import PassportIntrospector
from passport.receiving import HEADER, PassportKeySource, PassportReceiver, ReceivingOptions, Rejection, not_met
from passport.require import RequirementNotMet

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

_KEY: Final = "passport.exchange"
_NAME: Final = HEADER.lower().encode()
_BEGINNINGS: Final = frozenset({"http.response.start", "websocket.accept", "websocket.http.response.start"})
_EXTENSION: Final = "websocket.http.response"


class PassportMiddleware:
    """Lets only requests and websockets through that bring one valid Passport; `passport_of` then has it.

    Others get 401 and one look for every reason, which goes to `on_refused`. Without keys the answer is 503. What
    `require` finds missing is answered with 401 or 403. If the Passport changed on the exchange, the response gets it,
    unless the application set one.
    """

    def __init__(
        self, app: App, source: PassportKeySource, trust_domain: str, **options: Unpack[ReceivingOptions]
    ) -> None:
        self._app = app
        self._receiver = PassportReceiver(source, trust_domain, **options)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] == "lifespan":
            return await self._app(scope, receive, send)
        values = [value for name, value in scope["headers"] if name == _NAME]
        exchange = self._receiver.receive(scope["path"], values)
        if exchange is None:
            return await self._app(scope, receive, send)
        if isinstance(exchange, Rejection):
            if scope["type"] == "websocket":
                await receive()  # websocket.connect: what comes before any answer
            return await _reject(exchange, scope, send)
        scope[_KEY] = exchange
        answer = _Answer(exchange, send)
        try:
            await self._app(scope, receive, answer.send)
        except RequirementNotMet as missed:
            if answer.begun:
                raise
            await _reject(not_met(missed), scope, send)


def passport_of(scope: Mapping[str, Any]) -> PassportIntrospector:
    """Return the newest verified Passport of a scope, or of a request of Starlette or FastAPI; KeyError if none."""
    return exchange_of(scope).passport


def exchange_of(scope: Mapping[str, Any]) -> ExchangePassport:
    """Return the exchange of a scope, which a request of Starlette or FastAPI is too; KeyError if it has none."""
    exchange: ExchangePassport = scope[_KEY]
    return exchange


class _Answer:
    """What an application sends, with the Passport on its first message if that changed."""

    __slots__ = ("_exchange", "_send", "begun")

    def __init__(self, exchange: ExchangePassport, send: Send) -> None:
        self._exchange = exchange
        self._send = send
        self.begun = False

    def send(self, message: Message) -> Awaitable[None]:
        if message["type"] in _BEGINNINGS:
            self.begun = True
            if self._exchange.is_changed:
                message = _with_passport(message, self._exchange)
        return self._send(message)


def _with_passport(message: Message, exchange: ExchangePassport) -> Message:
    headers = list(message.get("headers", ()))
    if not any(name.lower() == _NAME for name, _ in headers):
        headers.append((_NAME, exchange.header_value.encode()))
    return {**message, "headers": headers}


async def _reject(rejection: Rejection, scope: Scope, send: Send) -> None:
    prefix = ""
    if scope["type"] == "websocket":
        if _EXTENSION not in scope.get("extensions", {}):
            await send({"type": "websocket.close", "code": 1008})  # the server answers with 403
            return
        prefix = "websocket."
    head = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(rejection.body))]
    await send({"type": f"{prefix}http.response.start", "status": rejection.status, "headers": head})
    await send({"type": f"{prefix}http.response.body", "body": rejection.body})
