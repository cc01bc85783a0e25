"""What a unit of `Type=notify` is told: the datagrams of sd_notify(3). Without systemd nobody is told anything."""

import os
import socket
import time
from collections.abc import Callable, MutableMapping
from contextlib import suppress
from typing import Final, TypeAlias

Notify: TypeAlias = Callable[[str], None]

READY: Final = "READY=1"
STOPPING: Final = "STOPPING=1"


def reloading(now: float | None = None) -> str:
    """Return the message of a reload that begins, to be followed by READY. `now` is of the monotonic clock, seconds."""
    return f"RELOADING=1\nMONOTONIC_USEC={int((time.monotonic() if now is None else now) * 1_000_000)}"


def notifier(environment: MutableMapping[str, str]) -> Notify:
    """Return what tells systemd a state; the variable is taken out, so that no worker speaks for the unit."""
    name = environment.pop("NOTIFY_SOCKET", "")
    if not name.startswith(("/", "@")):
        return _tell_nobody
    address = name.encode().replace(b"@", b"\0", 1) if name.startswith("@") else os.fsencode(name)

    def tell(state: str) -> None:
        # A manager that does not listen stops no edge.
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sending:
            sending.setblocking(False)
            sending.sendto(state.encode(), address)

    return tell


def _tell_nobody(_: str) -> None:
    pass
