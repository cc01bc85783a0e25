"""A wall clock of its own for the Python of one process and its children, which can be stepped while they run.

Not libfaketime, which moves that of C code, too: its 0.9.10 has Python's `time.sleep` fail as soon as a clock is off.
"""

import os
import struct
from collections.abc import Mapping
from pathlib import Path

PLACE = Path(__file__).parent / "stepped"
"""What must be on the PYTHONPATH of such a process."""


def set_clock(file: Path, skew_s: float) -> None:
    """Let the clock in `file` be so many seconds ahead of the machine's, or behind."""
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        os.pwrite(descriptor, struct.pack("d", skew_s), 0)
    finally:
        os.close(descriptor)


def environment(file: Path, packages: str) -> Mapping[str, str]:
    """Return what a process has in its environment to go by the clock in `file`; `packages` is its PYTHONPATH."""
    return {"CHAOS_CLOCK": str(file), "PYTHONPATH": os.pathsep.join(filter(None, (str(PLACE), packages)))}
