"""Addresses from a file that another program writes."""

import asyncio
import os
import stat
from concurrent.futures import Executor
from pathlib import Path
from typing import Final

from edge.upstream.discovery.address_text import MAX_BYTES, read_addresses
from edge.upstream.discovery.look import Look, Problem, Result

_Mark = tuple[int, int, int, int, int]
_NEVER: Final[_Mark] = (-1, -1, -1, -1, -1)


class FileSource:
    """Reads the file when it has changed; `executor` does it, since a file system may block.

    Polled, not notified: a rename, a Kubernetes volume's symlink and a network file system all show in `stat`.
    """

    def __init__(self, path: Path, executor: Executor) -> None:
        self._path = path
        self._executor = executor
        self._last: Look | None = None
        self._seen = _NEVER
        self._taken = _NEVER

    async def look(self) -> Look:
        """Return what the file says, or said when it was last read."""
        return await asyncio.get_running_loop().run_in_executor(self._executor, self._look)

    def _look(self) -> Look:
        try:
            mark = _mark(self._path)
            # A file that is being written is read once it has stayed as it is from one look to the next: half an
            # address may look like a whole one. The first look has nothing to lose.
            settled = self._last is None or mark == self._seen
            self._seen = mark
            if self._last is None or (settled and mark != self._taken):
                self._last = self._read()
                self._taken = mark
        except OSError as error:
            self._seen = self._taken = _NEVER
            self._last = _failed(Result.UNREADABLE, error.strerror or type(error).__name__)
        return self._last

    def _read(self) -> Look:
        with self._path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
        found = read_addresses(self._path, data)
        if isinstance(found, str):
            return _failed(Result.INVALID if data.strip() else Result.EMPTY, found)
        return Look(found)


def _mark(path: Path) -> _Mark:
    """Return what differs after every change of the file's content."""
    status = os.stat(path)  # noqa: PTH116 - the path may be a symlink that is replaced: follow it anew
    if not stat.S_ISREG(status.st_mode):
        raise OSError(0, "is not a file")
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _failed(result: Result, detail: str) -> Look:
    return Look(None, Problem(result, detail))
