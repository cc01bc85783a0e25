"""Protobuf over HTTP: one message in a request's body, one in its answer's."""

from typing import TypeVar

from aiohttp import web
from google.protobuf.message import DecodeError, Message

MEDIA_TYPE = "application/x-protobuf"
MessageT = TypeVar("MessageT", bound=Message)


async def read_message(request: web.Request, kind: type[MessageT]) -> MessageT | None:
    """Return the message in the body, or None when the body is not one of that kind."""
    if request.content_type != MEDIA_TYPE:
        return None
    try:
        return kind.FromString(await request.read())
    except DecodeError:
        return None


def message_response(message: Message, status: int = 200) -> web.Response:
    """Return an answer that holds `message`, and that nobody may keep: it may hold keys or tokens."""
    return web.Response(
        status=status,
        body=message.SerializeToString(),
        content_type=MEDIA_TYPE,
        headers={"Cache-Control": "no-store"},
    )


async def health(_: web.Request) -> web.Response:
    """Answer `GET /health`: the process serves."""
    return web.json_response({"status": "ok"})
