"""Origins whose answers are cut, late, early, strange or wrong: B7 to B13."""

from collections.abc import Iterable

from loadtest.chaos.faults import Fault, Kind
from loadtest.chaos.figures import failures, kinds
from loadtest.chaos.outcomes import Ending, Outcome
from loadtest.chaos.plan import Stream
from loadtest.chaos.result import Result, at_least, at_most
from loadtest.chaos.setup import CALM, FAULTY
from loadtest.chaos.stage import Stage
from loadtest.chaos.trial import POST, Seen, observe

SHARE = 0.3
TRIES = 10_000
AFTER_BYTES = 400  # the head has about a hundred
SIZE = 2000
STRANGE = {
    "noise": "\x16\x03\x01\x02\x00garbage\r\n\r\n",
    "http_0_9": "<html>an answer without a head</html>\r\n\r\n",
    "megabyte_head": "HTTP/1.1 200 OK\r\nx-big: " + "a" * 1_000_000,
    "two_lengths": "HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello!",
    "unasked_101": "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n",
}
SECOND_ANSWER = "HTTP/1.1 200 OK\r\nx-chaos-id: stranger-1\r\ncontent-length: 11\r\n\r\nstranger-1\n"


async def reset_mid_body(stage: Stage) -> Result:
    """Reset a third of the answers in the middle of a body with a length."""
    return await _cut(stage, Fault(Kind.RESET, SHARE, AFTER_BYTES))


async def cut_chunked(stage: Stage) -> Result:
    """End a third of the answers in the middle of a chunked body."""
    return await _cut(stage, Fault(Kind.CUT, SHARE, AFTER_BYTES), chunked=True)


async def half_close(stage: Stage) -> Result:
    """Half-close a third of the answers in the middle of their body."""
    return await _cut(stage, Fault(Kind.HALF_CLOSE, SHARE, AFTER_BYTES))


async def idle_close_race(stage: Stage) -> Result:
    """Let origins close a tenth of their connections within 3 ms of an answer, without a word."""
    rate, tries = stage.settings.rate, 0 if stage.settings.quick else TRIES
    streams = (Stream(FAULTY, rate * 1.5, "/faulty"), Stream(POST, rate / 2, "/faulty", method="POST", body_bytes=64))
    seen = await observe(
        stage, lambda: stage.mood(leave=0.1, leave_ms=3), lambda: stage.mood(leave=0), *streams,
        fault_s=1.05 * tries / (2 * rate),
    )  # fmt: skip
    # A POST that was written before the close arrived may have been read: it must not be sent again.
    ambiguous = [one for one in failures(seen.outcomes) if one.stream == POST and one.status == 502]
    gets = sum(one.stream == FAULTY for one in failures(seen.outcomes))
    tried = len(seen.fault.of(seen.outcomes))
    return seen.result(
        ideal_failed=len(ambiguous), unaffected=(FAULTY,), slower=None, recovered_within_s=2.0,
        extra={
            "get_failed": gets,
            "tries": tried,
            "retries": await stage.counts("edge_retries_total"),
        },
        bars=[at_most("get_failed", gets, 0), at_least("tries", tried, tries)],
    )  # fmt: skip


async def early_answer(stage: Stage) -> Result:
    """Answer half the uploads with 413 before they are over; send a second answer after a third of all."""
    rate = stage.settings.rate
    streams = (
        Stream(FAULTY, rate / 2, "/faulty"),
        Stream("upload", rate / 16, "/faulty", method="POST", body_bytes=200_000),
        Stream(CALM, rate * 3 / 8, "/calm"),
    )

    async def strike() -> None:
        await stage.mood(early=0.5)
        await stage.fault(Fault(Kind.EXTRA, SHARE, text=SECOND_ANSWER))

    async def heal() -> None:
        await stage.mood(early=0)
        await stage.fault(Fault())

    seen = await observe(stage, strike, heal, *streams)
    early = [one for one in seen.outcomes if one.kind is Ending.ORIGIN_ERROR and one.status == 413]
    return seen.result(
        failed=len(failures(seen.outcomes)) - len(early), extra={"answered_early": len(early)}, slower=1.5
    )


async def garbage_origin(stage: Stage) -> Result:
    """Send what is no answer in the place of a third of them, each kind for a while."""
    ideal = 0
    seens: list[Seen] = []
    others: dict[str, int] = {}
    for name, text in STRANGE.items():
        before = await _struck(stage)
        fault = Fault(Kind.GARBAGE, SHARE, text=text)
        seen = await observe(stage, lambda fault=fault: stage.fault(fault), lambda: stage.fault(Fault()))  # type: ignore[misc]
        struck = await _struck(stage) - before
        ideal += struck
        others.update({f"{name} {kind}": count for kind, count in kinds(_not_502(seen.outcomes)).items()})
        seens.append(seen)
    result = seens[-1]
    result.outcomes = [one for seen in seens for one in seen.outcomes]
    return result.result(
        ideal_failed=ideal, slower=None, extra={"not_502": others},
        bars=[at_most("not_502", sum(others.values()), 0)],
    )  # fmt: skip


async def half_errors(stage: Stage) -> Result:
    """Answer half of all requests with 500."""
    seen = await observe(stage, lambda: stage.mood(errors=0.5), lambda: stage.mood(errors=0))
    passed = sum(one.kind is Ending.ORIGIN_ERROR for one in seen.outcomes)
    guarded = sum(one.kind is Ending.REFUSED and one.status == 503 for one in seen.outcomes)
    result = seen.result(
        ideal_failed=passed + guarded, recovered_within_s=30.0, extra={"passed_through": passed, "refused": guarded}
    )
    factor = result.extra["amplification"]
    assert isinstance(factor, float)
    return seen.result(
        ideal_failed=passed + guarded, recovered_within_s=30.0, extra={"passed_through": passed, "refused": guarded},
        bars=[at_most("amplification", factor, 1.1)],
    )  # fmt: skip


async def _cut(stage: Stage, fault: Fault, *, chunked: bool = False) -> Result:
    rate = stage.settings.rate
    streams = (
        Stream(FAULTY, rate / 2, "/faulty", size=SIZE, chunked=chunked),
        Stream(POST, rate / 8, "/faulty", method="POST", body_bytes=256, size=SIZE, chunked=chunked),
        Stream(CALM, rate * 3 / 8, "/calm"),
    )
    seen = await observe(stage, lambda: stage.fault(fault), lambda: stage.fault(Fault()), *streams)
    struck, monitor = await _struck(stage), stage.monitor
    more_fds = monitor.fds(seen.recovery) - monitor.fds(seen.normal)
    return seen.result(
        ideal_failed=struck, recovered_within_s=2.0, extra={"struck": struck, "more_fds": more_fds},
        bars=[at_most("more_fds", more_fds, 32)],
    )  # fmt: skip


async def _struck(stage: Stage) -> int:
    return sum([(await stage.gate_counts(gate))["struck"] for gate in range(len(stage.gate_ports))])


def _not_502(outcomes: Iterable[Outcome]) -> list[Outcome]:
    return [one for one in outcomes if one.failed and one.status != 502]
