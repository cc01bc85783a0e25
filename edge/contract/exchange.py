"""One request and its response, as the filters see it. Filters know nothing of sockets."""

from asyncio import Future
from enum import StrEnum
from typing import Final, Protocol

from edge.contract.change import TokenChange
from edge.contract.headers import Headers
from edge.contract.identity import ClientCertificate, DeviceIdentity, Peeked, UserIdentity
from edge.contract.ports import RenewedCookie, StandIn
from edge.contract.route import Route

_UNRESOLVED: Final[tuple[str, ...]] = ("none", "absent", "local")  # source, result, local or remote


class TokenKind(StrEnum):
    """What the device speaks: decides how a change of identity reaches it."""

    NONE = "none"
    COOKIE = "cookie"


class BodyTransform(Protocol):
    """Changes a body as it streams by. One instance serves one body."""

    def feed(self, piece: bytes) -> bytes:
        """Return what goes on for `piece`; may be empty."""
        ...

    def finish(self) -> bytes:
        """Return what is left once the body has ended."""
        ...


class Request:
    """The request as it will reach the origin.

    `path` is what rules match: the target's path, without query, in the one form that log and origin see too.
    `host` is lower-case and without port, `authority` with it, if there was one. `peer` is the client's address:
    that of the connection, or what a trusted peer says. `body` is set only after a filter has asked for it with
    `NeedBody`; a filter may replace it.
    """

    __slots__ = (
        "authority",
        "body",
        "headers",
        "host",
        "method",
        "path",
        "peer",
        "peer_trusted",
        "scheme",
        "target",
        "transform",
    )

    def __init__(
        self,
        method: bytes,
        target: bytes,
        path: bytes,
        host: bytes,
        headers: Headers,
        *,
        authority: bytes = b"",
        scheme: str = "http",
        peer: str = "",
        peer_trusted: bool = False,
    ) -> None:
        self.method = method
        self.target = target
        self.path = path
        self.host = host
        self.authority = authority or host
        self.headers = headers
        self.scheme = scheme
        self.peer = peer
        self.peer_trusted = peer_trusted
        self.body: bytes | None = None
        self.transform: BodyTransform | None = None

    def __repr__(self) -> str:
        return f"Request({self.method.decode('latin-1')}, {len(self.headers)} headers)"


class Response:
    """The response on its way to the device.

    `local` is True when the edge itself answers; its whole body is then in `body`. For an origin's response
    `body` is set only after a filter has asked for it with `NeedBody`; a filter may replace it.
    """

    __slots__ = ("body", "headers", "local", "status", "transform")

    def __init__(self, status: int, headers: Headers, body: bytes | None = None, *, local: bool = False) -> None:
        self.status = status
        self.headers = headers
        self.body = body
        self.local = local
        self.transform: BodyTransform | None = None

    def __repr__(self) -> str:
        return f"Response({self.status}, {len(self.headers)} headers)"


class Exchange:
    """One request and its response on their way through the chain.

    `now` is the wall clock at its start, in epoch seconds; filters use it and read no clock of their own.
    `id` is the request id, 32 lower-case hex digits. `passport` is the `X-Passport` value that was sent to the
    origin. `secure` says that the token's transport can be trusted (TLS, or the local exception in the config).
    """

    __slots__ = (
        "actions",
        "bad_token",
        "change",
        "client_certificate",
        "debug",
        "device",
        "expired",
        "expires_at",
        "full_until",
        "id",
        "identity_stripped",
        "legacy",
        "now",
        "paired",
        "passport",
        "presented",
        "reason",
        "reason_detail",
        "renew_due",
        "renewal",
        "request",
        "rescheduled_count",
        "resolution",
        "response",
        "route",
        "secure",
        "shadow",
        "stand_in",
        "stripped_headers",
        "token_kind",
        "user",
        "user_cleared",
    )

    def __init__(self, id: bytes, now: float, request: Request, route: Route, *, secure: bool) -> None:  # noqa: A002
        self.id = id
        self.now = now
        self.request = request
        self.route = route
        self.secure = secure
        self.client_certificate: ClientCertificate | None = None  # of the TLS connection itself, never of a header
        self.response: Response | None = None
        self.identity_stripped = False  # no header that a client sent can be taken for one of ours any more
        self.stripped_headers = 0  # identity headers and trailers that the client sent and nobody saw
        self.legacy = False  # its token ends at the origin, which is sent no Passport; `rollout` decides, once
        self.shadow: Peeked | None = None  # then: who the edge would take the asker for, where that is to be compared
        # Inbound: what the authenticators found.
        self.user: UserIdentity | None = None
        self.device: DeviceIdentity | None = None
        self.token_kind = TokenKind.NONE
        self.presented: bytes = b""  # the token a renewal would be asked for
        self.resolution = _UNRESOLVED
        self.bad_token = ""  # the private reason why the token is bad, also where the route lets it pass as nobody's
        self.paired = False  # both halves of the cookie pair came, authentic and of one session
        self.renew_due = False  # still valid, but to be renewed beside the origin call
        self.expired = False  # authentic, but its life is over: the user is LOW until a renewal says otherwise
        self.expires_at = 0  # of a token that is expired, due or rescheduled: when it expires, in epoch seconds
        self.full_until = 0  # likewise: when the last full token expires or did
        self.rescheduled_count = 0  # how often its renewal could not be done, this time included
        self.renewal: Future[RenewedCookie] | None = None  # shared with other exchanges: never cancel it
        self.stand_in: StandIn | None = None  # the pair to give instead of one that could not be renewed
        self.user_cleared = False  # the token is void, definitively: clear what the device holds
        self.passport: bytes = b""
        # Outbound: what the actions of a returned Passport ask for.
        self.actions: list[str] = []  # by name; with what was refused, and what was done with tokens
        self.change: TokenChange | None = None  # what they come to
        # Why the edge answered itself, if it did; `reason_detail` is private: log and metrics only.
        self.reason = ""
        self.reason_detail = ""
        self.debug: str | None = None  # for a caller with the debug key: the filter that refused, or ""

    def __repr__(self) -> str:
        return f"Exchange({self.id.decode()}, {self.request!r}, {self.response!r}, {self.reason or 'no reason'})"
