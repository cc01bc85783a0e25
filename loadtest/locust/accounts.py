"""The two accounts that the embedded default is seeded with: public, for demonstrations on one machine only.

Many devices of one account are nothing strange to the edge: each has a session of its own.
"""

from dataclasses import dataclass, field
from typing import Final


@dataclass(slots=True, frozen=True)
class Account:
    """Who signs in, and the customer that every answer must then be for."""

    email: str
    password: str = field(repr=False)
    customer_id: int


ACCOUNTS: Final = (
    Account("demo@example.com", "correct horse battery staple", 1001),
    Account("other@example.com", "a passphrase nobody guesses", 1002),
)
