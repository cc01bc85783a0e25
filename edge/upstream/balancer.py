"""Which address a request goes to: the power of two choices. Pure: the random draw comes in."""

from edge.upstream.endpoint import Endpoint


def choose(active: list[Endpoint], draw: float, avoid: object = None) -> Endpoint:
    """Return the less loaded of two addresses drawn from `active`, which must not be empty.

    `draw` is uniform in [0, 1) and serves both choices and what comes after: an address that warms up, errs or is slow
    takes only its `share` of its turns and leaves the rest to the other one. Load is what is in flight. `avoid` is not
    returned when there is another.
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
    if other.in_flight < one.in_flight:
        one, other = other, one
    if one.share < 1.0 and scaled - pair >= one.share:
        return other
    return one
