"""An access log that cannot be written: W6."""

import asyncio
import os

from loadtest.chaos.result import Result, at_least
from loadtest.chaos.stage import Stage
from loadtest.chaos.trial import nothing, observe

PIPE = "access.pipe"


async def log_blocked(stage: Stage) -> Result:
    """Stop reading the pipe that the access log goes to."""
    assert stage.pipe_fd is not None
    reader = _Reader(stage.pipe_fd)

    async def read_again() -> None:
        reader.start()

    async def stop_reading() -> None:
        reader.stop()

    reader.start()
    try:
        seen = await observe(stage, stop_reading, read_again)
    finally:
        reader.stop()
    return seen.result(slower=1.5, extra=await _lines(stage))


async def log_full(stage: Stage) -> Result:
    """Write the access log to a disk that is full, from the start."""
    seen = await observe(stage, nothing)
    lines = await _lines(stage)
    return seen.result(
        slower=1.5, extra=lines,
        bars=[at_least("dropped", lines["dropped"], 1)],
    )  # fmt: skip


async def _lines(stage: Stage) -> dict[str, float]:
    metrics = await stage.metrics()
    names = {"written": "edge_access_log_lines_total", "dropped": "edge_access_log_dropped_total"}
    return {name: metrics.get(metric, 0.0) for name, metric in names.items()}


class _Reader:
    """Reads a named pipe, or leaves it alone."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._loop = asyncio.get_running_loop()

    def start(self) -> None:
        """Read whatever comes."""
        self._loop.add_reader(self._fd, self._read)

    def stop(self) -> None:
        """Leave it unread."""
        self._loop.remove_reader(self._fd)

    def _read(self) -> None:
        os.read(self._fd, 1 << 16)
