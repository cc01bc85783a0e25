"""A limit on one process's memory: by a cgroup of its own where one can be made, else by its address space."""

import resource
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil


@dataclass(slots=True, frozen=True)
class _Version:
    """What the files of a kind of memory cgroup are called."""

    kind: str
    limit: str
    used: str
    events: str


V1 = _Version("cgroup v1", "memory.limit_in_bytes", "memory.usage_in_bytes", "memory.oom_control")
V2 = _Version("cgroup v2", "memory.max", "memory.current", "memory.events")


@dataclass(slots=True, frozen=True)
class MemoryLimit:
    """`kind` says what keeps it: a cgroup, where the kernel ends who wants more, or RLIMIT_AS, which refuses it."""

    kind: str
    _version: _Version | None = None
    _group: Path = Path()

    @property
    def ends(self) -> bool:
        """Whether a process that wants more is ended; else it is refused more and may go on."""
        return self._version is not None

    def used_bytes(self) -> int | None:
        """Return what the process has taken since it was limited, if that is known."""
        return None if self._version is None else int((self._group / self._version.used).read_text())

    def kills(self) -> int:
        """Return how many processes the kernel has ended for it."""
        if self._version is None:
            return 0
        lines = (self._group / self._version.events).read_text().splitlines()
        return sum(int(line.split()[1]) for line in lines if line.startswith("oom_kill "))


@contextmanager
def memory_limited(pid: int, limit_bytes: int) -> Iterator[MemoryLimit]:
    """Let a process have so much memory altogether until the block ends; what it has already counts."""
    process = psutil.Process(pid)
    memory = process.memory_info()
    more = max(0, limit_bytes - memory.rss)
    made = _make_group(pid, more)
    if made is None:
        before = process.rlimit(resource.RLIMIT_AS)
        process.rlimit(resource.RLIMIT_AS, (memory.vms + more, before[1]))
        try:
            yield MemoryLimit("RLIMIT_AS")
        finally:
            with suppress(psutil.NoSuchProcess):
                process.rlimit(resource.RLIMIT_AS, before)
        return
    version, group = made
    try:
        yield MemoryLimit(version.kind, version, group)
    finally:
        for left in (group / "cgroup.procs").read_text().split():
            (group.parent / "cgroup.procs").write_text(left)
        group.rmdir()


def _make_group(pid: int, limit_bytes: int) -> tuple[_Version, Path] | None:
    """Put a process into a new cgroup below this one's own; None where that cannot be done.

    What a process had before it came stays with its old group: the limit is on what it takes from now on.
    """
    for version, parent in own_groups():
        group = parent / f"chaos-{pid}"
        try:
            group.mkdir()
        except OSError:
            continue
        try:
            (group / version.limit).write_text(str(limit_bytes))
            (group / "cgroup.procs").write_text(str(pid))
        except OSError:
            group.rmdir()
        else:
            return version, group
    return None


def own_groups(proc: Path = Path("/proc/self")) -> Iterator[tuple[_Version, Path]]:
    """Yield this process's directory in each hierarchy that may limit memory."""
    for line in (proc / "mountinfo").read_text().splitlines():
        before, _, after = line.partition(" - ")
        kind, _, options = after.split(" ", 2)
        if kind == "cgroup2":
            version, controller = V2, ""
        elif kind == "cgroup" and "memory" in options.split(","):
            version, controller = V1, "memory"
        else:
            continue
        mount = Path(before.split(" ")[4])
        for group in (proc / "cgroup").read_text().splitlines():
            _, controllers, path = group.split(":", 2)
            if controllers == controller or controller in controllers.split(","):
                own = mount / path.lstrip("/")
                yield version, own if own.is_dir() else mount
                break
