"""Runs filters in order. Plain calls while they answer at once; the caller drives what they leave to be awaited.

Whatever goes wrong in a filter (an exception, a deadline, too many calls at a time) is settled here as the filter's
`on_error` says, and that is closed unless it says otherwise.
"""

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Final, Protocol, TypeAlias

from edge.contract.exchange import Exchange
from edge.contract.filters import (
    CONTINUE,
    NOT_MINE,
    Answer,
    Continue,
    Filter,
    InboundFilter,
    Legacy,
    NeedBody,
    NotMine,
    OnError,
    OutboundFilter,
    Refuse,
    Verdict,
)
from edge.contract.headers import Headers
from edge.contract.reasons import Reason
from edge.contract.trailers import TrailerFilter

TIMED_ONE_IN = 64
"""A watch on every filter of every exchange would cost as much as a filter; one exchange in so many stands for all."""

Pending: TypeAlias = Coroutine[None, None, Verdict]
Call: TypeAlias = Callable[[Exchange], Verdict | Legacy | Pending]


_VERDICTS: Final[tuple[type, ...]] = (Continue, NotMine, Refuse, Answer, NeedBody)
_OUTCOMES: Final[tuple[type, ...]] = (*_VERDICTS, Coroutine)
_INBOUND_OUTCOMES: Final[tuple[type, ...]] = (*_OUTCOMES, Legacy)  # no verdict gets a response past `scrub`


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
        report: Callable[[str, BaseException], None],
        outcomes: tuple[type, ...] = _OUTCOMES,
    ) -> None:
        self._outcomes = outcomes
        self._steps = tuple(steps)
        self._calls = tuple(step.call for step in steps)
        self._sampled_calls = tuple(_timed(step, TIMED_ONE_IN) for step in steps)
        self._first_calls = tuple(_timed(step, 1) for step in steps)  # there are figures from the start
        self._timed_calls = self._first_calls
        self._until_timed = 1
        self._at: Call | None = None  # the filter that runs, for the watchdog's thread to see
        self._guards = tuple(guards)
        self._report = report

    def run(self, exchange: Exchange, start: int = 0) -> Stop | None:
        """Run from position `start`; return None when the exchange goes on: all have passed it, or are skipped."""
        calls = self._calls
        self._until_timed -= 1
        if not self._until_timed:
            self._until_timed = TIMED_ONE_IN
            calls, self._timed_calls = self._timed_calls, self._sampled_calls
        at = None
        try:
            for at in calls[start:]:
                self._at = at
                verdict = at(exchange)
                if verdict is not CONTINUE and verdict is not NOT_MINE:
                    break
            else:
                self._at = None
                return None
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - whatever it is, the filter did not pass it
            verdict = self._failed(self._steps[calls.index(at)], Reason.FILTER_ERROR, error)
        self._at = None
        index = calls.index(at)
        if not isinstance(verdict, self._outcomes):
            verdict = self._failed(self._steps[index], Reason.FILTER_ERROR, TypeError("not a verdict"))
        if isinstance(verdict, Legacy):
            return None
        return self.run(exchange, index + 1) if isinstance(verdict, Continue | NotMine) else Stop(index, verdict)

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
                verdict = await pending
            if isinstance(verdict, _VERDICTS):
                return verdict
            return self._failed(step, Reason.FILTER_ERROR, TypeError("not a verdict"))
        except TimeoutError:
            return self._failed(step, Reason.FILTER_TIMEOUT, None)
        except Exception as error:  # noqa: BLE001 - as in `run`
            return self._failed(step, Reason.FILTER_ERROR, error)
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise  # the exchange is over
            return self._failed(step, Reason.FILTER_ERROR, error)  # something it awaited was cancelled by another
        finally:
            step.in_flight -= 1
            step.cost[1] += perf_counter() - began

    @property
    def running(self) -> str:
        """The id of the filter that runs now, "" when none does; any thread may ask."""
        at = self._at
        for calls in (self._calls, self._sampled_calls, self._first_calls):
            for step, call in zip(self._steps, calls, strict=True):
                if at is call:
                    return step.filter.id
        return ""

    def filter_id(self, index: int) -> str:
        """Return the id of the filter at a position."""
        return self._steps[index].filter.id

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

    def _failed(self, step: Step, reason: Reason, error: BaseException | None) -> Refuse | Verdict:
        if error is not None:
            self._report(step.filter.id, error)
        if step.filter.on_error is OnError.OPEN:
            return CONTINUE
        return Refuse(503 if reason is Reason.FILTER_OVERLOADED else 500, reason, step.filter.id)

    def __repr__(self) -> str:
        return f"Chain({', '.join(step.filter.id for step in self._steps)})"


def _timed(step: Step, exchanges: int) -> Call:
    """Return the step's call with a watch on it, counting for as many exchanges, timed or not."""
    call, cost = step.call, step.cost

    def measured(exchange: Exchange) -> Verdict | Legacy | Pending:
        began = perf_counter()
        try:
            return call(exchange)
        finally:
            cost[0] += exchanges
            cost[1] += (perf_counter() - began) * exchanges

    return measured


def inbound_chain(
    filters: Sequence[InboundFilter],
    limits: Mapping[str, FilterLimits],
    cost: Callable[[str], list[float]],
    report: Callable[[str, BaseException], None],
) -> Chain:
    """Compile the request's filters; `cost` names the place where a filter's calls and seconds are counted."""
    steps = [_step(each, each.inbound, limits, cost) for each in filters]
    return Chain(steps, _guards(filters), report, _INBOUND_OUTCOMES)


def outbound_chain(
    filters: Sequence[OutboundFilter],
    limits: Mapping[str, FilterLimits],
    cost: Callable[[str], list[float]],
    report: Callable[[str, BaseException], None],
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
