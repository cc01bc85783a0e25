"""Finds secrets in what a process lets out: any sixteen characters in a row of a secret, in the usual encodings."""

import base64
from collections.abc import Iterable

WINDOW = 16


class Canaries:
    """The secrets that must not come out, each with the name to report it by."""

    def __init__(self) -> None:
        self._windows: dict[bytes, str] = {}

    def add(self, name: str, secret: bytes | str) -> None:
        """Add a secret text; AssertionError when it is too short to be told from chance."""
        text = secret.encode() if isinstance(secret, str) else secret
        assert len(text) >= WINDOW, f"{name} is too short"
        for start in range(len(text) - WINDOW + 1):
            self._windows.setdefault(text[start : start + WINDOW], name)

    def add_bytes(self, name: str, secret: bytes) -> None:
        """Add secret bytes: as they are, in hex, in both base64 alphabets, and as Python shows them."""
        for text in (secret, secret.hex(), secret.hex().upper(), repr(secret)[2:-1]):
            self.add(name, text)
        self.add(name, base64.b64encode(secret))
        self.add(name, base64.urlsafe_b64encode(secret))

    def found_in(self, texts: Iterable[bytes]) -> set[str]:
        """Return the names of all secrets of which a window stands in one of `texts`."""
        return {
            self._windows[window]
            for text in texts
            for window in {text[start : start + WINDOW] for start in range(len(text) - WINDOW + 1)}
            if window in self._windows
        }
