"""The listening sockets: one per worker slot on one port, opened by the supervisor and kept open by it."""

import errno
import os
import socket
import sys
from dataclasses import dataclass
from typing import Final

_TCP_NOTSENT_LOWAT: Final = 25  # of Linux; Python has no name for it
_MAX_UNSENT_BYTES: Final = 131072


@dataclass(slots=True, frozen=True)
class CannotListen:
    """Why an address cannot be listened on, in words for an operator."""

    text: str


def listening_sockets(host: str, port: int, *, backlog: int, count: int) -> list[socket.socket] | CannotListen:
    """Return `count` listening sockets that share one port (SO_REUSEPORT); port 0 asks the system for one.

    The kernel spreads new connections over them; those queued at a slot wait there while its worker is replaced.
    """
    opened: list[socket.socket] = []
    try:
        _check_free(host, port)
        for _ in range(count):
            opened.append(_listen(host, port, backlog))
            port = opened[0].getsockname()[1]
    except OSError as error:
        for one in opened:
            one.close()
        return cannot_listen(host, port, error)
    return opened


def cannot_listen(host: str, port: int, error: OSError) -> CannotListen:
    """Return the plain words for a failed bind."""
    if error.errno == errno.EADDRINUSE:
        return CannotListen(f"port {port} on {host} is taken: stop what listens there, or choose another port")
    if error.errno == errno.EACCES:
        return CannotListen(f"port {port} on {host} needs privileges: choose one above 1023")
    if error.errno == errno.EADDRNOTAVAIL:
        return CannotListen(f"{host} is not an address of this machine")
    return CannotListen(f"cannot listen on {host}:{port}: {os.strerror(error.errno or 0)}")


def _check_free(host: str, port: int) -> None:
    """Raise OSError when somebody listens: with SO_REUSEPORT, a second edge would silently share the port."""
    if port:
        with socket.socket(_family(host), socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))


def _listen(host: str, port: int, backlog: int) -> socket.socket:
    made = socket.socket(_family(host), socket.SOCK_STREAM)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if made.family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        # Inherited by every connection: the kernel takes no more of an answer than its device is about to read. Else it
        # takes megabytes for each device that reads nothing, and runs out of memory for all.
        if sys.platform == "linux":
            made.setsockopt(socket.IPPROTO_TCP, _TCP_NOTSENT_LOWAT, _MAX_UNSENT_BYTES)
        made.bind((host, port))
        made.listen(backlog)
        made.setblocking(False)
    except OSError:
        made.close()
        raise
    return made


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET
