"""nginx in the edge's place: what another proxy loses to the same faults. It knows no visitors and no Passports."""

import signal
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

import psutil

from loadtest.bench.processes import running, wait_until_listening
from loadtest.bench.tools import find, version
from loadtest.chaos.base import Base
from loadtest.chaos.report import FIGURES
from loadtest.chaos.result import Result
from loadtest.chaos.scenarios import Scenario
from loadtest.chaos.setup import FAULTY, OPEN_FAULTY, Setup
from loadtest.chaos.stage import Stage, staged

NGINX = "nginx"
# What the edge does by default (docs/configuration.md), by the keys that scenarios override.
TIMEOUTS = {
    "timeouts.head_read_s": 10, "timeouts.keep_alive_idle_s": 60, "timeouts.idle_s": 30, "timeouts.drain_s": 10,
    "response_head_timeout_s": 15,
}  # fmt: skip


def find_reference(name: str | None) -> tuple[str, str] | None:
    """Return the path of a reference and what it calls itself; None when none is wanted or it is not installed."""
    path = None if name is None else find(name)
    return None if path is None else (path, version([path, "-v"]).rpartition(" ")[2])


async def refer(shared: Base, scenario: Scenario, reference: tuple[str, str]) -> Mapping[str, object]:
    """Run a scenario on the reference; return its figures, without bars: those are the edge's."""
    path, name = reference
    try:
        async with staged(shared, f"{scenario.name}-{NGINX}", scenario.setup, partial(NginxStage, path)) as stage:
            result = await scenario.run(stage)
    except Exception as error:  # noqa: BLE001 - the edge's figures are there all the same
        return {"software": name, "error": repr(error)}
    return {"software": name, **_figures(result)}


def render(setup: Setup, home: Path, *, port: int, workers: int, faulty: Sequence[str], calm: str) -> str:
    """Return a configuration that does what the edge does, as far as nginx can: see docs/resilience.md."""
    given = {**TIMEOUTS, **setup.edge, **setup.routes}
    ms = {name: f"{float(str(given[name])) * 1000:.0f}ms" for name in TIMEOUTS}
    servers = "\n        ".join(f"server {address} max_fails=5 fail_timeout=2s;" for address in faulty)
    return f"""daemon off;
worker_processes {workers};
worker_shutdown_timeout {ms["timeouts.drain_s"]};
pid {home}/nginx.pid;
error_log stderr crit;
events {{ worker_connections 16384; }}
http {{
    access_log off;
    client_body_temp_path {home}/body;
    proxy_temp_path {home}/proxy;
    fastcgi_temp_path {home}/fastcgi;
    uwsgi_temp_path {home}/uwsgi;
    scgi_temp_path {home}/scgi;
    client_header_timeout {ms["timeouts.head_read_s"]};
    client_body_timeout {ms["timeouts.idle_s"]};
    send_timeout {ms["timeouts.idle_s"]};
    keepalive_timeout {ms["timeouts.keep_alive_idle_s"]};
    keepalive_requests 1000000;
    large_client_header_buffers 4 32k;
    client_max_body_size 2g;
    proxy_http_version 1.1;
    proxy_set_header Connection "";
    proxy_connect_timeout 500ms;
    proxy_read_timeout {ms["response_head_timeout_s"]};
    proxy_next_upstream error timeout;
    proxy_next_upstream_timeout {ms["response_head_timeout_s"]};
    proxy_buffering off;
    proxy_request_buffering off;
    upstream faulty {{
        random two least_conn;
        {servers}
        keepalive 256;
        keepalive_timeout 30s;
        keepalive_requests 10000;
    }}
    upstream calm {{
        server {calm};
        keepalive 256;
        keepalive_timeout 30s;
        keepalive_requests 10000;
    }}
    server {{
        listen 127.0.0.1:{port} backlog=1024;
        location /{FAULTY} {{ proxy_pass http://faulty; }}
        location /{OPEN_FAULTY} {{ proxy_pass http://faulty; }}
        location / {{ proxy_pass http://calm; }}
    }}
}}
"""


class NginxStage(Stage):
    """A stage whose `edge` is nginx."""

    def __init__(self, binary: str, base: Base, setup: Setup, home: Path, stack: AsyncExitStack) -> None:
        super().__init__(base, setup, home, stack)
        self._binary = binary

    async def start_edge(self) -> None:
        """Start nginx and wait until all its workers serve."""
        faulty = [f"127.0.0.1:{port}" for port in self.gate_ports or self.origin_ports[:-1]]
        calm = f"127.0.0.1:{self.origin_ports[-1]}"
        file = self.home / "nginx.conf"
        places = {"port": self.port, "workers": self.workers}
        file.write_text(render(self.setup, self.home, **places, faulty=faulty, calm=calm))
        command = self.limited([self._binary, "-p", str(self.home), "-e", "stderr", "-c", str(file)])
        core = self.base.cores.edge
        self.edge_program = await self._stack.enter_async_context(running(NGINX, core, command, self.home))
        await wait_until_listening(self.edge_program, self.port)
        await self.until_ready(self.workers)

    async def until_settled(self) -> None:
        """Return: nothing stands by."""

    async def worker_pids(self) -> list[int]:
        """Return the process ids of the workers."""
        return [one.pid for one in self.edge.tree()[1:] if one.status() != psutil.STATUS_ZOMBIE]

    async def metrics(self) -> dict[str, float]:
        """Return nothing: it has none."""
        return {}

    def ask_to_leave(self) -> None:
        """Tell it to drain."""
        self.edge.process.send_signal(signal.SIGQUIT)


def _figures(result: Result) -> dict[str, object]:
    return {**{name: getattr(result, name) for name in FIGURES}, **result.extra}
