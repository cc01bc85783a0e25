"""The edge as it is shipped, `edge run` with one worker, and the KMS process that it gets its keys from."""

import base64
import json
import secrets
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import yaml

from loadtest.bench.failure import BenchError
from loadtest.bench.processes import Program, Seat, running, wait_until_listening

ENVIRONMENT = "bench"
TRUST_DOMAIN = "bench.test"
INSECURE_COOKIE, SECURE_COOKIE = "EdgeId", "SecureEdgeId"
NOBODY = "http://127.0.0.1:9"  # the discard port: the cookie service must not be needed


@dataclass(slots=True, frozen=True)
class EdgePorts:
    """Where one edge listens, and where its keys and its origin are."""

    listen: int
    admin: int
    kms: int
    origin: int


def make_secrets(directory: Path, kms_config: Path) -> None:
    """Make the KMS's master key and a token for every identity in its configuration, all good for this run only."""
    directory.mkdir(parents=True, mode=0o700)
    _write(directory / "master.key", base64.b64encode(secrets.token_bytes(32)).decode())
    for identity in yaml.safe_load(kms_config.read_text())["identities"]:
        _write(directory / f"{identity}.token", secrets.token_urlsafe(32))


def identity_token(directory: Path, identity: str) -> str:
    """Return the token by which an identity, and this bench in its name, may fetch keys."""
    return (directory / f"{identity}.token").read_text().strip()


def overrides(ports: EdgePorts, tokens: int, access_log: str) -> dict[str, object]:
    """Return what differs from the shipped configuration: addresses, one worker, a cache for all tokens, the log."""
    return {
        "edge.id": "bench",
        "edge.environment": ENVIRONMENT,
        "edge.trust_domain": TRUST_DOMAIN,
        "edge.workers": 1,
        "listener.address": f"127.0.0.1:{ports.listen}",
        "listener.local_plain_http": True,
        "admin.address": f"127.0.0.1:{ports.admin}",
        "cookies.insecure_name": INSECURE_COOKIE,
        "cookies.secure_name": SECURE_COOKIE,
        "cookies.cache_entries": tokens * 2,
        "origins.api.addresses": [f"127.0.0.1:{ports.origin}"],
        "services.kms.url": f"http://127.0.0.1:{ports.kms}",
        "services.kms.token_file": "secrets/edge.token",
        "services.cookie.url": NOBODY,
        "access_log.path": access_log,
    }


def edge_command(config: Path, var: Path, values: Mapping[str, object]) -> list[str]:
    """Return the command line of `edge run` with these overrides, each as YAML reads it."""
    settings = [part for key, value in values.items() for part in ("--set", f"{key}={_as_yaml(value)}")]
    edge = Path(sys.executable).parent / "edge"
    return [str(edge), "run", "--config", str(config), "--var", str(var), *settings]


@asynccontextmanager
async def kms(seat: Seat, config: Path) -> AsyncIterator[Program]:
    """Run the KMS; its secrets are in the directory `secrets` of its seat."""
    command = [sys.executable, "-m", "services.kms", "--listen", f"127.0.0.1:{seat.port}", "--config", str(config)]
    command += ["--secrets", str(seat.home / "secrets"), "--var", str(seat.home)]
    async with running("kms", seat.core, command, seat.home) as program:
        await wait_until_listening(program, seat.port)
        yield program


@asynccontextmanager
async def edge(name: str, seat: Seat, command: list[str], packages: Path | None) -> AsyncIterator[Program]:
    """Run an edge until left: the compiled `packages`, or the sources as they are.

    Raises `BenchError` when one of its processes may leave its core, or runs what it should not.
    """
    env = None if packages is None else {"PYTHONPATH": str(packages)}
    async with running(name, seat.core, command, seat.home, env) as program:
        await wait_until_listening(program, seat.port)
        if program.cores() != {seat.core}:
            raise BenchError(f"{name} runs on the cores {sorted(program.cores())}, not on {seat.core} alone")
        if any(_is_compiled(process.pid) for process in program.tree()) is not (packages is not None):
            raise BenchError(f"{name} runs {'the sources' if packages else 'compiled modules'}")
        yield program


def _is_compiled(pid: int) -> bool:
    return "__mypyc." in Path(f"/proc/{pid}/maps").read_text()


def _as_yaml(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _write(file: Path, line: str) -> None:
    file.touch(mode=0o600)
    file.write_text(line + "\n")
