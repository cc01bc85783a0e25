"""Token services that fail, and nobody is signed out: S1, S2."""

import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise

from loadtest.chaos.devices import Jars, Shown, per_second, showing
from loadtest.chaos.faults import Fault, Kind
from loadtest.chaos.figures import Window, p99_ms
from loadtest.chaos.plan import Stream
from loadtest.chaos.result import Bar, Result, at_most, no_slower
from loadtest.chaos.setup import CALM
from loadtest.chaos.token_stage import COOKIE, TokenStage
from loadtest.chaos.trial import Seen, Step, nothing, observe, with_bars

HEALED_S = 30.0
RESCHEDULED_LIVES, HEALED_AFTER_S = 1.2, 10.0  # the longest life; a breaker's pause, and until a device asks again
STORM = 3.0
# `renewal.wait_s`, `renewal.wait_beside_s`, and what a request may take besides.
WAIT_MS, BESIDE_MS, GRACE_MS = 300.0, 100.0, 20.0
SLOW_S = 5.0
ERROR = "HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n"
NOISE = "\x16\x03\x01\x02 what is this\r\n\r\n" * 4
HALF_BYTES = 120  # an answer with a pair has more than its head by then
FAULTS: Mapping[str, Fault] = {
    "black_hole": Fault(Kind.BLACK_HOLE),
    "slow": Fault(Kind.LATENCY, delay_s=SLOW_S),
    "errors": Fault(Kind.GARBAGE, text=ERROR),
    "garbage": Fault(Kind.GARBAGE, text=NOISE),
    "half": Fault(Kind.CUT, after_bytes=HALF_BYTES),
}


@dataclass(slots=True)
class DevicesSeen:
    """What was seen of devices: `seen` as in every scenario, their jars, and calls to the cookie service by outcome."""

    seen: Seen
    jars: Jars
    calls: dict[str, int]
    to_epoch_s: float
    rescheduled_s: int  # the life of rescheduled cookies, give or take a fifth

    @property
    def healing_s(self) -> float:
        """How long it may take until nobody has a rescheduled cookie."""
        return max(HEALED_S, RESCHEDULED_LIVES * self.rescheduled_s + HEALED_AFTER_S)

    def renewed_a_s(self, window: Window) -> float:
        """Return how many devices a second were given a full pair."""
        return round(len([one for one in self.jars.given(window) if one.full]) / window.seconds, 1)

    def peak_a_s(self) -> float:
        """Return the most renewals a second, over two seconds, after the fault."""
        given = [one.at for one in self.jars.given(self.seen.recovery) if one.full]
        return max(per_second(given, self.seen.recovery), default=0.0)

    def healed_s(self) -> float:
        """Return how long after the fault the last device got a full pair in the place of a rescheduled one."""
        healed = [
            after.at
            for held in self.jars.by_device.values()
            for before, after in pairwise(held)
            if not before.full and after.full
        ]
        return round(max([0.0, *(at - self.seen.fault.end for at in healed)]), 2)

    def left(self) -> int:
        """Count the devices that are left with rescheduled cookies."""
        return sum(not one.full for one in self.jars.last())

    def result(
        self,
        *,
        healing: bool = True,
        slower: float | None = 1.5,
        extra: Mapping[str, object] | None = None,
        bars: Iterable[Bar] = (),
    ) -> Result:
        """Return the figures and the bars that hold whenever a token service fails; `healing`: and comes back.

        `slower` is how many times its normal the p99 of fresh cookies may be.
        """
        seen, jars = self.seen, self.jars
        usual = seen.result(slower=None)
        fault = showing(seen.fault.of(seen.outcomes), jars, self.to_epoch_s)
        fresh = showing(seen.normal.of(seen.outcomes), jars, self.to_epoch_s)[Shown.FRESH]
        p99, normal = p99_ms(fault[Shown.FRESH]), p99_ms(fresh)
        due_ms, expired_ms = p99_ms(fault[Shown.DUE]), p99_ms(fault[Shown.EXPIRED])
        normal_a_s, rescheduled = self.renewed_a_s(seen.normal), [one for one in jars if not one.full]
        figures = {
            "devices": len(jars.by_device),
            "renewals": sum(one.full and one.version > 0 for one in jars),
            "rescheduled": len(rescheduled),
            "renewals_a_s_normal": normal_a_s,
            "renewals_a_s_peak_after": self.peak_a_s(),
            "healed_s": self.healed_s(),
            "left_rescheduled": self.left(),
            "p99_ms_due": due_ms,
            "p99_ms_expired": expired_ms,
            "shown_in_fault": {kind.value: len(found) for kind, found in fault.items() if found},
            "generation_went_back": jars.went_back(),
            "jars_lost": jars.lost,
            "cookie_service_calls": self.calls,
        }
        own = [
            *([] if slower is None else [no_slower(p99, normal, slower)]),
            at_most("p99_ms_due", due_ms, BESIDE_MS + GRACE_MS + normal, " ms"),
            at_most("p99_ms_expired", expired_ms, WAIT_MS + GRACE_MS + normal, " ms"),
            at_most("generation_went_back", jars.went_back(), 0),
            at_most("jars_lost", jars.lost, 0),
        ]
        if healing:
            own += [
                at_most("renewals_a_s_peak_after", self.peak_a_s(), round(STORM * normal_a_s, 1)),
                at_most("healed_s", self.healed_s(), self.healing_s, " s"),
                at_most("recovery_s", usual.recovery_s, HEALED_S, " s"),
                at_most("left_rescheduled", self.left(), 0),
            ]
        result = replace(
            usual, p99_ms=p99, p99_ms_normal=normal, extra={**usual.extra, **figures, **(extra or {})}
        )  # fmt: skip
        return with_bars(result, [*usual.bars, *own, *bars])


async def observe_devices(
    stage: TokenStage, inject: Step, heal: Step = nothing, *streams: Stream, fault_s: float = 0.0
) -> DevicesSeen:
    """Let all devices ask in turn; strike, wait, heal, wait; return what was seen."""
    before = await stage.calls()
    load = streams or (Stream(CALM, stage.settings.rate, f"/{CALM}"),)
    seen = await observe(stage, inject, heal, *load, fault_s=fault_s)
    after = await stage.calls()
    calls = {name: count - before.get(name, 0) for name, count in after.items() if count != before.get(name, 0)}
    to_epoch_s = time.time() - time.monotonic()
    return DevicesSeen(seen, stage.read_jars(), calls, to_epoch_s, stage.course.lives.rescheduled_s)


async def service_fault(stage: TokenStage, *, service: str, fault: str) -> Result:
    """Let one service fail in one way, for as long as the fault lasts; `killed` is SIGKILL, and a new start."""
    if fault == "killed":
        seen = await observe_devices(
            stage, partial(stage.kill_service, service), partial(stage.revive_service, service)
        )
    else:
        strike = partial(stage.service_fault, service, FAULTS[fault])
        seen = await observe_devices(stage, strike, partial(stage.service_fault, service, Fault()))
    return seen.result()


def fails(service: str, fault: str) -> Callable[[TokenStage], Awaitable[Result]]:
    """Return the scenario in which `service` has a fault."""
    return partial(service_fault, service=service, fault=fault)


cookie_fails = partial(fails, COOKIE)
