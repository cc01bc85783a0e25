"""Renew the cookie when it is due or expired: docs/tokens.md, "Renewal".

One renewal per token at a time, in a task of its own: every exchange that waits gets the same result, and none of
them can cancel it by going away. What a renewal brings is checked here before anyone sees it.
"""

import asyncio
import logging
from collections.abc import Coroutine
from typing import ClassVar, Final

from edge.contract.exchange import Exchange
from edge.contract.filters import CONTINUE, OnError, Verdict
from edge.contract.ports import CookieService, RenewalOutcome, RenewedCookie
from filters.inbound.cookie import identities, refuse_token
from filters.recent import Recent
from tokens.cookie import Claims, CookieNames, open_insecure, open_pair
from tokens.envelope import Refusal
from tokens.keys.ring import RingSource

_log: Final = logging.getLogger(__name__)
_UNAVAILABLE: Final = RenewedCookie(RenewalOutcome.UNAVAILABLE)
_LINGERS: Final = frozenset((RenewalOutcome.RENEWED, RenewalOutcome.NOT_A_MEMBER, RenewalOutcome.REVOKED))


class RenewFilter:
    """Renews tokens that the cookie filter found to be expired (waits) or due (beside the origin call)."""

    id: ClassVar[str] = "renew"
    on_error: ClassVar[OnError] = OnError.CLOSED
    deadline_s: ClassVar[float] = 5.0  # above every `wait_s`: a slow renewal is an outcome here, not an error
    concurrency: ClassVar[int] = 8192  # above `max_waiting`, for the same reason

    def __init__(
        self,
        service: CookieService,
        rings: RingSource,
        names: CookieNames,
        environment: str,
        *,
        wait_s: float = 0.5,
        overlap_s: float = 10.0,
        max_renewals: int = 1024,
        max_waiting: int = 4096,
    ) -> None:
        """Make the filter.

        Args:
            service: renews; has a deadline and a concurrency limit of its own.
            rings: holds the newest key ring, to check what the service returns.
            names: the names of the two cookies.
            environment: the deployment the cookies are for.
            wait_s: how long a request with an expired token waits.
            overlap_s: how long a result also answers stragglers that still show the old token.
            max_renewals: renewals under way at a time in this worker; beyond, the outcome is UNAVAILABLE.
            max_waiting: requests that wait at a time in this worker; beyond, likewise.
        """
        self._service = service
        self._rings = rings
        self._names = names
        self._environment = environment
        self._wait_s = wait_s
        self._overlap_s = overlap_s
        self._max_renewals = max_renewals
        self._max_waiting = max_waiting
        self._waiting = 0
        self._running: dict[bytes, asyncio.Task[RenewedCookie]] = {}
        self._done: Recent[bytes, tuple[float, asyncio.Task[RenewedCookie]]] = Recent(4 * max_renewals)

    def inbound(self, exchange: Exchange) -> Verdict | Coroutine[None, None, Verdict]:
        """Start or join the renewal of a due token; for an expired one, return the wait for it."""
        if not (exchange.expired or exchange.renew_due):
            return CONTINUE
        exchange.renewal = self._renewal(exchange.presented, exchange.now)
        return self._expired(exchange) if exchange.expired else CONTINUE

    async def _expired(self, exchange: Exchange) -> Verdict:
        result = await self._result(exchange.renewal)
        if result.outcome is RenewalOutcome.RENEWED and result.pair is not None:
            if not self._use(exchange, result.pair.insecure):
                result = _UNAVAILABLE
        elif result.outcome in (RenewalOutcome.NOT_A_MEMBER, RenewalOutcome.REVOKED):
            exchange.user = None
            exchange.user_cleared = True
        elif result.outcome is RenewalOutcome.REFUSED:
            return refuse_token(exchange, "renewal_refused")
        # UNAVAILABLE: the token is authentic, so the user stays, at the level LOW that the cookie filter gave.
        exchange.resolution = ("cookie", result.outcome.value, "remote")
        return CONTINUE

    async def _result(self, renewal: "asyncio.Future[RenewedCookie] | None") -> RenewedCookie:
        """Wait for a shared renewal, for a bounded time and in bounded company, without ever cancelling it."""
        if renewal is None or (self._waiting >= self._max_waiting and not renewal.done()):
            return _UNAVAILABLE
        self._waiting += 1
        try:
            await asyncio.wait((renewal,), timeout=self._wait_s)
        finally:
            self._waiting -= 1
        return renewal.result() if renewal.done() else _UNAVAILABLE

    def _use(self, exchange: Exchange, insecure: bytes) -> bool:
        claims = open_insecure(self._rings.ring, self._names, self._environment, insecure, exchange.now)
        if isinstance(claims, Refusal):
            return False
        exchange.user, exchange.device = identities(claims, high=exchange.secure and exchange.paired)
        return True

    def _renewal(self, presented: bytes, now: float) -> "asyncio.Task[RenewedCookie] | None":
        """Return the renewal of this token: under way, just done, or new; None when there are too many."""
        running = self._running.get(presented)
        if running is not None:
            return running
        loop = asyncio.get_running_loop()
        done = self._done.get(presented)
        if done is not None and loop.time() - done[0] < self._overlap_s:
            return done[1]
        if len(self._running) >= self._max_renewals:
            return None
        task = loop.create_task(self._renew(presented, now), name="renewal")
        self._running[presented] = task
        task.add_done_callback(lambda ended: self._ended(presented, ended))
        return task

    def _ended(self, presented: bytes, task: "asyncio.Task[RenewedCookie]") -> None:
        del self._running[presented]
        if not task.cancelled() and task.result().outcome in _LINGERS:
            self._done.put(presented, (task.get_loop().time(), task))

    async def _renew(self, presented: bytes, now: float) -> RenewedCookie:
        try:
            result = await self._service.renew(presented)
        except Exception as error:  # noqa: BLE001  whatever broke, the token is still authentic: never a sign-out
            _log.error("the cookie service's client failed: %s", type(error).__name__)
            return _UNAVAILABLE
        if result.outcome is RenewalOutcome.RENEWED and not self._continues(presented, result, now):
            return _UNAVAILABLE
        return result

    def _continues(self, presented: bytes, result: RenewedCookie, now: float) -> bool:
        """Tell whether the new pair is authentic, and is the same user's session, further on."""
        if result.pair is None:
            return False
        ring, pair = self._rings.ring, (result.pair.insecure, result.pair.secure)
        old = open_insecure(ring, self._names, self._environment, presented, now)
        new = open_pair(ring, self._names, self._environment, pair, now)
        return (
            isinstance(old, Claims)
            and isinstance(new, Claims)
            and (old.customer_id, old.session_id) == (new.customer_id, new.session_id)
            and new.generation > old.generation
        )
