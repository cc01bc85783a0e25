"""A Redis of the tests' own: the machine's `redis-server` on loopback, which keeps nothing on the disk.

async with redis_running() as redis:
    redis.url, redis.process.send(signal.SIGSTOP)
"""

import asyncio
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import BinaryIO

import pytest

from tests.processes import Process, eventually, free_port

NEEDS_REDIS = pytest.mark.skipif(
    shutil.which("redis-server") is None, reason="redis-server is not installed (Debian: redis-server)"
)
_TRIES = 5  # a port that was free may be taken by the time it is wanted


@dataclass(slots=True)
class RedisServer:
    """A server that runs."""

    process: Process
    port: int
    scheme: str

    @property
    def url(self) -> str:
        """Return what the configuration takes."""
        return f"{self.scheme}://127.0.0.1:{self.port}"


@asynccontextmanager
async def redis_running(*settings: str, port: int = 0, tls: bool = False) -> AsyncIterator[RedisServer]:
    """Run a server until the block ends, on a free port unless one is named; `settings` are its arguments."""
    with tempfile.TemporaryDirectory(prefix="redis-") as directory:
        for _ in range(_TRIES):
            number = port or free_port()
            listens = ["--port", "0", "--tls-port", str(number)] if tls else ["--port", str(number)]
            line = ["redis-server", *listens, "--bind", "127.0.0.1", "--save", "", "--dir", directory, *settings]
            with tempfile.TemporaryFile() as log:
                popen = _start(line, log)
                try:
                    process = Process(popen, log)
                    if await _accepts(process, popen):
                        process.address = f"127.0.0.1:{number}"
                        yield RedisServer(process, number, "rediss" if tls else "redis")
                        return
                    problem = process.output()
                finally:
                    popen.kill()
                    await asyncio.to_thread(popen.wait)
        raise AssertionError(f"redis-server does not start:\n{problem}")


def _start(line: list[str], log: BinaryIO) -> subprocess.Popen[bytes]:
    return subprocess.Popen(line, stdout=log, stderr=log)


async def _accepts(process: Process, popen: subprocess.Popen[bytes]) -> bool:
    async def decided() -> bool:
        return popen.poll() is not None or "Ready to accept connections" in process.output()

    await eventually(decided, "redis-server has started", timeout_s=30.0)
    return popen.poll() is None
