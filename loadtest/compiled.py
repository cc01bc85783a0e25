"""The packages as `make wheel` compiles them, unpacked where a program can be pointed at them by PYTHONPATH."""

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from zipfile import ZipFile

ROOT = Path(__file__).parents[1]
SOURCES = ("edge", "filters", "tokens", "passport", "resilience", "services", "origins_stub", "loadtest", "proto")


class CompileError(Exception):
    """The wheel could not be built; says what was printed."""


def compiled_packages(directory: Path, say: Callable[[str], None], root: Path = ROOT) -> Path:
    """Return a directory under `directory` that holds the packages of the tree at `root`, the hot ones compiled.

    Built once for each state of the sources; older ones are removed.
    """
    home = directory.resolve() / digest(root)
    if home.exists():
        return home
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    say("Compiling the hot modules takes about two minutes")
    with TemporaryDirectory(dir=directory) as scratch:
        _build(root, Path(scratch))
        unpacked = Path(scratch, "unpacked")
        for wheel in Path(scratch).glob("*.whl"):
            ZipFile(wheel).extractall(unpacked)
        unpacked.rename(home)
    return home


def _build(root: Path, out: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--no-deps", "--wheel-dir", str(out), str(root)],
        env={**os.environ, "HATCH_BUILD_HOOK_ENABLE_CUSTOM": "true"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        raise CompileError(done.stdout)


def digest(root: Path = ROOT) -> str:
    """Return what names one state of the sources at `root`, and of the Python that compiles them."""
    files = [root / "pyproject.toml", root / "hatch_build.py"]
    for package in SOURCES:
        files += sorted((root / package).rglob("*.py"))
    digest = hashlib.sha256(sys.version.encode())
    for file in files:
        digest.update(f"{file.relative_to(root)}\0".encode() + file.read_bytes())
    return digest.hexdigest()[:16]
