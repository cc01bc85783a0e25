"""JSON answers, and JSON bodies read into a model: one look for all stubs."""

from typing import TypeVar

import orjson
import pydantic
from aiohttp import web

Model = TypeVar("Model", bound=pydantic.BaseModel)
MAX_JSON_BYTES = 16 * 1024


class StrictModel(pydantic.BaseModel):
    """A body or a seed: no unknown keys, no conversions, and no value repeated in an error."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid", strict=True, hide_input_in_errors=True)


def json_answer(status: int, body: object, headers: dict[str, str] | None = None) -> web.Response:
    """Return `body` as JSON; it must be made of what orjson writes. Never stored by caches: it is about a person."""
    fields = {"Cache-Control": "no-store"} | (headers or {})
    return web.Response(status=status, body=orjson.dumps(body), content_type="application/json", headers=fields)


def problem(status: int, reason: str, detail: str) -> web.Response:
    """Return a problem document (RFC 9457) with the stable id `reason`."""
    body = orjson.dumps({"status": status, "reason": reason, "detail": detail})
    headers = {"Cache-Control": "no-store"}
    return web.Response(status=status, body=body, content_type="application/problem+json", headers=headers)


async def read_json(request: web.Request, model: type[Model]) -> Model | web.Response:
    """Read the body, at most 16 KiB, into `model`; return the 400 or 413 to answer with when it does not fit."""
    body = bytearray()
    async for piece in request.content.iter_any():
        body += piece
        if len(body) > MAX_JSON_BYTES:
            return problem(413, "body_too_large", f"The body may have {MAX_JSON_BYTES} bytes.")
    try:
        return model.model_validate_json(bytes(body))
    except pydantic.ValidationError:
        return problem(400, "bad_body", "The body is not the JSON document that is asked for here.")


async def health(_: web.Request) -> web.Response:
    """Answer GET /health."""
    return json_answer(200, {"status": "ok"})
