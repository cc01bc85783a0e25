"""Errors in what came over the wire, split by whose fault they are."""

from edge.contract.reasons import Reason


class BadRequestError(Exception):
    """The client sent something that is refused; `status` and `reason` are the answer, `detail` is private.

    `allow` names the methods that a 405 must tell (RFC 9110 §15.5.6).
    """

    def __init__(self, status: int, reason: Reason, detail: str, *, allow: tuple[bytes, ...] = ()) -> None:
        super().__init__(f"{status} {reason}: {detail}")
        self.status = status
        self.reason = reason
        self.detail = detail
        self.allow = allow


class BadResponseError(Exception):
    """The origin sent something that is not one valid response; the device gets a 502."""


class BadChunkingError(Exception):
    """A chunked body that is not strictly `1*HEXDIG CRLF data CRLF … 0 CRLF trailers CRLF` (RFC 9112 §7.1)."""
