"""GET /, /browse and /account: what an origin does once it knows who is asking."""

from aiohttp import web

from origins_stub.api.asker import asker_of
from origins_stub.kit.answers import json_answer, problem
from passport import Level

_TITLES = ("The Long Relay", "Seven Headers", "A Cookie for Nobody", "Byte by Byte")


async def hello(_: web.Request) -> web.Response:
    """Answer everybody."""
    return json_answer(200, {"hello": "from the API origin", "try": ["/echo", "/browse", "/account"]})


async def browse(request: web.Request) -> web.Response:
    """Answer any user."""
    return _for_user(request, Level.LOW, {"titles": list(_TITLES)})


async def account(request: web.Request) -> web.Response:
    """Answer a user whose token came over a transport that can be trusted."""
    return _for_user(request, Level.HIGH, {"account_owner_id": asker_of(request).account_owner_id})


def _for_user(request: web.Request, level: Level, body: dict[str, object]) -> web.Response:
    asker = asker_of(request)
    # The edge has asked for this level too; an origin that is reached by a wrong route, or raw, must not rely on it.
    if asker.customer_id is None or asker.level < level:
        return problem(403, "level_too_low", f"This needs a user of level {level.name}.")
    return json_answer(200, {"customer_id": asker.customer_id, "level": asker.level.name} | body)
