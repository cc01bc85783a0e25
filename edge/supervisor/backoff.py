"""How long to wait before a process that died is started again. Pure."""

from typing import Final

STABLE_S: Final = 10.0
"""A process that lived this long was well: its death is not part of a crash loop."""
FIRST_DELAY_S: Final = 0.1
LONGEST_DELAY_S: Final = 10.0


class CrashLoop:
    """Counts deaths that followed each other quickly."""

    def __init__(self) -> None:
        self._deaths = 0

    def delay_s(self, lived_s: float) -> float:
        """Return the wait in seconds after one more death: short at first, then doubling up to the longest."""
        self._deaths = 1 if lived_s >= STABLE_S else self._deaths + 1
        return min(FIRST_DELAY_S * 2.0 ** min(self._deaths - 1, 20), LONGEST_DELAY_S)
