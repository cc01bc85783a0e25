"""Turn what happened to the user into cookies on the response: docs/tokens.md, "Set-Cookie".

A new sign-in comes before everything else, a sign-out before a renewal: what the user did last wins.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import ClassVar, Final

from edge.contract.exchange import Exchange, Response
from edge.contract.filters import CONTINUE, OnError, Refuse, Verdict
from edge.contract.headers import Headers
from edge.contract.identity import Level, UserIdentity
from edge.contract.ports import CookiePair, CookieService, RenewalOutcome, RenewedCookie, SignOuts, StandIn
from edge.contract.reasons import Reason
from tokens.set_cookie import CookieAttributes, SetCookies

# What would let somebody keep a response that carries tokens (RFC 9111, RFC 9213).
_CACHE_FIELDS: Final = frozenset((b"cache-control", b"expires", b"pragma", b"surrogate-control"))
_TARGETED: Final = b"cdn-cache-control"
_DEFINITIVE: Final = frozenset((RenewalOutcome.NOT_A_MEMBER, RenewalOutcome.REVOKED))


class TokensFilter:
    """Sets, renews and clears the cookie pair. No other party's `Set-Cookie` of our names passes."""

    id: ClassVar[str] = "tokens"
    on_error: ClassVar[OnError] = OnError.CLOSED
    deadline_s: ClassVar[float] = 5.0
    concurrency: ClassVar[int] = 1024

    def __init__(
        self,
        attributes: CookieAttributes,
        service: CookieService,
        sign_outs: SignOuts,
        *,
        wait_s: float = 0.1,
        is_good: Callable[[CookiePair, UserIdentity, float], bool] = lambda _pair, _user, _now: True,
    ) -> None:
        """Make the filter; `wait_s` is how long a finished response waits for a renewal beside it.

        `is_good` tells whether a new pair is one that this edge will open, and is that user's.
        """
        self._is_good = is_good
        self._cookies = SetCookies(attributes)
        self._service = service
        self._wait_s = wait_s
        self._sign_outs = sign_outs

    def outbound(self, exchange: Exchange) -> Verdict | Coroutine[None, None, Verdict]:
        """Put on the response what the exchange asks for."""
        response = exchange.response
        if response is None:
            return CONTINUE
        for field in response.headers.fields:
            if field[0] == b"set-cookie":
                self._drop_collisions(exchange, response.headers)
                break
        if exchange.signed_in is not None:
            return self._create(exchange, response, exchange.signed_in)
        if exchange.user_cleared:
            self._end_session(exchange)
            return self._clear(exchange, response)
        renewal = exchange.renewal
        if exchange.stand_in is not None:
            return self._stand_in(exchange, response, exchange.stand_in)
        if renewal is None:
            return CONTINUE
        return self._renewed(exchange, response, renewal.result()) if renewal.done() else self._wait(exchange, response)

    def trailers(self, exchange: Exchange, trailers: Headers) -> None:  # noqa: ARG002
        """Take cookies out of the response's trailers: none of ours comes that late, and no other may look like it."""
        trailers.remove(b"set-cookie")

    async def _create(self, exchange: Exchange, response: Response, user: UserIdentity) -> Verdict:
        # A LOW device may have been read off an open network: sealed into a new pair it would come back as HIGH.
        device = exchange.device
        pair = await self._service.create(user, device if device is not None and device.level >= Level.HIGH else None)
        if pair is None:
            return Refuse(503, Reason.TOKEN_SERVICE_UNAVAILABLE, "create_unavailable")
        if not self._is_good(pair, user, exchange.now):
            return Refuse(503, Reason.TOKEN_SERVICE_UNAVAILABLE, "create_not_ours")
        if not self._issue(response, pair, both=exchange.secure):
            return Refuse(503, Reason.TOKEN_SERVICE_UNAVAILABLE, "create_malformed")
        exchange.actions.append("cookie:created")
        return CONTINUE

    async def _wait(self, exchange: Exchange, response: Response) -> Verdict:
        """Wait a little for a renewal that is still under way; other exchanges share it, so never cancel it."""
        renewal = exchange.renewal
        if renewal is None:
            return CONTINUE
        await asyncio.wait((renewal,), timeout=self._wait_s)
        return self._renewed(exchange, response, renewal.result()) if renewal.done() else CONTINUE

    def _renewed(self, exchange: Exchange, response: Response, result: RenewedCookie) -> Verdict:
        if result.outcome in _DEFINITIVE:
            return self._clear(exchange, response)
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

    def _end_session(self, exchange: Exchange) -> None:
        """Have the session of one who signs out revoked beside the response, so that no copy of its cookies is good."""
        user = exchange.user
        if user is not None and user.session_id:
            self._sign_outs.end(user)

    def _clear(self, exchange: Exchange, response: Response) -> Verdict:
        _add(response.headers, self._cookies.clear())
        exchange.actions.append("cookie:cleared")
        return CONTINUE

    def _issue(self, response: Response, pair: CookiePair, *, both: bool) -> bool:
        lines = self._cookies.issue(pair.insecure, pair.secure if both else None)
        if lines is None:
            return False
        _add(response.headers, lines)
        return True

    def _drop_collisions(self, exchange: Exchange, headers: Headers) -> None:
        collides = self._cookies.collides
        kept = [field for field in headers.fields if field[0] != b"set-cookie" or not collides(field[2])]
        if len(kept) != len(headers.fields):
            headers.fields = kept
            exchange.actions.append("cookie:origin_dropped")


def _add(headers: Headers, lines: list[bytes]) -> None:
    """Add `Set-Cookie` lines, and forbid every cache to keep the response."""
    headers.fields = [
        field for field in headers.fields if field[0] not in _CACHE_FIELDS and not field[0].endswith(_TARGETED)
    ]
    headers.add(b"Cache-Control", b"no-store")
    for line in lines:
        headers.add(b"Set-Cookie", line)
