"""Runs filters in order. Plain calls while they answer at once; the caller drives what they leave to be awaited.

Whatever goes wrong in a filter (an exception, a deadline, too many calls at a time) is settled here as the filter's
`on_error` says, and that is closed unless it says otherwise.
"""

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Protocol, TypeAlias

from edge.contract.exchange import Exchange
from edge.contract.filters import (
    CONTINUE,
    NOT_MINE,
    Answer,
    Filter,
    InboundFilter,
    NeedBody,
    OnError,
    OutboundFilter,
    Refuse,
    TrailerFilter,
    Verdict,
)
from edge.contract.headers import Headers
from edge.contract.reasons import Reason

Pending: TypeAlias = Coroutine[None, None, Verdict]
Call: TypeAlias = Callable[[Exchange], Verdict | Pending]


class FilterLimits(Protocol):
    """What the config may change of a filter; None keeps what the filter declares."""

    @property
    def deadline_s(self) -> float | None:
        """Seconds for one asynchronous call."""
        ...

    @property
    def concurrency(self) -> int | None:
        """Asynchronous calls at a time."""
        ...


@dataclass(slots=True)
class Step:
    """One filter in its place, with its limits and what it has cost: `cost` is `[calls, seconds]`."""

    filter: Filter
    call: Call
    deadline_s: float
    concurrency: int
    cost: list[float]
    in_flight: int = 0


@dataclass(slots=True, frozen=True)
class Stop:
    """Where a chain has stopped and why: a verdict that ends or interrupts it, or something to await."""

    index: int
    verdict: Refuse | Answer | NeedBody | Pending


class Chain:
    """One ordered list of filters, inbound or outbound."""

    def __init__(
        self,
        steps: Sequence[Step],
        guards: Sequence[TrailerFilter],
        report: Callable[[str, Exception], None],
    ) -> None:
        self._steps = tuple(steps)
        self._calls = tuple((step.call, step.cost) for step in steps)
        self._guards = tuple(guards)
        self._report = report

    def run(self, exchange: Exchange, start: int = 0) -> Stop | None:
        """Run from position `start`; return None when every filter has passed the exchange on."""
        began = perf_counter()
        for index in range(start, len(self._calls)):
            call, cost = self._calls[index]
            try:
                verdict = call(exchange)
            except Exception as error:  # noqa: BLE001 - whatever it is, the filter did not pass the exchange
                verdict = self._failed(self._steps[index], Reason.FILTER_ERROR, error)
            ended = perf_counter()
            cost[0] += 1
            cost[1] += ended - began
            began = ended
            if verdict is CONTINUE or verdict is NOT_MINE:
                continue
            if isinstance(verdict, Refuse | Answer | NeedBody | Coroutine):
                return Stop(index, verdict)
            verdict = self._failed(self._steps[index], Reason.FILTER_ERROR, TypeError("not a verdict"))
            if isinstance(verdict, Refuse):
                return Stop(index, verdict)
        return None

    async def settle(self, index: int, pending: Pending) -> Verdict:
        """Await what the filter at `index` has left, within its deadline and concurrency limit."""
        step = self._steps[index]
        if step.in_flight >= step.concurrency:
            pending.close()
            return self._failed(step, Reason.FILTER_OVERLOADED, None)
        step.in_flight += 1
        began = perf_counter()
        try:
            async with asyncio.timeout(step.deadline_s):
                return await pending
        except TimeoutError:
            return self._failed(step, Reason.FILTER_TIMEOUT, None)
        except Exception as error:  # noqa: BLE001 - as in `run`
            return self._failed(step, Reason.FILTER_ERROR, error)
        finally:
            step.in_flight -= 1
            step.cost[1] += perf_counter() - began

    def guard_trailers(self, exchange: Exchange, trailers: Headers | None) -> Headers | None:
        """Return the trailers that may pass, if any."""
        if trailers is None:
            return None
        try:
            for guard in self._guards:
                guard.trailers(exchange, trailers)
        except Exception as error:  # noqa: BLE001 - unguarded trailers never pass
            self._report("trailers", error)
            return None
        return trailers

    def _failed(self, step: Step, reason: Reason, error: Exception | None) -> Refuse | Verdict:
        if error is not None:
            self._report(step.filter.id, error)
        if step.filter.on_error is OnError.OPEN:
            return CONTINUE
        return Refuse(503 if reason is Reason.FILTER_OVERLOADED else 500, reason, step.filter.id)

    def __repr__(self) -> str:
        return f"Chain({', '.join(step.filter.id for step in self._steps)})"


def inbound_chain(
    filters: Sequence[InboundFilter],
    limits: Mapping[str, FilterLimits],
    cost: Callable[[str], list[float]],
    report: Callable[[str, Exception], None],
) -> Chain:
    """Compile the request's filters; `cost` names the place where a filter's calls and seconds are counted."""
    steps = [_step(each, each.inbound, limits, cost) for each in filters]
    return Chain(steps, _guards(filters), report)


def outbound_chain(
    filters: Sequence[OutboundFilter],
    limits: Mapping[str, FilterLimits],
    cost: Callable[[str], list[float]],
    report: Callable[[str, Exception], None],
) -> Chain:
    """Compile the response's filters."""
    steps = [_step(each, each.outbound, limits, cost) for each in filters]
    return Chain(steps, _guards(filters), report)


def _guards(filters: Sequence[Filter]) -> list[TrailerFilter]:
    return [each for each in filters if isinstance(each, TrailerFilter)]


def _step(each: Filter, call: Call, limits: Mapping[str, FilterLimits], cost: Callable[[str], list[float]]) -> Step:
    limit = limits.get(each.id)
    deadline_s = limit.deadline_s if limit is not None and limit.deadline_s is not None else each.deadline_s
    concurrency = limit.concurrency if limit is not None and limit.concurrency is not None else each.concurrency
    return Step(each, call, deadline_s, concurrency, cost(each.id))
