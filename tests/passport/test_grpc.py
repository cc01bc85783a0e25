"""The Passport in gRPC, on real servers of both kinds: metadata and payload, all kinds of calls, and on to the next."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import grpc
import pytest
from google.protobuf.wrappers_pb2 import BytesValue

from passport import (
    NO_USER,
    ExchangePassport,
    Level,
    PassportKeys,
    PassportMutator,
    PassportRefusal,
    UserAction,
    current_exchange,
    require,
)
from passport.grpc import METADATA_KEY, AioPassportInterceptor, Handler, PassportInterceptor, current_passport
from passport.grpc_client import PassportClientInterceptor, aio_passport_interceptors
from passport.receiving import ReceivingOptions
from tests.passport.samples import CUSTOMER_ID, DOMAIN, KEYS, NOW, build, read

RAW = build()
WHO = str(CUSTOMER_ID).encode()
KINDS = ("unary_unary", "unary_stream", "stream_unary", "stream_stream")
REQUEST = BytesValue(value=b"hello")


class Service:
    """Answers each kind of call with whom it serves; `change` signs out, `account` asks for HIGHEST."""

    def __init__(self) -> None:
        self.passport_keys: PassportKeys | None = KEYS
        self.refused: list[PassportRefusal] = []
        self._mutator = PassportMutator(self, "passport-auth", clock=lambda: NOW)

    @property
    def options(self) -> ReceivingOptions:
        return {"on_refused": self.refused.append, "clock": lambda: NOW, "public_paths": {"/test.T/open"}}

    def said(self, name: str) -> BytesValue:
        if name == "account":
            require(current_passport(), level=Level.HIGHEST)
        if name == "change":
            self._mutator.replace_user(current_exchange(), NO_USER, UserAction.USER_LOGOUT)
        if name == "open":
            with pytest.raises(LookupError):
                current_passport()
            return BytesValue(value=b"open")
        return BytesValue(value=str(current_passport().customer_id).encode())

    def threaded(self) -> dict[str, Handler]:
        def unary(name: str) -> Callable[[Any, Any], BytesValue]:
            return lambda _request, _context: self.said(name)

        def stream(request: Any, context: grpc.ServicerContext) -> Iterator[BytesValue]:
            for _ in range(2):
                yield self.said("unary_stream")

        return handlers({name: unary(name) for name in (*KINDS[::2], "account", "change", "open")}, stream)

    def asynchronous(self) -> dict[str, Handler]:
        def unary(name: str) -> Callable[[Any, Any], Any]:
            async def answer(request: Any, context: Any) -> BytesValue:
                return self.said(name)

            return answer

        async def stream(request: Any, context: Any) -> AsyncIterator[BytesValue]:
            for _ in range(2):
                yield self.said("unary_stream")

        async def written(request: Any, context: Any) -> None:
            for _ in range(2):
                await context.write(self.said("unary_stream"))

        made = handlers({name: unary(name) for name in (*KINDS[::2], "account", "change", "open")}, stream)
        made["written"] = grpc.unary_stream_rpc_method_handler(
            written, BytesValue.FromString, BytesValue.SerializeToString
        )
        made["blocking"] = grpc.unary_unary_rpc_method_handler(
            lambda _request, _context: self.said("unary_unary"), BytesValue.FromString, BytesValue.SerializeToString
        )
        return made


def handlers(unary: dict[str, Any], stream: Any) -> dict[str, Handler]:
    codecs = BytesValue.FromString, BytesValue.SerializeToString
    made = {name: grpc.unary_unary_rpc_method_handler(of, *codecs) for name, of in unary.items()}
    made["unary_stream"] = grpc.unary_stream_rpc_method_handler(stream, *codecs)
    made["stream_unary"] = grpc.stream_unary_rpc_method_handler(unary["stream_unary"], *codecs)
    made["stream_stream"] = grpc.stream_stream_rpc_method_handler(stream, *codecs)
    return made


@contextmanager
def threaded(service: Service, payload_field: str | None = None) -> Iterator[str]:
    server = grpc.server(
        ThreadPoolExecutor(2),
        interceptors=[PassportInterceptor(service, DOMAIN, payload_field=payload_field, **service.options)],
    )
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("test.T", service.threaded())])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(None).wait()


@asynccontextmanager
async def asynchronous(service: Service, payload_field: str | None = None) -> AsyncIterator[str]:
    server = grpc.aio.server(
        interceptors=[AioPassportInterceptor(service, DOMAIN, payload_field=payload_field, **service.options)]
    )
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("test.T", service.asynchronous())])
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.stop(None)


@pytest.fixture(params=["threaded", "asyncio"])
async def served(request: pytest.FixtureRequest) -> AsyncIterator[tuple[Service, str]]:
    service = Service()
    if request.param == "threaded":
        with threaded(service) as target:
            yield service, target
    else:
        async with asynchronous(service) as target:
            yield service, target


async def ask(target: str, name: str, *passports: bytes, request: BytesValue = REQUEST, kind: str = "") -> bytes:
    """Call a method; return what it said, of a stream the last. Raises grpc.RpcError."""
    kind = kind or (name if name in KINDS else "unary_unary")
    metadata = tuple((METADATA_KEY, each) for each in passports)

    # The threaded client: that of asyncio says INTERNAL if it still writes when a call is refused.
    def call() -> bytes:
        with grpc.insecure_channel(target) as channel:
            method = getattr(channel, kind)(f"/test.T/{name}", BytesValue.SerializeToString, BytesValue.FromString)
            answer = method(iter([request]) if kind.startswith("stream") else request, metadata=metadata, timeout=30)
            return bytes((answer if kind.endswith("unary") else list(answer)[-1]).value)

    return await asyncio.to_thread(call)


async def refused(target: str, name: str, *passports: bytes, **how: Any) -> tuple[grpc.StatusCode, str | None]:
    with pytest.raises(grpc.RpcError) as caught:
        await ask(target, name, *passports, **how)
    return caught.value.code(), caught.value.details()


@pytest.mark.parametrize("kind", KINDS)
async def test_a_handler_of_every_kind_has_the_verified_passport(served: tuple[Service, str], kind: str) -> None:
    assert await ask(served[1], kind, RAW) == WHO


@pytest.mark.parametrize("kind", KINDS)
async def test_x5_none_and_two_are_refused_with_one_look(served: tuple[Service, str], kind: str) -> None:
    service, target = served
    for passports in ((), (RAW, RAW), (RAW[:-1],), (b"",)):
        assert await refused(target, kind, *passports) == (grpc.StatusCode.UNAUTHENTICATED, "passport_refused")
    missing, repeated, *malformed = service.refused
    assert (missing, repeated) == (PassportRefusal.MISSING, PassportRefusal.REPEATED)
    assert malformed == [PassportRefusal.MALFORMED] * 2


async def test_x1_a_forged_passport_is_refused(served: tuple[Service, str]) -> None:
    forged = RAW[:-1] + bytes([RAW[-1] ^ 1])
    assert (await refused(served[1], "unary_unary", forged))[0] is grpc.StatusCode.UNAUTHENTICATED
    assert served[0].refused == [PassportRefusal.BAD_MAC]


async def test_without_keys_nothing_is_let_through(served: tuple[Service, str]) -> None:
    served[0].passport_keys = None
    assert await refused(served[1], "unary_unary", RAW) == (grpc.StatusCode.UNAVAILABLE, "keys_unavailable")


async def test_what_is_asked_for_in_a_handler_is_answered_for_it(served: tuple[Service, str]) -> None:
    assert await refused(served[1], "account", RAW) == (grpc.StatusCode.PERMISSION_DENIED, "level_too_low")
    nobody = await refused(served[1], "account", build(NO_USER))
    assert nobody == (grpc.StatusCode.UNAUTHENTICATED, "no_user")


async def test_public_methods_need_no_passport_and_have_none(served: tuple[Service, str]) -> None:
    await ask(served[1], "unary_unary", RAW)
    assert await ask(served[1], "open") == b"open"


async def test_an_unknown_method_is_unknown(served: tuple[Service, str]) -> None:
    assert (await refused(served[1], "nothing"))[0] is grpc.StatusCode.UNIMPLEMENTED


async def test_asyncio_handlers_that_write_or_block_have_it_too() -> None:
    async with asynchronous(Service()) as target:
        assert await ask(target, "written", RAW, kind="unary_stream") == WHO
        assert await ask(target, "blocking", RAW) == WHO
        assert (await refused(target, "written", kind="unary_stream"))[0] is grpc.StatusCode.UNAUTHENTICATED


@pytest.mark.parametrize("kind", ["unary_unary", "unary_stream"])
async def test_a_payload_field_carries_it_for_those_who_ask(kind: str) -> None:
    request = BytesValue(value=RAW)
    service = Service()
    with threaded(service, "value") as target:
        assert await ask(target, kind, request=request) == WHO
        assert await ask(target, kind, RAW, request=BytesValue()) == WHO
        assert (await refused(target, kind, RAW, request=request))[0] is grpc.StatusCode.UNAUTHENTICATED
    async with asynchronous(service, "value") as target:
        assert await ask(target, kind, request=request) == WHO
        assert (await refused(target, kind, RAW, request=request))[0] is grpc.StatusCode.UNAUTHENTICATED
    async with asynchronous(service) as target:
        assert (await refused(target, kind, request=request))[0] is grpc.StatusCode.UNAUTHENTICATED
    assert service.refused == [PassportRefusal.REPEATED] * 2 + [PassportRefusal.MISSING]


def exchange() -> ExchangePassport:
    return ExchangePassport(read(RAW))


@pytest.mark.parametrize("kind", KINDS)
async def test_an_asyncio_client_passes_it_on(served: tuple[Service, str], kind: str) -> None:
    of = exchange()
    async with grpc.aio.insecure_channel(served[1], interceptors=aio_passport_interceptors(of)) as channel:
        call = getattr(channel, kind)(f"/test.T/{kind}", BytesValue.SerializeToString, BytesValue.FromString)
        started = call([REQUEST] if kind.startswith("stream") else REQUEST, timeout=30)
        said = await started if kind.endswith("unary") else [answer async for answer in started][-1]
    assert (said.value, of.is_changed) == (WHO, False)


@pytest.mark.parametrize("kind", KINDS)
def test_a_threaded_client_passes_it_on(kind: str) -> None:
    of = exchange()
    with threaded(Service()) as target, grpc.insecure_channel(target) as plain:
        channel = grpc.intercept_channel(plain, PassportClientInterceptor(of))
        call = getattr(channel, kind)(f"/test.T/{kind}", BytesValue.SerializeToString, BytesValue.FromString)
        started = call(iter([REQUEST]) if kind.startswith("stream") else REQUEST, timeout=30)
        said = started if kind.endswith("unary") else list(started)[-1]
    assert (said.value, of.is_changed) == (WHO, False)


async def test_clients_adopt_the_passport_that_comes_back(served: tuple[Service, str]) -> None:
    of = exchange()
    async with grpc.aio.insecure_channel(served[1], interceptors=aio_passport_interceptors(of)) as channel:
        call = channel.unary_unary("/test.T/change", BytesValue.SerializeToString, BytesValue.FromString)
        await call(REQUEST, timeout=30)
    assert (of.is_changed, of.raw == RAW) == (True, False)


def test_threaded_clients_adopt_the_passport_that_comes_back() -> None:
    of = exchange()
    with threaded(Service()) as target, grpc.insecure_channel(target) as plain:
        channel = grpc.intercept_channel(plain, PassportClientInterceptor(of))
        call = channel.unary_unary("/test.T/change", BytesValue.SerializeToString, BytesValue.FromString)
        call(REQUEST, timeout=30)
        assert of.is_changed
        with pytest.raises(grpc.RpcError) as refused:
            channel.unary_unary("/test.T/nothing", BytesValue.SerializeToString, BytesValue.FromString)(REQUEST)
    assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_without_an_exchange_nothing_is_sent(served: tuple[Service, str]) -> None:
    async with grpc.aio.insecure_channel(served[1], interceptors=aio_passport_interceptors()) as channel:
        call = channel.unary_unary("/test.T/unary_unary", BytesValue.SerializeToString, BytesValue.FromString)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call(REQUEST, timeout=30)
    assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
