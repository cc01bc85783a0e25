"""Processes of our own modules without the second that each takes to load: a process that has loaded one forks them.

    popen = bear("services.kms", ["--listen", "127.0.0.1:0", "--ready-fd", str(fd)], log, log, [fd])

What runs is what `python -m MODULE ARGUMENT…` runs, in a process of its own with just these descriptors, the
environment and the directory of `python -m`; what differs is that its imports are done. That they can be done is for
the tests that start the real command lines: `edge up`, the supervisor's workers, the demo.

A nursery has one thread and runs nothing of the module but its imports, so nothing is shared that can be written to.
"""

import atexit
import contextlib
import importlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple, NoReturn

REPOSITORY = Path(__file__).resolve().parent.parent
# What these load when they first need it, which in tests is at each start: their databases are new.
_LATE = ("services.kit.migrate", "sqlalchemy.dialects.sqlite")
_LOADS_LATE = ("services.cookie", "services.kms")
_MOST_BYTES = 1 << 20
_MOST_FDS = 64
_STREAMS = (1, 2)
_HIGH = 512
"""Descriptors are put here on their way, where none of a new process's own is."""


class Born:
    """A process from a nursery, as `subprocess.Popen` shows its own. Its exit code comes through the pipe `ending`."""

    def __init__(self, pid: int, ending: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._ending = ending
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"Born({self.pid}, {self.returncode})"

    def poll(self) -> int | None:
        """Return the exit code, negative for a signal; None while the process lives."""
        with self._lock:
            if self.returncode is None and select.select([self._ending], [], [], 0)[0]:
                said = os.read(self._ending, 16)
                os.close(self._ending)
                self.returncode = int(said or -signal.SIGKILL)  # a nursery that was killed tells nothing
            return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end and return the exit code; TimeoutExpired after `timeout` seconds."""
        while (code := self.poll()) is None:
            if not select.select([self._ending], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(str(self.pid), timeout or 0.0)
        return code

    def send_signal(self, number: int) -> None:
        """Send a signal, if the process lives."""
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):  # it has ended, and that is not told yet
                os.kill(self.pid, number)

    def kill(self) -> None:
        """Send SIGKILL."""
        self.send_signal(signal.SIGKILL)


class Words(NamedTuple):
    """What a nursery is told of a process: its arguments, the numbers of its descriptors, its environment."""

    arguments: Sequence[str]
    fds: Sequence[int]
    environment: Mapping[str, str]


def bear(module: str, arguments: Sequence[str], stdout: int, stderr: int, fds: Iterable[int] = ()) -> Born:
    """Start a process that runs `module`. It inherits the descriptors `fds` under their numbers."""
    ending, tell = os.pipe()
    kept = [*fds]
    words = Words(arguments, [*_STREAMS, *kept], dict(os.environ))
    try:
        nursery = _nursery(module)
        socket.send_fds(nursery, [json.dumps(words).encode()], [tell, stdout, stderr, *kept])
        pid = nursery.recv(16)
    finally:
        os.close(tell)
    assert pid, f"the nursery of {module} is gone"
    return Born(int(pid), ending)


@cache
def _nursery(module: str) -> socket.socket:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    line = [sys.executable, "-m", "tests.nursery", module, str(theirs.fileno())]
    with theirs:
        popen = subprocess.Popen(line, pass_fds=[theirs.fileno()], cwd=REPOSITORY)

    @atexit.register
    def close() -> None:
        ours.close()
        popen.wait()

    return ours


def main() -> NoReturn:
    """Load a module, then fork a process for each request. Each leaves by running the module, the nursery when told."""
    name, fd = sys.argv[1], int(sys.argv[2])
    package = importlib.import_module(name)
    module = importlib.import_module(f"{name}.__main__") if hasattr(package, "__path__") else package
    for late in _LATE if name in _LOADS_LATE else ():
        importlib.import_module(late)
    assert threading.active_count() == 1, f"{name} starts threads when it is imported"
    with socket.socket(fileno=fd) as requests:
        born = _forked(requests)
    if born is None:
        raise SystemExit(0)
    words, fds = born
    _settle(words, fds)
    sys.argv = [str(module.__file__), *words.arguments]
    sys.exit(module.main())


def _forked(requests: socket.socket) -> tuple[Words, Sequence[int]] | None:
    """Fork until there are no more requests: None then, and in each new process what it is told and given."""
    living: dict[int, tuple[int, int]] = {}
    poll = select.poll()
    poll.register(requests, select.POLLIN)
    while True:
        for fd, _ in poll.poll():
            if fd != requests.fileno():
                poll.unregister(fd)
                _tell(fd, *living.pop(fd))
                continue
            message, fds, _, _ = socket.recv_fds(requests, _MOST_BYTES, _MOST_FDS)
            if not message:
                return None
            pid = os.fork()
            if not pid:
                for pair in living.items():
                    os.close(pair[0])
                    os.close(pair[1][1])
                os.close(fds[0])
                return Words(*json.loads(message)), fds[1:]
            for passed in fds[1:]:
                os.close(passed)
            watched = os.pidfd_open(pid)
            living[watched] = (pid, fds[0])
            poll.register(watched, select.POLLIN)
            requests.send(str(pid).encode())


def _tell(watched: int, pid: int, tell: int) -> None:
    """Say how a process ended."""
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    with contextlib.suppress(BrokenPipeError):  # nobody asks
        os.write(tell, str(code).encode())
    os.close(tell)
    os.close(watched)


def _settle(words: Words, fds: Sequence[int]) -> None:
    """Put descriptors where the new process looks for them, and its environment."""
    for number, fd in enumerate(fds):
        os.dup2(fd, _HIGH + number)
        os.close(fd)
    for number, place in enumerate(words.fds):
        os.dup2(_HIGH + number, place)
        os.close(_HIGH + number)
    os.environ.clear()
    os.environ.update(words.environment)


if __name__ == "__main__":
    main()
