"""What the edge's processes use, sampled while a scenario runs."""

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from statistics import median

import psutil

from loadtest.chaos.figures import Window

PERIOD_S = 0.25


@dataclass(slots=True, frozen=True)
class Sample:
    """All processes of the edge together, at a moment of the monotonic clock."""

    at: float
    rss_mib: float
    fds: int
    cpu_s: float


class Monitor:
    """Samples until stopped."""

    def __init__(self, processes: Callable[[], Sequence[psutil.Process]]) -> None:
        self.samples: list[Sample] = []
        self._processes = processes
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin."""
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """End."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    def peak_rss_mib(self, window: Window | None = None) -> float:
        """Return the highest resident memory, in MiB."""
        return round(max((sample.rss_mib for sample in self._of(window)), default=0.0), 1)

    def rss_mib(self, window: Window) -> float:
        """Return the median of the resident memory in a window, in MiB."""
        return round(median([sample.rss_mib for sample in self._of(window)] or [0.0]), 1)

    def fds(self, window: Window) -> float:
        """Return the median number of open file descriptors in a window."""
        return median([sample.fds for sample in self._of(window)] or [0])

    def cpu(self, window: Window) -> float:
        """Return the share of a core that was used, 0 to the number of cores, while no process came or went."""
        samples = self._of(window)
        if len(samples) < 2:
            return 0.0
        return round((samples[-1].cpu_s - samples[0].cpu_s) / (samples[-1].at - samples[0].at), 3)

    def sample(self) -> None:
        """Take a sample now."""
        rss, fds, cpu = 0, 0, 0.0
        for process in self._processes():
            with suppress(psutil.Error):
                rss += process.memory_info().rss
                fds += process.num_fds()
                cpu += sum(process.cpu_times()[:2])
        self.samples.append(Sample(time.monotonic(), rss / 2**20, fds, cpu))

    def _of(self, window: Window | None) -> list[Sample]:
        return [one for one in self.samples if window is None or window.start <= one.at <= window.end]

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(PERIOD_S)
            self.sample()
