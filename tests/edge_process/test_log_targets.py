"""Logs that can't be written: closed, blocked, or on a full disk. Requests go on, and what is lost is counted."""

import contextlib
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.edge.raw import answering, connected, get, ok, raw_origin
from tests.edge_process.worker import Worker, running_worker
from tests.processes import eventually
from tests.services.kms_calls import Kms

pytestmark = pytest.mark.asyncio(loop_scope="module")

REQUESTS = 300


@asynccontextmanager
async def served(
    kms: Kms, *overrides: str, stdout: int | None = None, redirect: str = ""
) -> AsyncIterator[tuple[Worker, int]]:
    """Run a worker, have it serve, and give it with the number of requests that failed."""
    async with (
        raw_origin(answering(ok())) as origin,
        running_worker(kms, origin.address, *overrides, stdout=stdout, redirect=redirect) as worker,
        connected(worker.port) as client,
    ):
        answers = [await client.ask(get()) for _ in range(REQUESTS)]
        yield worker, sum(answer.status != 200 for answer in answers)


async def counted(worker: Worker, metric: str) -> int:
    """Return a counter of the worker."""
    return int(next(iter((await worker.metrics()).values[metric].values())))


def streams(worker: Worker) -> list[str]:
    """Return what the worker's standard output and error are."""
    return [str(Path(f"/proc/{worker.process.pid}/fd/{fd}").readlink()) for fd in (1, 2)]


async def all_lines_dropped(worker: Worker) -> None:
    """Wait until every line of the access log counts as lost."""

    async def dropped() -> bool:
        return await counted(worker, "edge_access_log_dropped_total") == REQUESTS

    await eventually(dropped, "all lines are counted as dropped")


@contextlib.contextmanager
def pipe(*, full: bool) -> Iterator[int]:
    """Give the writing end of a pipe that nobody reads: full, or without a reader."""
    reading, writing = os.pipe()
    if full:
        os.set_blocking(writing, False)
        with contextlib.suppress(BlockingIOError):
            while True:
                os.write(writing, b"x" * 4096)
        os.set_blocking(writing, True)
    else:
        os.close(reading)
    yield writing
    os.close(writing)
    if full:
        os.close(reading)


async def test_w6_a_full_disk_costs_lines_and_no_request(kms: Kms) -> None:
    async with served(kms, "access_log.path=/dev/full") as (worker, failed):
        assert failed == 0
        await all_lines_dropped(worker)


async def test_w6_a_log_pipe_without_a_reader_costs_lines_and_no_request(kms: Kms) -> None:
    with pipe(full=False) as writing:
        async with served(kms, "access_log.path=stdout", stdout=writing) as (worker, failed):
            assert failed == 0
            await all_lines_dropped(worker)


async def test_w6_a_blocked_log_pipe_costs_no_request_and_does_not_hold_up_the_end(kms: Kms) -> None:
    with pipe(full=True) as writing:
        async with served(kms, "access_log.path=stdout", stdout=writing) as (worker, failed):
            assert failed == 0
            assert await counted(worker, "edge_access_log_lines_total") == REQUESTS
            worker.control.send({"type": "drain"})

            async def ended() -> bool:
                return worker.control.closed

            await eventually(ended, "the worker has left")


async def test_w6_with_standard_output_closed_requests_go_on_and_no_socket_takes_its_place(kms: Kms) -> None:
    async with served(kms, "access_log.path=stdout", redirect=">&-") as (worker, failed):
        assert failed == 0
        await all_lines_dropped(worker)
        assert not any("socket" in target for target in streams(worker))


@pytest.mark.parametrize("redirect", ["2>&-", "2>/dev/full", "<&- >&- 2>&-"])
async def test_w6_events_that_cannot_be_written_are_counted_and_stop_nothing(kms: Kms, redirect: str) -> None:
    # One event at the start: no system allows that many files beside the connections to this origin.
    overrides = ("limits.max_connections=1000000", "origins.api.max_connections=1000000")
    async with served(kms, *overrides, redirect=redirect) as (worker, failed):
        assert failed == 0
        assert await counted(worker, "edge_events_dropped_total") >= 1
