"""An ordered header list of bytes, as every part of the edge sees it."""

from collections.abc import Iterator
from typing import Final, TypeAlias

DEBUG: Final = b"x-edge-debug"
"""Of a request: the debug key. Of a response to whoever showed it: why the edge answers itself."""

Field: TypeAlias = tuple[bytes, bytes, bytes]
"""`(lower, line, value)`: the lower-case name for comparing, the whole line for the wire with its CRLF, the value."""


def make_field(name: bytes, value: bytes) -> Field:
    """Return a field; `name` is written as given. Raises ValueError for a value that would end its line."""
    if b"\n" in value or b"\r" in value:
        raise ValueError("a field value with a line break")
    return name.lower(), name + b": " + value + b"\r\n", value


class Headers:
    """Header fields in the order they came; names compare without case.

    Code on the fast path reads `fields` directly. A field is never changed: `make_field` makes another.
    """

    __slots__ = ("fields",)

    def __init__(self, fields: list[Field] | None = None) -> None:
        self.fields = [] if fields is None else fields

    def get(self, name: bytes) -> bytes | None:
        """Return the first value of `name` (lower-case), or None."""
        for lower, _, value in self.fields:
            if lower == name:
                return value
        return None

    def get_all(self, name: bytes) -> list[bytes]:
        """Return every value of `name` (lower-case), in order."""
        return [value for lower, _, value in self.fields if lower == name]

    def add(self, name: bytes, value: bytes) -> None:
        """Append a field; `name` is written as given. Raises ValueError for a value with a line break."""
        self.fields.append(make_field(name, value))

    def set(self, name: bytes, value: bytes) -> None:
        """Replace every field of that name by one at the end."""
        self.remove(name.lower())
        self.add(name, value)

    def remove(self, name: bytes) -> int:
        """Remove every field of `name` (lower-case); return how many there were."""
        kept = [field for field in self.fields if field[0] != name]
        removed = len(self.fields) - len(kept)
        if removed:
            self.fields = kept
        return removed

    def copy(self) -> "Headers":
        """Return a list that can be changed apart from this one."""
        return Headers(list(self.fields))

    def __contains__(self, name: bytes) -> bool:
        return any(field[0] == name for field in self.fields)

    def __iter__(self) -> Iterator[tuple[bytes, bytes]]:
        """Yield names as they are written, and values."""
        return ((line[: len(lower)], value) for lower, line, value in self.fields)

    def __len__(self) -> int:
        return len(self.fields)

    def __repr__(self) -> str:
        """Names only: values may be secrets."""
        return f"Headers({', '.join(name.decode('latin-1') for name, _ in self)})"
