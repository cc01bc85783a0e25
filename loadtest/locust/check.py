"""One expectation of a run."""

from dataclasses import dataclass


@dataclass(slots=True, frozen=True)
class Check:
    """One expectation: its name, what was found, whether it was met."""

    name: str
    says: str
    met: bool
