"""Counts finished exchanges. Those that end alike are counted together, and told to the series when these are read."""

from typing import Final, TypeAlias

from edge.contract.exchange import Exchange
from edge.contract.reasons import Reason
from edge.telemetry.metrics import Histogram, WorkerMetrics, count

_MAX_ALIKE: Final = 2_000
_MAY_BE_GOOD: Final = frozenset(("unknown_key", "renewal_refused"))  # bad tokens, maybe by our failure

Ending: TypeAlias = tuple[str, int, str, tuple[str, ...], int, str, str, str, int, int]
"""Route, status, outcome, resolution, the user's level or -1, reason, its private detail, bad token, device type, how
often in a row the token could not be renewed."""


class Alike:
    """Exchanges that ended in one way: `number` of them are not told yet. `said` is for who writes of them."""

    __slots__ = ("edge_seconds", "ending", "number", "origin_seconds", "said")

    def __init__(self, ending: Ending, edge_seconds: Histogram) -> None:
        self.ending = ending
        self.number = 0
        self.edge_seconds = edge_seconds
        self.origin_seconds: Histogram | None = None
        self.said = ""


class Finished:
    """What `metrics` says of finished exchanges, up to date whenever a snapshot of it is taken."""

    def __init__(self, metrics: WorkerMetrics) -> None:
        self._metrics = metrics
        self._by_ending: dict[Ending, Alike] = {}
        metrics.sources.append(self.tell)

    def alike(self, exchange: Exchange, status: int, outcome: str) -> Alike:
        """Return what counts an exchange that ended, and all that ended like it."""
        user, device = exchange.user, exchange.device
        ending: Ending = (
            exchange.route.id,
            status,
            outcome,
            exchange.resolution,
            -1 if user is None else user.level,
            exchange.reason,
            exchange.reason_detail,
            exchange.bad_token,
            0 if device is None else device.device_type,
            exchange.rescheduled_count,
        )
        alike = self._by_ending.get(ending)
        return self._first(ending) if alike is None else alike

    def count(self, exchange: Exchange, alike: Alike, edge_s: float, origin_s: float) -> None:
        """Count one; `edge_s` and `origin_s` in seconds, `origin_s` 0 when no origin was asked."""
        alike.number += 1
        alike.edge_seconds.observe(edge_s)
        metrics = self._metrics
        if origin_s > 0:
            origin_seconds = alike.origin_seconds
            if origin_seconds is None:
                origin_seconds = alike.origin_seconds = metrics.origin_seconds.of(alike.ending[0])
            origin_seconds.observe(origin_s)
        metrics.stripped_headers += exchange.stripped_headers
        if exchange.actions:
            for action in exchange.actions:
                count(metrics.actions, (action,))

    def tell(self, metrics: WorkerMetrics) -> None:
        """Add what was counted since the last time to the series of `metrics`."""
        for ending, alike in self._by_ending.items():
            number, alike.number = alike.number, 0
            if not number:
                continue
            route, status, outcome, resolution, level, reason, detail, bad_token, _, rescheduled = ending
            count(metrics.requests, (route, status, outcome), number)
            count(metrics.resolutions, resolution, number)
            metrics.levels[max(level, 0)] += number
            if reason:
                count(metrics.refusals, (reason, detail), number)
                cause = _reauth_cause(reason, bad_token, rescheduled=rescheduled > 0)
                if cause:
                    count(metrics.reauth_errors, (cause,), number)
            if bad_token and reason != Reason.TOKEN_REFUSED:
                count(metrics.refusals, (Reason.TOKEN_REFUSED, bad_token), number)

    def _first(self, ending: Ending) -> Alike:
        if len(self._by_ending) >= _MAX_ALIKE:
            self.tell(self._metrics)
            self._by_ending.clear()
        alike = self._by_ending[ending] = Alike(ending, self._metrics.edge_seconds.of(ending[0]))
        return alike


def _reauth_cause(reason: str, bad_token: str, *, rescheduled: bool) -> str:
    """Say why a user who may well be signed in was turned away, or nothing if that was the request's own fault."""
    if reason == Reason.KEYS_UNAVAILABLE:
        return "no_keys"
    if reason == Reason.KEYS_STALE:
        return "stale_keys"
    if reason == Reason.TOKEN_REFUSED and bad_token in _MAY_BE_GOOD:
        return bad_token
    if reason == Reason.LEVEL_TOO_LOW and rescheduled:
        return "stale"
    return ""
