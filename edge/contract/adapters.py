"""How a change of identity reaches a device: one adapter for each kind of token. docs/actions.md, "A new kind"."""

from collections.abc import Coroutine
from typing import Protocol, TypeAlias

from edge.contract.change import TokenChange
from edge.contract.exchange import Exchange, Response
from edge.contract.filters import Verdict
from edge.contract.headers import Headers

Delivery: TypeAlias = Verdict | Coroutine[None, None, Verdict]
"""How a response goes on; a coroutine where a token service has to be asked first."""


class TokenAdapter(Protocol):
    """Puts tokens of one kind on responses. A token service that fails is a refusal, never a response without them.

    `fields` are the response's fields that tokens of this kind travel in, lower-case.
    """

    fields: frozenset[bytes]

    def guard(self, exchange: Exchange, headers: Headers) -> None:
        """Take off an origin's response what could pass for a token of this kind."""
        ...

    def create(self, exchange: Exchange, response: Response, change: TokenChange) -> Delivery:
        """Make tokens of a new session for `change.user`; say in `change.session_id` which session that is."""
        ...

    def update(self, exchange: Exchange, response: Response, change: TokenChange) -> Delivery:
        """Make anew the tokens that the device showed, of the same session, with what has changed in them."""
        ...

    def clear(self, exchange: Exchange, response: Response) -> Delivery:
        """Take the device's tokens from it."""
        ...

    def settle(self, exchange: Exchange, response: Response) -> Delivery:
        """Nobody has changed anything: give what a renewal brought, or what stands in for it."""
        ...
