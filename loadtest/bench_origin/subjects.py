"""The list of what is measured. A middleware that comes to the library gets a line, and an app that it is put into."""

import importlib.util
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from loadtest.bench_origin.load import Connect, GrpcCaller, HttpCaller
from loadtest.bench_origin.node import node_missing, node_modules, node_path
from loadtest.bench_origin.settings import Reads

_APPS = Path(__file__).parent / "apps"
_BESIDE = (Reads.NOTHING, Reads.PASSPORT)


@dataclass(slots=True, frozen=True)
class Subject:
    """A middleware in an app.

    `command` takes what the app reads, its port, the file with the keys and a directory to install into. `missing` says
    what is not there that is needed, or nothing; it takes that directory.
    """

    id: str
    title: str
    command: Callable[[Reads, int, Path, Path], list[str]]
    missing: Callable[[Path], str]
    connect: Connect = HttpCaller.connect
    variants: Sequence[Reads] = _BESIDE


def _python(
    name: str,
    title: str,
    *needs: str,
    flags: Sequence[str] = (),
    connect: Connect = HttpCaller.connect,
    variants: Sequence[Reads] = _BESIDE,
) -> Subject:
    module = f"loadtest.bench_origin.apps.{name.partition('_')[0]}_app"

    def command(reads: Reads, port: int, keys: Path, _: Path) -> list[str]:
        return [sys.executable, "-m", module, "--reads", reads, "--port", str(port), "--keys", str(keys), *flags]

    def missing(_: Path) -> str:
        absent = [package for package in needs if importlib.util.find_spec(package) is None]
        return f"not installed: {', '.join(absent)}" if absent else ""

    return Subject(name, title, command, missing, connect, variants)


def _node(framework: str, title: str, *needs: str) -> Subject:
    def command(reads: Reads, port: int, keys: Path, home: Path) -> list[str]:
        where = ["--port", str(port), "--keys", str(keys), "--modules", str(node_modules(home))]
        return [node_path(), str(_APPS / "node_app.mjs"), "--framework", framework, "--reads", reads, *where]

    return Subject(f"node_{framework}", title, command, lambda home: node_missing(home, needs))


SUBJECTS: tuple[Subject, ...] = (
    _python("aiohttp", "aiohttp", "aiohttp", variants=(*_BESIDE, Reads.COOKIES)),
    _python("asgi", "ASGI: Starlette on uvicorn", "starlette", "uvicorn"),
    _python("wsgi", "WSGI: Flask on waitress", "flask", "waitress"),
    _python("grpc", "gRPC, threads", "grpc", connect=GrpcCaller.connect),
    _python("grpc_aio", "gRPC, asyncio", "grpc", flags=["--aio"], connect=GrpcCaller.connect),
    _node("plain", "Node: node:http"),
    _node("express", "Node: Express", "express"),
    _node("fastify", "Node: Fastify", "fastify"),
)
