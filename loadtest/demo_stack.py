"""A stack of the demo's own: `edge up` on free ports, with its state in a directory that goes with it."""

import os
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

READY_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 40.0
_LAST_LINES = 15
_NEEDED = {"edge", "admin", "auth"}


class StackFailedError(Exception):
    """The stack did not start; the text ends with what it wrote last."""


@dataclass(slots=True, frozen=True)
class Place:
    """Where a process of the stack listens, and its process id."""

    url: str
    pid: int


@dataclass(slots=True, frozen=True)
class RunningStack:
    """The processes by name, as `edge up --ready-fd` reports them, and where their state is."""

    places: dict[str, Place]
    var: Path

    @property
    def edge_url(self) -> str:
        """What devices talk to."""
        return self.places["edge"].url

    @property
    def admin_url(self) -> str:
        """Where /metrics is."""
        return self.places["admin"].url

    def pause_auth(self) -> None:
        """Halt the auth service: it still accepts connections and answers none."""
        os.kill(self.places["auth"].pid, signal.SIGSTOP)

    def resume_auth(self) -> None:
        """Let the auth service go on."""
        os.kill(self.places["auth"].pid, signal.SIGCONT)


@contextmanager
def own_stack(config: Path, overrides: Sequence[str] = (), options: Sequence[str] = ()) -> Iterator[RunningStack]:
    """Start `edge up --ephemeral` and stop it when the block ends; raise StackFailedError when it does not start.

    `overrides` are KEY=VALUE texts for --set, `options` more words of the command.
    """
    with tempfile.TemporaryDirectory(prefix="edge-demo-") as var, (Path(var) / "up.log").open("w+b") as log:
        reading, writing = os.pipe()
        command = [sys.executable, "-m", "edge.cli", "up", "--ephemeral", "--config", str(config), "--var", var]
        command += [*options, *(word for text in overrides for word in ("--set", text))]
        try:
            process = subprocess.Popen(
                [*command, "--ready-fd", str(writing)], stdout=log, stderr=subprocess.STDOUT, pass_fds=(writing,)
            )
        finally:
            os.close(writing)
        try:
            yield RunningStack(_places(reading, log), Path(var))
        finally:
            os.close(reading)
            _stop(process)


def read_places(lines: str) -> dict[str, Place]:
    """Read whole lines of `NAME HOST:PORT PID`."""
    rows = (line.split() for line in lines.splitlines(keepends=True) if line.endswith("\n"))
    return {name: Place(f"http://{address}", int(pid)) for name, address, pid in rows}


def _places(reading: int, log: IO[bytes]) -> dict[str, Place]:
    lines = _read_lines(reading, time.monotonic() + READY_TIMEOUT_S)
    places = read_places(lines.decode("ascii"))
    if not places.keys() >= _NEEDED:
        log.seek(0)
        last = log.read().decode("utf-8", "replace").splitlines()[-_LAST_LINES:]
        raise StackFailedError("\n".join(["the stack did not start. It wrote:", *last]))
    return places


def _read_lines(fd: int, deadline: float) -> bytes:
    """Read until all places are named, the pipe ends, or the deadline (monotonic) passes."""
    read = b""
    with selectors.DefaultSelector() as selector:
        selector.register(fd, selectors.EVENT_READ)
        while not read_places(read.decode("ascii")).keys() >= _NEEDED:
            if not selector.select(max(0.0, deadline - time.monotonic())):
                break
            piece = os.read(fd, 4096)
            if not piece:
                break
            read += piece
    return read


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        # A second signal makes `edge up` end its children at once.
        process.terminate()
        process.wait(STOP_TIMEOUT_S)
