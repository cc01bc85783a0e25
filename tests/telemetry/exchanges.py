"""Exchanges as the relay would hand them over, for telemetry tests."""

from edge.contract.exchange import Exchange, Request
from edge.contract.headers import Headers
from edge.contract.identity import DeviceIdentity, Level, Source, UserIdentity
from edge.contract.route import AuthPolicy, Route
from edge.telemetry.finished import Alike, Finished
from edge.telemetry.metrics import WorkerMetrics

ROUTE = Route(
    id="browse",
    origin="api",
    auth=AuthPolicy(Level.LOW, Level.UNSPECIFIED),
    normalise_path=False,
    max_request_body_bytes=1024,
    request_timeout_s=1.0,
    response_head_timeout_s=1.0,
    idle_timeout_s=1.0,
)


def exchange(*, path: bytes = b"/browse", signed_in: bool = True) -> Exchange:
    """Return an exchange whose query, cookie and Passport hold words that must not be logged."""
    headers = Headers()
    headers.add(b"Cookie", b"EdgeId=sealed-canary")
    request = Request(b"GET", path + b"?ticket=query-canary", path, b"edge.test", headers, peer="192.0.2.7")
    made = Exchange(b"0123456789abcdef0123456789abcdef", 1_700_000_000.25, request, ROUTE, secure=True)
    made.presented = b"sealed-canary"
    made.passport = b"passport-canary"
    if signed_in:
        made.user = UserIdentity(Source.COOKIE, Level.HIGH, 70707070, 70707071, session_id="session-canary")
        made.device = DeviceIdentity(Source.COOKIE, Level.HIGH, "ESN-CANARY", 3)
        made.resolution = ("cookie", "valid", "local")
    return made


def alike(ended: Exchange) -> Alike:
    """Return what counts an exchange and its like."""
    return Finished(WorkerMetrics()).alike(ended, 200, "ok")
