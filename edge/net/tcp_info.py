"""What the kernel knows of a TCP connection (Linux's `struct tcp_info`)."""

import asyncio
import socket
import struct
from array import array
from fcntl import ioctl
from termios import FIONREAD
from typing import Final

_BYTES: Final = 128
_BYTES_ACKED: Final = struct.Struct("120xQ")


def bytes_acked(transport: asyncio.Transport) -> int:
    """Return how many bytes the other side has acknowledged: what has left our buffer may lie in the kernel's.

    Raises OSError where that is not known.
    """
    sock = transport.get_extra_info("socket")
    acked: int = _BYTES_ACKED.unpack(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _BYTES))[0]
    return acked


def bytes_unread(transport: asyncio.Transport) -> int:
    """Return how many bytes have come and were not read yet; 0 where there is no socket."""
    sock = transport.get_extra_info("socket")
    if sock is None or transport.is_closing():
        return 0
    waiting = array("i", [0])
    ioctl(sock.fileno(), FIONREAD, waiting)
    return waiting[0]
