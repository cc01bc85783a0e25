"""Make the cookie pair that stands in for an expired one whose renewal could not be done: docs/tokens.md.

Only an authentic token gets here, so no client can force it; and it never extends what the token could do.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from edge.contract.ports import CookiePair, StandIn
from tokens.cookie import Claims, CookieNames, NoSealingKeyError, seal_pair
from tokens.envelope import NONCE_BYTES
from tokens.keys.ring import RingSource

_JITTER: Final = 0.2  # of the life, both ways


@dataclass(slots=True, frozen=True)
class Rescheduling:
    """Makes stand-ins that live `life_s` seconds, give or take a fifth. `random` returns 0 to 1."""

    rings: RingSource
    names: CookieNames
    environment: str
    life_s: float
    random: Callable[[], float]

    def stand_in(self, claims: Claims, now: float) -> StandIn | None:
        """Return the pair that stands in for an expired one; None while there is no key to seal it with, or no time.

        Its renewal is due at a random time of its life, lest a service that is back be met by everyone at once.
        """
        life_s = self.life_s * (1.0 + _JITTER * (2.0 * self.random() - 1.0))
        made = claims.rescheduled(now, life_s, life_s * self.random())
        nonces = os.urandom(NONCE_BYTES), os.urandom(NONCE_BYTES)
        try:
            insecure, secure = seal_pair(self.rings.ring, self.names, self.environment, made, nonces)
        except (NoSealingKeyError, ValueError):  # the latter for times that a clock which jumped has made
            return None
        return StandIn(CookiePair(insecure, secure, made.expires_at, made.generation), made.renew_after)
