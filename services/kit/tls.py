"""TLS between services: what one listens with, and what it calls others with.

A service shows one certificate on both sides: to who calls it, and to those it calls.
"""

import asyncio
import ssl
from argparse import ArgumentParser, Namespace
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, TypeAlias

import aiohttp
import structlog

CHECK_S: Final = 2.0
# TLS 1.2's of Mozilla's intermediate configuration.
_CIPHERS: Final = "ECDHE+AESGCM:ECDHE+CHACHA20"
_Stamps: TypeAlias = list[tuple[int, int, int] | None]

_log = structlog.get_logger("services.tls")


class BadTlsFileError(Exception):
    """A certificate, key or CA file is missing, or cannot be used; the text names it."""


def tls_arguments(parser: ArgumentParser) -> None:
    """Add what says how a service listens and calls."""
    parser.add_argument("--certificate", type=Path, metavar="FILE", help="PEM chain to show; listens with TLS then")
    parser.add_argument("--key", type=Path, metavar="FILE", help="PEM private key of --certificate")
    parser.add_argument("--client-ca", type=Path, metavar="FILE", help="callers must show a certificate of these CAs")
    parser.add_argument("--ca", type=Path, metavar="FILE", help="CAs of the services called (default: the system's)")


class TlsContext:
    """A context and the files it is made of, which `watched` loads into it again when they have changed.

    What they add is good from the next connection on; a CA that was taken out, until the next start.
    """

    def __init__(self, protocol: int, files: Sequence[Path | None], load: Callable[[ssl.SSLContext], None]) -> None:
        """Load the files; raises BadTlsFileError."""
        self._files = [path for path in files if path is not None]
        self._load = load
        self._seen = self._stamps()
        self.context = self._made(protocol)

    @asynccontextmanager
    async def watched(self) -> AsyncIterator[ssl.SSLContext]:
        """Look at the files every `CHECK_S` seconds for as long as the context is used."""
        watching = asyncio.create_task(self._watch(), name="certificates")
        try:
            yield self.context
        finally:
            watching.cancel()

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(CHECK_S)
            found = await asyncio.to_thread(self._stamps)
            if found == self._seen:
                continue
            self._seen = found
            try:
                await asyncio.to_thread(self._made, self.context.protocol)
                self._load(self.context)  # not in the thread: a handshake must not meet it half changed
            except BadTlsFileError as error:
                _log.error("certificates_kept", problem=str(error))
            else:
                _log.info("certificates_loaded", files=[str(path) for path in self._files])

    def _made(self, protocol: int) -> ssl.SSLContext:
        context = ssl.SSLContext(protocol)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers(_CIPHERS)
        self._load(context)
        return context

    def _stamps(self) -> _Stamps:
        """Return what changes when a file is written or replaced; through symlinks, as they resolve."""
        return [_stamp(path) for path in self._files]


def listening_context(options: Namespace) -> TlsContext | None:
    """Return what to listen with, or None for plain HTTP; BadTlsFileError when the files cannot be used."""
    if options.certificate is None:
        if options.client_ca is not None or options.key is not None:
            raise BadTlsFileError("--key and --client-ca need --certificate")
        return None

    def load(context: ssl.SSLContext) -> None:
        _load_pair(context, options)
        if options.client_ca is not None:
            context.verify_mode = ssl.CERT_REQUIRED
            _load_ca(context, options.client_ca)

    return TlsContext(ssl.PROTOCOL_TLS_SERVER, (options.certificate, options.key, options.client_ca), load)


@asynccontextmanager
async def calling_session(options: Namespace) -> AsyncIterator[aiohttp.ClientSession]:
    """Yield a client that verifies who it calls, and shows --certificate; BadTlsFileError as above."""

    def load(context: ssl.SSLContext) -> None:
        if options.ca is None:
            context.load_default_certs()
        else:
            _load_ca(context, options.ca)
        if options.certificate is not None:
            _load_pair(context, options)

    tls = TlsContext(ssl.PROTOCOL_TLS_CLIENT, (options.ca, options.certificate, options.key), load)
    async with (
        tls.watched() as context,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context)) as session,
    ):
        yield session


def _load_pair(context: ssl.SSLContext, options: Namespace) -> None:
    if options.key is None:
        raise BadTlsFileError("--certificate needs --key")
    try:
        # A password would be asked for on the terminal.
        context.load_cert_chain(options.certificate, options.key, password=str)
    except ssl.SSLError:
        raise BadTlsFileError(f"{options.certificate} and {options.key} are no certificate and its key") from None
    except OSError as error:
        raise BadTlsFileError(f"{options.certificate} or {options.key} cannot be read: {error.strerror}") from None


def _load_ca(context: ssl.SSLContext, path: Path) -> None:
    try:
        context.load_verify_locations(path)
    except ssl.SSLError:
        raise BadTlsFileError(f"{path} holds no certificate") from None
    except OSError as error:
        raise BadTlsFileError(f"{path} cannot be read: {error.strerror}") from None


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_ctime_ns
