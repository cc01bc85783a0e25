"""The journal of the dials, `dials.jsonl` in the directory of state: audit and state at once, and only ever added to.

One JSON line for each change, on the disk before the change takes effect. One edge holds it at a time.
"""

import contextlib
import fcntl
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from edge.control.dial_book import DialBook
from edge.control.dial_change import Change, read_line

NAME: Final = "dials.jsonl"
_MENDING: Final = (
    "mend it from a backup, or move the file away: the dials then start from config/dials.yaml, at revision 0"
)


class BadJournal(Exception):  # noqa: N818 - named as the outcome it is
    """The journal cannot be read as what it is; the text says what to do."""


class DialJournal:
    """The journal under `var`. `problem` says why no change can be kept, if none can."""

    def __init__(self, var: Path) -> None:
        self.path = var / NAME
        self.problem = "the journal is not open"
        self.cut_bytes = 0
        self._fd = -1
        self._length = 0
        self._left: tuple[int, ...] = ()

    def open(self, unfit: Callable[[DialBook], str] = lambda _: "") -> DialBook:
        """Take hold of the journal and return what it adds up to; a torn last line is cut off (`cut_bytes`).

        Where another edge holds it, or the directory takes no file, what there is is returned, and `problem` is set; so
        where it adds up to something that is `unfit`, which says why. Raises BadJournal.
        """
        self.close()
        self.cut_bytes = 0
        try:
            return self._opened(unfit)
        except BadJournal as bad:  # nobody may add to it, now or when it is asked again
            self.problem = str(bad)
            self._let_go()
            raise

    def open_again(self, unfit: Callable[[DialBook], str]) -> DialBook | None:
        """Open the journal, if it is not held, or not as it was left: moved away, put back from a backup, written to.

        Return what it adds up to, None if it is still held, or cannot be: see `problem`. Raises BadJournal.
        """
        if not self.problem and self._left == _mark(self.path):
            return None
        book = self.open(unfit)
        return None if self.problem else book

    def _opened(self, unfit: Callable[[DialBook], str]) -> DialBook:
        try:
            self._fd = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self.problem = ""
        except BlockingIOError:
            self.problem = f"another edge holds {self.path}: change the dials there"
        except OSError as error:
            self.problem = f"{self.path} cannot be opened for writing: {error.strerror}"
        try:
            written = self.path.read_bytes() if self._fd < 0 else _read(self._fd)
        except FileNotFoundError:
            return DialBook()
        except OSError as error:
            raise BadJournal(f"{self.path} cannot be read: {error.strerror}; let the edge's user read it") from None
        book, self._length = self._book(written)
        self.problem = self.problem or unfit(book)
        if not self.problem and self._length < len(written):
            self.cut_bytes = len(written) - self._length
            os.ftruncate(self._fd, self._length)
        if not self.problem:
            os.fsync(self._fd)
            _sync_directory(self.path.parent)
            self._left = _mark(self._fd)
        else:
            self._let_go()
        return book

    def append(self, changes: Sequence[Change]) -> str:
        """Add changes and wait for the disk; return why they are not kept, or nothing. All are, or none is."""
        if self.problem:
            return self.problem
        lines = b"".join(change.line() for change in changes)
        try:
            if os.write(self._fd, lines) != len(lines):
                raise OSError(0, "no space left")  # noqa: TRY301 - a short write is as bad as none
            os.fsync(self._fd)
        except OSError as error:
            try:
                os.ftruncate(self._fd, self._length)
                self._left = _mark(self._fd)
            except OSError:  # what is there now is not known: the next start will tell
                self.problem = f"{self.path} could not be written to, nor mended: start the edge again"
            return f"{self.path} cannot be written to: {error.strerror}"
        self._length += len(lines)
        self._left = _mark(self._fd)
        return ""

    def close(self, problem: str = "the journal is closed: the edge stops") -> None:
        """Let go of the journal: another edge may hold it."""
        self.problem = problem
        self._let_go()

    def _let_go(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _book(self, written: bytes) -> tuple[DialBook, int]:
        """Return what the whole lines add up to, and how long they are."""
        end = written.rfind(b"\n") + 1
        book = DialBook()
        for number, line in enumerate(written[:end].split(b"\n")[:-1], 1):
            change = read_line(line)
            if isinstance(change, str):
                raise BadJournal(f"{self.path}:{number}: {change}; {_MENDING}")
            try:
                book.enter(change)
            except ValueError as error:
                raise BadJournal(f"{self.path}:{number}: {error}; {_MENDING}") from None
        return book, end


def _mark(file: int | Path) -> tuple[int, ...]:
    """Return what tells whether a file is the same, and as it was left; nothing if there is none."""
    try:
        found = os.stat(file)  # noqa: PTH116 - of a descriptor, too
    except OSError:
        return ()
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def _read(fd: int) -> bytes:
    pieces, at = [], 0
    while piece := os.pread(fd, 1 << 20, at):
        pieces.append(piece)
        at += len(piece)
    return b"".join(pieces)


def _sync_directory(directory: Path) -> None:
    """Keep the name of a new file, too."""
    with contextlib.suppress(OSError):
        fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
