"""The ramp of an address that is new or back: its share of requests grows over `warm_up_s`. Pure."""

from typing import Final

FIRST_WEIGHT: Final = 0.1


def weight(age_s: float, warm_up_s: float) -> float:
    """Return the part of its share that an address gets `age_s` after it came: 0.1 at first, then linear up to 1."""
    if age_s >= warm_up_s:
        return 1.0
    return max(FIRST_WEIGHT, age_s / warm_up_s)
