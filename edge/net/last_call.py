"""The end of a listening socket without a reset for anybody who was told that it is connected.

The kernel shakes hands by itself, and resets what it has made and nobody took when the socket closes. So before that no
new handshake may begin: a filter on the socket (socket(7), SO_ATTACH_FILTER) drops what would begin one, while those
under way end and are taken. Who is dropped tries again by itself, a second later, and is refused or taken elsewhere.
"""

import contextlib
import socket
import struct
from array import array
from typing import Final

HANDSHAKES_S: Final = 0.1
"""How long handshakes under way get: a round trip within a region."""

_ATTACH: Final = 26  # SO_ATTACH_FILTER and SO_DETACH_FILTER, which Python does not name
_DETACH: Final = 27
_NO_NEW_HANDSHAKE: Final = array(
    "B",
    b"".join(
        struct.pack("HBBI", *instruction)
        for instruction in (
            (0x30, 0, 0, 13),  # load the TCP flags,
            (0x54, 0, 0, 0x12),  # of these SYN and ACK;
            (0x15, 0, 1, 0x02),  # SYN alone
            (0x06, 0, 0, 0),  # is dropped,
            (0x06, 0, 0, 0xFFFFFFFF),  # all else passes
        )
    ),
)


def last_call(sock: socket.socket) -> None:
    """Let no new handshake begin on a listening socket, whoever holds it."""
    address, size = _NO_NEW_HANDSHAKE.buffer_info()
    with contextlib.suppress(OSError):  # without it, somebody may come a moment too late
        sock.setsockopt(socket.SOL_SOCKET, _ATTACH, struct.pack("HP", size // 8, address))


def call_again(sock: socket.socket) -> None:
    """Let handshakes begin again: for who takes the socket over from one that was not the last to hold it."""
    with contextlib.suppress(OSError):  # there was no filter
        sock.setsockopt(socket.SOL_SOCKET, _DETACH, 0)
