"""An ordered header list of bytes, as every part of the edge sees it."""

from collections.abc import Iterator


class Headers:
    """Header fields in the order they came; names compare without case.

    `fields` holds `(lower, name, value)`: the lower-case name for comparing, the name as it is written on the
    wire, and the value without surrounding white space. Code on the fast path reads `fields` directly.
    """

    __slots__ = ("fields",)

    def __init__(self, fields: list[tuple[bytes, bytes, bytes]] | None = None) -> None:
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
        """Append a field; `name` is written as given."""
        self.fields.append((name.lower(), name, value))

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
        return ((name, value) for _, name, value in self.fields)

    def __len__(self) -> int:
        return len(self.fields)

    def __repr__(self) -> str:
        """Names only: values may be secrets."""
        return f"Headers({', '.join(name.decode('latin-1') for _, name, _ in self.fields)})"
