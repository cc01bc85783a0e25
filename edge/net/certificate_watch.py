"""Certificate files that change while the edge runs: looked at every few seconds, in a thread, off the request path."""

import asyncio
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol, TypeAlias

from edge.net.tls import BadCertificateError, not_after


class Certificates(Protocol):
    """Something made of certificate files."""

    @property
    def files(self) -> tuple[Path, ...]:
        """All files it is made of."""
        ...

    @property
    def certificate_files(self) -> tuple[Path, ...]:
        """Those of them with certificates that expire."""
        ...

    def load(self) -> None:
        """Make it anew of its files; raises BadCertificateError, and stays as it was."""
        ...


class WatchObserver(Protocol):
    """Is told what became of changed files."""

    def certificates_loaded(self, files: Sequence[Path]) -> None:
        """New ones are in use."""
        ...

    def certificates_kept(self, files: Sequence[Path], problem: str) -> None:
        """The new ones cannot be used; the old ones still are."""
        ...


_Signature: TypeAlias = tuple[tuple[int, int, int] | None, ...]


class CertificateWatch:
    """Loads certificates anew when their files have changed. `expiries` has each file's `not_after`, epoch seconds."""

    def __init__(
        self,
        watched: Sequence[Certificates],
        observer: WatchObserver,
        *,
        interval_s: float,
        wall: Callable[[], float] = time.time,
    ) -> None:
        """`watched` have just been loaded."""
        self._watched = [(each, _signature(each.files)) for each in watched]
        self._observer = observer
        self._interval_s = interval_s
        self._wall = wall
        self.expiries: dict[Path, float] = {}
        for each in watched:
            self.expiries.update(_expiries(each))

    async def run(self) -> None:
        """Check for ever."""
        while True:
            await asyncio.sleep(self._interval_s)
            for place, (each, before) in enumerate(self._watched):
                signature = await asyncio.to_thread(_signature, each.files)
                if signature != before:
                    # What is broken is not tried again until it changes again.
                    self._watched[place] = (each, signature)
                    problem = await asyncio.to_thread(self._load, each)
                    if problem:
                        self._observer.certificates_kept(each.files, problem)
                    else:
                        self._observer.certificates_loaded(each.files)

    def _load(self, certificates: Certificates) -> str:
        """Return why the files cannot be used, or nothing once they are."""
        try:
            expiries = _expiries(certificates)
            for path, when in expiries.items():
                if when <= self._wall():
                    return f"{path} has expired"
            certificates.load()
        except BadCertificateError as error:
            return str(error)
        self.expiries.update(expiries)
        return ""


def _expiries(certificates: Certificates) -> dict[Path, float]:
    return {path: not_after(path) for path in certificates.certificate_files}


def _signature(files: Sequence[Path]) -> _Signature:
    """Return what changes when a file is written, replaced, or may be read again: through symlinks, as they resolve."""
    return tuple(_stamp(path) for path in files)


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_ctime_ns
