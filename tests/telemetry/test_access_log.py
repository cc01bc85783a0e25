"""The access log's writer: never waits, never mixes lines, counts what it drops."""

import os
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.telemetry import access_log
from edge.telemetry.access_log import AccessLog, whole_lines


def test_nothing_is_written_before_a_flush_and_everything_after_close(tmp_path: Path) -> None:
    path = tmp_path / "log"
    log = AccessLog(path)
    log.write(b"one\n", 1)
    assert path.read_bytes() == b""
    log.write(b"two\n", 1)
    log.close()
    assert path.read_bytes() == b"one\ntwo\n"
    assert log.dropped == 0


def test_an_existing_log_is_appended_to(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"zero\n")
    log = AccessLog(path)
    log.write(b"one\n", 1)
    log.close()
    assert path.read_bytes() == b"zero\none\n"


def test_d10_a_target_that_does_not_read_costs_lines_but_never_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(access_log, "MAX_PENDING_BYTES", 256 * 1024)
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    log = AccessLog(fifo)
    line = b"x" * 1023 + b"\n"
    for _ in range(2000):  # 2 MiB into a pipe of 64 KiB that nobody reads
        log.write(line, 1)
    assert log.dropped > 1000
    os.close(reader)  # the blocked writer meets a broken pipe and goes on
    log.close()


def test_a_reader_that_is_gone_is_counted_and_does_not_raise(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    log = AccessLog(fifo)
    os.close(reader)
    log.write(b"one\n", 1)
    log.close()
    assert log.dropped == 1


def test_lines_of_two_writers_on_one_pipe_are_never_mixed(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    received: list[bytes] = []
    reading = threading.Thread(target=lambda: received.append(fifo.read_bytes()))
    reading.start()
    logs = [AccessLog(fifo), AccessLog(fifo)]
    for _ in range(500):
        for number, log in enumerate(logs):
            log.write(str(number).encode() * 300 + b"\n", 1)
    for log in logs:
        log.close()
    reading.join()
    lines = received[0].splitlines()
    assert len(lines) == 1000
    assert {bytes(set(line)) for line in lines} == {b"0", b"1"}


@given(st.lists(st.binary(max_size=40).map(lambda raw: raw.replace(b"\n", b"") + b"\n")), st.integers(1, 60))
def test_pieces_are_whole_lines_within_the_limit_where_a_line_fits(lines: list[bytes], limit: int) -> None:
    pieces = list(whole_lines(b"".join(lines), limit))
    assert b"".join(pieces) == b"".join(lines)
    assert all(piece.endswith(b"\n") for piece in pieces)
    assert all(len(piece) <= limit or piece.count(b"\n") == 1 for piece in pieces)


def test_a_target_that_another_process_made_non_blocking_is_waited_for(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    received: list[bytes] = []
    reading = threading.Thread(target=lambda: received.append(fifo.read_bytes()))
    reading.start()
    log = AccessLog(fifo)
    os.set_blocking(log.fileno(), False)
    for _ in range(1000):
        log.write(b"x" * 999 + b"\n", 1)
    log.close()
    reading.join()
    assert len(received[0]) == 1_000_000
    assert log.dropped == 0
