"""Serving without a Passport: the origin finds out itself who asks, says so to the edge, and sets cookies itself."""

import re
import time
from collections.abc import Awaitable, Callable
from typing import Final

from aiohttp import web
from aiohttp.typedefs import Handler
from edgepb.cookie.v1 import cookie_service_pb2 as pb
from edgepb.tokens.v1.cookie_pb2 import CookieClaims

from origins_stub.api.asker import LEGACY_ASKER, NOBODY, Asker
from origins_stub.api.legacy.cookies import Names, Opened, open_cookies
from origins_stub.api.legacy.keys import CookieKeySource
from origins_stub.api.legacy.services import LegacyServices
from origins_stub.api.legacy.wrong import REPORT_HEADER, WrongIdentities
from origins_stub.api.sessions import read_body
from origins_stub.kit.answers import json_answer, problem
from passport import Level

IDENTITY_HEADER: Final = "X-Origin-Identity"
_SERVED: Final = frozenset(
    {"/", "/browse", "/account", "/echo", "/health", "/download", "/upload", "/slow", "/stream", "/early"}
)
_VALUE: Final = re.compile(rb"[A-Za-z0-9_-]{1,4096}")
_UNQUOTABLE: Final = re.compile(r"[^ !#-\[\]-~]")
_MAX_ESN: Final = 256
_LIFE_S: Final = 400 * 86_400
_COOKIES: Final = web.RequestKey("legacy_cookies", list)
_REPORT: Final = web.RequestKey("legacy_report", tuple)
_ENDED: Final = frozenset({pb.NOT_A_MEMBER, pb.REVOKED})


class LegacyMode:
    """Serves requests that came without a Passport; `wrong` has it report somebody else now and then."""

    def __init__(
        self, keys: CookieKeySource, names: Names, services: LegacyServices, wrong: WrongIdentities | None = None
    ) -> None:
        self._keys = keys
        self._names = names
        self._services = services
        self._wrong = wrong
        self._sessions: dict[str, Callable[[web.Request, Opened | None], Awaitable[web.Response]]] = {
            "/login": self._login,
            "/logout": self._logout,
        }

    def add_to(self, app: web.Application) -> None:
        """Have the application keep what this needs, and say on each response who asked."""
        app.cleanup_ctx.append(self._keys.running)
        app.cleanup_ctx.append(self._services.running)
        app.on_response_prepare.append(_complete)

    async def serve(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Answer a request by what its cookies say."""
        opened = open_cookies(self._keys.keys, self._names, request.cookies, time.time())
        request[_COOKIES] = []
        fresh = opened is None or not opened.expired
        if opened is not None and opened.expired:
            opened = await self._renewed(request, opened)
        request[LEGACY_ASKER] = asker = _asker(opened)
        if self._wrong is not None:
            request[_REPORT] = self._wrong.choose(asker, comparable=fresh)
        change = self._sessions.get(request.path) if request.method == "POST" else None
        if change is not None:
            return await change(request, opened)
        if request.path in _SERVED:
            return await handler(request)
        return problem(501, "not_in_legacy_mode", "This is done with a Passport only.")

    async def _renewed(self, request: web.Request, opened: Opened) -> Opened | None:
        """Have an expired pair renewed; who could not be asked about is the same, at LOW."""
        renewal = await self._services.renew(opened.insecure)
        if renewal.outcome in _ENDED:
            self._clear(request)
            return None
        if renewal.outcome != pb.RENEWED or not self._set(request, renewal.pair, both=opened.paired):
            return opened
        insecure = renewal.pair.insecure.decode("ascii")
        return Opened(opened.claims, insecure, paired=opened.paired, expired=False)

    async def _login(self, request: web.Request, opened: Opened | None) -> web.Response:
        checked = await self._services.check(await read_body(request))
        if checked is None or checked[0] >= 500:
            return problem(503, "auth_unavailable", "This is not possible right now.")
        status, said = checked
        customer_id, owner_id = said.get("customer_id"), said.get("account_owner_id")
        if status != 200 or not isinstance(customer_id, int) or not isinstance(owner_id, int):
            return problem(status if status != 200 else 503, str(said.get("reason", "auth_unavailable")), "")
        device = opened.claims if opened is not None and opened.paired else CookieClaims()
        wanted = pb.CreateRequest(
            customer_id=customer_id,
            account_owner_id=owner_id,
            esn=device.esn,
            device_type=device.device_type,
            level=Level.HIGH,
        )
        pair = await self._services.create(wanted)
        if pair is None or not self._set(request, pair, both=True):
            return problem(503, "cookies_unavailable", "This is not possible right now.")
        return json_answer(200, {"signed_in": True})

    async def _logout(self, request: web.Request, opened: Opened | None) -> web.Response:
        if opened is not None and opened.claims.customer_id:
            await self._services.revoke(opened.claims.customer_id, opened.claims.session_id)
        self._clear(request)
        return json_answer(200, {"signed_in": False})

    def _set(self, request: web.Request, pair: pb.CookiePair, *, both: bool) -> bool:
        """Have the response set a pair; False when it is not one."""
        if not (_VALUE.fullmatch(pair.insecure) and _VALUE.fullmatch(pair.secure)):
            return False
        values = [(self._names.insecure, pair.insecure, False), (self._names.secure, pair.secure, True)]
        for name, value, secure in values if both else values[:1]:
            request[_COOKIES].append(_line(request, name, value.decode("ascii"), _LIFE_S, secure=secure))
        return True

    def _clear(self, request: web.Request) -> None:
        names = ((self._names.insecure, False), (self._names.secure, True))
        request[_COOKIES][:] = [_line(request, name, "", 0, secure=secure) for name, secure in names]


def report(asker: Asker) -> str:
    """Return what is said of the asker in X-Origin-Identity: docs/rollout.md."""
    said = "v=1"
    if asker.customer_id is not None:
        said += f", customer={asker.customer_id}"
    if len(asker.esn) <= _MAX_ESN and not _UNQUOTABLE.search(asker.esn):
        said += f', esn="{asker.esn}"'
    if asker.level:
        said += f", level={asker.level.name.lower()}"
    return said


def _asker(opened: Opened | None) -> Asker:
    if opened is None:
        return NOBODY
    claims = opened.claims
    # A secure half comes over TLS only: that is what `Secure` says, and all that an origin can know.
    trusted = opened.paired and not opened.expired
    level = Level(max(Level.LOW, min(Level.HIGH, claims.level))) if trusted else Level.LOW
    if claims.customer_id <= 0:
        return Asker(None, None, claims.esn, Level.UNSPECIFIED)
    return Asker(claims.customer_id, claims.account_owner_id, claims.esn, level)


def _line(request: web.Request, name: str, value: str, life_s: int, *, secure: bool) -> str:
    over_tls = request.headers.get("X-Forwarded-Proto") == "https"
    mark = "; Secure" if secure and over_tls else ""
    return f"{name}={value}; Max-Age={life_s}; Path=/{mark}; HttpOnly; SameSite=Lax"


async def _complete(request: web.Request, response: web.StreamResponse) -> None:
    """Say who asked, and set cookies, on what answers a request without a Passport."""
    asker = request.get(LEGACY_ASKER)
    if asker is None:
        return
    difference, reported = request.get(_REPORT, (None, asker))
    response.headers[IDENTITY_HEADER] = report(reported)
    if difference is not None:
        response.headers[REPORT_HEADER] = difference
    for line in request[_COOKIES]:
        response.headers.add("Set-Cookie", line)
        response.headers["Cache-Control"] = "no-store"
