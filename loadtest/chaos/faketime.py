"""A wall clock of its own for one process and its children, by libfaketime; timers go by the real one.

Debian's package `libfaketime` has it, or PyPI's of that name.
"""

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

from loadtest.bench.failure import BenchError

SEEN_WITHIN_S = 1.1
"""A process reads the file of its clock again in each second."""

_NAME = "libfaketime*.so*"


def library(system: Path = Path("/usr")) -> Path | None:
    """Return the library, None where there is none."""
    package = find_spec("libfaketime")
    places = [] if package is None else [Path(place) for place in package.submodule_search_locations or ()]
    found = [path for place in places for path in place.rglob(_NAME)]
    found += [path for place in system.glob("lib*") for path in place.glob(f"**/faketime/{_NAME}")]
    return max(found, default=None)  # MT, for threads, where there are both


def environment(file: Path) -> Mapping[str, str]:
    """Return what a process has in its environment to go by the clock in `file`.

    Raises BenchError where there is no libfaketime.
    """
    preloaded = library()
    if preloaded is None:
        raise BenchError("libfaketime is not installed: apt-get install libfaketime")
    return {
        "LD_PRELOAD": str(preloaded),
        "FAKETIME_TIMESTAMP_FILE": str(file),
        "FAKETIME_CACHE_DURATION": "0",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "NO_FAKE_STAT": "1",
    }


def set_clock(file: Path, skew_s: float) -> None:
    """Let the clock in `file` be so many seconds ahead of the machine's, or behind."""
    scratch = file.with_suffix(".new")
    scratch.write_text(f"{skew_s:+.0f}\n")
    scratch.replace(file)
