"""WebSockets through a real worker: two libraries that are not ours, and what a stop does to an open one."""

import asyncio
import signal

import aiohttp
import pytest
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, BytesMessage, CloseConnection, Event, Ping, Pong, Request, TextMessage

from tests.edge.test_upgrade import ALLOWED, websocket_app
from tests.edge_process.worker import running_worker
from tests.processes import dialled, eventually
from tests.services.kms_calls import Kms

pytestmark = pytest.mark.asyncio(loop_scope="module")


class Wsproto:
    """A WebSocket client without a socket of its own, on one of asyncio's."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._connection = WSConnection(ConnectionType.CLIENT)
        self._events: list[Event] = []

    def send(self, event: Event) -> None:
        """Send what stands for an event."""
        self._writer.write(self._connection.send(event))

    async def next(self) -> Event:
        """Return the next event."""
        async with asyncio.timeout(10):
            while not self._events:
                self._connection.receive_data(await self._reader.read(65536) or None)
                self._events += self._connection.events()
        return self._events.pop(0)


async def test_wsproto_talks_to_aiohttp_through_a_worker(kms: Kms) -> None:
    async with (
        websocket_app() as address,
        running_worker(kms, address, ALLOWED) as worker,
        dialled(worker.address) as (reader, writer),
    ):
        peer = Wsproto(reader, writer)
        peer.send(Request(host="edge.test", target="/echo", subprotocols=["chat"]))
        accepted = await peer.next()
        assert isinstance(accepted, AcceptConnection)
        assert accepted.subprotocol == "chat"
        for turn in range(20):
            peer.send(TextMessage(data=f"turn {turn}"))
            answer = await peer.next()
            assert isinstance(answer, TextMessage)
            assert answer.data == f"TURN {turn}"
        peer.send(Ping(payload=b"there?"))
        assert await peer.next() == Pong(payload=b"there?")
        for part in (b"ab", b"cd"):
            peer.send(BytesMessage(data=part, message_finished=part == b"cd"))
        answer = await peer.next()
        assert isinstance(answer, BytesMessage)
        assert bytes(answer.data) == b"dcba"
        peer.send(CloseConnection(code=1000))
        assert isinstance(await peer.next(), CloseConnection)
        writer.close()

        async def counted() -> bool:
            text = str(await worker.control.metrics())
            return "edge_upgrades_total" in text and "closed" in text

        await eventually(counted, "the worker counts the end")


async def test_w2_a_stopping_worker_keeps_a_websocket_until_its_drain_ends_then_closes_it_and_leaves(kms: Kms) -> None:
    async with (
        websocket_app() as address,
        running_worker(kms, address, ALLOWED, "timeouts.drain_s=2") as worker,
        aiohttp.ClientSession() as session,
        session.ws_connect(f"{worker.url}/echo") as socket,
    ):
        await socket.send_str("before")
        assert (await socket.receive(timeout=8)).data == "BEFORE"
        worker.process.send(signal.SIGTERM)
        await eventually(worker.refuses_connections, "the door is closed")
        await socket.send_str("during")
        assert (await socket.receive(timeout=8)).data == "DURING"
        ended = await socket.receive(timeout=8)
        assert ended.type in {aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.CLOSING}
        assert socket.close_code == aiohttp.WSCloseCode.ABNORMAL_CLOSURE
        assert await worker.process.wait() == 0
