"""Run one aiohttp application as a process: listen, say so, serve, leave on SIGTERM or SIGINT."""

import argparse
import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path

import uvloop
from aiohttp import web

from origins_stub.kit.log import configure_logging

EXIT_OK = 0
EXIT_CANNOT_START = 2
SHUTDOWN_TIMEOUT_S = 5.0


class StartError(Exception):
    """Say in one line why the process cannot start and what to do; the text holds no secret."""


@dataclass(slots=True, frozen=True)
class Address:
    """Where to listen: a host name or IP literal, and a port (0: any free one)."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_address(text: str) -> Address:
    """Read `HOST:PORT`, with an IPv6 host in brackets; raise argparse.ArgumentTypeError for anything else."""
    host, colon, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not colon or not host or not (port.isascii() and port.isdigit()) or int(port) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not HOST:PORT")
    return Address(host, int(port))


def arguments(name: str, description: str, *, default_port: int) -> argparse.ArgumentParser:
    """Return a parser with the arguments that every stub has."""
    parser = argparse.ArgumentParser(prog=f"python -m origins_stub.{name}", description=description)
    parser.add_argument("--listen", type=parse_address, default=Address("127.0.0.1", default_port), metavar="HOST:PORT")
    parser.add_argument("--ready-fd", type=int, default=None, metavar="FD", help="gets HOST:PORT once serving")
    parser.add_argument("--var", type=Path, default=Path("var"), metavar="DIR", help="where state is kept")
    parser.add_argument("--secrets", type=Path, default=None, metavar="DIR", help="holds <identity>.token: VAR/secrets")
    parser.add_argument("--token-file", type=Path, default=None, metavar="FILE", help="own token: SECRETS/<name>.token")
    return parser


def secrets_directory(options: argparse.Namespace) -> Path:
    """Return where the tokens are."""
    return Path(options.secrets or options.var / "secrets")


def token_file(options: argparse.Namespace, name: str) -> Path:
    """Return the file with the process's own bearer token."""
    return Path(options.token_file or secrets_directory(options) / f"{name}.token")


def identity_arguments(parser: argparse.ArgumentParser, *, kms: str | None = "http://127.0.0.1:8090") -> None:
    """Add the arguments of a stub that verifies Passports; `kms` is the default of --kms."""
    parser.add_argument("--kms", default=kms, metavar="URL", help="where the Passport keys are")
    parser.add_argument(
        "--trust-domain", default="edge-passport.local", metavar="NAME", help="of the Passports to believe"
    )
    parser.add_argument("--key-refresh-s", type=float, default=30.0, metavar="S", help="seconds between two fetches")


def run(name: str, listen: Address, ready_fd: int | None, make_app: Callable[[], web.Application]) -> int:
    """Serve what `make_app` returns until SIGTERM or SIGINT; return the exit code."""
    configure_logging()
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_serve(name, listen, ready_fd, make_app))
    except StartError as problem:
        sys.stderr.write(f"{name} cannot start: {problem}\n")
        return EXIT_CANNOT_START
    return EXIT_OK


async def _serve(name: str, listen: Address, ready_fd: int | None, make_app: Callable[[], web.Application]) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    with contextlib.closing(_listening_socket(listen)) as listener:
        app = make_app()
        app.on_response_prepare.append(_close_after_chunked_request)
        # A handler ends when its client has gone, so that /slow and /stream hold nothing for nobody.
        runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=SHUTDOWN_TIMEOUT_S)
        try:
            if await _unless_stopped(runner.setup(), stop):
                await web.SockSite(runner, listener).start()
                _say_ready(name, Address(listen.host, listener.getsockname()[1]), ready_fd)
                await stop.wait()
        finally:
            await runner.cleanup()


async def _close_after_chunked_request(request: web.Request, response: web.StreamResponse) -> None:
    # aiohttp 3.14 puts the trailers of a chunked request into the headers of the next one on that connection,
    # where a stranger's trailer would pass for a header: such a connection serves no other request.
    if "Transfer-Encoding" in request.headers:
        response.force_close()
        response.headers["Connection"] = "close"


async def _unless_stopped(starting: Coroutine[None, None, None], stop: asyncio.Event) -> bool:
    """Return True once `starting` has ended well, False when `stop` came first."""
    started = asyncio.ensure_future(starting)
    stopped = asyncio.ensure_future(stop.wait())
    await asyncio.wait((started, stopped), return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    if started.done():
        started.result()
        return True
    started.cancel()
    await asyncio.wait((started,))
    return False


def _listening_socket(listen: Address) -> socket.socket:
    try:
        family = socket.AF_INET6 if ":" in listen.host else socket.AF_INET
        return socket.create_server((listen.host, listen.port), family=family, backlog=1024)
    except OSError as error:
        why = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror
        raise StartError(f"{listen} cannot be listened on ({why}); choose another --listen") from None


def _say_ready(name: str, address: Address, ready_fd: int | None) -> None:
    sys.stdout.write(f"{name} listening on {address}\n")
    sys.stdout.flush()
    if ready_fd is not None:
        os.write(ready_fd, f"{address}\n".encode())
        os.close(ready_fd)
