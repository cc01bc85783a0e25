"""Ports that stay free until they are used."""

import secrets
import socket
from pathlib import Path
from typing import Final

LOWEST: Final = 12_000
RANGE: Final = Path("/proc/sys/net/ipv4/ip_local_port_range")
_given: set[int] = set()


def free_port() -> int:
    """Return a loopback port that nobody listens on, out of those that the kernel gives to no outgoing connection.

    Under load there are thousands of these, and a port of theirs that was free a moment ago need not be so any more.
    None is returned twice: who got it first may not listen yet.
    """
    while True:
        port = LOWEST + secrets.randbelow(max(1, _first_outgoing() - LOWEST))
        if port in _given:
            continue
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        _given.add(port)
        return port


def _first_outgoing() -> int:
    try:
        return int(RANGE.read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return 32_768
