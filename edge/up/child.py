"""One child process: started, its output passed on with its name, watched until it ends."""

import asyncio
import ctypes
import os
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

_LIBC: Final = ctypes.CDLL(None, use_errno=True)
_PR_SET_PDEATHSIG: Final = 1
_LONGEST_LINE_BYTES: Final = 64 * 1024


@dataclass(slots=True, frozen=True)
class Ended:
    """A child that is gone: its exit code, or minus the number of the signal that ended it."""

    code: int

    def __str__(self) -> str:
        return f"was ended by signal {-self.code}" if self.code < 0 else f"ended with exit code {self.code}"


class Child:
    """A running child. Its lines go to `say`, from standard output and standard error alike."""

    def __init__(self, process: asyncio.subprocess.Process, say: Callable[[str], None]) -> None:
        self._process = process
        self._say = say
        self._output = asyncio.create_task(self._pass_on(), name=f"output of {process.pid}")
        self.pid = process.pid

    def __repr__(self) -> str:
        return f"Child(pid {self.pid})"

    async def ended(self) -> Ended:
        """Wait for its end, with all its output passed on."""
        code = await self._process.wait()
        # A grandchild may hold the pipe for longer than its parent lived.
        await asyncio.wait({self._output}, timeout=1.0)
        self._output.cancel()
        return Ended(code)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal, unless it is gone."""
        if self._process.returncode is None:
            self._process.send_signal(number)

    async def _pass_on(self) -> None:
        output = self._process.stdout
        assert output is not None  # noqa: S101 - it was made with a pipe
        pending = b""
        while piece := await output.read(_LONGEST_LINE_BYTES):
            *lines, pending = (pending + piece).split(b"\n")
            if len(pending) > _LONGEST_LINE_BYTES:
                lines.append(pending)
                pending = b""
            for line in lines:
                self._say(line.decode("utf-8", "backslashreplace"))
        if pending:
            self._say(pending.decode("utf-8", "backslashreplace"))


async def start(command: Sequence[str], say: Callable[[str], None]) -> tuple[Child, asyncio.Future[list[str]]]:
    """Start a child with `--ready-fd` added; return it, and a future of the lines that it writes there.

    The lines are empty when it ended without having been ready. The child is sent SIGTERM if this process dies.
    """
    reading, writing = os.pipe()
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            "--ready-fd",
            str(writing),
            pass_fds=(writing,),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            # A session of its own: Ctrl-C reaches `edge up` alone, which stops its children in order.
            start_new_session=True,
            preexec_fn=_die_with(os.getpid()),
        )
    except BaseException:
        os.close(reading)
        raise
    finally:
        os.close(writing)
    return Child(process, say), asyncio.ensure_future(_read_lines(reading))


async def _read_lines(fd: int) -> list[str]:
    reader = asyncio.StreamReader()
    pipe = os.fdopen(fd, "rb", buffering=0)
    loop = asyncio.get_running_loop()
    transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), pipe)
    try:
        return (await reader.read()).decode("ascii").split()
    finally:
        transport.close()


def _die_with(parent: int) -> Callable[[], None]:
    def set_signal() -> None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, int(signal.SIGTERM))
        if os.getppid() != parent:  # it died before the signal was set
            os.kill(os.getpid(), signal.SIGTERM)

    return set_signal
