"""A worker of a few lines, for the supervisor's tests: inherits its socket, reports over the control channel.

`GET /` answers with its process id, `/crash` ends it with code 3, `/slow` answers only once it drains, `/stuck`
makes it deaf to draining.
"""

import argparse
import asyncio
import contextlib
import os
import socket

from edge.telemetry.control_channel import WorkerChannel
from edge.telemetry.metrics import WorkerMetrics, count


class TinyWorker:
    """Serves one request per connection."""

    def __init__(self) -> None:
        self.metrics = WorkerMetrics()
        self.draining = asyncio.Event()
        self.channel = WorkerChannel(self.metrics, self.draining.set, interval_s=60.0)
        self.stuck = False
        self.in_flight = 0
        self.idle = asyncio.Event()

    async def run(self, options: argparse.Namespace) -> None:
        await self.channel.open(options.control_fd)
        if options.fail:
            os._exit(4)
        server = await asyncio.start_server(self.serve, sock=socket.socket(fileno=options.listen_fd))
        self.channel.ready()
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
            if path == "/slow":
                await self.draining.wait()
            writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n%d" % os.getpid())
            writer.close()
        finally:
            self.in_flight -= 1
            if self.draining.is_set() and not self.in_flight and not self.stuck:
                self.idle.set()


def main() -> None:
    parser = argparse.ArgumentParser(allow_abbrev=False)
    for flag in ("--slot", "--listen-fd", "--control-fd"):
        parser.add_argument(flag, type=int, required=True)
    parser.add_argument("--fail", action="store_true")
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(TinyWorker().run(parser.parse_args()))


if __name__ == "__main__":
    main()
