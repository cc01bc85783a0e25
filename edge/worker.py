"""One worker process: serves the listening socket it inherits until it is told to drain.

    python -m edge.worker --slot N --listen-fd FD --control-fd FD --config DIR --var DIR [--set KEY=VALUE]...

Exit codes: 0 after a drain, or when told to end before serving; 2 for an invalid config, or one that names a file that
cannot be used; 3 when the keys can't be had.
"""

import argparse
import asyncio
import contextlib
import gc
import signal
import socket
import sys
from collections.abc import Coroutine

import aiohttp
import structlog
import uvloop

from edge import wiring
from edge.control.errors import ConfigErrors, render_errors
from edge.control.load import load_config
from edge.control.snapshot import Snapshot
from edge.net.listening import listen
from edge.net.tls_listener import ListenerCertificates
from edge.relay.engine import Engine
from edge.telemetry.control_channel import WorkerChannel
from edge.telemetry.metrics import WorkerMetrics
from passport.kms import KmsRefused, KmsUnavailable

_log = structlog.get_logger("edge.worker")


def main() -> None:
    """Run until drained."""
    arguments = _arguments()
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(file=sys.stderr))
    snapshot = load_config(arguments.config, arguments.set, var=arguments.var)
    if isinstance(snapshot, ConfigErrors):
        sys.stderr.write(render_errors(snapshot) + "\n")
        raise SystemExit(2)
    raise SystemExit(uvloop.run(_serve(snapshot, arguments.listen_fd, arguments.control_fd)))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m edge.worker", description="One worker of the edge.")
    parser.add_argument("--slot", type=int, required=True, help="which worker this is, from 0")
    parser.add_argument("--listen-fd", type=int, required=True, help="inherited listening socket")
    parser.add_argument("--control-fd", type=int, required=True, help="inherited end of the control channel")
    parser.add_argument("--config", required=True, help="config directory")
    parser.add_argument("--var", required=True, help="directory of state and secrets")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="override a config value")
    return parser.parse_args()


async def _serve(snapshot: Snapshot, listen_fd: int, control_fd: int) -> int:
    loop = asyncio.get_running_loop()
    metrics = WorkerMetrics()
    stop = asyncio.Event()
    channel = WorkerChannel(metrics, stop.set)
    await channel.open(control_fd)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with aiohttp.ClientSession() as session:
        try:
            keys = wiring.key_rings(snapshot, session, metrics)
            await _unless(stop, keys.start(snapshot.services.kms.start_patience_s))
        except (KmsUnavailable, KmsRefused, OSError, ValueError) as problem:
            _log.error("no_keys", problem=str(problem), hint="is the KMS running and does it know this edge's token?")
            channel.close()
            return 3
        try:
            cookies = wiring.cookie_service(snapshot, session, metrics)
            recorder = wiring.telemetry(snapshot, metrics)
            certificates = wiring.listener_certificates(snapshot)
            engine = wiring.build_engine(snapshot, wiring.build_filters(snapshot, keys, cookies), recorder, loop)
        except (OSError, ValueError) as problem:
            _log.error("file_unusable", problem=str(problem), hint="the config names a file that cannot be used")
            channel.close()
            return 2
        _settle_memory()
        watch = wiring.certificate_watch(snapshot, certificates, engine, metrics)
        watching = asyncio.create_task(watch.run())
        if not stop.is_set():
            await _accept(engine, listen_fd, snapshot, certificates, channel=channel, stop=stop)
            await engine.drain(snapshot.timeouts.drain_s)
        watching.cancel()
        await engine.close()
        await keys.close()
        recorder.close()
        channel.close()
    return 0


async def _accept(
    engine: Engine,
    listen_fd: int,
    snapshot: Snapshot,
    certificates: ListenerCertificates | None,
    *,
    channel: WorkerChannel,
    stop: asyncio.Event,
) -> None:
    """Take connections until `stop` is set."""
    server = await listen(engine.accept, socket.socket(fileno=listen_fd), snapshot.listener.backlog, certificates)
    engine.start()
    channel.ready()
    await stop.wait()
    server.close()


async def _unless(stop: asyncio.Event, starting: Coroutine[None, None, None]) -> None:
    """Await `starting`, but no longer than until `stop` is set."""
    tasks = (asyncio.ensure_future(starting), asyncio.ensure_future(stop.wait()))
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await tasks[0]


def _settle_memory() -> None:
    """Take what start-up made out of the collector's sight: an exchange makes no cycles, so passes find little."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)


if __name__ == "__main__":
    main()
