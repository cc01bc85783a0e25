"""What a device connection asks of the parties around it."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from edge.contract.headers import Headers
from edge.http1.errors import BadRequestError
from edge.http1.limits import HeadLimits
from edge.http1.request import RequestHead

if TYPE_CHECKING:
    from edge.net.downstream import Downstream


class Arrival:
    """Stands for a connection that is not made yet. Compiled classes have no weak references; this has."""

    __slots__ = ("__weakref__",)


class StreamHandler(Protocol):
    """Takes one request and answers it through the connection it came on."""

    def start(self) -> None:
        """Begin; the connection calls it once, right after the head."""
        ...

    def request_body(self, piece: bytes) -> None:
        """Take a piece of the body."""
        ...

    def request_end(self, trailers: Headers | None) -> None:
        """Take the end of a request that has a body."""
        ...

    def request_broken(self, error: BadRequestError) -> None:
        """The body's framing is invalid: nothing more can be read."""
        ...

    def client_gone(self) -> None:
        """The connection is lost."""
        ...

    def client_full(self) -> None:
        """The device reads slower than it is written to."""
        ...

    def client_drained(self) -> None:
        """The device has caught up."""
        ...

    def sweep(self, now: float) -> None:
        """Look at deadlines; `now` is the loop's clock."""
        ...


class Worker(Protocol):
    """What a connection needs of the worker it belongs to."""

    limits: HeadLimits
    head_read_s: float
    keep_alive_idle_s: float
    idle_s: float
    rate_window_s: float
    min_response_bytes_per_s: int
    write_buffer_bytes: int
    draining: bool
    clock: Callable[[], float]
    connections: set["Downstream"]

    @property
    def rejecting(self) -> bool:
        """Whether `reject` is to be asked before anything is read."""
        ...

    def admit(self, connection: "Downstream", peername: object, session: object) -> bool:
        """Name the peer of a new connection, by its TLS session too, if it has one; return whether it may stay."""
        ...

    def forget(self, connection: "Downstream") -> None:
        """Let go of a connection that is closed."""
        ...

    def idled(self, connection: "Downstream") -> None:
        """Take note of a connection that has begun to be idle: `idle_at` is now."""
        ...

    def open(self, connection: "Downstream", head: RequestHead) -> StreamHandler:
        """Return a handler for a request."""
        ...

    def reject(self, connection: "Downstream", data: bytes) -> bytes:
        """Return the answer to what came, if it is one request that is shed; else nothing."""
        ...

    def soon(self, callback: Callable[[], None]) -> None:
        """Call back once other connections have had their turn."""
        ...

    def dropped(self, why: str) -> None:
        """Take note of a connection that the edge gave up."""
        ...

    def refuse(self, connection: "Downstream", error: BadRequestError) -> None:
        """Answer something that is not a request, and close."""
        ...
