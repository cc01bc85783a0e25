"""An origin and a device on bare sockets that move large bodies and stop reading when told to.

Every 256 KiB of a body carry their own number, so that a checksum shows what is lost, repeated or out of order.
"""

import asyncio
import contextlib
import socket
import zlib
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager

from tests.edge_process.worker import Worker
from tests.processes import eventually

GIBIBYTE = 1 << 30
PIECE_BYTES = 256 * 1024
PAUSE_AFTER_BYTES = 128 << 20
GET_DOWNLOAD = b"GET /download HTTP/1.1\r\nHost: edge.test\r\n\r\n"
_HEAD_END = b"\r\n\r\n"


def pieces(total: int) -> Iterator[bytearray]:
    """Yield a body of `total` bytes, a multiple of 256 KiB, in one buffer that is changed in place."""
    piece = bytearray(range(256)) * (PIECE_BYTES // 256)
    for number in range(total // PIECE_BYTES):
        piece[:8] = number.to_bytes(8, "big")
        yield piece


class Body:
    """One body as one side sees it: how much of it has passed, and its CRC-32. A cleared `gate` stops it."""

    def __init__(self) -> None:
        self.moved = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.checksum = 0

    def count(self, piece: bytes | bytearray | memoryview) -> None:
        """Take a piece into account."""
        self.moved += len(piece)
        self.checksum = zlib.crc32(piece, self.checksum)

    async def send(self, sock: socket.socket, total: int) -> None:
        """Send a body of `total` bytes."""
        loop = asyncio.get_running_loop()
        for piece in pieces(total):
            await self.gate.wait()
            await loop.sock_sendall(sock, piece)
            self.count(piece)

    async def receive(self, sock: socket.socket, total: int, begun: bytes = b"") -> None:
        """Receive a body of `total` bytes, of which `begun` came with the head; EOFError when it is cut."""
        loop = asyncio.get_running_loop()
        buffer = memoryview(bytearray(PIECE_BYTES))
        self.count(begun)
        left = total - len(begun)
        while left > 0:
            await self.gate.wait()
            size = await loop.sock_recv_into(sock, buffer)
            if size == 0:
                raise EOFError(f"cut {left} bytes before the end")
            self.count(buffer[:size])
            left -= size


async def read_head(sock: socket.socket) -> tuple[bytes, bytes]:
    """Return a message head and what came after it; EOFError when the other side closes before."""
    loop = asyncio.get_running_loop()
    received = b""
    while _HEAD_END not in received:
        more = await loop.sock_recv(sock, 65536)
        if not more:
            raise EOFError("closed before the end of a head")
        received += more
    head, _, rest = received.partition(_HEAD_END)
    return head, rest


class Origin:
    """Answers GET with a body of `download_bytes`, POST with the checksum of what it got."""

    def __init__(self) -> None:
        self.address = ""
        self.download_bytes = 0
        self.sent = Body()
        self.received = Body()

    async def serve(self, sock: socket.socket) -> None:
        """Answer the requests of one connection until it closes."""
        with sock, contextlib.suppress(EOFError, ConnectionError):
            while True:
                await self._answer(sock)

    async def _answer(self, sock: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        head, rest = await read_head(sock)
        if head.startswith(b"GET"):
            await loop.sock_sendall(sock, response_head(self.download_bytes))
            await self.sent.send(sock, self.download_bytes)
        else:
            await self.received.receive(sock, content_length(head), rest)
            await loop.sock_sendall(sock, response_head(8) + b"%08x" % self.received.checksum)


@asynccontextmanager
async def running_origin() -> AsyncIterator[Origin]:
    """Serve until the block ends."""
    loop, origin = asyncio.get_running_loop(), Origin()
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        listening.setblocking(False)
        host, port = listening.getsockname()
        origin.address = f"{host}:{port}"
        async with asyncio.TaskGroup() as tasks:
            accepting = tasks.create_task(_accept(loop, listening, origin, tasks))
            yield origin
            accepting.cancel()


async def _accept(
    loop: asyncio.AbstractEventLoop, listening: socket.socket, origin: Origin, tasks: asyncio.TaskGroup
) -> None:
    serving: set[asyncio.Task[None]] = set()
    try:
        while True:
            sock, _ = await loop.sock_accept(listening)
            sock.setblocking(False)
            serving.add(tasks.create_task(origin.serve(sock)))
    finally:
        for task in serving:
            task.cancel()


async def connect(address: tuple[str, int]) -> socket.socket:
    """Return a connection to the edge."""
    sock = socket.socket()
    sock.setblocking(False)
    await asyncio.get_running_loop().sock_connect(sock, address)
    return sock


def response_head(length: int) -> bytes:
    """Return the head of a 200 with a body of `length` bytes."""
    return b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % length


def content_length(head: bytes) -> int:
    """Return the body length that a head announces; 0 when it announces none."""
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return int(line.partition(b":")[2])
    return 0


async def came_to_rest(moved: Callable[[], int], *, rests: int = 15) -> None:
    """Wait until a count has stopped growing: back-pressure has reached the sender."""
    seen = [-1] * rests

    async def still() -> bool:
        seen.append(moved())
        return len(set(seen[-rests:])) == 1

    await eventually(still, "the sender is held back")


async def pass_gate(body: Body, bytes_before: int, sender: Body, total: int) -> None:
    """Let `body` stop reading once it has `bytes_before`, until its sender is held back; then let it go on."""

    async def reached() -> bool:
        return body.moved >= bytes_before

    await eventually(reached, f"{bytes_before} bytes have arrived")
    body.gate.clear()
    await came_to_rest(lambda: sender.moved)
    assert sender.moved < total, "nothing held the sender back"
    body.gate.set()


async def download(worker: Worker, origin: Origin, total: int) -> Body:
    """Get a body, with a pause in the middle of a large one; return what arrived."""
    origin.download_bytes, origin.sent = total, Body()
    arrived = Body()
    with await connect(worker.address) as sock:
        await asyncio.get_running_loop().sock_sendall(sock, GET_DOWNLOAD)
        head, rest = await read_head(sock)
        assert head.startswith(b"HTTP/1.1 200 ")
        assert content_length(head) == total
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(arrived.receive(sock, total, rest))
            if total > PAUSE_AFTER_BYTES:
                tasks.create_task(pass_gate(arrived, PAUSE_AFTER_BYTES, origin.sent, total))
    return arrived


async def upload(worker: Worker, origin: Origin, total: int) -> tuple[Body, bytes]:
    """Post a body, with a pause of the origin in the middle of a large one; return what was sent and the answer."""
    origin.received = Body()
    sent = Body()
    with await connect(worker.address) as sock:
        head = b"POST /upload HTTP/1.1\r\nHost: edge.test\r\nContent-Length: %d\r\n\r\n" % total
        await asyncio.get_running_loop().sock_sendall(sock, head)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(sent.send(sock, total))
            if total > PAUSE_AFTER_BYTES:
                tasks.create_task(pass_gate(origin.received, PAUSE_AFTER_BYTES, sent, total))
        head, answer = await read_head(sock)
        assert head.startswith(b"HTTP/1.1 200 ")
        while len(answer) < content_length(head):
            answer += await asyncio.get_running_loop().sock_recv(sock, 64)
    return sent, answer
