"""The fault proxy does what it is told, on real sockets."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import pytest_asyncio
from hypothesis import given
from hypothesis import strategies as st

from loadtest.bench.failure import BenchError
from loadtest.bench.processes import free_port
from loadtest.chaos.control import call, serve_control
from loadtest.chaos.faults import Fault, Kind, corrupted, fault_from, paced
from loadtest.chaos.gate import Gate
from loadtest.chaos.origin import Connection, Origin

REQUEST = b"GET /faulty?id=get-1&size=200 HTTP/1.1\r\nhost: x\r\n\r\n"


@pytest_asyncio.fixture
async def gate(tmp_path: Path) -> AsyncIterator[Gate]:
    """Return a gate before an origin that answers."""
    origin = Origin(tmp_path / "log", 1)
    server = await asyncio.get_running_loop().create_server(lambda: Connection(origin), "127.0.0.1", 0)
    gate = Gate(free_port(), server.sockets[0].getsockname()[:2], seed=1)
    await gate.set(Fault())
    yield gate
    await gate.set(Fault(Kind.REFUSE))
    server.close()
    async with asyncio.timeout(20):
        while gate.pipes or origin.open:  # noqa: ASYNC110 - nobody needs to be told but this
            await asyncio.sleep(0.001)
    await asyncio.sleep(0)


@asynccontextmanager
async def _connected(gate: Gate) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", gate.port)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


async def _answer(gate: Gate, fault: Fault) -> bytes:
    """Return all that comes back before the end, for a connection that asks once and then closes its side."""
    await gate.set(fault)
    async with _connected(gate) as (reader, writer), asyncio.timeout(20):
        writer.write(REQUEST)
        head = await reader.readuntil(b"\r\n\r\n") if fault.kind in {Kind.NONE, Kind.LATENCY, Kind.SLICE} else b""
        return head + (await reader.readexactly(200) if head else await reader.read())


@pytest.mark.parametrize(
    "fault", [Fault(), Fault(Kind.LATENCY, delay_s=0.05), Fault(Kind.SLICE, slice_bytes=9, delay_s=0.001)]
)
async def test_a_slow_answer_is_whole(gate: Gate, fault: Fault) -> None:
    assert (await _answer(gate, fault)).endswith(b"\r\n\r\n" + b"get-1\n".ljust(200, b"."))


@pytest.mark.parametrize("kind", [Kind.CUT, Kind.HALF_CLOSE])
async def test_a_cut_answer_ends_after_so_many_bytes(gate: Gate, kind: Kind) -> None:
    assert len(await _answer(gate, Fault(kind, after_bytes=100))) == 100
    assert gate.counts()["struck"] == 1


async def test_a_reset_is_one(gate: Gate) -> None:
    with pytest.raises(ConnectionResetError):
        await _answer(gate, Fault(Kind.RESET, after_bytes=100))


async def test_nobody_listens_where_connections_are_refused_and_open_ones_are_reset(gate: Gate) -> None:
    async with _connected(gate) as (reader, writer):
        writer.write(REQUEST)
        await reader.readuntil(b"\r\n\r\n")
        await gate.set(Fault(Kind.REFUSE))
        await reader.readexactly(200)
        with pytest.raises(ConnectionResetError):
            await reader.read(1)
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", gate.port)
    assert await _answer(gate, Fault())


async def test_a_connect_into_the_black_hole_gets_no_answer_until_it_is_over(gate: Gate) -> None:
    await gate.set(Fault(Kind.BLACK_HOLE))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.3):
            await asyncio.open_connection("127.0.0.1", gate.port)
    assert await _answer(gate, Fault())


async def test_a_hanging_gate_accepts_and_resets_what_it_swallowed_when_it_is_over(gate: Gate) -> None:
    await gate.set(Fault(Kind.ACCEPT_HANG))
    async with _connected(gate) as (reader, writer):
        writer.write(REQUEST)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await reader.read(1)
        await gate.set(Fault())
        with pytest.raises(ConnectionResetError):
            await reader.read(1)


async def test_garbage_stands_in_the_place_of_an_answer_and_extra_bytes_follow_it(gate: Gate) -> None:
    for fault, wanted in [
        (Fault(Kind.GARBAGE, text="\x00noise"), b"\x00noise"),
        (Fault(Kind.EXTRA, text="more"), b"more"),
    ]:
        await gate.set(fault)
        async with _connected(gate) as (reader, writer), asyncio.timeout(20):
            writer.write(REQUEST)
            got = b""
            while not got.endswith(wanted):
                got += await reader.read(1000)


@given(st.binary(min_size=1), st.sampled_from([Kind.SLICE, Kind.RATE, Kind.LATENCY, Kind.NONE]), st.integers(1, 50))
def test_pieces_are_all_there_and_in_order(data: bytes, kind: Kind, size: int) -> None:
    pieces = paced(Fault(kind, slice_bytes=size, delay_s=0.1, bytes_per_s=size * 100), data, 5.0)
    assert b"".join(piece for _, piece in pieces) == data
    assert [due for due, _ in pieces] == sorted(due for due, _ in pieces)
    assert pieces[0][0] >= 5.0


@given(st.binary(min_size=1), st.integers())
def test_corruption_changes_one_bit(data: bytes, seed: int) -> None:
    changed = corrupted(data, random.Random(seed))  # noqa: S311
    assert len(changed) == len(data)
    assert sum((a ^ b).bit_count() for a, b in zip(data, changed, strict=True)) == 1


def test_a_fault_survives_its_command() -> None:
    fault = Fault(Kind.CUT, share=0.5, after_bytes=7)
    assert fault_from(fault.command()) == fault
    with pytest.raises(ValueError, match="nonsense"):
        fault_from({"kind": "nonsense"})


async def test_a_command_that_fails_says_why(tmp_path: Path) -> None:
    port = free_port()
    server = await serve_control(port, Origin(tmp_path / "log", 1).handle)
    assert await call(port, errors=0.5) == {"served": 0, "open": 0}
    with pytest.raises(BenchError, match="nonsense"):
        await call(port, nonsense=1)
    server.close()
    await asyncio.gather(*asyncio.all_tasks() - {asyncio.current_task()})
