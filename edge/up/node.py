"""Where Node is, for the one part of `edge up` that is written in JavaScript."""

import re
import shutil
import subprocess
from dataclasses import dataclass
from typing import Final

OLDEST_VERSION: Final = 20
_TIMEOUT_S: Final = 10.0


@dataclass(slots=True, frozen=True)
class NoNode:
    """There is no Node to use; `why` is the end of a sentence."""

    why: str


def find_node() -> str | NoNode:
    """Return the path of the Node on PATH, if it is new enough."""
    path = shutil.which("node")
    if path is None:
        return NoNode("there is none on PATH")
    try:
        # No shell, and a word of ours.
        done = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=_TIMEOUT_S, check=True)  # noqa: S603
    except (OSError, subprocess.SubprocessError, UnicodeDecodeError):
        return NoNode(f"{path} does not say its version")
    said = done.stdout.strip()
    version = re.fullmatch(r"v(\d+)\..*", said)
    if version is None:
        return NoNode(f"{path} does not say its version")
    if int(version[1]) < OLDEST_VERSION:
        return NoNode(f"{path} is {said}")
    return path
