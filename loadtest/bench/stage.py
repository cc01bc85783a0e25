"""What every contender is started on: the tools, the cores, the origin, and the stack that stops it."""

from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp

from loadtest.bench.check_origin import Seen
from loadtest.bench.contenders import Contender
from loadtest.bench.load import write_requests
from loadtest.bench.processes import Program
from loadtest.bench.settings import Cores, Settings
from loadtest.bench.tools import Tools


@dataclass(slots=True, frozen=True)
class Stage:
    """Shared by all contenders of a run. `seen` is what the origin that looks, on `origin_port`, received.

    `packages` is where the compiled packages are, None when no edge that runs them is wanted.
    """

    settings: Settings
    tools: Tools
    cores: Cores
    home: Path
    session: aiohttp.ClientSession
    stack: AsyncExitStack
    seen: Seen
    origin_port: int
    packages: Path | None
    say: Callable[[str], None]
    contenders: list[Contender] = field(default_factory=list)

    def add(
        self, name: str, program: Program, url: str, fields: list[str], *, metrics_url: str | None = None
    ) -> Contender:
        """Take a running proxy as a contender; `fields` are the header fields of its requests, "" for none."""
        requests = write_requests(self.home / f"{name}.requests", fields)
        contender = Contender(name, program, url, requests, metrics_url)
        self.contenders.append(contender)
        return contender
