"""hygiene: the client's head is cleared of everything that only the edge may say, and gets what the edge says.

Runs first, so that no later filter, and no error path, sees a client's identity header (THREATS H, F1).
"""

from collections.abc import Sequence
from hmac import compare_digest
from typing import ClassVar, Final

from edge.contract.exchange import Exchange
from edge.contract.filters import CONTINUE, OnError, Verdict
from edge.contract.headers import DEBUG, Field, Headers
from filters.forwarding import Network, first_hop, next_hop
from filters.header_names import NameClass, classify, harmless_names

_BELIEVED: Final = frozenset({NameClass.FORWARDED, NameClass.MESH})


class HygieneFilter:
    """Strips identity, forwarding and override headers; adds request id, trace parent and forwarding headers."""

    id: ClassVar[str] = "hygiene"
    on_error: ClassVar[OnError] = OnError.CLOSED
    deadline_s: ClassVar[float] = 1.0
    concurrency: ClassVar[int] = 1

    def __init__(self, trusted_proxies: Sequence[Network] = (), debug_key: bytes = b"") -> None:
        """`trusted_proxies` tells which addresses in a trusted peer's X-Forwarded-For are proxies of ours too.

        Who shows `debug_key` is told the reasons of refusals; without one, nobody is.
        """
        self._trusted_proxies = tuple(trusted_proxies)
        self._debug_key = debug_key

    def inbound(self, exchange: Exchange) -> Verdict:
        """Clean the request's head."""
        request = exchange.request
        fields = request.headers.fields
        believed: list[Field] = []
        harmless = harmless_names
        for name, _, _ in fields:
            if name not in harmless:
                fields, believed = self._sift(exchange, fields)
                break
        if request.peer_trusted:
            request.headers.fields = fields + next_hop(exchange, believed, self._trusted_proxies)
        else:
            request.headers.fields = fields + first_hop(exchange)
        exchange.identity_stripped = True
        return CONTINUE

    def _sift(self, exchange: Exchange, fields: list[Field]) -> tuple[list[Field], list[Field]]:
        """Split fields into those that pass and those that a trusted peer is believed; count stripped identities."""
        trusted = exchange.request.peer_trusted
        passed: list[Field] = []
        believed: list[Field] = []
        for field in fields:
            name = field[0]
            judged = classify(name)
            if judged is NameClass.HARMLESS:
                passed.append(field)
            elif judged is NameClass.INTERNAL:
                if name == DEBUG and self._debug_key and compare_digest(field[2], self._debug_key):
                    exchange.debug = ""
                else:
                    exchange.stripped_headers += 1
            elif trusted and _plainly_spelled(name) and (judged in _BELIEVED or name == b"traceparent"):
                believed.append(field)
        return passed, believed

    def trailers(self, exchange: Exchange, trailers: Headers) -> None:
        """Let through only trailers that mean nothing to the edge or to an origin's framing (THREATS H7)."""
        kept = []
        for field in trailers.fields:
            judged = classify(field[0])
            if judged is NameClass.HARMLESS:
                kept.append(field)
            elif judged is NameClass.INTERNAL:
                exchange.stripped_headers += 1
        trailers.fields = kept


def _plainly_spelled(name: bytes) -> bool:
    return name.replace(b"-", b"").isalnum()
