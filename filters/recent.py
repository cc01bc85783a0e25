"""A bounded map that keeps what was used of late."""

from typing import Generic, TypeVar

Key = TypeVar("Key")
Value = TypeVar("Value")


class Recent(Generic[Key, Value]):
    """Two generations of at most `size` entries each; `size` may be changed, and counts from the next entry on.

    When the young one is full it becomes the old one, and what the old one held is forgotten; a look-up in the old
    one brings the entry back. So the newest `size` entries are always there, never more than twice as many, and
    nothing is ever searched for what to evict.
    """

    __slots__ = ("_old", "size", "young")

    def __init__(self, size: int) -> None:
        self.size = size
        self.young: dict[Key, Value] = {}  # read directly on the fast path
        self._old: dict[Key, Value] = {}

    def get(self, key: Key) -> Value | None:
        """Return the value of `key`, or None."""
        value = self.young.get(key)
        if value is None:
            value = self._old.pop(key, None)
            if value is not None:
                self.put(key, value)
        return value

    def put(self, key: Key, value: Value) -> None:
        """Keep `value`."""
        if len(self.young) >= self.size:
            self._old, self.young = self.young, {}
        if self.size:
            self.young[key] = value

    def clear(self) -> None:
        """Forget everything."""
        self.young, self._old = {}, {}

    def __len__(self) -> int:
        return len(self.young) + len(self._old)

    def __repr__(self) -> str:
        """Sizes only: keys may be secrets."""
        return f"Recent({len(self)} of at most {2 * self.size})"
