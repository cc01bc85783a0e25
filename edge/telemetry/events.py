"""Events of the edge's own processes, on standard error: writing them neither waits nor fails.

A pipe that nobody reads would otherwise stop the event loop at the next event, and one whose reader is gone would turn
each event into an exception.
"""

import atexit
import io
import os
from functools import cache
from typing import TYPE_CHECKING, Final, TextIO

import structlog

from edge.telemetry.access_log import AccessLog

if TYPE_CHECKING:
    from typing_extensions import Buffer

STDOUT: Final = 1
STDERR: Final = 2
_LAST_WORDS_S: Final = 1.0


class EventSink(io.BufferedIOBase):
    """Takes text as bytes, which a thread of its own writes to a file descriptor; what can't be written is dropped.

    For one thread at a time, as structlog's loggers see to.
    """

    name = "<events>"

    def __init__(self, fd: int) -> None:
        self._log = AccessLog(fd)

    @property
    def dropped(self) -> int:
        """Events that were not written."""
        return self._log.dropped

    def writable(self) -> bool:
        """Tell that it can be written to."""
        return True

    def write(self, event: "Buffer", /) -> int:
        """Hand over an event."""
        text = bytes(event)
        self._log.write(text, 1)
        self._log.flush()
        return len(text)

    def finish(self) -> None:
        """Write what is left, for a moment at most."""
        self._log.close(_LAST_WORDS_S)


@cache
def event_sink() -> EventSink:
    """Return where this process's events go: standard error."""
    sink = EventSink(STDERR)
    atexit.register(sink.finish)
    return sink


@cache
def event_stream() -> TextIO:
    """Return the same as a text file; what is written goes out with `flush`."""
    return io.TextIOWrapper(event_sink(), encoding="utf-8", errors="backslashreplace")


def configure_events() -> None:
    """Send structlog's events to standard error as JSON lines. Call once, at start."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer(),
        ],
        logger_factory=structlog.WriteLoggerFactory(event_stream()),
        cache_logger_on_first_use=True,
    )


def keep_standard_streams() -> None:
    """Fill the places of standard streams that are closed, lest a socket takes one and is written to.

    Call it before anything is opened. Writing to what is put there fails, and so counts as dropped.
    """
    while (fd := os.open(os.devnull, os.O_RDONLY)) <= STDERR:
        os.set_inheritable(fd, True)
    os.close(fd)
