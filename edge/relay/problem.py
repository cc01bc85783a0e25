"""The edge's own answers: RFC 9457 problem details with a stable `reason`."""

from email.utils import formatdate
from math import ceil

import orjson

from edge.contract.exchange import Response
from edge.contract.headers import DEBUG, Headers
from edge.contract.reasons import Reason
from edge.http1 import write

_RETRY_LATER = {429, 503}


def problem_response(
    status: int, reason: Reason, request_id: bytes, now: float, retry_after_s: float = 0.0
) -> Response:
    """Return an error page. It tells the public reason and the request id, and nothing that was sent.

    `now` in epoch seconds. A 503 and a 429 always say when to come back: after `retry_after_s`, or a second.
    """
    body = orjson.dumps(
        {
            "type": "about:blank",
            "title": reason.sentence,
            "status": status,
            "reason": reason.value,
            "request_id": request_id.decode("ascii"),
        }
    )
    headers = Headers()
    headers.add(b"content-type", b"application/problem+json")
    headers.add(b"cache-control", b"no-store")
    headers.add(b"date", formatdate(now, usegmt=True).encode("ascii"))
    if request_id:
        headers.add(b"x-request-id", request_id)
    if status in _RETRY_LATER:
        headers.add(b"retry-after", b"%d" % max(1, ceil(retry_after_s)))
    return Response(status, headers, body, local=True)


def tell_reason(response: Response, reason: str, decided_by: str) -> None:
    """Say in a field why the edge answers itself, and which filter decided, if one did (RFC 9651: a token)."""
    said = f"{reason};filter={decided_by}" if decided_by else reason
    response.headers.set(DEBUG, said.encode("ascii"))


def whole(response: Response, *, to_head: bool, connection: bytes) -> bytes:
    """Return a response with a known body as the bytes to send; `connection` is the line that says how it goes on."""
    body = response.body or b""
    bodiless = response.status in {204, 304} or response.status < 200
    # What a filter would make of the body that an origin's answer to HEAD leaves out has an unknown length.
    unknown = to_head and not response.local
    framing = connection if bodiless or unknown else write.content_length(len(body)) + connection
    head = write.response_head(response.status, response.headers, framing)
    return head if to_head or bodiless else head + body
