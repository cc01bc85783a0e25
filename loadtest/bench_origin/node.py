"""Node, and the packages of its apps: installed beside the results, where a registry can be reached."""

import shutil
import subprocess
from collections.abc import Sequence
from functools import cache
from pathlib import Path

LIBRARY = Path(__file__).parents[2] / "passport" / "js"
_INSTALL_TIMEOUT_S = 120.0
_LEAST_MAJOR = 20


def node_path() -> str:
    """Return where node is, or the empty text."""
    return shutil.which("node") or ""


def node_modules(home: Path) -> Path:
    """Return where the apps find their packages."""
    return home.resolve() / "node" / "node_modules"


def node_missing(home: Path, packages: Sequence[str]) -> str:
    """Return what an app of Node lacks, after installing what can be; the empty text when it has everything."""
    if not LIBRARY.is_dir():
        return "no passport/js"
    if not _major() >= _LEAST_MAJOR:
        return f"no node of version {_LEAST_MAJOR} or later"
    absent = [package for package in packages if not (node_modules(home) / package).is_dir()]
    if absent and not _installed(home / "node", absent):
        return f"npm cannot install {', '.join(absent)}"
    return ""


@cache
def _major() -> int:
    if not node_path():
        return 0
    said = subprocess.run([node_path(), "--version"], capture_output=True, text=True, check=False).stdout
    return int(said.strip().removeprefix("v").partition(".")[0] or 0)


def _installed(directory: Path, packages: Sequence[str]) -> bool:
    npm = shutil.which("npm")
    if npm is None:
        return False
    directory.mkdir(parents=True, exist_ok=True)
    quiet = ["--no-audit", "--no-fund", "--no-package-lock", "--ignore-scripts", "--silent"]
    command = [npm, "install", *quiet, "--prefix", str(directory), *packages]
    try:
        done = subprocess.run(command, capture_output=True, timeout=_INSTALL_TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0
