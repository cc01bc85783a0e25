"""nginx twice: as the origin that every contender asks, and as the plain relay that none can beat."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from loadtest.bench.processes import Program, Seat, running, wait_until_listening

ROWS = [{"id": row, "name": f"Row {row}", "items": row * 7} for row in range(1, 5)]
ANSWER = json.dumps({"title": "browse", "rows": ROWS, "next": "/browse?page=2"}, separators=(",", ":"))
MANY = 100_000_000  # requests on one connection: none is closed within a run


def render_origin(seat: Seat) -> str:
    """Return the configuration of the origin: one small JSON answer, kept alive."""
    return _render(
        seat.home,
        f"""
    server {{
        listen 127.0.0.1:{seat.port} backlog=1024;
        default_type application/json;
        location / {{ return 200 '{ANSWER}'; }}
    }}""",
    )


def render_relay(seat: Seat, origin_port: int, connections: int) -> str:
    """Return the configuration of the relay: `proxy_pass` over kept-alive connections, nothing else."""
    return _render(
        seat.home,
        f"""
    upstream origin {{
        server 127.0.0.1:{origin_port};
        keepalive {connections * 2};
        keepalive_requests {MANY};
    }}
    server {{
        listen 127.0.0.1:{seat.port} backlog=1024;
        location / {{
            proxy_pass http://origin;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
        }}
    }}""",
    )


def _render(home: Path, http: str) -> str:
    return f"""daemon off;
worker_processes 1;
pid {home}/nginx.pid;
error_log stderr warn;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    tcp_nodelay on;
    keepalive_requests {MANY};
    client_body_temp_path {home}/body;
    proxy_temp_path {home}/proxy;
    fastcgi_temp_path {home}/fastcgi;
    uwsgi_temp_path {home}/uwsgi;
    scgi_temp_path {home}/scgi;{http}
}}
"""


@asynccontextmanager
async def nginx(name: str, binary: str, seat: Seat, config: str) -> AsyncIterator[Program]:
    """Run nginx with `config`, made by one of the functions above for the same seat."""
    file = seat.write("nginx.conf", config)
    command = (binary, "-p", str(seat.home), "-e", "stderr", "-c", str(file))
    async with running(name, seat.core, command, seat.home) as program:
        await wait_until_listening(program, seat.port)
        yield program
