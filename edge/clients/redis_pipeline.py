"""One connection to a Redis, on which commands that come while others are under way go out together.

When many renewals come at once, that is a third of the work of a connection for each (115 µs a renewal instead of 370).
"""

import asyncio
import contextlib
import ssl
from typing import Any, Final
from urllib.parse import urlsplit

from redis.asyncio.connection import AbstractConnection, Connection, SSLConnection
from redis.exceptions import RedisError, ResponseError

from edge.control.service_sections import RenewalSharing

_PORT: Final = 6379
_AT_ONCE: Final = 256

_Command = tuple[bytes | str | int, ...]


class RedisPipeline:
    """Runs commands in the order they come. Connects with the first one, and anew after a failure."""

    def __init__(self, connection: AbstractConnection, timeout_s: float) -> None:
        """Run each command in `timeout_s` seconds at most, the connecting included."""
        self._connection = connection
        self._timeout_s = timeout_s
        self._waiting: list[tuple[_Command, asyncio.Future[object]]] = []
        self._sending: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        return f"RedisPipeline({len(self._waiting)} waiting)"

    async def run(self, *command: bytes | str | int) -> object:
        """Return Redis's answer.

        Raises TimeoutError, RedisError, OSError, or whatever the client makes of an answer that is none.
        """
        answer: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        self._waiting.append((command, answer))
        if self._sending is None:
            self._sending = asyncio.create_task(self._send_all(), name="redis-pipeline")
        async with asyncio.timeout(self._timeout_s):
            return await answer

    async def close(self) -> None:
        """Close the connection; what is under way fails."""
        if self._sending is not None:
            self._sending.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._sending
        _fail(self._waiting, ConnectionError("closed"))
        with contextlib.suppress(RedisError, OSError):
            await self._connection.disconnect()

    async def _send_all(self) -> None:
        try:
            while self._waiting:
                batch, self._waiting = self._waiting[:_AT_ONCE], self._waiting[_AT_ONCE:]
                await self._send([(command, answer) for command, answer in batch if not answer.done()])
        finally:
            self._sending = None

    async def _send(self, batch: list[tuple[_Command, asyncio.Future[object]]]) -> None:
        connection = self._connection
        if not batch:
            return
        try:
            async with asyncio.timeout(self._timeout_s):
                await connection.connect()
                if await connection.can_read():  # it is closed, or says what nobody asked for
                    await connection.disconnect(nowait=True)
                    await connection.connect()
                await connection.send_packed_command(connection.pack_commands([command for command, _ in batch]))
                for _, answer in batch:
                    await self._read(answer)
        except BaseException as error:
            _fail(batch, error if isinstance(error, Exception) else ConnectionError("closed"))
            with contextlib.suppress(RedisError, OSError):
                await connection.disconnect(nowait=True)
            if not isinstance(error, Exception):
                raise

    async def _read(self, answer: "asyncio.Future[object]") -> None:
        try:
            said = await self._connection.read_response()
        except ResponseError as error:  # of this command; the connection goes on
            if not answer.done():
                answer.set_exception(error)
        else:
            if not answer.done():
                answer.set_result(said)


def _fail(commands: list[tuple[_Command, asyncio.Future[object]]], error: Exception) -> None:
    for _, answer in commands:
        if not answer.done():
            answer.set_exception(error)


class _TlsConnection(SSLConnection):
    """Connects with a context that is made already, whose certificates change under it."""

    def __init__(self, *, context: ssl.SSLContext, **others: Any) -> None:
        super().__init__(**others)
        self.ssl_context.context = context


def redis_pipeline(settings: RenewalSharing, password: str | None, context: ssl.SSLContext | None) -> RedisPipeline:
    """Return a pipeline, not yet connected. `context` is for TLS, None for a plain connection."""
    url = urlsplit(settings.url)
    others: dict[str, Any] = {
        "host": url.hostname,
        "port": url.port or _PORT,
        "db": int(url.path[1:] or 0),
        "username": settings.username,
        "password": password,
        "socket_timeout": None,  # the deadline is that of the command
        "socket_connect_timeout": settings.timeout_s,
        "protocol": 2,  # no greeting but AUTH and SELECT
        "driver_info": None,
    }
    connection = Connection(**others) if context is None else _TlsConnection(context=context, **others)
    return RedisPipeline(connection, settings.timeout_s)
