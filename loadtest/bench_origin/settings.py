"""What one run is asked to do."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path


class Reads(StrEnum):
    """What an app does to find out who is asking. NOTHING: it is sent a Passport, and does not look."""

    NOTHING = "nothing"
    PASSPORT = "passport"
    COOKIES = "cookies"


@dataclass(slots=True, frozen=True)
class Settings:
    """Rounds, requests of each round, how many are under way at a time, and where things are."""

    rounds: int = 7
    requests: int = 4000
    connections: int = 8
    visitors: int = 500
    only: frozenset[str] = frozenset()  # ids of subjects; empty: all
    var: Path = Path("var/bench-origin")
