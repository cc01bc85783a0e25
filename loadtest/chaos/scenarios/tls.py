"""Certificates that are no good: T1, T2."""

import asyncio

from loadtest.chaos.certificates import BAD, GOOD, OLD_TLS, STALLED
from loadtest.chaos.faults import Fault, Kind
from loadtest.chaos.plan import Stream
from loadtest.chaos.result import Result, at_most
from loadtest.chaos.setup import CALM
from loadtest.chaos.stage import Stage
from loadtest.chaos.trial import observe

HANDSHAKE_S = 1.0
RATE = 15


async def tls_faults(stage: Stage) -> Result:
    """Ask origins whose certificate is expired, another's or self-made, that speak TLS 1.0, or nothing at all."""
    names = (GOOD, *BAD)
    await stage.fault(Fault(Kind.ACCEPT_HANG), names.index(STALLED))
    streams = (Stream(CALM, stage.settings.rate, "/calm"), *(Stream(name, RATE, f"/{name}") for name in names))
    seen = await observe(stage, lambda: asyncio.sleep(0), lambda: asyncio.sleep(0), *streams)
    bad = [one for one in seen.outcomes if one.stream in BAD]
    numbers = {names.index(name) for name in BAD}
    leaked = sum(one.origin in numbers for one in seen.sightings)
    answered = sum(one.status not in {502, 503, 504} for one in bad)
    slowest = {name: max((one.latency_ms for one in bad if one.stream == name), default=0.0) for name in BAD}
    return seen.result(
        ideal_failed=len(bad), slower=1.2,
        extra={
            "leaked": leaked, "answered": answered, "slowest_ms": {name: round(ms) for name, ms in slowest.items()},
            "speaks_tls_1_0": OLD_TLS in BAD,
        },
        bars=[
            at_most("leaked", leaked, 0), at_most("answered", answered, 0),
            at_most("slowest_ms", max(slowest.values()), HANDSHAKE_S * 1000 + 1000),
        ],
    )  # fmt: skip


async def bad_certificate(stage: Stage) -> Result:
    """Replace the edge's certificate file by half of itself; every connection is new."""
    file = stage.home / "certificates" / f"{GOOD}.crt"
    good = file.read_bytes()

    async def spoil() -> None:
        file.write_bytes(good[: len(good) // 2])

    async def mend() -> None:
        file.write_bytes(good)

    ca = str(stage.home / "certificates" / "ca.crt")
    streams = (Stream(CALM, 20, "/calm", fresh=True), Stream("kept", 100, "/calm"))
    seen = await observe(stage, spoil, mend, *streams, ca=ca)
    kept = sum(
        value
        for name, value in (await stage.metrics()).items()
        if name.startswith("edge_certificate_reloads_total") and 'result="kept"' in name
    )
    return seen.result(
        unaffected=(CALM, "kept"), extra={"kept_reloads": kept}, bars=[at_most("not_noticed", 1 - min(kept, 1), 0)]
    )
