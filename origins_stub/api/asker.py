"""Who is asking, as the pages need to know it: from the Passport, or in legacy mode from the cookies."""

from dataclasses import dataclass

from aiohttp import web

from passport import Level
from passport.aiohttp import passport_of


@dataclass(slots=True, frozen=True, repr=False)
class Asker:
    """A user and a device; `customer_id` None and `esn` "" are nobody and none."""

    customer_id: int | None
    account_owner_id: int | None
    esn: str
    level: Level


NOBODY = Asker(None, None, "", Level.UNSPECIFIED)
LEGACY_ASKER = web.RequestKey("legacy_asker", Asker)


def asker_of(request: web.Request) -> Asker:
    """Return who asks; KeyError for a request that neither middleware has let through."""
    if LEGACY_ASKER in request:
        return request[LEGACY_ASKER]
    passport = passport_of(request)
    return Asker(passport.customer_id, passport.account_owner_id, passport.esn or "", passport.user_level)
