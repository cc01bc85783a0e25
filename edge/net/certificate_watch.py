"""Certificate files that change while the edge runs: looked at every few seconds, in a thread, off the request path."""

import asyncio
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Protocol, TypeAlias

from edge.net.tls import BadCertificateError, not_after

_Signature: TypeAlias = tuple[tuple[int, int, int] | None, ...]


class CertificateFiles(ABC):
    """Something made of certificate files. `expiries` has the `not_after` of our own of them, in epoch seconds."""

    def __init__(self, own: Iterable[Path], others: Iterable[Path | None]) -> None:
        """Load all files; `own` are certificates that we show. Raises BadCertificateError."""
        self._own = tuple(own)
        self.files = (*self._own, *(path for path in others if path is not None))
        self.expiries: Mapping[Path, float] = {}
        self.signature: _Signature = ()
        self.load()()

    def load(self, now: float = 0.0) -> Callable[[], None]:
        """Make it anew of its files, in any thread; return what puts that in use, for the loop's thread alone.

        Raises BadCertificateError, also when a certificate of our own has expired by `now`, in epoch seconds.
        """
        found = signature(self.files)
        expiries = {path: not_after(path) for path in self._own}
        for path, when in expiries.items():
            if when <= now:
                raise BadCertificateError(f"{path} has expired")
        use = self._make()

        def put() -> None:
            use()
            self.expiries, self.signature = expiries, found

        return put

    @abstractmethod
    def _make(self) -> Callable[[], None]:
        """Return what puts what is made of the files in use; raise BadCertificateError when nothing can be."""


class WatchObserver(Protocol):
    """Is told what became of changed files."""

    def certificates_loaded(self, files: Sequence[Path]) -> None:
        """New ones are in use."""
        ...

    def certificates_kept(self, files: Sequence[Path], problem: str) -> None:
        """The new ones cannot be used; the old ones still are."""
        ...


class CertificateWatch:
    """Loads certificates anew when their files have changed.

    `watched` returns what is in use now: a reload of the configuration may change it.
    """

    def __init__(
        self,
        watched: Callable[[], Iterable[CertificateFiles]],
        observer: WatchObserver,
        *,
        interval_s: float,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._watched = watched
        self._observer = observer
        self._interval_s = interval_s
        self._wall = wall
        self._refused: dict[tuple[Path, ...], _Signature] = {}  # not tried again until they change again

    def expiries(self) -> dict[Path, float]:
        """Return when each of our own certificates in use expires, in epoch seconds."""
        return {path: when for each in self._watched() for path, when in each.expiries.items()}

    async def run(self) -> None:
        """Check for ever."""
        while True:
            await asyncio.sleep(self._interval_s)
            for each in tuple(self._watched()):
                found = await asyncio.to_thread(signature, each.files)
                if found not in (each.signature, self._refused.get(each.files)):
                    await self._changed(each, found)

    async def _changed(self, certificates: CertificateFiles, found: _Signature) -> None:
        try:
            put = await asyncio.to_thread(certificates.load, self._wall())
            put()
        except Exception as error:  # noqa: BLE001 - whatever a file does to its readers: the others are still watched
            self._refused[certificates.files] = found
            problem = str(error) if isinstance(error, BadCertificateError) else type(error).__name__
            self._observer.certificates_kept(certificates.files, problem)
        else:
            self._refused.pop(certificates.files, None)
            self._observer.certificates_loaded(certificates.files)


def signature(files: Sequence[Path]) -> _Signature:
    """Return what changes when a file is written, replaced, or may be read again: through symlinks, as they resolve."""
    return tuple(_stamp(path) for path in files)


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_ctime_ns
