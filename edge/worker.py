"""One worker process: serves the listening socket of its slot until it is told to drain.

    python -m edge.worker --control-fd FD [--beat-fd FD] --listen-fd FD... [--slot N] --config DIR --var DIR
        [--set KEY=VALUE]...

It inherits a listening socket for each slot. On `--beat-fd` a thread writes a byte now and then for as long as the
event loop turns, however slowly. Over the control channel it is told the texts of the config files, and, once it has
all it needs to serve them, its slot. With `--slot` it takes that one and reads the files from disk.

Exit codes: 0 after a drain, or when told to end before serving; 2 for an invalid config, or one that names a file that
cannot be used; 3 when the keys can't be had.
"""

import argparse
import asyncio
import contextlib
import gc
import os
import resource
import signal
import socket
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence

import structlog
import uvloop

from edge import wiring
from edge.clients.sign_outs import SignOuts
from edge.clients.tls import service_session, service_tls
from edge.control.dial_names import dial_table
from edge.control.errors import ConfigErrors, render_errors
from edge.control.load import load_config
from edge.control.snapshot import Snapshot
from edge.control.token_file import HeldTokens
from edge.net.last_call import HANDSHAKES_S, last_call
from edge.net.listening import listen, take_queued
from edge.net.tls_listener import ListenerCertificates
from edge.relay.engine import Engine
from edge.reloading import Reloading
from edge.telemetry.control_channel import Files, WorkerChannel
from edge.telemetry.events import configure_events, event_stream, keep_standard_streams
from edge.telemetry.metrics import WorkerMetrics
from passport.kms import KmsRefused, KmsUnavailable

_log = structlog.get_logger("edge.worker")
_AT_ONCE = 64
_NEARLY_ALL = 0.9  # of the connections that are configured: less is worth a warning


def main() -> None:
    """Run until drained."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # keys live in this process
    keep_standard_streams()
    configure_events()
    raise SystemExit(uvloop.run(_run(_arguments())))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m edge.worker", description="One worker of the edge.")
    parser.add_argument("--slot", type=int, help="which worker this is, from 0; else it waits to be told")
    parser.add_argument("--listen-fd", type=int, required=True, action="append", help="inherited socket of a slot")
    parser.add_argument("--control-fd", type=int, required=True, help="inherited end of the control channel")
    parser.add_argument("--beat-fd", type=int, help="inherited socket to say on that the event loop turns")
    parser.add_argument("--config", required=True, help="config directory")
    parser.add_argument("--var", required=True, help="directory of state and secrets")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="override a config value")
    return parser.parse_args()


async def _run(arguments: argparse.Namespace) -> int:
    metrics = WorkerMetrics()
    stop = asyncio.Event()
    channel = WorkerChannel(metrics, stop.set)
    await channel.open(arguments.control_fd)
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    if arguments.slot is not None:
        channel.files.set_result(Files(1, None))
        channel.slot.set_result(arguments.slot)
    try:
        await _unless(stop, _told(channel.files))
        return 0 if stop.is_set() else await _serve(arguments, channel, metrics, stop)
    finally:
        channel.close()


async def _serve(
    arguments: argparse.Namespace, channel: WorkerChannel, metrics: WorkerMetrics, stop: asyncio.Event
) -> int:
    files = channel.files.result()

    def load(texts: Mapping[str, str] | None, tokens: HeldTokens | None = None) -> Snapshot | ConfigErrors:
        return load_config(arguments.config, arguments.set, var=arguments.var, texts=texts, tokens=tokens)

    snapshot = load(files.texts, HeldTokens(files.tokens))
    if isinstance(snapshot, ConfigErrors):
        print(render_errors(snapshot), file=event_stream(), flush=True)
        return 2
    _take_dials(channel, files, snapshot)
    try:
        services = snapshot.services
        kms_tls, cookie_tls = service_tls(services.kms), service_tls(services.cookie)
        redis_tls = service_tls(services.renewals)
        shared = wiring.shared_renewals(snapshot, None if redis_tls is None else redis_tls.context, metrics)
    except (OSError, ValueError) as problem:
        _log.error("file_unusable", problem=str(problem), hint="the config names a file that cannot be used")
        return 2
    async with service_session(kms_tls) as kms_session, service_session(cookie_tls) as cookie_session:
        try:
            keys = wiring.key_rings(snapshot, kms_session, metrics)
            await _unless(stop, keys.start(snapshot.services.kms.start_patience_s))
        except (KmsUnavailable, KmsRefused, OSError, ValueError) as problem:
            _log.error("no_keys", problem=str(problem), hint="is the KMS running and does it know this edge's token?")
            return 3
        try:
            recorder = wiring.telemetry(snapshot, metrics)
            certificates = wiring.listener_certificates(snapshot)
            revocations = wiring.revocation_feed(snapshot, cookie_session, metrics)
            channel.reloading = reloading = Reloading(
                load,
                cookie_session,
                keys,
                recorder,
                revocations=revocations,
                shared_renewals=shared,
                dials=channel.dials,
            )
            engine = reloading.first(snapshot)
        except (OSError, ValueError) as problem:
            _log.error("file_unusable", problem=str(problem), hint="the config names a file that cannot be used")
            return 2
        if engine.max_connections < snapshot.limits.max_connections * _NEARLY_ALL:
            _log.warning("few_file_descriptors", max_connections=engine.max_connections)
        await _unless(stop, revocations.start(snapshot.revocations.start_patience_s))
        _settle_memory()
        watch = wiring.certificate_watch(snapshot, [certificates, kms_tls, cookie_tls, redis_tls], engine, metrics)
        watchdog = wiring.watchdog(snapshot, engine, metrics, _beat(arguments.beat_fd))
        watchdog.start()
        watching = asyncio.create_task(watch.run())
        channel.loaded()
        await _unless(stop, _told(channel.slot))
        if not stop.is_set():
            doors = 1 if snapshot.listener.tls.address is None else 2
            listen_fds = _keep_own(arguments.listen_fd, channel.slot.result(), doors)
            metrics.config = (files.revision, snapshot.made_of.hash)
            await _serve_devices(
                engine, listen_fds, snapshot, certificates, channel=channel, stop=stop, sign_outs=reloading.sign_outs
            )
        watching.cancel()
        watchdog.stop()
        await engine.close()
        await revocations.close()
        if shared is not None:
            await shared.close()
        await keys.close()
        recorder.close()
    return 0


def _take_dials(channel: WorkerChannel, files: Files, snapshot: Snapshot) -> None:
    """Take the dials of the file where no supervisor says how they stand."""
    if files.texts is None:
        channel.dials.table = dial_table(0, snapshot.dials, snapshot.device_types)


def _beat(fd: int | None) -> Callable[[], None] | None:
    """Return what says on a socket that the loop turns, from any thread."""
    if fd is None:
        return None
    beats = socket.socket(fileno=fd)
    beats.setblocking(False)

    def beat() -> None:
        with contextlib.suppress(OSError):  # nobody reads, or nobody is there
            beats.send(b".")

    return beat


async def _told(what: Awaitable[object]) -> None:
    await what


def _keep_own(fds: Sequence[int], slot: int, doors: int) -> list[int]:
    """Return the listening sockets of `slot`, plain before TLS if it has both (`doors` 2).

    The others are closed: they would stay open when their workers leave.
    """
    slots = len(fds) // doors
    own = [fds[slot + door * slots] for door in range(doors)]
    for fd in set(fds).difference(own):
        os.close(fd)
    return own


async def _serve_devices(
    engine: Engine,
    listen_fds: Sequence[int],
    snapshot: Snapshot,
    certificates: ListenerCertificates | None,
    *,
    channel: WorkerChannel,
    stop: asyncio.Event,
    sign_outs: SignOuts,
) -> None:
    """Take connections until `stop` is set, then drain, and try once more what is left of `sign_outs`.

    Connections are taken until clients have had time to learn that this worker leaves. Not so when another process
    takes over: it has the same socket, and whoever is not taken here is taken there.
    """
    proxies, backlog = snapshot.listener.proxy_protocol.peers(), snapshot.listener.backlog
    shown = [certificates] if len(listen_fds) == 1 else [None, certificates]
    doors = [(socket.socket(fileno=fd), each) for fd, each in zip(listen_fds, shown, strict=True)]
    rest = [(sock.dup(), each) for sock, each in doors]
    servers = [await listen(engine, sock, backlog, each, proxies) for sock, each in doors]

    def take_more() -> None:
        for sock, each in rest if proxies is None else ():
            take_queued(engine, sock, each, at_most=_AT_ONCE)

    engine.take_more = take_more
    engine.start()
    channel.ready()
    await stop.wait()
    leave_by = time.monotonic() + engine.drain_s
    sign_outs.hurry()  # now, since there may be no time at the end

    async def close_door() -> None:
        if not channel.handover:
            for sock, _ in rest:
                last_call(sock)
            await asyncio.sleep(HANDSHAKES_S)
        engine.take_more = None
        for server in servers:
            server.close()
        for sock, each in rest:
            if not channel.handover:
                take_queued(engine, sock, each, proxies)
            sock.close()

    if channel.handover:
        await close_door()
        await engine.drain(engine.drain_s, grace_s=engine.drain_s / 2)  # nobody waits for its end
    else:
        await engine.drain(engine.drain_s, close_door)
    left = await sign_outs.finish(leave_by - time.monotonic())
    if left:
        _log.error("sign_outs_given_up", number=left, hint="copies of their cookies are good until they end")


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
