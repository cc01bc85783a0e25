"""The watch over certificate files, whatever is wrong with one of them."""

import asyncio
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from edge.net.certificate_watch import CertificateFiles, CertificateWatch
from tests.edge.raw import until


class Files(CertificateFiles):
    """One file, which `fault` says cannot be used."""

    def __init__(self, path: Path) -> None:
        self.fault: Exception | None = None
        self.made = self.made_in = self.used_in = 0
        super().__init__((), (path,))

    def _make(self) -> Callable[[], None]:
        if self.fault is not None:
            raise self.fault
        self.made_in = threading.get_ident()
        return self._use

    def _use(self) -> None:
        self.used_in = threading.get_ident()
        self.made += 1


class Observer:
    def __init__(self) -> None:
        self.problems: list[str] = []

    def certificates_loaded(self, files: Sequence[Path]) -> None:
        pass

    def certificates_kept(self, files: Sequence[Path], problem: str) -> None:
        self.problems.append(problem)


async def test_t2_whatever_a_file_raises_the_others_are_watched_and_it_is_tried_again(tmp_path: Path) -> None:
    paths = [tmp_path / "odd.crt", tmp_path / "other.crt"]
    for path in paths:
        path.write_text("first")
    odd, other = (Files(path) for path in paths)
    observer = Observer()
    watching = asyncio.create_task(CertificateWatch(lambda: (odd, other), observer, interval_s=0.005).run())
    odd.fault = RuntimeError("a secret, perhaps")
    for path in paths:
        path.write_text("second")
    await until(lambda: other.made == 2)
    assert observer.problems == ["RuntimeError"]
    odd.fault = None
    paths[0].write_text("third")
    await until(lambda: odd.made == 2)
    watching.cancel()


async def test_files_are_read_in_a_thread_and_put_in_use_on_the_loop(tmp_path: Path) -> None:
    """A handshake that begins must not meet a context that is half changed."""
    path = tmp_path / "edge.crt"
    path.write_text("first")
    files = Files(path)
    watching = asyncio.create_task(CertificateWatch(lambda: (files,), Observer(), interval_s=0.005).run())
    path.write_text("second")
    await until(lambda: files.made == 2)
    watching.cancel()
    assert files.made_in != files.used_in == threading.get_ident()
