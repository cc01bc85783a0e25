"""The usual course of a scenario: normal, fault, recovery, and the figures that its logs give."""

import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass

from loadtest.chaos.figures import (
    Window,
    amplification,
    duplicates,
    failures,
    kinds,
    p99_ms,
    recovery_s,
    wrong,
)
from loadtest.chaos.outcomes import Outcome, Sighting
from loadtest.chaos.plan import Stream
from loadtest.chaos.result import Bar, Result, at_most, no_slower
from loadtest.chaos.setup import CALM, FAULTY
from loadtest.chaos.stage import Stage

Step = Callable[[], Awaitable[object]]
POST = "post"
WAIT_MS = 20  # so that several requests are under way at each address


@dataclass(slots=True)
class Seen:
    """What was seen of a scenario. `struck` is the moment of harm, `fault` begins with it and ends with the healing."""

    stage: Stage
    outcomes: list[Outcome]
    sightings: list[Sighting]
    normal: Window
    struck: Window
    fault: Window
    recovery: Window
    late_ms: float

    def after_normal(self, *streams: str) -> list[Outcome]:
        """Return the requests of these streams, or of all, that were due when the fault began or later."""
        return Window(self.fault.start, self.recovery.end).of(self.outcomes, *streams)

    def p99(self, window: Window, *streams: str) -> float:
        """Return the p99 of these streams in a window, in milliseconds."""
        return p99_ms(window.of(self.outcomes, *streams))

    def result(
        self,
        *,
        ideal_failed: int = 0,
        failed: int | None = None,
        unaffected: Iterable[str] = (CALM,),
        slower: float | None = 1.5,
        recovered_within_s: float | None = None,
        extra: Mapping[str, object] | None = None,
        bars: Iterable[Bar] = (),
    ) -> Result:
        """Return the figures with the bars that hold for every scenario, and those given.

        `unaffected` are the streams whose p99 may be no more than `slower` times its normal. `failed` is given where
        not every answer but 200 is a failure.
        """
        names = tuple(unaffected)
        lost = len(failures(self.outcomes)) if failed is None else failed
        normal_ms, fault_ms = self.p99(self.normal, *names), self.p99(self.fault, *names)
        affected_ms = self.p99(self.normal)
        recovered = recovery_s(self.outcomes, self.fault.end, self.recovery.end, affected_ms)
        figures = Result(
            "", "", len(self.outcomes), lost, ideal_failed, wrong(self.outcomes), duplicates(self.sightings),
            sum(one.signed_out for one in self.outcomes), fault_ms, normal_ms, recovered,
            self.stage.monitor.peak_rss_mib(),
            {
                "failures": kinds(self.outcomes),
                "amplification": amplification(self.outcomes, self.sightings),
                "client_late_p99_ms": self.late_ms,
                **(extra or {}),
            },
        )  # fmt: skip
        usual = [
            at_most("failed", figures.failed, ideal_failed), at_most("wrong", figures.wrong, 0),
            at_most("dup", figures.dup, 0), at_most("signed_out", figures.signed_out, 0),
        ]  # fmt: skip
        if slower is not None:
            usual.append(no_slower(fault_ms, normal_ms, slower))
        if recovered_within_s is not None:
            usual.append(at_most("recovery_s", recovered, recovered_within_s))
        return with_bars(figures, [*usual, *bars])


def with_bars(result: Result, bars: Iterable[Bar]) -> Result:
    """Return the result with these bars; one that comes later replaces an earlier one of the same figure."""
    by_figure = {bar.figure: bar for bar in bars}
    values = {name: getattr(result, name) for name in Result.__slots__}
    return Result(**{**values, "bars": tuple(by_figure.values())})


def usual_load(stage: Stage) -> tuple[Stream, ...]:
    """Return what most scenarios send: half of it GET and an eighth POST to `faulty`, the rest to `calm`."""
    rate = stage.settings.rate
    return (
        Stream(FAULTY, rate / 2, "/faulty", wait_ms=WAIT_MS),
        Stream(POST, rate / 8, "/faulty", method="POST", body_bytes=256, wait_ms=WAIT_MS),
        Stream(CALM, rate * 3 / 8, "/calm"),
    )


async def nothing() -> None:
    """Do no harm."""


async def observe(
    stage: Stage,
    inject: Step,
    heal: Step = nothing,
    *streams: Stream,
    ca: str | None = None,
    fault_s: float = 0.0,
) -> Seen:
    """Send the usual load, or `streams`; strike, wait, heal, wait; return what was seen.

    `ca` is a file of CAs to trust: with it, the client speaks TLS. The fault lasts for `fault_s` at least.
    """
    phases = stage.phases
    async with stage.load(*(streams or usual_load(stage)), ca=ca) as load:
        await load.phase(phases.warm_up_s)
        normal = await load.phase(phases.normal_s)
        began = time.monotonic()
        await inject()
        struck = Window(began, time.monotonic())
        await load.phase(max(phases.fault_s, fault_s))
        await heal()
        fault = Window(began, time.monotonic())
        recovery = await load.phase(phases.recovery_s)
    return Seen(stage, load.outcomes, stage.sightings_of(load.outcomes), normal, struck, fault, recovery, load.late_ms)
