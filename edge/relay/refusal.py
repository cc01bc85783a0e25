"""The answer to a request that is well framed and has no route, and what all answers on the head alone share."""

from typing import Protocol

from edge.contract.headers import Headers
from edge.http1 import write
from edge.http1.errors import BadRequestError
from edge.http1.request import RequestHead
from edge.net.downstream import Downstream


class Answerer(Protocol):
    """Who writes the error page."""

    draining: bool

    def answer_early(self, connection: Downstream, error: BadRequestError, *, to_head: bool, line: bytes) -> None:
        """Write it; `line` says how the connection goes on."""
        ...


class Ended:
    """A stream handler whose answer is one write at the start."""

    __slots__ = ()

    def request_body(self, piece: bytes) -> None:
        """Nothing is read of it."""

    def request_end(self, trailers: Headers | None) -> None:
        """Nothing is read of it."""

    def request_broken(self, error: BadRequestError) -> None:
        """It is refused already."""

    def client_gone(self) -> None:
        """The answer was written, or will not be."""

    def client_full(self) -> None:
        """The answer is one write."""

    def client_drained(self) -> None:
        """The answer is one write."""

    def sweep(self, now: float) -> None:
        """It has ended before any sweep."""


class EarlyRefusal(Ended):
    """Answers a well-framed request that has no route: its connection may go on."""

    __slots__ = ("_connection", "_engine", "_error", "_head")

    def __init__(self, engine: Answerer, connection: Downstream, head: RequestHead, error: BadRequestError) -> None:
        self._engine = engine
        self._connection = connection
        self._head = head
        self._error = error

    def start(self) -> None:
        """Answer; keep the connection only where nothing about the request was in doubt."""
        head = self._head
        keep_alive = (
            self._error.status in {404, 405} and head.keep_alive and head.body is None and not self._engine.draining
        )
        line = (write.KEEP_ALIVE if head.http10 else b"") if keep_alive else write.CLOSE
        self._engine.answer_early(self._connection, self._error, to_head=head.method == b"HEAD", line=line)
        if keep_alive:
            self._connection.finish(keep_alive=True)
        else:
            self._connection.close(linger=True)  # it may be sending more
