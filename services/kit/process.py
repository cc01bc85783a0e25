"""Start and stop of one service process: arguments, readiness, signals, exit codes.

Exit codes: 0 after SIGTERM or SIGINT, 1 when something must be mended first (StartError), 2 for wrong arguments and
for an address that cannot be listened on. A service is ready once `HOST:PORT` is written to its `--ready-fd`.
"""

import argparse
import asyncio
import errno
import os
import resource
import signal
import ssl
import sys
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import uvloop
from aiohttp import web

from services.kit.log import configure_logging
from services.kit.tls import BadTlsFileError, TlsContext, listening_context, tls_arguments

_DRAIN_S = 5.0
MAX_BODY_BYTES = 64 * 1024

Build: TypeAlias = Callable[[AsyncExitStack], Awaitable[web.Application]]


class StartError(Exception):
    """Something an operator must mend before the service can start; the text says what, without secrets."""


@dataclass(slots=True, frozen=True)
class Address:
    """Where a service listens; port 0 asks the system for a free one."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> "Address":
        """Read `HOST:PORT`, IPv6 hosts in brackets; ValueError when it is not that."""
        host, colon, port = text.rpartition(":")
        if not colon or not host or not port.isascii() or not port.isdigit() or int(port) > 65535:
            raise ValueError(f"{text!r} is not HOST:PORT")
        return cls(host.removeprefix("[").removesuffix("]"), int(port))

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def arguments(name: str, default_listen: str) -> argparse.ArgumentParser:
    """Return a parser with the arguments every service takes; it adds its own.

    `--secrets` is None unless given; `secrets_directory` says what that means.
    """
    parser = argparse.ArgumentParser(prog=f"python -m services.{name}", allow_abbrev=False)
    parser.add_argument("--listen", type=Address.parse, default=Address.parse(default_listen), metavar="HOST:PORT")
    parser.add_argument("--ready-fd", type=int, metavar="FD", help="write HOST:PORT here once serving, then close it")
    parser.add_argument("--config", type=Path, default=Path(f"config/{name}.yaml"), metavar="FILE")
    parser.add_argument("--var", type=Path, default=Path("var"), metavar="DIR", help="state (default: var)")
    parser.add_argument("--secrets", type=Path, metavar="DIR", help="holds <identity>.token (default: VAR/secrets)")
    parser.add_argument("--check-config", action="store_true", help="check the config file, say every error, and leave")
    parser.add_argument("--log-level", choices=("info", "warning"), default="info", help="what is logged at least")
    tls_arguments(parser)
    return parser


def secrets_directory(options: argparse.Namespace) -> Path:
    """Return where the secrets are: `--secrets`, or else `secrets` in `--var`."""
    secrets, var = options.secrets, options.var
    return Path(var) / "secrets" if secrets is None else Path(secrets)


def run(name: str, build: Build, options: argparse.Namespace) -> int:
    """Serve what `build` returns until SIGTERM or SIGINT; return the exit code. `options` are those of `arguments`.

    `build` enters what it opens into the exit stack it is given; that is closed after the last request.
    """
    # Keys live in this process: leave no core dump, and no file that others can read.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.umask(0o077)
    configure_logging(options.log_level)
    try:
        uvloop.run(_serve(name, build, options, listening_context(options)))
    except (StartError, BadTlsFileError) as error:
        sys.stderr.write(f"{name} cannot start: {error}\n")
        return 1
    except _CannotListenError as error:
        sys.stderr.write(f"{name} cannot listen on {options.listen}: {error}\n")
        return 2
    return 0


class _CannotListenError(Exception):
    """The address is taken or not ours."""


async def _serve(name: str, build: Build, options: argparse.Namespace, tls: TlsContext | None) -> None:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    async with AsyncExitStack() as stack:
        context = None if tls is None else await stack.enter_async_context(tls.watched())
        start = asyncio.create_task(_start(build, stack, options.listen, context))
        stop = asyncio.create_task(stopping.wait())
        await asyncio.wait({start, stop}, return_when=asyncio.FIRST_COMPLETED)
        if not start.done():
            start.cancel()
            await asyncio.wait({start})
            return
        stop.cancel()
        _announce(name, start.result(), options.ready_fd)
        await stopping.wait()


async def _start(build: Build, stack: AsyncExitStack, listen: Address, tls: ssl.SSLContext | None) -> Address:
    runner = web.AppRunner(await build(stack), access_log=None, shutdown_timeout=_DRAIN_S)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    try:
        await web.TCPSite(runner, listen.host, listen.port, ssl_context=tls).start()
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise _CannotListenError("the port is taken; stop what listens there or choose another --listen") from None
        raise _CannotListenError(error.strerror or "the address cannot be used") from None
    return Address(listen.host, runner.addresses[0][1])


def _announce(name: str, address: Address, ready_fd: int | None) -> None:
    sys.stderr.write(f"{name} listening on {address}\n")
    sys.stderr.flush()
    if ready_fd is not None:
        with os.fdopen(ready_fd, "w", encoding="ascii") as ready:
            ready.write(f"{address}\n")
