"""Does the Passport that the edge sends arrive, verify, and name the right one?"""

from dataclasses import dataclass

from multidict import CIMultiDictProxy

from loadtest.bench.failure import BenchError
from loadtest.bench.visitors import Visitor
from passport import Level, PassportIntrospector, PassportKeys, PassportRefused


@dataclass(slots=True, frozen=True)
class PassportCheck:
    """What a Passport at the origin must say."""

    keys: PassportKeys
    trust_domain: str
    visitor: Visitor

    def verify(self, head: CIMultiDictProxy[str], now: int) -> None:
        """Raise `BenchError` unless the head has one Passport, the visitor's, valid at `now` (epoch seconds)."""
        values = head.getall("X-Passport", [])
        if len(values) != 1:
            raise BenchError(f"the edge sent {len(values)} Passports to the origin, not one")
        try:
            passport = PassportIntrospector.from_base64(values[0], self.keys, now=now, trust_domain=self.trust_domain)
        except PassportRefused as refused:
            raise BenchError(f"the edge's Passport does not verify at the origin: {refused}") from refused
        if (passport.customer_id, passport.esn) != (self.visitor.customer_id, self.visitor.esn):
            raise BenchError("the edge's Passport names somebody else")
        try:
            passport.require_user_level(Level.HIGH)
        except PassportRefused as refused:
            raise BenchError("the edge's Passport does not give the user the level HIGH") from refused
