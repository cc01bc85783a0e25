"""The answer to a request that is shed: prepared once, so that a rejection costs next to nothing."""

from typing import Final

import orjson

from edge.contract.reasons import Reason
from edge.http1 import write
from edge.http1.request import RequestHead
from edge.net.downstream import Downstream
from edge.relay.refusal import Ended

_RETRY_AFTER_S: Final = (1, 2, 3)
"""In turn, lest all that were rejected come back in the same second."""


def _answer(retry_after_s: int) -> tuple[bytes, bytes]:
    """Return the head up to its last line, and the body: the error page without what differs between requests."""
    body = orjson.dumps(
        {"type": "about:blank", "title": Reason.OVERLOADED.sentence, "status": 503, "reason": Reason.OVERLOADED.value}
    )
    lines = (
        b"HTTP/1.1 503 Service Unavailable",
        b"content-type: application/problem+json",
        b"cache-control: no-store",
        b"retry-after: %d" % retry_after_s,
        b"content-length: %d" % len(body),
        b"",
    )
    return b"\r\n".join(lines), body


_ANSWERS: Final = tuple(_answer(seconds) for seconds in _RETRY_AFTER_S)
_WHOLE: Final = tuple(head + b"\r\n" + body for head, body in _ANSWERS)


class Shed(Ended):
    """Answers a request with 503 on its head alone; its connection goes on unless a body is on its way."""

    __slots__ = ("_connection", "_draining", "_head", "_turn")

    def __init__(self, connection: Downstream, head: RequestHead, *, turn: int, draining: bool) -> None:
        self._connection = connection
        self._head = head
        self._turn = turn % len(_RETRY_AFTER_S)
        self._draining = draining

    def start(self) -> None:
        """Answer."""
        request = self._head
        keep_alive = request.keep_alive and request.body is None and not self._draining
        if keep_alive and not request.http10 and request.method != b"HEAD":
            self._connection.write(_WHOLE[self._turn])
        else:
            head, body = _ANSWERS[self._turn]
            line = (write.KEEP_ALIVE if request.http10 else b"") if keep_alive else write.CLOSE
            self._connection.write(head + line + b"\r\n" + (b"" if request.method == b"HEAD" else body))
        self._connection.finish(keep_alive=keep_alive)
