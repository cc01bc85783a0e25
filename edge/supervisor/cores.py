"""How many cores this process may use: those of its affinity, or fewer where a cgroup limits its time on them.

A container with a limit of two CPUs on a machine of sixty-four sees all sixty-four: a worker for each of them would be
held up for most of every tenth of a second. Limits are read as in the kernel's cgroup-v2.rst (`cpu.max`) and
sched-bwc.rst (`cpu.cfs_quota_us`).
"""

import math
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

_MOUNTED: Final = "sys/fs/cgroup"
_MEMBERSHIP: Final = "proc/self/cgroup"


def usable_cores(root: Path = Path("/")) -> int:
    """Return how many workers can run at once, at least 1; part of a core counts as one. `root`: the file system."""
    cores = len(os.sched_getaffinity(0))
    limit = cpu_limit(root)
    return cores if limit is None else max(1, min(cores, math.ceil(limit)))


def cpu_limit(root: Path) -> float | None:
    """Return the least number of cores that this process's cgroup, or one above it, allows; None without a limit."""
    return min(_limits(root), default=None)


def _limits(root: Path) -> Iterator[float]:
    for mounted, group in _groups(root):
        # A container sees its own cgroup as the root of all, but may be told its path on the host.
        for directory in (mounted / group, *(mounted / group).parents):
            if directory == mounted.parent:
                break
            with suppress(OSError, ValueError, ZeroDivisionError):
                quota, period = _quota(directory)
                if quota > 0:
                    yield quota / period


def _groups(root: Path) -> Iterator[tuple[Path, str]]:
    """Yield where each hierarchy that limits CPUs is mounted, with this process's place in it."""
    with suppress(OSError, ValueError):
        for line in (root / _MEMBERSHIP).read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if not controllers:
                yield root / _MOUNTED, path.lstrip("/")
            elif "cpu" in controllers.split(","):
                yield root / _MOUNTED / "cpu", path.lstrip("/")


def _quota(directory: Path) -> tuple[int, int]:
    """Return microseconds of processor time and of the period that they are for; a quota of -1 is no limit."""
    with suppress(FileNotFoundError):
        quota, period = (directory / "cpu.max").read_text().split()
        return (-1 if quota == "max" else int(quota)), int(period)
    return int((directory / "cpu.cfs_quota_us").read_text()), int((directory / "cpu.cfs_period_us").read_text())
