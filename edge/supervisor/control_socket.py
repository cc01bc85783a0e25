"""How `edge reload`, `edge restart` and `edge dial` reach the supervisor: a socket in the directory of state, for its
owner only.

The caller sends one line, the command; the answer is one JSON line, `{"result": N, "text": "…", "data": …}`, once it is
done. Who calls is what the kernel says.
"""

import asyncio
import os
import pwd
import socket
import struct
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import orjson

from edge.supervisor.config import Outcome, Result

NAME: Final = "edge.sock"
_CREDENTIALS: Final = "3i"
Answer = Callable[[str, str], Awaitable[Outcome]]


class ControlSocket:
    """The supervisor's end. `answer` carries a command out, for a user of this machine."""

    def __init__(self, var: Path, answer: Answer) -> None:
        self._var = var
        self._answer = answer
        self._server: asyncio.Server | None = None

    async def open(self) -> str:
        """Listen; return why that is not possible, or nothing."""
        another = _connect(self._var)
        if another is not None:
            another.close()
            return f"another edge runs with {self._var}: commands reach that one"
        listening = socket.socket(socket.AF_UNIX)
        try:
            with _short(self._var) as path:
                path.unlink(missing_ok=True)
                before = os.umask(0o177)
                try:
                    listening.bind(str(path))
                finally:
                    os.umask(before)
            self._server = await asyncio.start_unix_server(self._serve, sock=listening)
        except OSError as error:
            listening.close()
            return f"{self._var / NAME} cannot be made: {error.strerror}; signals alone reach this edge"
        return ""

    def close(self) -> None:
        """Stop listening."""
        if self._server is not None:
            self._server.close()
            (self._var / NAME).unlink(missing_ok=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with suppress(ConnectionError):  # gone
                try:
                    line = await reader.readline()
                except ValueError:  # longer than any command
                    return
                outcome = await self._answer(line.decode("utf-8", "replace").strip(), _peer(writer))
                answer = {"result": outcome.result, "text": outcome.text, "data": outcome.data}
                writer.write(orjson.dumps(answer) + b"\n")
                await writer.drain()
        finally:
            writer.close()


def ask(var: Path, command: str) -> Outcome | None:
    """Send `command` to the edge that runs with `var` and wait for its answer; None when there is no such edge."""
    connected = _connect(var)
    if connected is None:
        return None
    with connected:
        connected.sendall(command.encode() + b"\n")
        received = b""
        while piece := connected.recv(65536):
            received += piece
    try:
        answer = orjson.loads(received)
    except orjson.JSONDecodeError:
        return Outcome(Result.WORKER_REFUSED, "the edge stopped before it was done")
    return Outcome(Result(answer["result"]), answer["text"], answer.get("data"))


def _peer(writer: asyncio.StreamWriter) -> str:
    """Return the name of the user at the other end."""
    with socket.socket(fileno=os.dup(writer.get_extra_info("socket").fileno())) as connected:
        credentials = connected.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize(_CREDENTIALS))
    _, uid, _ = struct.unpack(_CREDENTIALS, credentials)
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"


def _connect(var: Path) -> socket.socket | None:
    connecting = socket.socket(socket.AF_UNIX)
    try:
        with _short(var) as path:
            connecting.connect(str(path))
    except OSError:
        connecting.close()
        return None
    return connecting


@contextmanager
def _short(var: Path) -> Iterator[Path]:
    """Yield a short path of the socket: the kernel takes no more than 107 bytes."""
    directory = os.open(var, os.O_PATH | os.O_DIRECTORY)
    try:
        yield Path(f"/proc/self/fd/{directory}") / NAME
    finally:
        os.close(directory)
