"""Events on standard error: writing them neither waits nor fails."""

import contextlib
import io
import os

from edge.telemetry.events import EventSink


def written_to(sink: EventSink, *events: str) -> None:
    """Write events as a logger does."""
    stream = io.TextIOWrapper(sink, encoding="utf-8")
    for event in events:
        stream.write(event + "\n")
        stream.flush()
    stream.detach()


def test_each_event_is_written() -> None:
    reading, writing = os.pipe()
    sink = EventSink(writing)
    written_to(sink, "one", "two ✓")
    sink.finish()
    assert os.read(reading, 100).decode() == "one\ntwo ✓\n"
    assert sink.dropped == 0
    os.close(reading)
    os.close(writing)


def test_w6_a_reader_that_is_gone_costs_the_event_and_raises_nothing() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    sink = EventSink(writing)
    written_to(sink, "one", "two")
    sink.finish()
    assert sink.dropped == 2
    os.close(writing)


def test_w6_a_pipe_that_nobody_reads_blocks_nobody() -> None:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(writing, b"x" * 4096)
    os.set_blocking(writing, True)
    sink = EventSink(writing)
    written_to(sink, *(["an event"] * 1000))
    os.close(reading)  # the thread that waits meets a broken pipe and goes on
    sink.finish()
    assert sink.dropped == 1000
    os.close(writing)
