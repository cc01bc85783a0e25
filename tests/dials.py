"""Tables of dials for tests: everybody's tokens end at the origin, or those of all but one key."""

from edge.contract.dials import BUCKETS, Dial, DialTable, Feature, bucket, salted

TERMINATE, SHADOW = Feature.TERMINATE_COOKIE, Feature.SHADOW_COOKIE


def table_of(*, terminate: int = 0, shadow: int = 0) -> DialTable:
    """Return a table with these positions, in hundredths of a percent."""
    return DialTable(1, {Dial(TERMINATE): terminate, Dial(SHADOW): shadow})


ON = table_of(terminate=BUCKETS)
LEGACY = table_of()
SHADOWED = table_of(shadow=BUCKETS)


def just_in(key: bytes) -> DialTable:
    """Return the table in which the device of a key is the last one whose tokens end at the edge."""
    return table_of(terminate=bucket(salted(TERMINATE), key) + 1)


def just_out(key: bytes) -> DialTable:
    """Return the table in which it is the first one whose tokens do not."""
    return table_of(terminate=bucket(salted(TERMINATE), key))
