"""A systemd that is process 1 of namespaces of its own, in which units run as on a machine: for tests as root.

    with booted(stage, root, {Path("/some/directory"): "/opt/there"}) as machine:
        machine.run("systemctl", "start", "edge-passport")

It has its own network, of which there is the loopback alone, and what it writes is in memory. With its process 1
everything in it ends: processes, mounts, network.
"""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from time import monotonic, sleep

import psutil

SYSTEMD = Path("/lib/systemd/systemd")
NAMESPACES = ("--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup")
UNSHARE = ("unshare", *NAMESPACES, "--propagation=private", "--fork", "--kill-child")
INSIDE = {"PATH": "/opt/edge-passport/bin:/usr/sbin:/usr/bin", "LANG": "C.UTF-8", "HOME": "/root"}
_BOOT = Path(__file__).parent / "boot.sh"
_PATIENCE_S = 60.0


class CannotBootError(Exception):
    """This machine does not let us; says why."""


class Machine:
    """A booted systemd. `pid` is its process 1, as seen from outside."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        enter = (
            "nsenter",
            f"--target={pid}",
            "--mount",
            "--uts",
            "--ipc",
            "--net",
            "--pid",
            "--cgroup",
            "--root",
            "--wd",
        )
        self._enter = (*enter, "--", "env", "-i", *(f"{name}={value}" for name, value in INSIDE.items()))

    def start(self, *command: str) -> subprocess.Popen[str]:
        """Start a command inside; its stdin, stdout and stderr, one with stdout, are pipes."""
        pipe = subprocess.PIPE
        return subprocess.Popen([*self._enter, *command], stdin=pipe, stdout=pipe, stderr=subprocess.STDOUT, text=True)

    def ends(self, *command: str, stdin: str = "") -> tuple[int, str]:
        """Run a command inside; return its exit code and what it said."""
        with self.start(*command) as process:
            said, _ = process.communicate(stdin, timeout=_PATIENCE_S)
        return process.returncode, said

    def run(self, *command: str, stdin: str = "") -> str:
        """Run a command inside that has to succeed; return what it said."""
        code, said = self.ends(*command, stdin=stdin)
        assert code == 0, f"{' '.join(command)} ended with {code}:\n{said}"
        return said

    def shell(self, script: str) -> str:
        """Run lines of a shell, each of which has to succeed."""
        return self.run("sh", "-e", stdin=script)

    def shows(self, unit: str, *properties: str) -> dict[str, str]:
        """Return properties of a unit."""
        lines = self.run("systemctl", "show", unit, f"--property={','.join(properties)}").splitlines()
        return dict(line.split("=", 1) for line in lines)

    def journal(self, *options: str) -> str:
        """Return all that the journal has, every field of it."""
        return self.run("journalctl", "--all", "--output=export", *options)


def until(condition: Callable[[], bool], what: str) -> None:
    """Wait until `condition` holds; fail saying `what` was waited for."""
    deadline = monotonic() + _PATIENCE_S
    while not condition():
        assert monotonic() < deadline, f"waited {_PATIENCE_S:g} s in vain until {what}"
        sleep(0.05)


def check() -> None:
    """Find out whether systemd can be booted here. Raises CannotBootError."""
    if os.geteuid():
        raise CannotBootError("systemd is booted by root only")
    for program in ("unshare", "nsenter", "setpriv", "pivot_root", str(SYSTEMD)):
        if shutil.which(program) is None:
            raise CannotBootError(f"there is no {program} (Debian: util-linux, mount, systemd)")
    tried = subprocess.run([*UNSHARE, "true"], capture_output=True, text=True, check=False, timeout=30)
    if tried.returncode:
        raise CannotBootError(f"no namespaces can be made here: {tried.stderr.strip()}")
    with _cgroup():
        pass


@contextmanager
def booted(stage: Path, root: Path, mounted: Mapping[Path, str]) -> Iterator[Machine]:
    """Boot with the files of `stage`, directories `mounted` read-only; `root` is an empty one."""
    pairs = [f"{directory}={where}" for directory, where in mounted.items()]
    log = root.with_suffix(".log")
    with _cgroup() as cgroup, log.open("w") as said:
        enter = f'echo $$ >"{cgroup}/cgroup.procs" && exec "$@"'
        command = [
            "sh",
            "-c",
            enter,
            "sh",
            "setpriv",
            "--pdeathsig=KILL",
            *UNSHARE,
            "sh",
            str(_BOOT),
            str(stage),
            str(root),
        ]
        process = subprocess.Popen([*command, *pairs], stdin=subprocess.DEVNULL, stdout=said, stderr=said)
        try:
            until(lambda: process.poll() is not None or _is_up(process.pid), "systemd is up")
            if process.poll() is not None:
                raise AssertionError(f"systemd did not come up:\n{log.read_text()}")
            yield Machine(_first(process.pid))
        finally:
            process.kill()  # and by --kill-child process 1, which takes all others along
            process.wait()


def _first(pid: int) -> int:
    (child,) = psutil.Process(pid).children()
    return child.pid


def _is_up(pid: int) -> bool:
    try:
        first = _first(pid)
        if psutil.Process(first).name() != "systemd":
            return False
    except (ValueError, psutil.NoSuchProcess):
        return False
    return Machine(first).ends("systemctl", "is-system-running")[1].strip() in {"running", "degraded"}


@contextmanager
def _cgroup() -> Iterator[Path]:
    """Make a cgroup of version 2, which becomes the root of those inside; it goes once all in it have ended."""
    mounts = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]
    at = next((Path(fields[1]) for fields in mounts if fields[2] == "cgroup2"), None)
    if at is None:
        raise CannotBootError("cgroups of version 2 are not mounted")
    own = next(line[3:] for line in Path("/proc/self/cgroup").read_text().splitlines() if line.startswith("0::"))
    made = at / own.lstrip("/") / f"edge-test-{os.getpid()}"
    try:
        made.mkdir()
    except OSError as error:
        raise CannotBootError(f"no cgroup can be made: {error}") from None
    try:
        yield made
    finally:
        until(lambda: _removed(made), f"nobody is in {made}")


def _removed(cgroup: Path) -> bool:
    for directory, _, _ in os.walk(cgroup, topdown=False):
        with suppress(OSError):
            Path(directory).rmdir()
    return not cgroup.exists()
