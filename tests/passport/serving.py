"""One small service, behind each of the HTTP adapters, on a real server: /who, /account, /change, /own, /health."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from threading import Thread
from typing import Any

import uvicorn
from aiohttp import web
from fastapi import Depends, FastAPI
from flask import Flask, Response
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket
from werkzeug.serving import make_server

import passport.aiohttp
import passport.asgi
import passport.fastapi
import passport.flask
import passport.wsgi
from passport import (
    HEADER,
    NO_USER,
    Adoption,
    ExchangePassport,
    Level,
    PassportIntrospector,
    PassportKeys,
    PassportMutator,
    PassportRefusal,
    UserAction,
    require,
)
from passport.receiving import ReceivingOptions
from tests.passport.samples import DOMAIN, KEYS, NOW
from tests.processes import eventually

Answer = dict[str, object]
START_S = 30.0


class Service:
    """What the service does, whatever is around it. It is its key source, too."""

    def __init__(self) -> None:
        self.passport_keys: PassportKeys | None = KEYS
        self.refused: list[PassportRefusal] = []
        self.returned: list[Adoption] = []
        self.url = ""
        self._mutator = PassportMutator(self, "passport-auth", clock=lambda: NOW)

    @property
    def options(self) -> ReceivingOptions:
        return {"on_refused": self.refused.append, "on_returned": self.returned.append, "clock": lambda: NOW}

    def who(self, of: PassportIntrospector) -> Answer:
        return {"customer_id": of.customer_id}

    def account(self, of: PassportIntrospector) -> Answer:
        require(of, level=Level.HIGHEST)
        return {"account_owner_id": of.account_owner_id}

    def change(self, exchange: ExchangePassport) -> Answer:
        self._mutator.replace_user(exchange, NO_USER, UserAction.USER_LOGOUT)
        return {}


def aiohttp_app(service: Service) -> web.Application:
    async def who(request: web.Request) -> web.Response:
        return web.json_response(service.who(passport.aiohttp.passport_of(request)))

    async def account(request: web.Request) -> web.Response:
        return web.json_response(service.account(passport.aiohttp.passport_of(request)))

    async def change(request: web.Request) -> web.Response:
        service.change(passport.aiohttp.exchange_of(request))
        return web.json_response(service.who(passport.aiohttp.passport_of(request)))

    async def own(request: web.Request) -> web.Response:
        return web.json_response(service.change(passport.aiohttp.exchange_of(request)), headers={HEADER: "own"})

    async def away(request: web.Request) -> web.Response:
        service.change(passport.aiohttp.exchange_of(request))
        raise web.HTTPFound("/elsewhere")

    async def health(_: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    app = web.Application(middlewares=[passport.aiohttp.passport_middleware(service, DOMAIN, **service.options)])
    for handler in (who, account, change, own, away, health):
        app.router.add_get(f"/{handler.__name__}", handler)
    return app


def starlette_app(service: Service) -> Starlette:
    async def who(request: Request) -> JSONResponse:
        return JSONResponse(service.who(passport.asgi.passport_of(request)))

    def account(request: Request) -> JSONResponse:  # in a thread
        return JSONResponse(service.account(passport.asgi.passport_of(request.scope)))

    async def change(request: Request) -> JSONResponse:
        service.change(passport.asgi.exchange_of(request))
        return JSONResponse(service.who(passport.asgi.passport_of(request)))

    async def own(request: Request) -> JSONResponse:
        return JSONResponse(service.change(passport.asgi.exchange_of(request)), headers={HEADER: "own"})

    async def health(_: Request) -> JSONResponse:
        return JSONResponse({"status": "ok"})

    async def talk(websocket: WebSocket) -> None:
        said = service.who(passport.asgi.passport_of(websocket))
        if websocket.query_params.get("ask"):
            service.account(passport.asgi.passport_of(websocket))
        await websocket.accept()
        await websocket.send_json(said)
        await websocket.close()

    verify = Middleware(passport.asgi.PassportMiddleware, source=service, trust_domain=DOMAIN, **service.options)
    routes = [Route(f"/{handler.__name__}", handler) for handler in (who, account, change, own, health)]
    return Starlette(routes=[*routes, WebSocketRoute("/talk", talk)], middleware=[verify])


def fastapi_app(service: Service) -> FastAPI:
    app = FastAPI()
    app.add_middleware(passport.asgi.PassportMiddleware, source=service, trust_domain=DOMAIN, **service.options)

    @app.get("/who")
    async def who(of: passport.fastapi.CurrentPassport) -> Answer:
        return service.who(of)

    @app.get("/account", dependencies=[Depends(passport.fastapi.requiring(level=Level.HIGHEST))])
    def account(of: passport.fastapi.CurrentPassport) -> Answer:  # in a thread
        return {"account_owner_id": of.account_owner_id}

    @app.get("/change")
    async def change(exchange: passport.fastapi.CurrentExchange) -> Answer:
        service.change(exchange)
        return service.who(exchange.passport)

    @app.get("/own")
    async def own(exchange: passport.fastapi.CurrentExchange) -> JSONResponse:
        return JSONResponse(service.change(exchange), headers={HEADER: "own"})

    @app.get("/health")
    async def health() -> Answer:
        return {"status": "ok"}

    return app


def flask_app(service: Service) -> Flask:
    app = Flask("tests")
    passport.flask.receive_passports(app, service, DOMAIN, **service.options)

    @app.get("/who")
    def who() -> Answer:
        return service.who(passport.flask.current_passport())

    @app.get("/account")
    def account() -> Answer:
        return service.account(passport.flask.current_passport())

    @app.get("/change")
    def change() -> Answer:
        service.change(passport.flask.current_exchange())
        return service.who(passport.flask.current_passport())

    @app.get("/own")
    def own() -> Response:
        service.change(passport.flask.current_exchange())
        return Response("{}", headers={HEADER: "own"}, content_type="application/json")

    @app.get("/health")
    def health() -> Answer:
        return {"status": "ok"}

    return app


def wsgi_app(service: Service) -> passport.wsgi.PassportMiddleware:
    def bare(environ: dict[str, Any], start_response: Callable[..., object]) -> list[bytes]:
        path = environ["PATH_INFO"]
        headers = [("Content-Type", "application/json")]
        if path == "/who":
            said = service.who(passport.wsgi.passport_of(environ))
        elif path == "/account":
            start_response("200 OK", headers)  # too early: `require` takes it back
            said = service.account(passport.wsgi.passport_of(environ))
        elif path in {"/change", "/own"}:
            said = service.change(passport.wsgi.exchange_of(environ))
            if path == "/own":
                headers.append((HEADER.lower(), "own"))
            else:
                said = service.who(passport.wsgi.passport_of(environ))
        else:
            said = {"status": "ok"}
        if path != "/account":
            start_response("200 OK", headers)
        return [json.dumps(said).encode()]

    return passport.wsgi.PassportMiddleware(bare, service, DOMAIN, **service.options)


@asynccontextmanager
async def on_aiohttp(service: Service) -> AsyncIterator[None]:
    runner = web.AppRunner(aiohttp_app(service), access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    service.url = "http://{}:{}".format(*runner.addresses[0][:2])
    try:
        yield
    finally:
        await runner.cleanup()


def on_uvicorn(make_app: Callable[[Service], Any]) -> Callable[[Service], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def serve(service: Service) -> AsyncIterator[None]:
        with socket.create_server(("127.0.0.1", 0)) as listening:
            service.url = "http://{}:{}".format(*listening.getsockname()[:2])
            config = uvicorn.Config(make_app(service), log_level="critical", lifespan="off", ws="wsproto")
            server = uvicorn.Server(config)
            serving = asyncio.create_task(server.serve(sockets=[listening]))

            async def started() -> bool:
                return bool(server.started)

            await eventually(started, "uvicorn", START_S)
            try:
                yield
            finally:
                server.should_exit = True
                await serving

    return serve


def on_threads(make_app: Callable[[Service], Any]) -> Callable[[Service], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def serve(service: Service) -> AsyncIterator[None]:
        with threaded(make_app(service)) as service.url:
            yield

    return serve


@contextmanager
def threaded(app: Any) -> Iterator[str]:
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def running(kind: str, service: Service) -> Iterator[None]:
    """Run one of SERVERS beside the test's loop, so that several tests can share it."""
    ready: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = Future()

    async def hold() -> None:
        try:
            async with SERVERS[kind](service):
                stop = asyncio.Event()
                ready.set_result((asyncio.get_running_loop(), stop))
                await stop.wait()
        except Exception as error:
            ready.set_exception(error)
            raise

    thread = Thread(target=lambda: asyncio.run(hold()))
    thread.start()
    loop, stop = ready.result(START_S)
    try:
        yield
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()


SERVERS: dict[str, Callable[[Service], AbstractAsyncContextManager[None]]] = {
    "aiohttp": on_aiohttp,
    "starlette": on_uvicorn(starlette_app),
    "fastapi": on_uvicorn(fastapi_app),
    "flask": on_threads(flask_app),
    "wsgi": on_threads(wsgi_app),
}
