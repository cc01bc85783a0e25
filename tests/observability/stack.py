"""`edge up` on free ports: the edge, its services and the stubs behind it, on a configuration a test may change."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from edge.up.screen import DEMO_USER
from tests.processes import REPOSITORY

_STOP_S = 40.0


@dataclass(slots=True)
class Stack:
    """A running stack: addresses and process ids by name, its configuration and state."""

    places: dict[str, tuple[str, int]]
    config: Path
    var: Path
    log: Path

    def url(self, name: str, path: str = "") -> str:
        """Return a URL of one part."""
        return f"http://{self.places[name][0]}{path}"

    def address(self, name: str) -> str:
        """Return HOST:PORT of one part."""
        return self.places[name][0]

    def signal(self, name: str, number: signal.Signals) -> None:
        """Send a signal to one part."""
        os.kill(self.places[name][1], number)


@asynccontextmanager
async def running_stack(
    home: Path,
    *settings: str,
    change: Callable[[Path], None] | None = None,
    environment: Mapping[str, str] | None = None,
) -> AsyncIterator[Stack]:
    """Run `edge up --ephemeral` until the block ends; `change` may alter the configuration before.

    `environment` is added to that of its processes.
    """
    config, var, log = home / "config", home / "var", home / "up.log"
    shutil.copytree(REPOSITORY / "config", config)
    if change is not None:
        change(config)
    readable, writable = os.pipe()
    line = [sys.executable, "-m", "edge.cli", "up", "--ephemeral", "--config", str(config), "--var", str(var)]
    line += [word for setting in settings for word in ("--set", setting)]
    process = _start(line, log, writable, {**os.environ, **(environment or {})})
    os.close(writable)
    try:
        with os.fdopen(readable) as ready:
            rows = [row.split() for row in (await asyncio.to_thread(ready.read)).splitlines()]
        assert rows, log.read_text()
        yield Stack({name: (address, int(pid)) for name, address, pid in rows}, config, var, log)
    finally:
        process.terminate()
        await asyncio.to_thread(process.wait, _STOP_S)


def _start(line: list[str], log: Path, ready: int, environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    line = [*line, "--ready-fd", str(ready)]
    with log.open("wb") as to:
        return subprocess.Popen(line, stdout=to, stderr=to, pass_fds=[ready], env=environment)


async def signed_in(stack: Stack, session: aiohttp.ClientSession) -> None:
    """Sign the demo's user in; the session's cookie jar keeps the pair."""
    headers = {"Content-Type": "application/json"}
    async with session.post(stack.url("edge", "/login"), data=DEMO_USER, headers=headers) as answer:
        assert answer.status == 200, await answer.text()


def device() -> aiohttp.ClientSession:
    """Return a device that keeps its cookies."""
    return aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True))
