"""A choice that routes have. Not compiled, as `route` is: it would lose the docstring that the JSON schema shows."""

from enum import StrEnum


class OnBadToken(StrEnum):
    """What a token that is recognised but bad does to its request."""

    REFUSE = "refuse"
    ANONYMOUS = "anonymous"
