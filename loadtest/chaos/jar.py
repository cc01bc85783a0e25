"""The cookies of one device, as a browser keeps them, and what all devices were given."""

from collections.abc import Iterable
from pathlib import Path

JARS = ".jars"  # at the end of the name of a client's log


class Jar:
    """A device's cookies. `field` is the header field it sends, `version` counts how often it was given cookies.

    `given` has what it got: when (monotonic seconds), the version, and the value of its first cookie.
    """

    def __init__(self, device: int, field: bytes) -> None:
        self.device = device
        self.field = field
        self.version = 0
        pairs = field.partition(b": ")[2].split(b"; ")
        self._values = dict(pair.split(b"=", 1) for pair in pairs if b"=" in pair)
        self.given: list[tuple[float, int, bytes]] = [(0.0, 0, next(iter(self._values.values()), b""))]

    def take(self, fields: Iterable[bytes], now: float) -> None:
        """Take what one answer's `Set-Cookie` fields set or clear."""
        for one in fields:
            pair, _, attributes = one.partition(b";")
            name, _, value = pair.partition(b"=")
            if b"max-age=0" in attributes.lower():
                self._values.pop(name, None)
            else:
                self._values[name] = value
        self.version += 1
        self.field = b"Cookie: " + b"; ".join(b"%s=%s" % pair for pair in self._values.items())
        if not self._values:
            self.field = b""
        self.given.append((now, self.version, next(iter(self._values.values()), b"")))


def write_jars(file: Path, jars: Iterable[Jar]) -> None:
    """Write what the devices were given, for the owner of the file alone: there are tokens in it."""
    file.touch(mode=0o600)
    lines = [
        f"{jar.device}\t{version}\t{at:.6f}\t{value.decode('ascii', 'replace')}\n"
        for jar in jars
        for at, version, value in jar.given
    ]
    file.write_text("".join(lines))
