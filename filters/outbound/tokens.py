"""tokens: turns what happened to user and device into tokens on the response: docs/actions.md, "What the edge does".

A new session comes before everything else, a sign-out before an update, an update before a renewal: what the user did
last wins. How tokens of one kind are put on a response is the business of that kind's adapter.
"""

from collections.abc import Coroutine, Iterator, Mapping
from typing import ClassVar, Final

from edge.contract.adapters import Delivery, TokenAdapter
from edge.contract.change import Revoked, TokenChange, TokenEffect
from edge.contract.exchange import Exchange, Response, TokenKind
from edge.contract.filters import CONTINUE, OnError, Verdict
from edge.contract.headers import Headers
from edge.contract.ports import Revocation, RevocationReason, SignOuts

NO_ADAPTER: Final = "refused:no_adapter"
"""Noted where a device speaks a kind of token that nothing can be put into (THREATS X10)."""


class TokensFilter:
    """Has tokens made, changed and cleared, and has revoked what becomes void besides."""

    id: ClassVar[str] = "tokens"
    on_error: ClassVar[OnError] = OnError.CLOSED
    deadline_s: ClassVar[float] = 5.0
    concurrency: ClassVar[int] = 65_536  # one that found no place would never be heard of; the clients have bounds

    def __init__(self, adapters: Mapping[TokenKind, TokenAdapter], sign_outs: SignOuts) -> None:
        """Take the adapter of each kind of token; that of NONE serves devices that have shown no token."""
        self._adapters = dict(adapters)
        self._guards = list({id(adapter): adapter for adapter in adapters.values()}.values())
        self._fields: frozenset[bytes] = frozenset().union(*(adapter.fields for adapter in self._guards))
        self._sign_outs = sign_outs

    def outbound(self, exchange: Exchange) -> Delivery:
        """Put on the response what the exchange asks for."""
        response = exchange.response
        if response is None:
            return CONTINUE
        guarded = self._fields
        for field in response.headers.fields:
            if field[0] in guarded and not exchange.legacy:  # else they are the origin's to set
                for adapter in self._guards:
                    adapter.guard(exchange, response.headers)
                break
        change = exchange.change
        if change is None:
            if exchange.renewal is None and exchange.stand_in is None and not exchange.user_cleared:
                return CONTINUE
            return self._deliver(exchange, response, TokenEffect.NOTHING, None)
        delivery = self._deliver(exchange, response, change.effect, change)
        if not change.revoked:
            return delivery
        if isinstance(delivery, Coroutine) and change.effect is TokenEffect.CREATE:
            return self._created(exchange, change, delivery)
        self._revoke(exchange, change, done=True)
        return delivery

    def trailers(self, exchange: Exchange, trailers: Headers) -> None:  # noqa: ARG002
        """Take tokens out of the response's trailers: none of ours comes that late, and no other may look like it."""
        for name in self._fields:
            trailers.remove(name)

    def _deliver(
        self, exchange: Exchange, response: Response, effect: TokenEffect, change: TokenChange | None
    ) -> Delivery:
        adapter = self._adapters.get(exchange.token_kind)
        if adapter is None:
            if effect is not TokenEffect.NOTHING:
                exchange.actions.append(NO_ADAPTER)
            return CONTINUE
        if effect is TokenEffect.CREATE and change is not None:
            return adapter.create(exchange, response, change)
        if effect is TokenEffect.CLEAR or exchange.user_cleared:
            return adapter.clear(exchange, response)
        if effect is TokenEffect.UPDATE and change is not None:
            return adapter.update(exchange, response, change)
        return adapter.settle(exchange, response)

    async def _created(
        self, exchange: Exchange, change: TokenChange, delivery: Coroutine[None, None, Verdict]
    ) -> Verdict:
        """Have revoked what becomes void once a session has begun, which is left out; and also where none could."""
        done = False
        try:
            verdict = await delivery
            done = verdict is CONTINUE
            return verdict
        finally:
            self._revoke(exchange, change, done=done)

    def _revoke(self, exchange: Exchange, change: TokenChange, *, done: bool) -> None:
        """Have revoked what becomes void. A session that another was to follow goes on where that could not be made."""
        for revocation in _revocations(exchange, change):
            if done or revocation.reason is not RevocationReason.LOGOUT:
                self._sign_outs.end(revocation)


def _revocations(exchange: Exchange, change: TokenChange) -> Iterator[Revocation]:
    """Say what becomes void: of the user from now on where a session begins, else of the one who was sent."""
    was = exchange.user
    whose = change.user if change.effect is TokenEffect.CREATE else was
    if was is not None and was.session_id and Revoked.SESSION in change.revoked:
        yield Revocation(RevocationReason.LOGOUT, was.customer_id, session_id=was.session_id)
    if whose is None:
        return
    if Revoked.CUSTOMER in change.revoked:
        kept = change.session_id
        yield Revocation(RevocationReason.SIGN_OUT_EVERYWHERE, whose.customer_id, except_session_id=kept)
    elif Revoked.OTHERS in change.revoked:
        kept = change.session_id or ("" if was is None else was.session_id)
        yield Revocation(RevocationReason.SIGN_OUT_EVERYWHERE, whose.customer_id, except_session_id=kept)
    device = exchange.device
    if Revoked.DEVICE in change.revoked and device is not None:
        yield Revocation(RevocationReason.DEVICE_REMOVED, whose.customer_id, esn=device.esn)
