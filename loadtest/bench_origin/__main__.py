"""The command: `python -m loadtest.bench_origin`, which `make bench-origin` runs."""

import argparse
import asyncio
import os
import platform
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import uvloop
from rich.console import Console

from loadtest.bench.failure import BenchError
from loadtest.bench.machine import cpu_name
from loadtest.bench.report import write
from loadtest.bench_origin.credentials import Credentials, draw_keys
from loadtest.bench_origin.measuring import Place, measure
from loadtest.bench_origin.report import Report, Spent, as_json, report, show
from loadtest.bench_origin.settings import Settings
from loadtest.bench_origin.subjects import SUBJECTS

INTERRUPTED = 130
WIDTH = 120  # of what is read later
_LIBRARIES = ("aiohttp", "cryptography", "flask", "grpcio", "protobuf", "starlette", "uvicorn", "uvloop", "waitress")


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and report; return 0 when it measured, 1 when it could not, 130 when it was interrupted."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=WIDTH)
    settings = settings_from(arguments)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            found = runner.run(run(settings, lambda text: console.print(text, highlight=False)))
    except BenchError as failure:
        console.print(f"The bench could not measure. {failure}", style="red", markup=False, highlight=False)
        return 1
    except KeyboardInterrupt:
        console.print("Interrupted: everything is stopped, nothing was written")
        return INTERRUPTED
    show(found, console)
    file = settings.var / "latest.json"
    write(file, as_json(found, _context(settings)))
    console.print(f"Written to {file}")
    return 0


def settings_from(arguments: Sequence[str] | None) -> Settings:
    """Read the command line."""
    usual = Settings()
    parser = argparse.ArgumentParser(
        prog="python -m loadtest.bench_origin", description="Measure what reading a Passport costs an origin."
    )
    ids = [subject.id for subject in SUBJECTS]
    parser.add_argument("--rounds", type=_positive, default=usual.rounds, help="rounds (%(default)s)")
    parser.add_argument("--requests", type=_positive, default=usual.requests, help="of each round (%(default)s)")
    parser.add_argument("--connections", type=_positive, default=usual.connections, help="kept alive (%(default)s)")
    parser.add_argument("--visitors", type=_positive, default=usual.visitors, help="different ones (%(default)s)")
    parser.add_argument("--only", action="append", choices=ids, default=[], help="may be repeated; usually all")
    parser.add_argument("--var", type=Path, default=usual.var, help="where latest.json goes (%(default)s)")
    read = vars(parser.parse_args(arguments))
    return Settings(**{**read, "only": frozenset(read["only"])})


async def run(settings: Settings, say: Callable[[str], None]) -> Report:
    """Measure every subject that can be; raise BenchError when one that can be started fails."""
    apps, load = _cores()
    os.sched_setaffinity(0, {load})
    found: dict[str, Spent] = {}
    left_out: dict[str, str] = {}
    with tempfile.TemporaryDirectory(prefix="bench-origin-") as home:
        keys = Path(home) / "keys"
        credentials = Credentials(draw_keys(keys), settings.visitors)
        for subject in SUBJECTS:
            if settings.only and subject.id not in settings.only:
                continue
            if why := subject.missing(settings.var):
                left_out[subject.id] = why
                continue
            say(f"Measuring {subject.title}")
            found[subject.id] = await measure(subject, settings, Place(apps, Path(home), keys), credentials)
    return report({subject.id: subject.title for subject in SUBJECTS}, found, left_out)


def _cores() -> tuple[int, int]:
    """Return the core of the apps and that of the load, which is the same one where there is no other."""
    cores = sorted(os.sched_getaffinity(0))
    return cores[0], cores[-1]


def _context(settings: Settings) -> dict[str, object]:
    return {
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": {"cpu": cpu_name(), "kernel": platform.release()},
        "versions": {"python": platform.python_version(), **{name: _installed(name) for name in _LIBRARIES}},
        "settings": {key: value for key, value in asdict(settings).items() if key not in {"only", "var"}},
    }


def _installed(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return number


if __name__ == "__main__":
    sys.exit(main())
