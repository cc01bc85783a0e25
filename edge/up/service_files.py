"""The services' own files beside the edge's: each service checks its own, in a process of its own."""

import subprocess
import sys
from pathlib import Path
from typing import Final

from edge.control.errors import ConfigError

_SERVICES: Final = (("cookie.yaml", "services.cookie"), ("kms.yaml", "services.kms"))


def service_file_errors(config: Path) -> list[ConfigError]:
    """Return what each service says is wrong with its file in the directory `config`; a file may be missing."""
    running = [_start(config / name, module) for name, module in _SERVICES if (config / name).exists()]
    return [error for path, process in running for error in _errors(path, process)]


def _start(path: Path, module: str) -> tuple[Path, subprocess.Popen[str]]:
    command = [sys.executable, "-m", module, "--check-config", "--config", str(path)]
    # No shell, and every word but the path is ours.
    checking = subprocess.Popen(  # noqa: S603
        command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    return path, checking


def _errors(path: Path, checking: subprocess.Popen[str]) -> list[ConfigError]:
    _, said = checking.communicate()
    if checking.returncode == 0:
        return []
    prefix = f"{path}: "
    found = [line.removeprefix(prefix) for line in said.splitlines() if line.startswith(prefix)]
    unsaid = f"cannot be checked: its service ended with exit code {checking.returncode}"
    return [ConfigError(str(path), 0, "", message) for message in found or [unsaid]]
