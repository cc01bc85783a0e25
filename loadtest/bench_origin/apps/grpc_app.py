"""The gRPC app: a unary call, in a server of threads or, with --aio, of asyncio."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

import grpc

from loadtest.bench_origin.apps.app import HOST, NOBODY, App, page, read_arguments
from loadtest.bench_origin.credentials import TRUST_DOMAIN
from loadtest.bench_origin.load import METHOD
from loadtest.bench_origin.settings import Reads
from passport.grpc import AioPassportInterceptor, PassportInterceptor, current_passport

_, _SERVICE, _NAME = METHOD.split("/")


def _serve(app: App) -> None:
    def browse(_: bytes, __: grpc.ServicerContext) -> bytes:
        return page(current_passport().customer_id if app.reads is Reads.PASSPORT else NOBODY)

    interceptors: list[grpc.ServerInterceptor] = (
        [PassportInterceptor(app, TRUST_DOMAIN)] if app.reads is Reads.PASSPORT else []
    )
    server = grpc.server(ThreadPoolExecutor(8), interceptors=interceptors)
    handlers: dict[str, grpc.RpcMethodHandler[bytes, bytes]] = {_NAME: grpc.unary_unary_rpc_method_handler(browse)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(_SERVICE, handlers),))
    server.add_insecure_port(f"{HOST}:{app.port}")
    server.start()
    server.wait_for_termination()


async def _serve_aio(app: App) -> None:
    async def browse(_: bytes, __: grpc.aio.ServicerContext[bytes, bytes]) -> bytes:
        return page(current_passport().customer_id if app.reads is Reads.PASSPORT else NOBODY)

    interceptors: list[grpc.aio.ServerInterceptor] = (
        [AioPassportInterceptor(app, TRUST_DOMAIN)] if app.reads is Reads.PASSPORT else []
    )
    server = grpc.aio.server(interceptors=interceptors)
    handlers: dict[str, grpc.RpcMethodHandler[bytes, bytes]] = {_NAME: grpc.unary_unary_rpc_method_handler(browse)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(_SERVICE, handlers),))
    server.add_insecure_port(f"{HOST}:{app.port}")
    await server.start()
    await server.wait_for_termination()


def main() -> None:
    """Serve."""
    app = read_arguments()
    if app.aio:
        asyncio.run(_serve_aio(app))
    else:
        _serve(app)


if __name__ == "__main__":
    main()
