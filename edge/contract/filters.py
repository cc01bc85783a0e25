"""The filter contract: what a filter declares, what it is called with, what it may answer.

A filter is a class with the attributes of `Filter` and one of the two methods. Its methods are plain functions:
they return a verdict at once, or, when they must call a port, a coroutine that returns one. Verdicts are values;
an exception means a bug or a broken dependency, and is handled as the filter's `on_error` says: closed, unless
declared otherwise.
"""

from collections.abc import Coroutine
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Protocol, TypeAlias

from edge.contract.exchange import Exchange, Response
from edge.contract.reasons import Reason


class Continue:
    """Go on with the next filter."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "CONTINUE"


class NotMine:
    """The request has no token of this authenticator's kind: ask the next one."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "NOT_MINE"


@dataclass(slots=True, frozen=True)
class Refuse:
    """Answer with an error page. `detail` is private: it goes into log and metrics, never to the device."""

    status: int
    reason: Reason
    detail: str = ""


@dataclass(slots=True, frozen=True)
class Answer:
    """Answer with this response instead of asking the origin."""

    response: Response


@dataclass(slots=True, frozen=True)
class NeedBody:
    """Collect the whole body, at most `max_bytes`, and call this filter again.

    Inbound, a longer body is answered with 413; outbound, with 502.
    """

    max_bytes: int


class Legacy:
    """Go on to the origin without the filters that follow: it gets the token as the device sent it.

    Inbound only, and given at once: nothing that is awaited may skip a filter.
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return "LEGACY"


CONTINUE: Final = Continue()
NOT_MINE: Final = NotMine()
LEGACY: Final = Legacy()
Verdict: TypeAlias = Continue | NotMine | Refuse | Answer | NeedBody


class OnError(StrEnum):
    """What an exception, an overflow or a timeout in a filter does to the exchange."""

    CLOSED = "closed"
    OPEN = "open"


class Filter(Protocol):
    """What every filter declares. `id` is its file name, config key, metric label and docs heading."""

    @property
    def id(self) -> str:
        """Lower-case with underscores."""
        ...

    @property
    def on_error(self) -> OnError:
        """Closed unless the docs say why not."""
        ...

    @property
    def deadline_s(self) -> float:
        """For one asynchronous call."""
        ...

    @property
    def concurrency(self) -> int:
        """Asynchronous calls at a time, per worker; one more is an error."""
        ...


class InboundFilter(Filter, Protocol):
    """Runs before the origin is asked."""

    def inbound(self, exchange: Exchange) -> Verdict | Legacy | Coroutine[None, None, Verdict]:
        """Look at the request; may change it."""
        ...


class OutboundFilter(Filter, Protocol):
    """Runs on the head of every response, the edge's own included.

    `Refuse` and `Answer` replace the response; the filters after this one see the new one.
    """

    def outbound(self, exchange: Exchange) -> Verdict | Coroutine[None, None, Verdict]:
        """Look at `exchange.response`; may change it."""
        ...
