"""Builds a wheel whose hot modules are compiled by mypyc. Off unless asked for, as docs/operating.md says.

The sources are compiled in a copy, so that no extension module is ever left beside a `.py` file that somebody edits:
Python would go on running the extension.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

SETUP = """\
from mypyc.build import mypycify
from setuptools import setup

setup(name="compiled", packages=[], ext_modules=mypycify({arguments!r}, opt_level="3", debug_level="0"))
"""


class CompileHook(BuildHookInterface[Any]):
    """Compiles the files that `modules` names and adds the extension modules to the wheel."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile, before the wheel is put together. Raises RuntimeError with the compiler's words."""
        if version == "editable":
            raise RuntimeError("an editable install runs its sources as they are: build a wheel instead")
        self._directory = TemporaryDirectory(prefix="edge-compile-")
        sources, out = Path(self._directory.name, "sources"), Path(self._directory.name, "out")
        modules = self.config["modules"]
        for package in ("edge", "filters", "passport", "proto", "resilience", "tokens"):
            shutil.copytree(Path(self.root, package), sources / package)
        (sources / "setup.py").write_text(SETUP.format(arguments=["--follow-imports=silent", *modules]))
        self.app.display_info(f"Compiling {len(modules)} modules takes about two minutes")
        done = subprocess.run(
            [sys.executable, "setup.py", "build_ext", "--build-lib", str(out), "--build-temp", str(out / "objects")],
            cwd=sources,
            env={**os.environ, "MYPYPATH": "proto"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(
                f"mypyc needs a C compiler and Python's headers, and it could not compile:\n{done.stdout}"
            )
        compiled = {str(file): file.relative_to(out).as_posix() for file in out.rglob("*.so")}
        build_data["force_include"].update(compiled)
        build_data["infer_tag"], build_data["pure_python"] = True, False

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:  # noqa: ARG002
        """Remove the copy: the wheel has what was made."""
        self._directory.cleanup()
