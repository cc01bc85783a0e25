"""How many file descriptors this process may have."""

import resource


def raise_descriptor_limit() -> int:
    """Raise the limit to what the system lets this process have, and return it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard == resource.RLIM_INFINITY:  # not a number to compare with; what there is will do
        return soft
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard
