"""One person with a device, for what must be asked at a certain moment and not at a rate."""

import asyncio
import time

import httptools

from loadtest.chaos.jar import Jar
from loadtest.chaos.setup import CALM

ASK_S = 15.0


class Answer:
    """One answer: its status and the cookies it sets."""

    def __init__(self) -> None:
        self.status = 0
        self.given: list[bytes] = []
        self.complete = False
        self._parser = httptools.HttpResponseParser(self)

    def feed(self, data: bytes) -> None:
        """Parse what has come."""
        self._parser.feed_data(data)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep cookies."""
        if name.lower() == b"set-cookie":
            self.given.append(value)

    def on_message_complete(self) -> None:
        """Keep the status of the answer that counts."""
        self.status = self._parser.get_status_code()
        self.complete = self.status >= 200


class Person:
    """Somebody with cookies, who takes what is given; every request has a connection of its own."""

    def __init__(self, port: int, customer_id: int, jar: Jar) -> None:
        self.customer_id = customer_id
        self.jar = jar
        self._port = port

    @property
    def token(self) -> bytes:
        """The value of the first cookie."""
        return self.jar.given[-1][2]

    def twin(self) -> "Person":
        """Return somebody else with the same cookies."""
        return Person(self._port, self.customer_id, Jar(self.jar.device, self.jar.field))

    async def ask(self) -> int:
        """Ask; take the cookies of the answer; return its status, 0 for none."""
        answer = Answer()
        async with asyncio.timeout(ASK_S):
            reader, writer = await self._sent()
            try:
                while not answer.complete and (data := await reader.read(65_536)):
                    answer.feed(data)
            finally:
                writer.transport.abort()
        if answer.given:
            self.jar.take(answer.given, time.monotonic())
        return answer.status

    async def hang_up(self, after_s: float) -> None:
        """Ask and go away without waiting for the answer."""
        _, writer = await self._sent()
        await asyncio.sleep(after_s)
        writer.transport.abort()

    async def asks_at_once(self, times: int) -> set[int]:
        """Ask so often at once with what is held now, over connections of their own; return the statuses."""
        return set(await asyncio.gather(*(self.twin().ask() for _ in range(times))))

    async def _sent(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        head = b"GET /%s?id=person-1&size=64 HTTP/1.1\r\nhost: chaos.test\r\nconnection: close\r\n"
        field = self.jar.field + b"\r\n" if self.jar.field else b""
        writer.write(head % CALM.encode() + field + b"\r\n")
        return reader, writer
