"""The answer to a request that is shed: prepared once, so that a rejection costs next to nothing."""

from typing import Final

import orjson

from edge.contract.reasons import Reason
from edge.http1 import write
from edge.http1.request import RequestHead
from edge.net.downstream import Downstream
from edge.relay.refusal import Ended


class Prepared:
    """One answer: `whole` for a connection that goes on, or its `head` up to the last line and its `body`."""

    __slots__ = ("body", "head", "whole")

    def __init__(self, status: bytes, reason: Reason, retry_after_s: int) -> None:
        page = {"type": "about:blank", "title": reason.sentence, "status": int(status[:3]), "reason": reason.value}
        self.body = orjson.dumps(page)
        lines = (
            b"HTTP/1.1 " + status,
            b"content-type: application/problem+json",
            b"cache-control: no-store",
            b"retry-after: %d" % retry_after_s,
            b"content-length: %d" % len(self.body),
            b"",
        )
        self.head = b"\r\n".join(lines)
        self.whole = self.head + b"\r\n" + self.body


OVERLOADED: Final = tuple(Prepared(b"503 Service Unavailable", Reason.OVERLOADED, seconds) for seconds in (1, 2, 3))
"""To be given in turn, lest all that were rejected come back in the same second."""
ORIGIN_OVERLOADED: Final = Prepared(b"503 Service Unavailable", Reason.ORIGIN_OVERLOADED, 1)
TOO_MANY: Final = Prepared(b"429 Too Many Requests", Reason.TOO_MANY_REQUESTS, 1)


class Shed(Ended):
    """Answers a request on its head alone; its connection goes on unless a body is on its way."""

    __slots__ = ("_answer", "_connection", "_draining", "_head")

    def __init__(self, connection: Downstream, head: RequestHead, answer: Prepared, *, draining: bool) -> None:
        self._connection = connection
        self._head = head
        self._answer = answer
        self._draining = draining

    def start(self) -> None:
        """Answer."""
        request = self._head
        keep_alive = request.keep_alive and request.body is None and not self._draining
        if keep_alive and not request.http10 and request.method != b"HEAD":
            self._connection.write(self._answer.whole)
        else:
            body = b"" if request.method == b"HEAD" else self._answer.body
            line = (write.KEEP_ALIVE if request.http10 else b"") if keep_alive else write.CLOSE
            self._connection.write(self._answer.head + line + b"\r\n" + body)
        self._connection.finish(keep_alive=keep_alive)
