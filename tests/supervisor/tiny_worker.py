"""A worker of a few lines, for the supervisor's tests: inherits its socket, reports over the control channel.

`GET /` answers with its process id, `/crash` ends it with code 3, `/slow` answers only once it drains, `/held`
once one more line is sent, `/stuck` makes it deaf to draining.
"""

import argparse
import asyncio
import contextlib
import os
import socket
import threading
import time
from collections.abc import Mapping
from pathlib import Path

from edge.telemetry.control_channel import WorkerChannel
from edge.telemetry.metrics import WorkerMetrics, count


class TinyReloading:
    """Takes every configuration, or none, or forgets what it has prepared."""

    def __init__(self, metrics: WorkerMetrics, *, refuse: bool, forget: bool) -> None:
        self.metrics = metrics
        self.refuse = refuse
        self.forget = forget

    async def prepare(self, revision: int, texts: Mapping[str, str]) -> str:
        return "it was told to refuse" if self.refuse else ""

    def commit(self, revision: int) -> str:
        if self.forget:
            return "it was not prepared"
        self.metrics.config = (revision, "hash")
        return ""

    def discard(self, revision: int) -> None:
        pass


class TinyWorker:
    """Serves one request per connection."""

    def __init__(self) -> None:
        self.metrics = WorkerMetrics()
        self.draining = asyncio.Event()
        self.channel = WorkerChannel(self.metrics, self.draining.set, interval_s=0.5)
        self.stuck = False
        self.in_flight = 0
        self.idle = asyncio.Event()

    async def run(self, options: argparse.Namespace) -> None:
        await self.channel.open(options.control_fd)
        if options.fail or (options.fail_if and os.path.exists(options.fail_if)):  # noqa: ASYNC240, PTH110 - a tiny worker
            os._exit(4)
        if options.hang_if and os.path.exists(options.hang_if):  # noqa: ASYNC240, PTH110
            await self.draining.wait()
        while options.hold_while and os.path.exists(options.hold_while):  # noqa: ASYNC110, ASYNC240, PTH110
            await asyncio.sleep(0.01)
        if (
            options.load
        ):  # once it has said something, blocks until somebody writes, as if it read a large configuration
            self.channel.report()
            Path(options.load).read_bytes()  # noqa: ASYNC240
        self.channel.loaded()
        slot = await self.channel.slot
        self.metrics.config = ((await self.channel.files).revision, "hash")
        refuse, forget = slot == options.refuse_in, slot == options.forget_in
        self.channel.reloading = TinyReloading(self.metrics, refuse=refuse, forget=forget)
        server = await asyncio.start_server(self.serve, sock=socket.socket(fileno=options.listen_fd[slot]))
        self.channel.ready()
        if options.beats_only:  # as if its loop were too busy to come round to its timers
            assert self.channel._timer is not None
            self.channel._timer.cancel()
            threading.Thread(target=beat, args=(options.beat_fd,), daemon=True).start()
        await self.draining.wait()
        server.close()
        if self.in_flight or self.stuck:
            await self.idle.wait()
        self.channel.close()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.in_flight += 1
        try:
            path = (await reader.readuntil(b"\r\n\r\n")).split(b" ")[1].decode()
            count(self.metrics.requests, (path, 200, "completed"))
            if path == "/crash":
                self.channel.report()
                await asyncio.sleep(0)
                os._exit(3)
            self.stuck = self.stuck or path == "/stuck"
            if path == "/held":
                await reader.readline()
            if path == "/slow":
                await self.draining.wait()
            writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n%d" % os.getpid())
            writer.close()
        finally:
            self.in_flight -= 1
            if self.draining.is_set() and not self.in_flight and not self.stuck:
                self.idle.set()


def beat(fd: int) -> None:
    with contextlib.suppress(OSError):
        while True:
            os.write(fd, b".")
            time.sleep(0.2)


async def run(options: argparse.Namespace) -> None:
    await TinyWorker().run(options)


def main() -> None:
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--listen-fd", type=int, required=True, action="append")
    parser.add_argument("--control-fd", type=int, required=True)
    parser.add_argument("--beat-fd", type=int, required=True)
    parser.add_argument("--beats-only", action="store_true")
    parser.add_argument("--fail", action="store_true")
    parser.add_argument("--fail-if", default="")
    parser.add_argument("--hang-if", default="")
    parser.add_argument("--hold-while", default="")
    parser.add_argument("--load", default="")
    parser.add_argument("--refuse-in", type=int)
    parser.add_argument("--forget-in", type=int)
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(run(parser.parse_args()))


if __name__ == "__main__":
    main()
