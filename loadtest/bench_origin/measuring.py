"""Measures one subject: its variants side by side on one core, in rounds that take turns."""

import asyncio
import random
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from loadtest.bench.failure import BenchError
from loadtest.bench.processes import Program, free_port, running, wait_until_listening
from loadtest.bench_origin.cpu import cpu_s
from loadtest.bench_origin.credentials import Credentials, forged
from loadtest.bench_origin.load import REFUSED, Caller, drive
from loadtest.bench_origin.settings import Reads, Settings
from loadtest.bench_origin.subjects import Subject

_WARM_UP_SHARE = 0.5


@dataclass(slots=True, frozen=True)
class Place:
    """Where apps run: the core for them, the directory of their logs, and the file with the keys."""

    core: int
    home: Path
    keys: Path


@dataclass(slots=True, frozen=True)
class _Variant:
    reads: Reads
    program: Program
    callers: list[Caller]


async def measure(
    subject: Subject, settings: Settings, place: Place, credentials: Credentials
) -> Mapping[Reads, list[float]]:
    """Return µs of processor time per request of each variant, round by round; raise BenchError when that fails."""
    async with AsyncExitStack() as stack:
        starting = (_start(subject, reads, settings, place, stack) for reads in subject.variants)
        variants = await asyncio.gather(*starting)
        for variant in variants:
            await check(variant.callers[0], variant.reads, credentials)
            await _round(variant, credentials, int(settings.requests * _WARM_UP_SHARE))
        spent: dict[Reads, list[float]] = {variant.reads: [] for variant in variants}
        for _ in range(settings.rounds):
            # In another order each time: none is always the one after the same other.
            for variant in random.sample(variants, len(variants)):
                spent[variant.reads].append(await _round(variant, credentials, settings.requests))
        return spent


async def _start(subject: Subject, reads: Reads, settings: Settings, place: Place, stack: AsyncExitStack) -> _Variant:
    port = free_port()
    command = subject.command(reads, port, place.keys, settings.var)
    name = f"{subject.id}_{reads}"
    program = await stack.enter_async_context(running(name, place.core, command, place.home))
    await wait_until_listening(program, port)
    callers = [await subject.connect(port) for _ in range(settings.connections)]
    for caller in callers:
        stack.push_async_callback(caller.close)
    return _Variant(reads, program, callers)


async def check(caller: Caller, reads: Reads, credentials: Credentials) -> None:
    """Raise BenchError unless the app finds the right user and lets nobody in who is forged."""
    requests = credentials.requests(reads)
    for request in requests[:2]:
        status, body = await caller.ask(request)
        said = b"" if reads is Reads.NOTHING else str(request.visitor.customer_id).encode()
        if status != 200 or said not in body:
            raise BenchError(f"the app that reads {reads} answers {status} to a good request, or names another")
    status, _ = await caller.ask(forged(requests[0]))
    if status != (200 if reads is Reads.NOTHING else REFUSED):
        raise BenchError(f"the app that reads {reads} answers {status} to a forged request")


async def _round(variant: _Variant, credentials: Credentials, count: int) -> float:
    requests = credentials.requests(variant.reads)
    before = cpu_s(variant.program.process.pid)
    await drive(variant.callers, requests, count)
    return (cpu_s(variant.program.process.pid) - before) / count * 1e6
