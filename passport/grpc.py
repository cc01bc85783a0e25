"""The Passport in gRPC servers, threaded and asyncio: in the metadata `passport-bin`, or in a field of the request.

Interceptors and handlers of one call run in one context (contextvars), so that handlers find the Passport there.
"""

import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any, Final, NoReturn, TypeAlias, Unpack

import grpc

from passport.exchange import ExchangePassport, current_exchange
from passport.introspector import PassportIntrospector
from passport.receiving import PassportKeySource, PassportReceiver, ReceivingOptions, Rejection, not_met
from passport.require import RequirementNotMet

METADATA_KEY: Final = "passport-bin"

Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"
CallDetails: TypeAlias = grpc.HandlerCallDetails
Context: TypeAlias = grpc.ServicerContext
AioContext: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"
_Behaviour = Callable[[Any, Any], Any]
_CODES: Final = {
    401: grpc.StatusCode.UNAUTHENTICATED,
    403: grpc.StatusCode.PERMISSION_DENIED,
    503: grpc.StatusCode.UNAVAILABLE,
}
_KINDS: Final = {
    (False, False): ("unary_unary", grpc.unary_unary_rpc_method_handler),
    (False, True): ("unary_stream", grpc.unary_stream_rpc_method_handler),
    (True, False): ("stream_unary", grpc.stream_unary_rpc_method_handler),
    (True, True): ("stream_stream", grpc.stream_stream_rpc_method_handler),
}


def current_passport() -> PassportIntrospector:
    """Return the newest verified Passport of the call that is served; LookupError without an interceptor."""
    return current_exchange().passport


class _Interceptor:
    """What the interceptors of both servers are made of.

    A call without exactly one valid Passport ends with UNAUTHENTICATED and one look for every reason, which goes to
    `on_refused`. Without keys it is UNAVAILABLE. What `require` finds missing is UNAUTHENTICATED or PERMISSION_DENIED.
    If the Passport changed on the exchange, it goes back in the trailing metadata.
    """

    def __init__(
        self,
        source: PassportKeySource,
        trust_domain: str,
        *,
        payload_field: str | None = None,
        **options: Unpack[ReceivingOptions],
    ) -> None:
        """Take `payload_field`, a field of type bytes, for requests that carry the Passport in themselves."""
        self._receiver = PassportReceiver(source, trust_domain, **options)
        self._payload_field = payload_field

    def _receive(self, details: CallDetails, request: object) -> ExchangePassport | Rejection | None:
        metadata = details.invocation_metadata or ()
        values = [value for key, value in metadata if key == METADATA_KEY and isinstance(value, bytes)]
        if self._payload_field is not None:
            field = getattr(request, self._payload_field, b"")  # requests that stream have none
            values += [field] if isinstance(field, bytes) and field else []
        return self._receiver.receive_bytes(details.method, values)

    def _threaded(self, handler: Handler, details: CallDetails, behaviour: _Behaviour) -> _Behaviour:
        def begin(request: object, context: Context) -> ExchangePassport | None:
            exchange = self._receive(details, request)
            return _abort(context, exchange) if isinstance(exchange, Rejection) else exchange

        def unary(request: object, context: Context) -> object:
            exchange = begin(request, context)
            try:
                response = behaviour(request, context)
            except RequirementNotMet as missed:
                _abort(context, not_met(missed))
            _give_back(exchange, context)
            return response

        def stream(request: object, context: Context) -> Iterator[object]:
            exchange = begin(request, context)
            try:
                yield from behaviour(request, context)
            except RequirementNotMet as missed:
                _abort(context, not_met(missed))
            _give_back(exchange, context)

        return stream if handler.response_streaming else unary


class PassportInterceptor(_Interceptor, grpc.ServerInterceptor):
    """For `grpc.server(interceptors=[…])`."""

    def intercept_service(
        self, continuation: "Callable[[CallDetails], Handler | None]", handler_call_details: CallDetails
    ) -> "Handler | None":
        """Have the Passport of a call verified before its handler runs."""
        handler = continuation(handler_call_details)
        return handler and _around(handler, lambda of: self._threaded(handler, handler_call_details, of))


class AioPassportInterceptor(_Interceptor, grpc.aio.ServerInterceptor):
    """For `grpc.aio.server(interceptors=[…])`."""

    async def intercept_service(
        self, continuation: "Callable[[CallDetails], Awaitable[Handler | None]]", handler_call_details: CallDetails
    ) -> "Handler | None":
        """Have the Passport of a call verified before its handler runs."""
        handler = await continuation(handler_call_details)
        return handler and _around(handler, lambda of: self._asynchronous(handler, handler_call_details, of))

    def _asynchronous(self, handler: Handler, details: CallDetails, behaviour: _Behaviour) -> _Behaviour:
        async def begin(request: object, context: AioContext) -> ExchangePassport | None:
            exchange = self._receive(details, request)
            return await _abort_aio(context, exchange) if isinstance(exchange, Rejection) else exchange

        async def unary(request: object, context: AioContext) -> object:
            exchange = await begin(request, context)
            try:
                response = await behaviour(request, context)
            except RequirementNotMet as missed:
                await _abort_aio(context, not_met(missed))
            _give_back(exchange, context)
            return response

        async def stream(request: object, context: AioContext) -> AsyncIterator[object]:
            exchange = await begin(request, context)
            try:
                async for response in behaviour(request, context):
                    yield response
            except RequirementNotMet as missed:
                await _abort_aio(context, not_met(missed))
            _give_back(exchange, context)

        if inspect.isasyncgenfunction(behaviour):
            return stream
        # One that streams by `context.write` returns nothing, and is otherwise as one that does not.
        return unary if inspect.iscoroutinefunction(behaviour) else self._threaded(handler, details, behaviour)


def _around(handler: Handler, wrap: Callable[[_Behaviour], _Behaviour]) -> Handler:
    name, make = _KINDS[handler.request_streaming, handler.response_streaming]
    return make(wrap(getattr(handler, name)), handler.request_deserializer, handler.response_serializer)


def _abort(context: Context, rejection: Rejection) -> NoReturn:
    context.abort(_CODES[rejection.status], rejection.reason)


async def _abort_aio(context: AioContext, rejection: Rejection) -> NoReturn:
    await context.abort(_CODES[rejection.status], rejection.reason)


def _give_back(exchange: ExchangePassport | None, context: "Context | AioContext") -> None:
    if exchange is None or not exchange.is_changed:
        return
    trailing = tuple(context.trailing_metadata() or ())
    if not any(key == METADATA_KEY for key, _ in trailing):
        context.set_trailing_metadata((*trailing, (METADATA_KEY, exchange.raw)))
