"""TCP resets: how an end is told from a clean one."""

import asyncio
import socket
import struct
from typing import Final

_NO_LINGER: Final = struct.pack("ii", 1, 0)
_LINGER: Final = struct.pack("ii", 0, 0)


def reset_on_close(transport: asyncio.Transport, *, wanted: bool = True) -> None:
    """Have the kernel send a reset, not an end, when `transport` closes or this process dies, if `wanted`."""
    sock = transport.get_extra_info("socket")
    if sock is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER if wanted else _LINGER)


def reset(sock: socket.socket) -> None:
    """Close a socket that no transport has yet, with a reset."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
    sock.close()
