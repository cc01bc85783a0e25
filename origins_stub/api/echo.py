"""ANY /echo: the request as this origin received it."""

import time

from aiohttp import web

from origins_stub.api.bodies import measure
from origins_stub.api.facts import passport_facts
from origins_stub.kit.answers import json_answer
from passport import PassportIntrospector, PassportRefusal, PassportRefused
from passport.aiohttp import HEADER, PassportKeySource


class Echo:
    """Shows a request, with the facts of its Passport in the place of the Passport."""

    def __init__(self, source: PassportKeySource, trust_domain: str) -> None:
        self._source = source
        self._trust_domain = trust_domain

    async def __call__(self, request: web.Request) -> web.Response:
        """Answer with what was received; the body is measured, not repeated."""
        length, digest = await measure(request)
        passports = request.headers.getall(HEADER, [])
        shown = {
            "method": request.method,
            "target": request.raw_path,
            "headers": _headers(request),
            "passport": passport_facts(len(passports), self._read(passports)),
            "body": {"bytes": length, "sha256": digest},
            # aiohttp's server does not tell: see `_close_after_chunked_request`.
            "trailers": None,
        }
        return json_answer(200, shown)

    def _read(self, passports: list[str]) -> PassportIntrospector | PassportRefusal:
        """Read the Passport here instead of in the middleware: /echo also shows what the middleware would refuse."""
        keys = self._source.passport_keys
        if len(passports) != 1 or keys is None:
            return PassportRefusal.REPEATED if passports else PassportRefusal.MISSING
        try:
            return PassportIntrospector.from_base64(
                passports[0], keys, now=time.time(), trust_domain=self._trust_domain
            )
        except PassportRefused as refused:
            return refused.reason


def _headers(request: web.Request) -> list[tuple[str, str]]:
    """Return names and values in order, bytes as Latin-1, without X-Passport; its other spellings are shown."""
    fields = ((name.decode("latin-1"), value.decode("latin-1")) for name, value in request.raw_headers)
    return [(name, value) for name, value in fields if name.lower() != HEADER.lower()]
