"""An access log that cannot be written: W6."""

import asyncio
import os
import time

from loadtest.bench.failure import BenchError
from loadtest.chaos.plan import Stream
from loadtest.chaos.result import Result, at_least, at_most
from loadtest.chaos.setup import CALM
from loadtest.chaos.stage import Stage
from loadtest.chaos.trial import nothing, observe

PIPE = "access.pipe"
LONG_PATH = "/calm/" + "p" * 1000  # the log keeps so much of a path, and 4 MiB of lines that wait
RATE_FACTOR = 2
OVERFLOW_S = 60.0


async def log_blocked(stage: Stage) -> Result:
    """Stop reading the pipe that the access log goes to, until the edge has more lines than it holds."""
    assert stage.pipe_fd is not None
    reader = _Reader(stage.pipe_fd)

    async def read_again() -> None:
        reader.start()

    async def stop_reading() -> None:
        reader.stop()
        deadline = time.monotonic() + OVERFLOW_S
        while not (await _lines(stage))["dropped"]:
            if time.monotonic() > deadline:
                raise BenchError("The log's buffer did not overflow")
            await asyncio.sleep(0.2)

    reader.start()
    try:
        seen = await observe(
            stage, stop_reading, read_again, Stream(CALM, stage.settings.rate * RATE_FACTOR, LONG_PATH)
        )
        lines = await _settled(stage, reader, len(seen.outcomes))
    finally:
        reader.stop()
    lost = len(seen.outcomes) - reader.lines - lines["dropped"]
    return seen.result(
        slower=1.5, extra={**lines, "read": reader.lines, "uncounted": lost},
        bars=[at_least("dropped", lines["dropped"], 1), at_most("uncounted", abs(lost), 0)],
    )  # fmt: skip


async def log_full(stage: Stage) -> Result:
    """Write the access log to a disk that is full, from the start."""
    seen = await observe(stage, nothing)
    lines = await _lines(stage)
    return seen.result(
        slower=1.5, extra=lines,
        bars=[at_least("dropped", lines["dropped"], 1)],
    )  # fmt: skip


async def _settled(stage: Stage, reader: "_Reader", requests: int) -> dict[str, float]:
    """Return the edge's counts once each request's line has been read or dropped, or will not be."""
    deadline = time.monotonic() + 5.0
    while True:
        lines = await _lines(stage)
        if reader.lines + lines["dropped"] >= requests or time.monotonic() > deadline:
            return lines
        await asyncio.sleep(0.1)


async def _lines(stage: Stage) -> dict[str, float]:
    metrics = await stage.metrics()
    names = {"lines": "edge_access_log_lines_total", "dropped": "edge_access_log_dropped_total"}
    return {name: metrics.get(metric, 0.0) for name, metric in names.items()}


class _Reader:
    """Reads a named pipe, or leaves it alone; `lines` is how many it has read."""

    def __init__(self, fd: int) -> None:
        self.lines = 0
        self._fd = fd
        self._loop = asyncio.get_running_loop()

    def start(self) -> None:
        """Read whatever comes."""
        self._loop.add_reader(self._fd, self._read)

    def stop(self) -> None:
        """Leave it unread."""
        self._loop.remove_reader(self._fd)

    def _read(self) -> None:
        self.lines += os.read(self._fd, 1 << 16).count(b"\n")
