"""TLS between services: what one listens with, and what it calls others with.

A service shows one certificate on both sides: to who calls it, and to those it calls.
"""

import ssl
from argparse import ArgumentParser, Namespace
from pathlib import Path

import aiohttp


class BadTlsFileError(Exception):
    """A certificate, key or CA file is missing, or cannot be used; the text names it."""


def tls_arguments(parser: ArgumentParser) -> None:
    """Add what says how a service listens and calls."""
    parser.add_argument("--certificate", type=Path, metavar="FILE", help="PEM chain to show; listens with TLS then")
    parser.add_argument("--key", type=Path, metavar="FILE", help="PEM private key of --certificate")
    parser.add_argument("--client-ca", type=Path, metavar="FILE", help="callers must show a certificate of these CAs")
    parser.add_argument("--ca", type=Path, metavar="FILE", help="CAs of the services called (default: the system's)")


def listening_context(options: Namespace) -> ssl.SSLContext | None:
    """Return what to listen with, or None for plain HTTP; BadTlsFileError when the files cannot be used."""
    if options.certificate is None:
        if options.client_ca is not None or options.key is not None:
            raise BadTlsFileError("--key and --client-ca need --certificate")
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    _load_pair(context, options)
    if options.client_ca is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        _load_ca(context, options.client_ca)
    return context


def calling_session(options: Namespace) -> aiohttp.ClientSession:
    """Return a client that verifies who it calls, and shows --certificate; BadTlsFileError as above."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if options.ca is None:
        context.load_default_certs()
    else:
        _load_ca(context, options.ca)
    if options.certificate is not None:
        _load_pair(context, options)
    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context))


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
