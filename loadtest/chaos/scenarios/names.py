"""Name servers that fail: N1."""

import asyncio

from loadtest.chaos.name_server import Mood, NameServer
from loadtest.chaos.result import Result, at_least
from loadtest.chaos.setup import CALM, FAULTY
from loadtest.chaos.stage import Stage
from loadtest.chaos.trial import POST, observe

ORDERS = 4


async def dns_faults(stage: Stage) -> Result:
    """Answer with NXDOMAIN, SERVFAIL, nothing, no records and garbage, and with other addresses each time."""
    server = stage.name_server
    assert server is not None
    everybody = tuple(server.addresses)
    before = server.asked
    misbehaving: list[asyncio.Task[None]] = []

    async def start() -> None:
        misbehaving.append(asyncio.create_task(_misbehave(server, everybody, stage.phases.fault_s)))

    async def end() -> None:
        misbehaving[0].cancel()
        server.mood, server.addresses = Mood.WELL, everybody

    seen = await observe(stage, start, end)
    asked = server.asked - before
    return seen.result(
        unaffected=(CALM, FAULTY, POST), recovered_within_s=2.0, extra={"questions": asked},
        bars=[at_least("questions", asked, 5)],
    )  # fmt: skip


async def _misbehave(server: NameServer, everybody: tuple[str, ...], seconds: float) -> None:
    each_s = seconds / len(Mood)
    for mood in Mood:
        server.mood = mood
        for start in range(ORDERS):
            server.addresses = tuple(everybody[(start + number) % len(everybody)] for number in range(2))
            await asyncio.sleep(each_s / ORDERS)
