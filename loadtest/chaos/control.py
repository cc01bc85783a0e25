"""Steering a process while it runs: one JSON object a line, over a loopback socket."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress

from loadtest.bench.failure import BenchError

Command = Mapping[str, object]
MAX_LINE = 4_000_000
Handler = Callable[[Command], Awaitable[Mapping[str, object]]]


async def serve_control(port: int, handle: Handler) -> asyncio.Server:
    """Answer every line sent to `port` with what `handle` returns, or with its error as text."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while line := await reader.readline():
                try:
                    answered = await handle(json.loads(line))
                except (KeyError, TypeError, ValueError, OSError) as error:
                    answered = {"error": f"{type(error).__name__}: {error}"}
                writer.write(json.dumps(answered).encode() + b"\n")
                await writer.drain()
        writer.close()

    return await asyncio.start_server(answer, "127.0.0.1", port, limit=MAX_LINE)


async def call(port: int, **command: object) -> dict[str, object]:
    """Send one command to the process that listens on `port`; an error it answers with is a `BenchError`."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(json.dumps(command).encode() + b"\n")
        line = await reader.readline()
    finally:
        writer.close()
        await writer.wait_closed()
    answered = json.loads(line or b'{"error": "no answer"}')
    if "error" in answered:
        raise BenchError(f"The command {command} failed: {answered['error']}")
    return dict(answered)
