"""The command: `python -m loadtest.bench`, which `make bench` runs."""

import argparse
import asyncio
import signal
import sys
from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import TypeVar

from rich.console import Console

from loadtest.bench.contenders import NAMES
from loadtest.bench.edges import wants_compiled
from loadtest.bench.failure import BenchError
from loadtest.bench.report import as_json, write
from loadtest.bench.session import measure
from loadtest.bench.settings import Settings
from loadtest.bench.table import show
from loadtest.bench.tools import find_tools
from loadtest.bench.verdicts import verdicts
from loadtest.compiled import CompileError, compiled_packages

T = TypeVar("T")
INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and report; return 0 when it measured, 1 when it could not, 130 when it was interrupted."""
    console = Console()
    settings = settings_from(arguments)
    try:
        tools = find_tools(console.print)
        packages = compiled_packages(settings.var / "compiled", console.print) if wants_compiled(settings) else None
        found, context = asyncio.run(_until_terminated(measure(settings, tools, packages, console.print)))
    except (BenchError, CompileError) as failure:
        console.print(f"The bench could not measure. {failure}", style="red", markup=False, highlight=False)
        return 1
    except (KeyboardInterrupt, asyncio.CancelledError):
        console.print("Interrupted: everything is stopped, nothing was written")
        return INTERRUPTED
    show(found, console)
    file = settings.var / "latest.json"
    write(file, as_json(found, {"verdicts": verdicts(found), **context}))
    console.print(f"Written to {file}")
    return 0


def settings_from(arguments: Sequence[str] | None) -> Settings:
    """Read the command line."""
    usual = Settings()
    parser = argparse.ArgumentParser(prog="python -m loadtest.bench", description="Measure the edge beside its peers.")
    parser.add_argument("--rounds", type=_positive, default=usual.rounds, help="rounds (%(default)s)")
    parser.add_argument("--round-s", type=_positive, default=usual.round_s, help="seconds of each (%(default)s)")
    parser.add_argument("--warm-up-s", type=_positive, default=usual.warm_up_s, help="before them (%(default)s)")
    parser.add_argument("--connections", type=_positive, default=usual.connections, help="kept alive (%(default)s)")
    parser.add_argument("--tokens", type=_positive, default=usual.tokens, help="different ones (%(default)s)")
    parser.add_argument("--only", action="append", choices=list(NAMES), default=[], help="may be repeated; usually all")
    parser.add_argument("--config", type=Path, default=usual.config, help="the edge's configuration (%(default)s)")
    parser.add_argument("--var", type=Path, default=usual.var, help="where latest.json goes (%(default)s)")
    read = vars(parser.parse_args(arguments))
    return Settings(**{**read, "only": frozenset(read["only"])})


async def _until_terminated(work: Coroutine[object, object, T]) -> T:
    """Run `work`; Ctrl-C and SIGTERM cancel it, so that everything it started is stopped."""
    task = asyncio.ensure_future(work)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, task.cancel)
    return await task


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return number


if __name__ == "__main__":
    sys.exit(main())
