"""A watched file: read again when it has changed, and never while it is being written."""

import os
from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path

import pytest

from edge.control.values import Address
from edge.upstream.discovery.file_source import FileSource
from edge.upstream.discovery.look import Look, Result

ONE, TWO = Address("10.0.0.1", 80), Address("10.0.0.2", 80)


@pytest.fixture
def executor() -> Iterator[Executor]:
    """Return the thread that reads."""
    with ThreadPoolExecutor(1) as threads:
        yield threads


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return the path of a file with one address."""
    path = tmp_path / "api"
    write(path, "10.0.0.1:80\n")
    return path


def write(path: Path, text: str, encoding: str = "utf-8") -> None:
    path.write_text(text, encoding=encoding)


def remove(path: Path) -> None:
    path.unlink()


def result(look: Look) -> Result | None:
    return None if look.problem is None else look.problem.result


async def test_the_first_look_reads_at_once(path: Path, executor: Executor) -> None:
    assert await FileSource(path, executor).look() == Look((ONE,))


async def test_a_changed_file_is_read_once_it_has_settled(path: Path, executor: Executor) -> None:
    source = FileSource(path, executor)
    await source.look()
    write(path, "10.0.0.2:8")
    assert await source.look() == Look((ONE,))
    write(path, "10.0.0.2:80\n")
    assert await source.look() == Look((ONE,))
    assert await source.look() == Look((TWO,))


async def test_a_file_that_is_replaced_is_read(path: Path, executor: Executor) -> None:
    source = FileSource(path, executor)
    await source.look()
    new = path.with_name("new")
    write(new, "10.0.0.2:80\n")
    new.replace(path)
    await source.look()
    assert await source.look() == Look((TWO,))


async def test_a_symlink_that_is_pointed_elsewhere_is_followed(tmp_path: Path, executor: Executor) -> None:
    """As Kubernetes updates a volume: the link changes, the files do not."""
    for name, text in (("old", "10.0.0.1:80"), ("new", "10.0.0.2:80")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "api").write_text(text)
    link = tmp_path / "data"
    link.symlink_to("old")
    source = FileSource(link / "api", executor)
    assert await source.look() == Look((ONE,))
    (tmp_path / "next").symlink_to("new")
    (tmp_path / "next").replace(link)
    await source.look()
    assert await source.look() == Look((TWO,))


@pytest.mark.parametrize(
    ("content", "expected"), [("10.0.0.2\n", Result.INVALID), ("", Result.EMPTY), ("\xff:80", Result.INVALID)]
)
async def test_n1_a_broken_or_empty_file_brings_no_list(
    path: Path, executor: Executor, content: str, expected: Result
) -> None:
    source = FileSource(path, executor)
    await source.look()
    write(path, content, encoding="latin-1")
    await source.look()
    broken = await source.look()
    assert (broken.addresses, result(broken)) == (None, expected)
    write(path, "10.0.0.2:80\n")
    await source.look()
    assert await source.look() == Look((TWO,))


async def test_n1_a_file_that_goes_and_comes_is_read_again(path: Path, executor: Executor) -> None:
    source = FileSource(path, executor)
    await source.look()
    remove(path)
    gone = await source.look()
    assert (gone.addresses, result(gone)) == (None, Result.UNREADABLE)
    write(path, "10.0.0.2:80\n")
    await source.look()
    assert await source.look() == Look((TWO,))


async def test_what_is_not_a_file_is_not_opened(tmp_path: Path, executor: Executor) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for path in (pipe, tmp_path):
        assert result(await FileSource(path, executor).look()) is Result.UNREADABLE
