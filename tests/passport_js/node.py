"""Where Node is, for tests of what is written in JavaScript: skipped where there is none that is new enough."""

import os
import re
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from tests.processes import REPOSITORY

PACKAGE = REPOSITORY / "passport" / "js"
OLDEST = 20


@cache
def found() -> str:
    """Return the path of a Node that is new enough, or why there is none, which has a space in it."""
    path = shutil.which("node", path=os.pathsep.join([os.environ.get("PATH", ""), str(Path(sys.executable).parent)]))
    if path is None:
        return f"there is no Node: install version {OLDEST} or newer"
    said = subprocess.run([path, "--version"], capture_output=True, text=True, check=False).stdout.strip()
    version = re.match(r"v(\d+)\.", said)
    if version is None or int(version[1]) < OLDEST:
        return f"Node is {said or 'broken'}: install version {OLDEST} or newer"
    return path


def node() -> str:
    """Return the path of Node; skip the test where there is none."""
    if " " in found():
        pytest.skip(found())
    return found()


def npm() -> list[str]:
    """Return the command npm, run by the Node of these tests; skip the test where there is none."""
    script = shutil.which("npm", path=os.pathsep.join([str(Path(node()).parent), os.environ.get("PATH", "")]))
    if script is None:
        pytest.skip("there is no npm")
    return [script]


def run(*command: str, cwd: Path = PACKAGE, timeout_s: float = 55.0, **environment: str) -> str:
    """Run a command to its end, return what it printed to standard output; fail with all that it said if it failed."""
    done = subprocess.run(
        command,
        cwd=cwd,
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=timeout_s,
        check=False,
    )
    assert done.returncode == 0, (done.stdout + done.stderr).decode("utf-8", "replace")
    return done.stdout.decode("utf-8")
