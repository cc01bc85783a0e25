"""When requests are due: drawn beforehand, so that nothing the server does can move them."""

import random
from array import array
from enum import StrEnum


class Arrivals(StrEnum):
    """How requests follow each other: at random, as those of many devices do, or at equal distances."""

    POISSON = "poisson"
    CONSTANT = "constant"


def due_times(rate: float, duration_s: float, kind: Arrivals = Arrivals.POISSON, seed: int = 1) -> "array[float]":
    """Return when each request is due, in seconds since the start: `rate` of them a second, the same for a seed."""
    if rate <= 0 or duration_s <= 0:
        raise ValueError("a schedule needs a rate and a duration above 0")
    due = array("d")
    if kind is Arrivals.CONSTANT:
        due.extend(number / rate for number in range(int(rate * duration_s)))
        return due
    chance = random.Random(seed)  # noqa: S311 - a load, not a secret
    at = chance.expovariate(rate)
    while at < duration_s:
        due.append(at)
        at += chance.expovariate(rate)
    return due
