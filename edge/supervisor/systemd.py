"""What a unit of `Type=notify` is told: the datagrams of sd_notify(3). Without systemd nobody is told anything."""

import asyncio
import os
import socket
import time
from collections.abc import AsyncIterator, Callable, MutableMapping
from contextlib import asynccontextmanager, suppress
from typing import Final, TypeAlias

Notify: TypeAlias = Callable[[str], None]

READY: Final = "READY=1"
STOPPING: Final = "STOPPING=1"
ALIVE: Final = "WATCHDOG=1"


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


def watchdog_s(environment: MutableMapping[str, str], pid: int) -> float | None:
    """Return the seconds of silence after which systemd ends process `pid` (`WatchdogSec=`); None where it does not.

    The variables of sd_watchdog_enabled(3) are taken out: no worker is meant.
    """
    text, whose = environment.pop("WATCHDOG_USEC", ""), environment.pop("WATCHDOG_PID", str(pid))
    watched = whose == str(pid) and text.isascii() and text.isdigit()
    return int(text) / 1_000_000 or None if watched else None


@asynccontextmanager
async def telling_that_it_lives(tell: Notify, silence_s: float | None) -> AsyncIterator[None]:
    """Tell from this loop, twice in `silence_s` seconds, that it turns, until the block ends; None: tell nothing."""
    telling = asyncio.create_task(_tell_that_it_lives(tell, silence_s / 2)) if silence_s else None
    try:
        yield
    finally:
        if telling is not None:
            telling.cancel()


async def _tell_that_it_lives(tell: Notify, interval_s: float) -> None:
    while True:
        tell(ALIVE)
        await asyncio.sleep(interval_s)


def _tell_nobody(_: str) -> None:
    pass
