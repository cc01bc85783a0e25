"""A device for the demo: speaks HTTP/1.1 to the edge, keeps cookies, and never shows one whole."""

import http.client
import json
from dataclasses import dataclass, field
from urllib.parse import SplitResult

TIMEOUT_S = 15.0
_SHOWN = 8


@dataclass(slots=True, frozen=True)
class Sent:
    """A request as the device sent it; header values may hold cookies, so the repr shows none."""

    method: str
    target: str
    headers: list[tuple[str, str]] = field(repr=False)
    body: object = field(default=None, repr=False)


@dataclass(slots=True, frozen=True)
class Received:
    """A response as the device got it."""

    status: int
    headers: list[tuple[str, str]] = field(repr=False)
    body: bytes = field(repr=False)

    def values(self, name: str) -> list[str]:
        """Return every value of a header, by its lower-case name."""
        return [value for key, value in self.headers if key.lower() == name]

    @property
    def json(self) -> "Json":
        """The body as JSON; an empty document when it is none."""
        try:
            document: object = json.loads(self.body)
        except ValueError:
            return Json({})
        return Json(document if isinstance(document, dict) else {})

    @property
    def reason(self) -> str:
        """The stable reason id of an error page, or the empty text."""
        return self.json.text("reason")


@dataclass(slots=True, frozen=True)
class Json:
    """A JSON object, read by dotted paths such as `passport.user.level`."""

    document: dict[str, object]

    def at(self, path: str) -> object:
        """Return what stands at `path`, or None."""
        place: object = self.document
        for key in path.split("."):
            place = place.get(key) if isinstance(place, dict) else None
        return place

    def text(self, path: str) -> str:
        """Return the text at `path`, or the empty text."""
        place = self.at(path)
        return place if isinstance(place, str) else ""

    def pairs(self, path: str) -> list[tuple[str, str]]:
        """Return the list of name and value pairs at `path`."""
        place = self.at(path)
        if not isinstance(place, list):
            return []
        return [(str(pair[0]), str(pair[1])) for pair in place if isinstance(pair, list) and len(pair) == 2]


class Device:
    """One device and its cookies, in the order in which they were set."""

    def __init__(self, edge: SplitResult) -> None:
        self._edge = edge
        self.cookies: dict[str, str] = {}

    def __repr__(self) -> str:
        return f"Device({self._edge.netloc}, {', '.join(self.cookies) or 'no cookies'})"

    def another(self) -> "Device":
        """Return a device of the same edge, without cookies."""
        return Device(self._edge)

    def send(
        self,
        method: str,
        target: str,
        *,
        body: object = None,
        headers: list[tuple[str, str]] | None = None,
        cookies: dict[str, str] | None = None,
    ) -> tuple[Sent, Received]:
        """Send one request, with `cookies` instead of the kept ones if given, and keep what the response sets."""
        jar = self.cookies if cookies is None else cookies
        lines = [("Accept", "application/json"), *(headers or [])]
        if jar:
            lines.append(("Cookie", "; ".join(f"{name}={value}" for name, value in jar.items())))
        sent = Sent(method, target, lines, body)
        received = self._exchange(sent)
        for line in received.values("set-cookie"):
            self._keep(line)
        return sent, received

    def _exchange(self, sent: Sent) -> Received:
        kind = http.client.HTTPSConnection if self._edge.scheme == "https" else http.client.HTTPConnection
        connection = kind(self._edge.hostname or "127.0.0.1", self._edge.port, timeout=TIMEOUT_S)
        try:
            connection.putrequest(sent.method, sent.target, skip_accept_encoding=True)
            for name, value in sent.headers:
                connection.putheader(name, value)
            payload = b"" if sent.body is None else json.dumps(sent.body).encode()
            if sent.method == "POST":
                connection.putheader("Content-Type", "application/json")
                connection.putheader("Content-Length", str(len(payload)))
            connection.endheaders(payload or None)
            response = connection.getresponse()
            return Received(response.status, response.getheaders(), response.read())
        finally:
            connection.close()

    def _keep(self, line: str) -> None:
        pair, *attributes = (piece.strip() for piece in line.split(";"))
        name, _, value = pair.partition("=")
        gone = any(attribute.lower() == "max-age=0" for attribute in attributes)
        if gone or not value:
            self.cookies.pop(name, None)
        else:
            self.cookies[name] = value


def shorten(value: str) -> str:
    """Return the first characters of a secret and its length."""
    return value if len(value) <= _SHOWN else f"{value[:_SHOWN]}… ({len(value)} characters)"


def shorten_cookies(line: str) -> str:
    """Shorten every value of a `Cookie` line, or the first of a `Set-Cookie` line with all its attributes kept."""
    pieces = []
    for piece in line.split("; "):
        name, equals, value = piece.partition("=")
        keep = not equals or name.lower() in {"path", "max-age", "expires", "samesite", "domain"}
        pieces.append(piece if keep else f"{name}={shorten(value)}")
    return "; ".join(pieces)
