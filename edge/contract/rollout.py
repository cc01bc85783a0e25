"""What a rollout counts, and how what the edge finds is compared with what a legacy origin says. docs/rollout.md."""

from enum import StrEnum
from typing import Protocol

from edge.contract.dials import Feature
from edge.contract.exchange import Exchange
from edge.contract.identity import Peeked, Reported


class Comparison(StrEnum):
    """What comes of comparing the two; the first that holds."""

    UNREPORTED = "unreported"  # the origin says nothing
    UNREADABLE = "unreadable"
    NOT_COMPARED = "not_compared"  # the edge would have asked somebody first
    FAILED = "failed"  # a bug: the comparison raised
    ONLY_OLD = "only_old"  # the origin knows a user, or a device, whom the edge does not
    ONLY_NEW = "only_new"
    OTHER_USER = "other_user"
    OTHER_DEVICE = "other_device"
    OTHER_LEVEL = "other_level"
    SAME = "same"


class Rollout(Protocol):
    """Whoever counts what the dials decided, and what shadowing found."""

    def decided(self, feature: Feature, device_type: int, *, on: bool) -> None:
        """Count a decision of a dial."""
        ...

    def compared(self, exchange: Exchange, peeked: Peeked, reported: Reported | None, result: Comparison) -> None:
        """Count a comparison, and log what differs."""
        ...
