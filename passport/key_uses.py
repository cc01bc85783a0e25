"""What a process did with its keys since the KMS was last told: counts by key id. Pure."""

from collections.abc import Iterable
from typing import Final

from edgepb.kms.v1 import kms_pb2

MAX_REPORTED: Final = 256


class KeyUses:
    """Uses that are not reported yet, by key id: no more than there are keys."""

    def __init__(self) -> None:
        self._unreported: dict[int, tuple[int, int]] = {}  # key id → count, last used in epoch seconds

    def __repr__(self) -> str:
        return f"KeyUses({len(self._unreported)} keys)"

    def add(self, key_id: int, count: int, now: float) -> None:
        """Add what a key was used for until `now`, in epoch seconds."""
        known, last_used = self._unreported.get(key_id, (0, 0))
        self._unreported[key_id] = known + count, max(last_used, int(now))

    def unreported(self) -> list[kms_pb2.KeyUse]:
        """Return what is to be reported, the last used first, and no more than one report may hold."""
        newest = sorted(self._unreported.items(), key=lambda item: -item[1][1])[:MAX_REPORTED]
        return [kms_pb2.KeyUse(key_id=key_id, last_used=last, count=count) for key_id, (count, last) in newest]

    def reported(self, uses: Iterable[kms_pb2.KeyUse]) -> None:
        """Forget what the KMS was told; what was added meanwhile stays."""
        for told in uses:
            count, last_used = self._unreported.pop(told.key_id, (0, 0))
            if count > told.count:
                self._unreported[told.key_id] = count - told.count, last_used
