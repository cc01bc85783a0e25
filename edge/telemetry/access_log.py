"""The access log: one JSON line for each exchange, written by a thread of its own so that no request waits for a disk.

Lines gather in memory and go to the writer at `FLUSH_BYTES` or with the worker's sweep. When the target cannot keep
up, more than `MAX_PENDING_BYTES` are never held: lines are dropped and counted.
"""

import os
import queue
import select
import stat
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Final

FLUSH_BYTES: Final = 128 * 1024
MAX_PENDING_BYTES: Final = 4 * 1024 * 1024
_PIPE_BUF: Final = 4096  # POSIX: a write to a pipe up to this size is not mixed with another process's


class AccessLog:
    """Gathers lines and hands them to a writer thread. `target` is a file to append to, or an open file descriptor."""

    def __init__(self, target: Path | int) -> None:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        self._fd = os.dup(target) if isinstance(target, int) else os.open(target, flags, 0o640)
        self._is_file = stat.S_ISREG(os.fstat(self._fd).st_mode)
        self._texts: list[bytes] = []
        self._gathered_lines = 0
        self._gathered_bytes = 0
        self._queue: queue.SimpleQueue[tuple[bytes, int] | None] = queue.SimpleQueue()
        self._queued_bytes = 0  # changed by the loop's thread only
        self._written_bytes = 0  # changed by the writer's thread only
        self._failed_lines = 0  # changed by the writer's thread only
        self._overflowed_lines = 0
        self._thread = threading.Thread(target=self._write_all, name="access-log", daemon=True)
        self._thread.start()

    @property
    def dropped(self) -> int:
        """Lines that were not written, because the target was too slow or failed."""
        return self._failed_lines + self._overflowed_lines

    def fileno(self) -> int:
        """Return the target's file descriptor."""
        return self._fd

    def write(self, text: bytes, lines: int) -> None:
        """Take a number of lines, each with its line end."""
        self._texts.append(text)
        self._gathered_lines += lines
        self._gathered_bytes += len(text)
        if self._gathered_bytes >= FLUSH_BYTES:
            self.flush()

    def flush(self) -> None:
        """Hand over what is gathered; the worker's sweep calls this. Never blocks."""
        if not self._gathered_lines:
            return
        if self._queued_bytes - self._written_bytes + self._gathered_bytes > MAX_PENDING_BYTES:
            self._overflowed_lines += self._gathered_lines
        else:
            self._queued_bytes += self._gathered_bytes
            self._queue.put((b"".join(self._texts), self._gathered_lines))
        self._texts.clear()
        self._gathered_lines = self._gathered_bytes = 0

    def close(self, timeout_s: float = 2.0) -> None:
        """Write what is left, for at most `timeout_s`, and close the target."""
        self.flush()
        self._queue.put(None)
        self._thread.join(timeout_s)
        if not self._thread.is_alive():
            os.close(self._fd)

    def _write_all(self) -> None:
        while (batch := self._queue.get()) is not None:
            text, lines = batch
            try:
                for piece in [text] if self._is_file else whole_lines(text, _PIPE_BUF):
                    _write(self._fd, piece)
            except OSError:  # disk full, reader gone: the edge goes on without its log, and the metric says so
                self._failed_lines += lines
            self._written_bytes += len(text)


def whole_lines(text: bytes, max_bytes: int) -> Iterator[bytes]:
    """Yield `text` in pieces of whole lines of at most `max_bytes`; a longer line is a piece of its own."""
    start = 0
    while start < len(text):
        end = text.rfind(b"\n", start, start + max_bytes) + 1
        if end == 0:
            end = text.find(b"\n", start) + 1 or len(text)
        yield text[start:end]
        start = end


def _write(fd: int, piece: bytes) -> None:
    view = memoryview(piece)
    while view:
        try:
            view = view[os.write(fd, view) :]
        except BlockingIOError:  # whoever shares the target made it non-blocking; this thread may wait
            writable = select.poll()
            writable.register(fd, select.POLLOUT)
            writable.poll()
