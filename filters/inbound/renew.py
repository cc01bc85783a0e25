"""Renew the cookie when it is due or expired: docs/renewal.md.

One renewal per token at a time, in a task of its own: every exchange that waits gets the same result, and none of
them can cancel it by going away. What a renewal brings is checked here before anyone sees it, whoever did it. Where
none can be had, the token is honoured all the same, and its device is given one for a short time.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from functools import partial
from random import random as system_random
from typing import ClassVar, Final

from edge.contract.exchange import Exchange
from edge.contract.filters import CONTINUE, OnError, Verdict
from edge.contract.ports import CookieService, RenewalOutcome, RenewedCookie, StandIn
from filters.inbound.cookie import at_low, identities, is_stale, refuse_token
from filters.renewals import Renewals, digest
from filters.rescheduling import Rescheduling
from tokens.cookie import Claims, CookieNames, open_insecure, open_pair
from tokens.envelope import Refusal
from tokens.keys.ring import RingSource

_log: Final = logging.getLogger(__name__)
_REVOKED: Final[tuple[str, ...]] = ("cookie", RenewalOutcome.REVOKED.value, "local")
_UNAVAILABLE: Final = RenewedCookie(RenewalOutcome.UNAVAILABLE)


@dataclass(slots=True, frozen=True)
class RenewalLimits:
    """The bounds of renewal. Times in seconds, counts for each worker.

    Attributes:
        wait_s: how long a request with an expired token waits for its renewal.
        overlap_s: how long a result also answers stragglers that still show the old token.
        reschedule_life_s: the life of a cookie that is given when a renewal could not be done, give or take a fifth.
        max_renewals: renewals under way at a time; beyond, the outcome is UNAVAILABLE.
        max_waiting: requests that wait at a time; beyond, likewise.
        remembered: failed renewals that are remembered, so that they are not tried again with every request.
    """

    wait_s: float = 0.3
    overlap_s: float = 10.0
    reschedule_life_s: float = 300.0
    max_renewals: int = 1024
    max_waiting: int = 4096
    remembered: int = 65_536


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
        limits: RenewalLimits = RenewalLimits(),
        *,
        renewals: Renewals | None = None,
        random: Callable[[], float] = system_random,
    ) -> None:
        """Make the filter.

        Args:
            service: renews; has a deadline and a concurrency limit of its own.
            rings: holds the newest key ring, to check what the service returns, and to make stand-ins.
            names: the names of the two cookies.
            environment: the deployment the cookies are for.
            limits: how long, how many.
            renewals: what the worker knows of its renewals, from the filter before this one; None: nothing.
            random: returns 0 to 1.
        """
        self._service = service
        self._rings = rings
        self._names = names
        self._environment = environment
        self._limits = limits
        self._random = random
        self._rescheduling = Rescheduling(rings, names, environment, limits.reschedule_life_s, random)
        self._renewals = Renewals() if renewals is None else renewals
        self._renewals.overlap_s = limits.overlap_s

    def inbound(self, exchange: Exchange) -> Verdict | Coroutine[None, None, Verdict]:
        """Start or join the renewal of a due token; for an expired one, return the wait for it."""
        renewals = self._renewals
        if renewals.any_revoked and renewals.is_revoked(exchange.presented):
            # As an earlier request has learned, whose response cleared nothing.
            exchange.user = None
            exchange.user_cleared = True
            exchange.resolution = _REVOKED
            return CONTINUE
        if exchange.expired:
            stand_in = renewals.stand_ins.get(digest(exchange.presented))
            if stand_in is not None and stand_in.renewed is None and exchange.now < stand_in.renew_after:
                return self._honour(exchange, stand_in)  # it was tried a moment ago
            exchange.renewal = self._renewal(exchange)
            return self._expired(exchange)
        if exchange.renew_due and exchange.now >= (renewals.put_off.get(digest(exchange.presented)) or 0.0):
            exchange.renewal = self._renewal(exchange)
        return CONTINUE

    async def _expired(self, exchange: Exchange) -> Verdict:
        result = await self._result(exchange.renewal)
        if result.outcome is RenewalOutcome.RENEWED and result.pair is not None:
            if not self._use(exchange, result.pair.insecure):
                return self._honour(exchange, self._stand_in(exchange))
        elif result.outcome in (RenewalOutcome.NOT_A_MEMBER, RenewalOutcome.REVOKED):
            exchange.user = None
            exchange.user_cleared = True
        elif result.outcome is RenewalOutcome.REFUSED:
            return refuse_token(exchange, "renewal_refused")
        else:
            return self._honour(exchange, self._stand_in(exchange))
        exchange.resolution = ("cookie", result.outcome.value, "remote")
        return CONTINUE

    def _honour(self, exchange: Exchange, stand_in: StandIn | None) -> Verdict:
        """Let an expired token count that could not be renewed: at its own level for as long as the route allows."""
        where = "local" if exchange.renewal is None else "remote"
        exchange.resolution = ("cookie", RenewalOutcome.UNAVAILABLE.value, where)
        exchange.rescheduled_count += 1
        exchange.stand_in = stand_in
        claims = self._claims(exchange, exchange.presented)
        if claims is not None:
            standing = claims._replace(rescheduled_count=exchange.rescheduled_count)
            exchange.user, exchange.device = identities(standing, high=exchange.secure and exchange.paired)
            if is_stale(exchange):
                exchange.user, exchange.device = at_low(exchange.user, exchange.device)
        return CONTINUE

    def _stand_in(self, exchange: Exchange) -> StandIn | None:
        """Return the one stand-in of an expired token."""
        key = digest(exchange.presented)
        known = self._renewals.stand_ins.get(key)
        if known is not None and known.renewed is None and exchange.now < known.renew_after:
            return known
        # Of what an update has made of the token: else its device would be given back what was before.
        updated = self._renewals.newest(exchange.presented)
        claims = self._claims(exchange, exchange.presented if updated is None else updated.insecure)
        made = None if claims is None else self._rescheduling.stand_in(claims, exchange.now)
        if made is not None:
            self._renewals.stand_ins.put(key, made)
        return made

    def _claims(self, exchange: Exchange, insecure: bytes) -> Claims | None:
        claims = open_insecure(self._rings.ring, self._names, self._environment, insecure, exchange.now)
        return claims if isinstance(claims, Claims) else None

    async def _result(self, renewal: "asyncio.Future[RenewedCookie] | None") -> RenewedCookie:
        """Wait for a shared renewal, for a bounded time and in bounded company, without ever cancelling it."""
        renewals = self._renewals
        if renewal is None or (renewals.waiting >= self._limits.max_waiting and not renewal.done()):
            return _UNAVAILABLE
        renewals.waiting += 1
        try:
            await asyncio.wait((renewal,), timeout=self._limits.wait_s)
        finally:
            renewals.waiting -= 1
        return renewal.result() if renewal.done() else _UNAVAILABLE

    def _use(self, exchange: Exchange, insecure: bytes) -> bool:
        claims = open_insecure(self._rings.ring, self._names, self._environment, insecure, exchange.now)
        if isinstance(claims, Refusal):
            return False
        exchange.user, exchange.device = identities(claims, high=exchange.secure and exchange.paired)
        return True

    def _renewal(self, exchange: Exchange) -> "asyncio.Task[RenewedCookie] | None":
        """Return the renewal of this token: under way, just done, or new; None when there are too many."""
        presented, now, expires_at = exchange.presented, exchange.now, exchange.expires_at
        renewals, limits = self._renewals, self._limits
        running = renewals.running.get(presented)
        if running is not None:
            return running
        loop = asyncio.get_running_loop()
        done = renewals.done.get(presented)
        if done is not None and loop.time() - done[0] < limits.overlap_s:
            return done[1]
        if len(renewals.running) >= limits.max_renewals:
            return None
        renewals.bound(4 * limits.max_renewals, limits.remembered)
        task = loop.create_task(self._renew(presented, now), name="renewal")
        renewals.running[presented] = task

        def ended(task: "asyncio.Task[RenewedCookie]") -> None:
            del renewals.running[presented]
            if not task.cancelled():
                self._remember(presented, now, expires_at, task)

        task.add_done_callback(ended)
        return task

    def _remember(self, presented: bytes, now: float, expires_at: int, task: "asyncio.Task[RenewedCookie]") -> None:
        """Keep what a renewal brought, for whoever still shows the old token."""
        result, key = task.result(), digest(presented)
        if result.outcome is RenewalOutcome.REVOKED:
            self._renewals.revoke(presented)
        if result.outcome is not RenewalOutcome.UNAVAILABLE:
            # One that is refused, too: else few of those, shown again and again, would take the places of all others.
            self._renewals.done.put(presented, (task.get_loop().time(), task))
            stand_in = self._renewals.stand_ins.get(key)
            if stand_in is not None and result.outcome is not RenewalOutcome.REFUSED:
                stand_in.renewed = result
        elif now < expires_at:
            # Not only of what is left: near their ends tokens would be tried ever more often, an outage's all at once.
            spread_s = max(expires_at - now, self._limits.reschedule_life_s)
            self._renewals.put_off.put(key, now + spread_s * self._random())

    async def _renew(self, presented: bytes, now: float) -> RenewedCookie:
        """Renew a token, here or where another worker is at it; an update meanwhile is newer than what that brings."""
        before = self._renewals.newest(presented)
        result = await self._brought(presented, now)
        updated = self._renewals.newest(presented)
        if result.pair is None or updated is None or updated is before:
            return result
        return RenewedCookie(result.outcome, updated)

    async def _brought(self, presented: bytes, now: float) -> RenewedCookie:
        shared = self._renewals.shared
        try:
            if shared is None:
                return await self._ask(presented, now)
            result = await shared.once(presented, partial(self._ask, presented, now), self._limits.overlap_s)
        except Exception as error:  # noqa: BLE001  whatever broke, the token is still authentic: never a sign-out
            _log.error("a client of the renewal failed: %s", type(error).__name__)
            return _UNAVAILABLE
        return self._believed(presented, result, now)

    async def _ask(self, presented: bytes, now: float) -> RenewedCookie:
        return self._believed(presented, await self._service.renew(presented), now)

    def _believed(self, presented: bytes, result: RenewedCookie, now: float) -> RenewedCookie:
        renewed = result.outcome is RenewalOutcome.RENEWED
        return result if not renewed or self._continues(presented, result, now) else _UNAVAILABLE

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
            and (result.moved_to or old.customer_id, old.session_id) == (new.customer_id, new.session_id)
            and new.generation > old.generation
        )
