"""Passes the Passport on in calls of gRPC clients, threaded and asyncio, and adopts the one that comes back.

A channel leads to one service, so that there is no list of who may have it: intercept none out of the trust domain.
A Passport comes back with unary responses only; after a stream, look at the trailing metadata yourself.
"""

import asyncio
from collections.abc import Iterable
from typing import Any, NamedTuple, TypeVar

import grpc

from passport.exchange import ExchangePassport, serving
from passport.grpc import METADATA_KEY

_Metadata = Iterable[tuple[str, str | bytes]]
_Call = TypeVar("_Call")


class _Details(NamedTuple):
    method: str
    timeout: float | None
    metadata: tuple[tuple[str, str | bytes], ...] | None
    credentials: grpc.CallCredentials | None
    wait_for_ready: bool | None
    compression: grpc.Compression | None


class _CallDetails(_Details, grpc.ClientCallDetails):
    pass


class PassportClientInterceptor(
    grpc.UnaryUnaryClientInterceptor,
    grpc.UnaryStreamClientInterceptor,
    grpc.StreamUnaryClientInterceptor,
    grpc.StreamStreamClientInterceptor,
):
    """For `grpc.intercept_channel`. Without `exchange` it is that of the request which the thread serves."""

    def __init__(self, exchange: ExchangePassport | None = None) -> None:
        self._exchange = exchange

    def _unary(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        exchange = self._exchange or serving()
        if exchange is None:
            return continuation(client_call_details, request)
        call = continuation(_threaded(client_call_details, exchange), request)
        call.add_done_callback(lambda done: _adopt(exchange, done.trailing_metadata()))
        return call

    def _stream(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        exchange = self._exchange or serving()
        return continuation(_threaded(client_call_details, exchange) if exchange else client_call_details, request)

    def intercept_unary_unary(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        """Make a call."""
        return self._unary(continuation, client_call_details, request)

    def intercept_unary_stream(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        """Make a call whose response streams."""
        return self._stream(continuation, client_call_details, request)

    def intercept_stream_unary(self, continuation: Any, client_call_details: Any, request_iterator: Any) -> Any:
        """Make a call whose request streams."""
        return self._unary(continuation, client_call_details, request_iterator)

    def intercept_stream_stream(self, continuation: Any, client_call_details: Any, request_iterator: Any) -> Any:
        """Make a call that streams both ways."""
        return self._stream(continuation, client_call_details, request_iterator)


def aio_passport_interceptors(exchange: ExchangePassport | None = None) -> list[grpc.aio.ClientInterceptor]:
    """Return `interceptors` of a `grpc.aio` channel, one for each kind of call.

    Without `exchange` it is that of the request which the task serves.
    """
    return [_UnaryUnary(exchange), _UnaryStream(exchange), _StreamUnary(exchange), _StreamStream(exchange)]


class _Aio:
    def __init__(self, exchange: ExchangePassport | None) -> None:
        self._exchange = exchange

    async def _unary(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        exchange = self._exchange or serving()
        if exchange is None:
            return await continuation(client_call_details, request)
        call = await continuation(_asynchronous(client_call_details, exchange), request)
        try:
            _adopt(exchange, await call.trailing_metadata())
        except asyncio.CancelledError:
            call.cancel()
            raise
        return call

    async def _stream(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        exchange = self._exchange or serving()
        return await continuation(
            _asynchronous(client_call_details, exchange) if exchange else client_call_details, request
        )


class _UnaryUnary(_Aio, grpc.aio.UnaryUnaryClientInterceptor):
    async def intercept_unary_unary(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        return await self._unary(continuation, client_call_details, request)


class _UnaryStream(_Aio, grpc.aio.UnaryStreamClientInterceptor):
    async def intercept_unary_stream(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        return await self._stream(continuation, client_call_details, request)


class _StreamUnary(_Aio, grpc.aio.StreamUnaryClientInterceptor):
    async def intercept_stream_unary(self, continuation: Any, client_call_details: Any, request_iterator: Any) -> Any:
        return await self._unary(continuation, client_call_details, request_iterator)


class _StreamStream(_Aio, grpc.aio.StreamStreamClientInterceptor):
    async def intercept_stream_stream(self, continuation: Any, client_call_details: Any, request_iterator: Any) -> Any:
        return await self._stream(continuation, client_call_details, request_iterator)


def _threaded(details: Any, exchange: ExchangePassport) -> _CallDetails:
    return _CallDetails(
        details.method,
        details.timeout,
        tuple(_with_passport(details.metadata, exchange)),
        details.credentials,
        details.wait_for_ready,
        details.compression,
    )


def _asynchronous(details: Any, exchange: ExchangePassport) -> Any:
    return details._replace(metadata=grpc.aio.Metadata(*_with_passport(details.metadata, exchange)))


def _with_passport(metadata: _Metadata | None, exchange: ExchangePassport) -> list[tuple[str, str | bytes]]:
    others = [(key, value) for key, value in metadata or () if key != METADATA_KEY]
    return [*others, (METADATA_KEY, exchange.raw)]


def _adopt(exchange: ExchangePassport, metadata: _Metadata | None) -> None:
    exchange.adopt_all_bytes(
        [value for key, value in metadata or () if key == METADATA_KEY and isinstance(value, bytes)]
    )
