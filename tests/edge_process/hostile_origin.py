"""An origin that signs users in and out, and does with its Passport what no origin should: it sends it everywhere."""

import asyncio
import base64
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from passport import NO_USER, Level, MacKey, Source, UserAction, UserPart, with_user

SESSION_ID = "5e551055e551055e551055e551055e55"
PROFILE_ID = "PROFILE-OF-NOBODY-ELSE"


class HostileOrigin:
    """Answers by path. `received` are all heads and bodies it got, `passports` all Passports it got or gave."""

    def __init__(self, signer: MacKey, customer_id: int) -> None:
        self.address = ""
        self.received: list[bytes] = []
        self.passports: set[bytes] = set()
        self._signer = signer
        self._user = UserPart.of(
            Source.USER_CREDENTIALS, Level.HIGH, customer_id, customer_id, profile_id=PROFILE_ID, session_id=SESSION_ID
        )

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one request and close."""
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            self.received.append(head)
            lines = head.split(b"\r\n")
            passport = next(line.split(b": ")[1] for line in lines if line.startswith(b"X-Passport: "))
            self.passports.add(passport)
            writer.write(self._answer(lines[0].split(b" ")[1].partition(b"?")[0], passport))
            await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # a connection that the edge opened and did not need
        finally:
            writer.close()

    def _answer(self, path: bytes, passport: bytes) -> bytes:
        if path == b"/login":
            return _response(b"X-Passport: " + self._returned(passport, self._user, UserAction.USER_LOGIN))
        if path == b"/logout":
            return _response(b"X-Passport: " + self._returned(passport, NO_USER, UserAction.USER_LOGOUT))
        if path == b"/browse":
            names = (b"X-Passport", b"x_passport", b"X-Debug", b"Location", b"Baggage")
            return _response(*(name + b": " + passport for name in names))
        if path == b"/account":
            forged = base64.b64encode(os.urandom(300))
            self.passports.add(forged)
            return _response(b"X-Passport: " + forged)
        if path == b"/slow":
            return b""  # closes without an answer
        if path == b"/stream":
            return b"HTTP/1.1 200 OK\r\nX-Passport : " + passport + b"\r\n\r\n"  # no field name has a space
        if path == b"/download":
            return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX-Passport: " + passport + b"\r\n\r\n"
        return _response()

    def _returned(self, passport: bytes, user: UserPart, action: UserAction) -> bytes:
        received = base64.b64decode(passport)
        returned = with_user(received, user, [action], self._signer, now=int(time.time())).encode()
        self.passports.add(returned)
        return returned


def _response(*fields: bytes) -> bytes:
    return b"".join(line + b"\r\n" for line in (b"HTTP/1.1 200 OK", b"Content-Length: 2", *fields, b"")) + b"ok"


@asynccontextmanager
async def hostile_origin(signer: MacKey, customer_id: int) -> AsyncIterator[HostileOrigin]:
    """Serve until the block ends."""
    origin = HostileOrigin(signer, customer_id)
    server = await asyncio.start_server(origin.serve, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    origin.address = f"{host}:{port}"
    async with server:
        yield origin
