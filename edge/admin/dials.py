"""The admin API of the dials: `GET /dials`, `GET /dials/history`, `PUT /dials/{feature}`. docs/dials.md is its page.

Every request shows the bearer token of an operator; a change says which revision it was decided on (`If-Match`).
"""

import json
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from decimal import Decimal
from hashlib import blake2b
from hmac import compare_digest
from pathlib import Path
from typing import Final, Protocol, TypeAlias

import orjson
import structlog
from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from edge.contract.dials import Feature
from edge.control.dial_answer import Made, Standing
from edge.control.dial_change import Change, How, Refusal, Refused, Wish
from edge.control.token_file import read_token

_log = structlog.get_logger("edge.admin")

_Handler: TypeAlias = Callable[[web.Request], Awaitable[web.Response]]
MAX_HISTORY: Final = 1_000
_HISTORY: Final = 100
_ETAG: Final = re.compile(r'"([0-9]{1,18})"')
_HEADERS: Final = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
_STATUS: Final = {
    Refusal.UNKNOWN_FEATURE: 404,
    Refusal.MOVED_ON: 412,
    Refusal.NOT_KEPT: 503,
    Refusal.STOPPING: 503,
}
_UNPROCESSABLE: Final = 422


class Desk(Protocol):
    """What the API needs of the one who owns the dials."""

    async def change(self, wish: Wish) -> Made | Refused:
        """Carry out a wish, or say why not."""
        ...

    def refused(self, how: How) -> None:
        """Count a wish that was refused before it could be judged."""
        ...

    def standing(self) -> Standing:
        """Return where everything stands."""
        ...

    def history(self, feature: Feature | None, limit: int) -> Sequence[Change]:
        """Return the newest changes, the newest first."""
        ...


class _Problem(Exception):  # noqa: N818 - an answer, not a bug
    """An answer other than the one that was asked for."""

    def __init__(self, status: int, reason: str, text: str, *, judged: bool = False) -> None:
        super().__init__(text)
        self.judged = judged
        self.status = status
        self.reason = reason
        self.text = text


class _Put(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, arbitrary_types_allowed=True)

    percent: int | Decimal | None
    why: str = Field(alias="reason")
    origin: str | None = None
    device_type: str | None = None


class DialApi:
    """The handlers. `operators` says by now whose token is in which file."""

    def __init__(self, desk: Desk, operators: Callable[[], Mapping[str, Path]]) -> None:
        self._desk = desk
        self._operators = operators

    def routes(self) -> list[web.RouteDef]:
        """Return what the admin listener serves."""
        return [
            web.get("/dials", self._answering(self._get)),
            web.get("/dials/history", self._answering(self._get_history)),
            web.put("/dials/{feature}", self._answering(self._put)),
        ]

    def _answering(self, handler: Callable[[web.Request, str], Awaitable[web.Response]]) -> _Handler:
        async def answer(request: web.Request) -> web.Response:
            try:
                return await handler(request, self._operator(request))
            except _Problem as problem:
                if request.method == "PUT" and not problem.judged:
                    self._desk.refused("api")
                return _problem_response(problem)

        return answer

    async def _get(self, _: web.Request, __: str) -> web.Response:
        standing = self._desk.standing()
        return _response(standing.record(), standing.revision)

    async def _get_history(self, request: web.Request, _: str) -> web.Response:
        named, limit = request.query.get("feature"), request.query.get("limit", str(_HISTORY))
        if named is not None and named not in set(Feature):
            raise _Problem(404, Refusal.UNKNOWN_FEATURE, f"there is no such feature: known are {', '.join(Feature)}")
        if not (limit.isascii() and limit.isdigit() and len(limit) <= 9 and 1 <= int(limit) <= MAX_HISTORY):
            raise _Problem(400, "bad_limit", f"limit must be 1 to {MAX_HISTORY}")
        changes = self._desk.history(None if named is None else Feature(named), int(limit))
        return _response({"changes": [change.record() for change in changes]}, self._desk.standing().revision)

    async def _put(self, request: web.Request, operator: str) -> web.Response:
        revision = _if_match(request)
        wanted = await _wanted(request)
        wish = Wish(
            request.match_info["feature"],
            None if wanted.percent is None else str(wanted.percent),
            wanted.why,
            operator,
            "api",
            origin=wanted.origin,
            device_type=wanted.device_type,
            revision=revision,
        )
        made = await self._desk.change(wish)
        if isinstance(made, Refused):
            status = _STATUS.get(made.refusal, _UNPROCESSABLE)
            raise _Problem(status, made.refusal, made.text, judged=True)
        return _response(made.record(), made.change.revision)

    def _operator(self, request: web.Request) -> str:
        """Return who asks, by the token shown. Every token is compared, in a time that says nothing of it."""
        operators = self._operators()
        if not operators:
            raise _Problem(403, "no_operators", "nobody may: admin.operators of edge.yaml names no operator")
        scheme, _, shown = request.headers.get("Authorization", "").partition(" ")
        digest, found = _digest(shown.strip()), ""
        for name, path in operators.items():
            try:
                token = read_token(path)
            except (OSError, ValueError) as problem:
                _log.error("token_file_unusable", problem=str(problem), hint=f"the operator {name} is not known by it")
                continue
            if compare_digest(digest, _digest(token)):
                found = name
        if not found or scheme.lower() != "bearer":
            raise _Problem(401, "unauthorised", "show the bearer token of an operator")
        return found


def _digest(token: str) -> bytes:
    return blake2b(token.encode("utf-8", "surrogateescape")).digest()


def _if_match(request: web.Request) -> int:
    shown = request.headers.getall("If-Match", [])
    if not shown:
        text = 'say which revision you have seen: If-Match: "N", as the ETag of GET /dials'
        raise _Problem(428, "revision_required", text)
    match = _ETAG.fullmatch(shown[0]) if len(shown) == 1 else None
    if match is None:
        raise _Problem(400, "bad_revision", 'If-Match must be one revision in quotes, such as "7"')
    return int(match[1])


async def _wanted(request: web.Request) -> _Put:
    try:
        body = await request.read()
    except web.HTTPRequestEntityTooLarge:
        raise _Problem(413, "body_too_large", f"a change has at most {request.client_max_size} bytes") from None
    try:
        decoded = json.loads(
            body.decode("utf-8"), parse_float=Decimal, parse_constant=_refuse, object_pairs_hook=_without_twins
        )
    except (ValueError, RecursionError, ArithmeticError):
        raise _Problem(400, "bad_json", "the body is no JSON object, or names something twice") from None
    try:
        return _Put.model_validate(decoded)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = str(first["loc"][0]) if first["loc"] and first["type"] != "extra_forbidden" else "a key"
        text = "expected are percent, reason, and device_type and origin where they are meant"
        raise _Problem(
            _UNPROCESSABLE, "bad_change", f"{place}: is missing, not known or not of its type: {text}"
        ) from None


def _refuse(constant: str) -> None:
    raise ValueError(constant)


def _without_twins(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands twice")
    return found


def _response(record: Mapping[str, object], revision: int) -> web.Response:
    return web.Response(
        body=orjson.dumps(record) + b"\n",
        content_type="application/json",
        headers={**_HEADERS, "ETag": f'"{revision}"'},
    )


def _problem_response(problem: _Problem) -> web.Response:
    body = {"type": "about:blank", "title": problem.text, "status": problem.status, "reason": problem.reason}
    challenge = {"WWW-Authenticate": "Bearer"} if problem.status == 401 else {}
    return web.Response(
        status=problem.status,
        body=orjson.dumps(body) + b"\n",
        content_type="application/problem+json",
        headers={**_HEADERS, **challenge},
    )
