"""shadow: compares who a legacy origin says was asking with whom the edge would have named. docs/rollout.md.

Only watches: what it finds is counted, and changes nothing. So the response goes on, too, when it fails.
"""

from typing import ClassVar

from edge.contract.exchange import Exchange
from edge.contract.filters import CONTINUE, Continue, OnError
from edge.contract.headers import Headers
from edge.contract.identity import Peeked, Reported
from edge.contract.rollout import Comparison, Rollout
from filters.origin_identity import HEADER, compare, read_origin_identity


class ShadowFilter:
    """Compares for the exchanges that `rollout` has chosen, if it was their origin that answered."""

    id: ClassVar[str] = "shadow"
    on_error: ClassVar[OnError] = OnError.OPEN
    deadline_s: ClassVar[float] = 1.0
    concurrency: ClassVar[int] = 1

    def __init__(self, rollout: Rollout) -> None:
        """`rollout` is told what came of each comparison."""
        self._rollout = rollout

    def outbound(self, exchange: Exchange) -> Continue:
        """Compare, once."""
        peeked = exchange.shadow
        if peeked is not None:
            exchange.shadow = None
            response = exchange.response
            if response is not None and not response.local:
                self._compare(exchange, peeked, response.headers)
        return CONTINUE

    def _compare(self, exchange: Exchange, peeked: Peeked, headers: Headers) -> None:
        reported, result = None, Comparison.FAILED
        try:
            reported, result = _judge(peeked, headers)
        finally:
            self._rollout.compared(exchange, peeked, reported, result)


def _judge(peeked: Peeked, headers: Headers) -> tuple[Reported | None, Comparison]:
    """Return what the origin reports, and what comes of it."""
    values = headers.get_all(HEADER)
    if not values:
        return None, Comparison.UNREPORTED
    reported = read_origin_identity(values)
    if reported is None:
        return None, Comparison.UNREADABLE
    return reported, compare(peeked, reported) if peeked.settled else Comparison.NOT_COMPARED
