"""One address of an origin, as one worker knows it."""

from edge.control.values import Address
from edge.net.upstream import Peer, Upstream
from edge.upstream.ejection import Record, Standing


class Endpoint(Peer):
    """An address with its idle connections (used last in, first out), its load and its standing."""

    __slots__ = (
        "address",
        "connecting",
        "healthy",
        "idle",
        "in_flight",
        "known",
        "opened",
        "probe",
        "record",
        "share",
        "since",
        "standing",
        "until",
        "weight",
    )

    def __init__(self, address: Address, since: float, weight: float = 1.0) -> None:
        super().__init__(address.host, address.port)
        self.address = address
        self.idle: list[Upstream] = []
        self.opened = 0  # connections that are open
        self.connecting = 0
        self.in_flight = 0  # requests, and connects on the way
        self.weight = weight  # while it warms up
        self.share = weight  # of its turns that it takes: its weight, less for errors and for being slow
        self.record = Record()
        self.standing = Standing.ACTIVE
        self.since = since  # when it came into rotation, or was last excused
        self.until = 0.0  # when its ejection ends
        self.probe: Upstream | None = None  # carries the one request that decides on its return
        self.healthy = True  # as active health checks say
        self.known = True  # still an address of the origin

    def __repr__(self) -> str:
        return f"Endpoint({self.address}, {self.standing}, {self.in_flight} in flight, {len(self.idle)} idle)"
