"""One look for the addresses of an origin, and what it brought."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from edge.control.values import Address


class Result(StrEnum):
    """What became of a look: the label of edge_discovery_refreshes_total."""

    CHANGED = "changed"
    UNCHANGED = "unchanged"
    EMPTY = "empty"  # an answer without a usable address
    NXDOMAIN = "nxdomain"
    SERVFAIL = "servfail"
    TIMEOUT = "timeout"
    UNREADABLE = "unreadable"
    INVALID = "invalid"
    ERROR = "error"


@dataclass(slots=True, frozen=True)
class Problem:
    """Why a look brought nothing, or not everything. `detail` is for the log."""

    result: Result
    detail: str


@dataclass(slots=True, frozen=True)
class Look:
    """What a look brought: addresses, or None to keep those that are known.

    Both addresses and a problem: part of the answer is missing, and what was known of it is among the addresses.
    `ttl_s` says how long the answer is good.
    """

    addresses: tuple[Address, ...] | None
    problem: Problem | None = None
    ttl_s: float = 0.0


class Source(Protocol):
    """A place where addresses stand."""

    async def look(self) -> Look:
        """Look once; whatever goes wrong is a problem in the answer."""
        ...
