"""What a filter declares that guards trailers too. Apart from `filters`: what is asked at run time is not compiled."""

from typing import Protocol, runtime_checkable

from edge.contract.exchange import Exchange
from edge.contract.headers import Headers


@runtime_checkable
class TrailerFilter(Protocol):
    """A filter that also guards trailers, which arrive after the chain has run."""

    def trailers(self, exchange: Exchange, trailers: Headers) -> None:
        """Take out of `trailers` what must not pass. If this raises, no trailer passes."""
        ...
