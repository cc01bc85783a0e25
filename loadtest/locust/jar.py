"""The edge's cookies as one device keeps them."""

from collections.abc import Iterable
from dataclasses import dataclass

OURS = ("EdgeId", "SecureEdgeId")


@dataclass(slots=True, frozen=True)
class Taken:
    """What an answer did to the edge's cookies of a device: `given` new values, or `cleared` them."""

    given: bool = False
    cleared: bool = False


class Jar:
    """Keeps the cookies of these names, and no others; a device that has no place for one drops it."""

    def __init__(self, keeps: Iterable[str]) -> None:
        self._keeps = frozenset(keeps)
        self._values: dict[str, str] = {}

    def __repr__(self) -> str:
        return f"Jar({', '.join(self._values) or 'empty'})"

    def __bool__(self) -> bool:
        return bool(self._values)

    @property
    def full(self) -> bool:
        """Whether it holds all that it keeps."""
        return self._values.keys() == self._keeps

    @property
    def header(self) -> str:
        """The value of the `Cookie` header."""
        return "; ".join(f"{name}={value}" for name, value in self._values.items())

    def empty(self) -> None:
        """Forget everything."""
        self._values.clear()

    def take(self, lines: Iterable[str]) -> Taken:
        """Take the `Set-Cookie` lines of one answer, in their order."""
        given = cleared = False
        for line in lines:
            pair, _, attributes = line.partition(";")
            name, _, value = pair.strip().partition("=")
            gone = not value or any(one.strip().lower() == "max-age=0" for one in attributes.split(";"))
            if name in OURS:
                given, cleared = given or not gone, cleared or gone
            if gone:
                self._values.pop(name, None)
            elif name in self._keeps:
                self._values[name] = value
        return Taken(given, cleared)
