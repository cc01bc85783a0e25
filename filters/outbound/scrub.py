"""scrub: nothing internal reaches a device: not on success, not on an error page, not in trailers (THREATS X6)."""

from typing import ClassVar, Final

from edge.contract.exchange import Exchange
from edge.contract.filters import CONTINUE, OnError, Verdict
from edge.contract.headers import Headers
from filters.header_names import NameClass, classify, harmless_names

# A Passport begins with its header, whose request id is this exchange's own: this much of it tells it from any other
# text, and a Passport that a service returns begins alike.
_TELLTALE_CHARACTERS: Final = 32
_SHORTEST_PASSPORT: Final = 128
_NOT_IN_ANY_VALUE: Final = b"\n"


class ScrubFilter:
    """Removes internal headers in every spelling, and any field that carries this exchange's Passport."""

    id: ClassVar[str] = "scrub"
    on_error: ClassVar[OnError] = OnError.CLOSED
    deadline_s: ClassVar[float] = 1.0
    concurrency: ClassVar[int] = 1

    def outbound(self, exchange: Exchange) -> Verdict:
        """Clean the response's head, whoever made it."""
        response = exchange.response
        if response is not None:
            _clean(response.headers, exchange.passport)
        return CONTINUE

    def trailers(self, exchange: Exchange, trailers: Headers) -> None:
        """Clean the response's trailers."""
        _clean(trailers, exchange.passport)


def _clean(headers: Headers, passport: bytes) -> None:
    telltale = passport[:_TELLTALE_CHARACTERS] or _NOT_IN_ANY_VALUE
    harmless = harmless_names
    for lower, _, value in headers.fields:
        if lower not in harmless or (len(value) >= _SHORTEST_PASSPORT and telltale in value):
            break
    else:
        return
    headers.fields = [field for field in headers.fields if not _is_internal(field[0]) and telltale not in field[2]]


def _is_internal(name: bytes) -> bool:
    return classify(name) in (NameClass.INTERNAL, NameClass.MESH)
