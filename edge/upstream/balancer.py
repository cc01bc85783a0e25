"""Which address a request goes to: the power of two choices. Pure: the random draw comes in."""

from edge.upstream.endpoint import Endpoint


def choose(active: list[Endpoint], draw: float, avoid: object = None) -> Endpoint:
    """Return the less loaded of two addresses drawn from `active`, which must not be empty.

    `draw` is uniform in [0, 1) and serves both choices and the ramp. Load is what is in flight, times the penalty for
    errors. An address that warms up gives part of its turns to the other one. `avoid` is not returned when there is
    another.
    """
    count = len(active)
    if count == 1:
        return active[0]
    scaled = draw * (count * (count - 1))
    pair = int(scaled)
    first = pair // (count - 1)
    second = pair % (count - 1)
    if second >= first:
        second += 1
    one, other = active[first], active[second]
    if one is avoid:
        return other
    if other is avoid:
        return one
    if (other.in_flight + 1) * other.penalty < (one.in_flight + 1) * one.penalty:
        one, other = other, one
    if one.weight < 1.0 and scaled - pair >= one.weight:
        return other
    return one
