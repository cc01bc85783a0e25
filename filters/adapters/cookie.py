"""The adapter of cookies: what happened to the user, as `Set-Cookie` on the response. docs/tokens.md, "Set-Cookie"."""

import asyncio
from collections.abc import Callable
from typing import Final

from edge.contract.adapters import Delivery
from edge.contract.change import TokenChange
from edge.contract.exchange import Exchange, Response
from edge.contract.filters import CONTINUE, Refuse, Verdict
from edge.contract.headers import Headers
from edge.contract.identity import DeviceIdentity, Level, UserIdentity
from edge.contract.ports import CookiePair, CookieService, RenewalOutcome, RenewedCookie, StandIn
from edge.contract.reasons import Reason
from edge.contract.session_changes import SessionChanges
from filters.renewals import Renewals
from tokens.set_cookie import CookieAttributes, SetCookies

# What would let somebody keep a response that carries tokens (RFC 9111, RFC 9213).
_CACHE_FIELDS: Final = frozenset((b"cache-control", b"expires", b"pragma", b"surrogate-control"))
_TARGETED: Final = b"cdn-cache-control"
_DEFINITIVE: Final = frozenset((RenewalOutcome.NOT_A_MEMBER, RenewalOutcome.REVOKED))

SessionOf = Callable[[CookiePair, int, float], str | None]
"""Returns the session of a new pair; None unless this edge opens the pair at that time and it is that customer's."""


class CookieAdapter:
    """Sets, renews, updates and clears the cookie pair. No other party's `Set-Cookie` of our names passes."""

    fields: frozenset[bytes] = frozenset((b"set-cookie",))

    def __init__(
        self,
        attributes: CookieAttributes,
        service: CookieService,
        renewals: Renewals,
        session_of: SessionOf,
        *,
        wait_s: float = 0.1,
    ) -> None:
        """Make the adapter; `wait_s` is how long a finished response waits for a renewal beside it."""
        self._cookies = SetCookies(attributes)
        self._service = service
        self._renewals = renewals
        self._session_of = session_of
        self._wait_s = wait_s

    def guard(self, exchange: Exchange, headers: Headers) -> None:
        """Drop cookies of our names, and of names that a browser could take for them."""
        collides = self._cookies.collides
        kept = [field for field in headers.fields if field[0] != b"set-cookie" or not collides(field[2])]
        if len(kept) != len(headers.fields):
            headers.fields = kept
            exchange.actions.append("cookie:origin_dropped")

    def create(self, exchange: Exchange, response: Response, change: TokenChange) -> Delivery:
        """Set the pair of a new session: none from before goes on."""
        return self._create(exchange, response, change)

    def update(self, exchange: Exchange, response: Response, change: TokenChange) -> Delivery:
        """Set the pair of the same session with what has changed; without one there is nothing to change."""
        if not exchange.presented or change.user is None:
            exchange.actions.append("cookie:nothing_to_update")
            return self.settle(exchange, response)
        return self._update(exchange, response, change, change.user)

    def clear(self, exchange: Exchange, response: Response) -> Verdict:
        """Have the device drop both halves."""
        _add(response.headers, self._cookies.clear())
        exchange.actions.append("cookie:cleared")
        return CONTINUE

    def settle(self, exchange: Exchange, response: Response) -> Delivery:
        """Set the pair that a renewal has brought, or the one that stands in for it."""
        renewal = exchange.renewal
        if exchange.stand_in is not None:
            return self._stand_in(exchange, response, exchange.stand_in)
        if renewal is None:
            return CONTINUE
        return self._renewed(exchange, response, renewal.result()) if renewal.done() else self._wait(exchange, response)

    async def _create(self, exchange: Exchange, response: Response, change: TokenChange) -> Verdict:
        user = change.user
        if user is None:
            return Refuse(503, Reason.TOKEN_SERVICE_UNAVAILABLE, "create_for_nobody")
        device = change.device if change.device is not None else exchange.device
        pair = await self._service.create(user, _high(device))
        if pair is None:
            return Refuse(503, Reason.TOKEN_SERVICE_UNAVAILABLE, "create_unavailable")
        session_id = self._session_of(pair, user.customer_id, exchange.now)
        if session_id is None:
            return Refuse(503, Reason.TOKEN_SERVICE_UNAVAILABLE, "create_not_ours")
        if not self._issue(response, pair, both=exchange.secure):
            return Refuse(503, Reason.TOKEN_SERVICE_UNAVAILABLE, "create_malformed")
        change.session_id = session_id
        exchange.actions.append("cookie:created")
        return CONTINUE

    async def _update(self, exchange: Exchange, response: Response, change: TokenChange, user: UserIdentity) -> Verdict:
        newest = await self._newest(exchange)
        if isinstance(newest, RenewedCookie):
            updated = newest
        else:
            changes = SessionChanges.between(exchange.user, user, exchange.device, _high(change.device))
            updated = await self._service.update(newest, changes)
            if updated.outcome is RenewalOutcome.REVOKED:
                self._renewals.revoke(exchange.presented, newest)
        if updated.outcome is RenewalOutcome.NOT_A_MEMBER:
            return self.clear(exchange, response)
        if updated.pair is None:
            return Refuse(503, Reason.TOKEN_SERVICE_UNAVAILABLE, f"update_{updated.outcome}")
        customer_id = updated.moved_to or user.customer_id  # an earlier update may have given the session to another
        was = exchange.user
        if was is None or self._session_of(updated.pair, customer_id, exchange.now) != was.session_id:
            return Refuse(503, Reason.TOKEN_SERVICE_UNAVAILABLE, "update_not_ours")
        both = exchange.secure and exchange.paired
        if not self._issue(response, updated.pair, both=both):
            return Refuse(503, Reason.TOKEN_SERVICE_UNAVAILABLE, "update_malformed")
        if not both and customer_id != was.customer_id:
            # A secure half that is left of the one before would fit no more, and make the pair a bad one.
            response.headers.add(b"Set-Cookie", self._cookies.clear()[1])
        await self._renewals.replace(exchange.presented, updated, exchange.now)
        exchange.actions.append("cookie:updated")
        return CONTINUE

    async def _newest(self, exchange: Exchange) -> bytes | RenewedCookie:
        """Return the newest EdgeId value that came of the one presented: an update must not go behind a renewal.

        Or that renewal, where it says that the user is gone. It has a deadline of its own, and is never cancelled.
        """
        renewal, stand_in = exchange.renewal, exchange.stand_in
        result = None if stand_in is None else stand_in.renewed
        if renewal is not None:
            await asyncio.wait((renewal,))
            result = renewal.result()
        if result is not None and result.outcome in _DEFINITIVE:
            return result
        if result is not None and result.pair is not None:
            return result.pair.insecure
        return exchange.presented

    async def _wait(self, exchange: Exchange, response: Response) -> Verdict:
        """Wait a little for a renewal that is still under way; other exchanges share it, so never cancel it."""
        renewal = exchange.renewal
        if renewal is None:
            return CONTINUE
        await asyncio.wait((renewal,), timeout=self._wait_s)
        return self._renewed(exchange, response, renewal.result()) if renewal.done() else CONTINUE

    def _renewed(self, exchange: Exchange, response: Response, result: RenewedCookie) -> Verdict:
        if result.outcome is RenewalOutcome.NOT_A_MEMBER:
            return self.clear(exchange, response)
        if result.outcome is RenewalOutcome.REVOKED:
            # Another request may have reset the password and begun a session, which a late clearing would take from the
            # device. The worker remembers the token, and clears it when it is shown again.
            exchange.actions.append("cookie:revoked_meanwhile")
        # Who showed only EdgeId must not get the secure half for it: EdgeId can be read off an open network.
        both = exchange.secure and exchange.paired
        if result.pair is not None and self._issue(response, result.pair, both=both):
            exchange.actions.append("cookie:renewed")
        return CONTINUE

    def _stand_in(self, exchange: Exchange, response: Response, stand_in: StandIn) -> Verdict:
        """Give a pair for a short time, unless the renewal has come to an end after all."""
        renewal, late = exchange.renewal, stand_in.renewed
        if late is None and renewal is not None and renewal.done():
            late = renewal.result()
        if late is not None and late.outcome is not RenewalOutcome.UNAVAILABLE:
            return self._renewed(exchange, response, late)
        if self._issue(response, stand_in.pair, both=exchange.secure and exchange.paired):
            exchange.actions.append("cookie:rescheduled")
        return CONTINUE

    def _issue(self, response: Response, pair: CookiePair, *, both: bool) -> bool:
        lines = self._cookies.issue(pair.insecure, pair.secure if both else None)
        if lines is None:
            return False
        _add(response.headers, lines)
        return True


def _high(device: DeviceIdentity | None) -> DeviceIdentity | None:
    """Return a device only at HIGH: a LOW one may have been read off an open network, and would come back as HIGH."""
    return device if device is not None and device.level >= Level.HIGH else None


def _add(headers: Headers, lines: list[bytes]) -> None:
    """Add `Set-Cookie` lines, and forbid every cache to keep the response."""
    headers.fields = [
        field for field in headers.fields if field[0] not in _CACHE_FIELDS and not field[0].endswith(_TARGETED)
    ]
    headers.add(b"Cache-Control", b"no-store")
    for line in lines:
        headers.add(b"Set-Cookie", line)
