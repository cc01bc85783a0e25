"""Certificates that are no good: T1, T2."""

import asyncio

from loadtest.chaos.certificates import BAD, GOOD, OLD_TLS, STALLED, WITHDRAWN, exchange_trust
from loadtest.chaos.faults import Fault, Kind
from loadtest.chaos.figures import Window
from loadtest.chaos.plan import Stream
from loadtest.chaos.result import Result, at_least, at_most, is_true
from loadtest.chaos.setup import CALM
from loadtest.chaos.stage import Stage
from loadtest.chaos.trial import observe

HANDSHAKE_S = 1.0
RATE = 15
NAMES = (GOOD, *BAD, *WITHDRAWN)
CHECK_S = 0.5  # how often the edge looks at its files
NOTICED_S, BACK_S = 1.2, 2.0
SAID = ("expired", "wrong_name", "self_signed", "timeout", "revoked", "unknown_ca")


async def tls_faults(stage: Stage) -> Result:
    """Ask origins whose certificate is expired, another's or self-made, that speak TLS 1.0, or nothing at all.

    For a while one more is revoked, and the CA of another removed, with connections to both open.
    """
    certificates = stage.home / "certificates"
    await stage.fault(Fault(Kind.ACCEPT_HANG), NAMES.index(STALLED))
    streams = (Stream(CALM, stage.settings.rate, "/calm"), *(Stream(name, RATE, f"/{name}") for name in NAMES))

    async def exchange() -> None:
        await asyncio.to_thread(exchange_trust, certificates)

    seen = await observe(stage, exchange, exchange, *streams)
    bad = [one for one in seen.outcomes if one.stream in BAD]
    away = Window(seen.struck.end + NOTICED_S, seen.fault.end)
    withdrawn = away.of(seen.outcomes, *WITHDRAWN)
    doomed = Window(seen.struck.start, seen.fault.end + BACK_S).of(seen.outcomes, *WITHDRAWN)
    never, not_now = ({NAMES.index(name) for name in some} for some in (BAD, WITHDRAWN))
    leaked = sum(
        one.origin in never or (one.origin in not_now and away.start <= one.at < away.end) for one in seen.sightings
    )
    answered = sum(one.status not in {502, 503, 504} for one in [*bad, *withdrawn])
    slowest = {name: max((one.latency_ms for one in bad if one.stream == name), default=0.0) for name in BAD}
    log = stage.edge.log.read_text()
    unsaid = [problem for problem in SAID if f'"problem": "{problem}"' not in log]
    return seen.result(
        ideal_failed=len(bad) + sum(one.failed for one in doomed), slower=1.2,
        extra={
            "leaked": leaked, "answered": answered, "withdrawn": len(withdrawn), "unsaid": unsaid,
            "slowest_ms": {name: round(ms) for name, ms in slowest.items()},
            "speaks_tls_1_0": OLD_TLS in BAD,
        },
        bars=[
            at_most("leaked", leaked, 0), at_most("answered", answered, 0), at_least("withdrawn", len(withdrawn), 1),
            is_true("unsaid", not unsaid, "the log says why, for each"),
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
