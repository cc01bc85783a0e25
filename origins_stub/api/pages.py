"""GET /, /browse and /account: what an origin does with a Passport that has been verified for it."""

from aiohttp import web

from origins_stub.kit.answers import json_answer, problem
from passport import Level, PassportRefused
from passport.aiohttp import passport_of

_TITLES = ("The Long Relay", "Seven Headers", "A Cookie for Nobody", "Byte by Byte")


async def hello(_: web.Request) -> web.Response:
    """Answer everybody."""
    return json_answer(200, {"hello": "from the API origin", "try": ["/echo", "/browse", "/account"]})


async def browse(request: web.Request) -> web.Response:
    """Answer any user."""
    return _for_user(request, Level.LOW, {"titles": list(_TITLES)})


async def account(request: web.Request) -> web.Response:
    """Answer a user whose token came over a transport that can be trusted."""
    return _for_user(request, Level.HIGH, {"account_owner_id": passport_of(request).account_owner_id})


def _for_user(request: web.Request, level: Level, body: dict[str, object]) -> web.Response:
    passport = passport_of(request)
    try:
        # The edge has asked for this level too; an origin that is reached by a wrong route must not rely on it.
        passport.require_user_level(level)
    except PassportRefused:
        return problem(403, "level_too_low", f"This needs a user of level {level.name}.")
    return json_answer(200, {"customer_id": passport.customer_id, "level": passport.user_level.name} | body)
