"""POST /login and /logout: ask the auth service, and let its Passport tell the edge what changed."""

from aiohttp import web

from origins_stub.api.auth_client import AuthClient, Changed, Unchanged
from origins_stub.kit.answers import MAX_JSON_BYTES, json_answer, problem
from passport.aiohttp import HEADER, passport_of

_REFUSALS = {
    Unchanged.WRONG_CREDENTIALS: (401, "The e-mail address or the password is wrong."),
    Unchanged.BAD_BODY: (400, 'The body must be {"email": …, "password": …}.'),
    Unchanged.UNAVAILABLE: (503, "Signing in and out is not possible right now."),
}


class Sessions:
    """The two routes; the identity is the auth service's to change, never this origin's."""

    def __init__(self, auth: AuthClient) -> None:
        self._auth = auth

    async def login(self, request: web.Request) -> web.Response:
        """Sign in with a JSON body of email and password."""
        body = await request.content.read(MAX_JSON_BYTES + 1)
        while len(body) <= MAX_JSON_BYTES and not request.content.at_eof():
            body += await request.content.read(MAX_JSON_BYTES + 1)
        if len(body) > MAX_JSON_BYTES:
            return problem(413, "body_too_large", f"The body may have {MAX_JSON_BYTES} bytes.")
        return _answer(await self._auth.login(passport_of(request).header_value, body), {"signed_in": True})

    async def logout(self, request: web.Request) -> web.Response:
        """Sign out; a device without a user may ask for it too, which clears what it holds."""
        return _answer(await self._auth.logout(passport_of(request).header_value), {"signed_in": False})


def _answer(outcome: Changed | Unchanged, body: dict[str, bool]) -> web.Response:
    if isinstance(outcome, Changed):
        return json_answer(200, body, {HEADER: outcome.passport})
    status, detail = _REFUSALS[outcome]
    return problem(status, outcome.value, detail)
