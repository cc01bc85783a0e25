"""The ASGI app: Starlette on uvicorn."""

import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from loadtest.bench_origin.apps.app import HOST, NOBODY, page, read_arguments
from loadtest.bench_origin.credentials import TRUST_DOMAIN
from loadtest.bench_origin.settings import Reads
from passport.asgi import PassportMiddleware, passport_of


async def _of_passport(request: Request) -> Response:
    return Response(page(passport_of(request).customer_id), media_type="application/json")


async def _of_nothing(_: Request) -> Response:
    return Response(page(NOBODY), media_type="application/json")


def main() -> None:
    """Serve."""
    app = read_arguments()
    reads = app.reads is Reads.PASSPORT
    middleware = [Middleware(PassportMiddleware, source=app, trust_domain=TRUST_DOMAIN)] if reads else []
    routes = [Route("/browse", _of_passport if reads else _of_nothing)]
    uvicorn.run(
        Starlette(routes=routes, middleware=middleware),
        host=HOST, port=app.port, loop="uvloop", http="httptools", access_log=False, log_level="warning",
    )  # fmt: skip


if __name__ == "__main__":
    main()
