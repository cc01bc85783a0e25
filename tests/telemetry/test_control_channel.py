"""The control channel: framing, and the two ends of a real socket pair."""

import asyncio
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.telemetry.control_channel import (
    MAX_MESSAGE_BYTES,
    BadMessage,
    Deframer,
    Message,
    WorkerChannel,
    frame,
    open_channel,
)
from edge.telemetry.metrics import WorkerMetrics
from edge.telemetry.snapshot_message import read_snapshot

MESSAGES: list[Message] = [{"type": "ready"}, {"type": "metrics", "snapshot": {"a": [1, 2.5, "ü"]}}, {"type": "drain"}]


@given(st.lists(st.integers(1, 30)))
def test_messages_arrive_whole_however_the_bytes_are_cut(cuts: list[int]) -> None:
    wire = b"".join(frame(message) for message in MESSAGES)
    deframer = Deframer()
    received: list[Message] = []
    for cut in cuts:
        received += deframer.feed(wire[:cut])
        wire = wire[cut:]
    received += deframer.feed(wire)
    assert received == MESSAGES


@pytest.mark.parametrize(
    "wire",
    [
        (MAX_MESSAGE_BYTES + 1).to_bytes(4, "big"),
        b"\0\0\0\2{]",
        b"\0\0\0\2[]",
        b"\0\0\0\2{}",
        b'\0\0\0\x0a{"type":1}',
    ],
)
def test_what_is_no_message_is_an_error(wire: bytes) -> None:
    with pytest.raises(BadMessage):
        Deframer().feed(wire)


class Supervisor:
    """The other end, as the supervisor would hold it."""

    def __init__(self) -> None:
        self.messages: asyncio.Queue[Message] = asyncio.Queue()
        self.closed = asyncio.Event()

    async def connect(self, metrics: WorkerMetrics, *, interval_s: float = 60.0) -> tuple[WorkerChannel, asyncio.Event]:
        here, there = socket.socketpair()
        self.channel = await open_channel(here, self.messages.put_nowait, self.closed.set)
        drained = asyncio.Event()
        worker = WorkerChannel(metrics, drained.set, interval_s=interval_s)
        await worker.open(there.detach())
        return worker, drained


async def test_a_worker_says_ready_then_reports_and_reports_again_when_asked() -> None:
    supervisor = Supervisor()
    metrics = WorkerMetrics()
    worker, _ = await supervisor.connect(metrics)
    worker.ready()
    assert await supervisor.messages.get() == {"type": "ready"}
    await supervisor.messages.get()
    metrics.remote_call("cookie", "renewed")
    supervisor.channel.send({"type": "report", "id": 7})
    answer = await supervisor.messages.get()
    assert answer["id"] == 7
    snapshot = read_snapshot(answer["snapshot"])
    assert snapshot.values["edge_remote_calls_total"] == [(("cookie", "renewed"), 1)]
    worker.close()
    await supervisor.closed.wait()


async def test_a_worker_reports_at_its_interval_without_being_asked() -> None:
    supervisor = Supervisor()
    worker, _ = await supervisor.connect(WorkerMetrics(), interval_s=0.005)
    worker.ready()
    kinds = [(await supervisor.messages.get())["type"] for _ in range(4)]
    assert kinds == ["ready", "metrics", "metrics", "metrics"]
    worker.close()
    await supervisor.closed.wait()


async def test_the_last_values_are_sent_when_a_worker_closes() -> None:
    supervisor = Supervisor()
    metrics = WorkerMetrics()
    worker, drained = await supervisor.connect(metrics)
    metrics.stripped_headers = 3
    worker.close()
    snapshot = read_snapshot((await supervisor.messages.get())["snapshot"])
    assert snapshot.values["edge_stripped_headers_total"] == [((), 3)]
    await supervisor.closed.wait()
    assert not drained.is_set(), "a worker that closed by itself is not told to drain"


async def test_a_worker_drains_when_told() -> None:
    supervisor = Supervisor()
    worker, drained = await supervisor.connect(WorkerMetrics())
    supervisor.channel.send({"type": "drain"})
    await drained.wait()
    worker.close()
    await supervisor.closed.wait()


async def test_a_worker_drains_when_its_supervisor_is_gone() -> None:
    supervisor = Supervisor()
    worker, drained = await supervisor.connect(WorkerMetrics())
    supervisor.channel.close()
    await drained.wait()
    worker.close()


async def test_a_message_that_is_none_closes_the_channel() -> None:
    here, there = socket.socketpair()
    closed = asyncio.Event()
    await open_channel(here, lambda _: None, closed.set)
    there.sendall(b"\0\0\0\2[]")
    await closed.wait()
    there.close()


async def test_sending_on_a_closed_channel_says_so() -> None:
    supervisor = Supervisor()
    worker, _ = await supervisor.connect(WorkerMetrics())
    supervisor.channel.close()
    await supervisor.closed.wait()
    assert supervisor.channel.send({"type": "drain"}) is False
    worker.close()
