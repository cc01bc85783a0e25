"""Our cookies in `Cookie` header values: found by bytes, taken out, everybody else's left as it came.

`http.cookies` throws all cookies away when one of them is malformed, which would sign a user out for a third party's
cookie. Here a value is cut at every `;` and each piece judged alone: no quotes, no `$Version`, no decoding. The rules
for duplicates and look-alikes are in docs/tokens.md, "Reading the Cookie header".
"""

import re
from collections.abc import Sequence
from typing import Final, NamedTuple

from tokens.envelope import Refusal

_OTHERS: Final = -1
_LOOKALIKE: Final = -2
_BLANK: Final = b" \t"
_KNOWN_NAMES: Final = 1024
_KNOWN_NAME_BYTES: Final = 64
# What lenient parsers trim off a name: `EdgeId =`, `"EdgeId"=`, no-break spaces.
_FRINGE: Final = re.compile(rb"\A[^A-Za-z0-9_-]+|[^A-Za-z0-9_-]+\Z")


class Scan(NamedTuple):
    """What one request's `Cookie` values hold. The repr shows no values.

    `found` has the value of each wanted name in the order asked for, None where it is missing, or is
    `Refusal.DUPLICATE` when one name came with two different values. `kept` holds, for each header value, what
    goes on to the origin: byte for byte without our pieces, empty when nothing is left.
    """

    found: list[bytes | None] | Refusal
    kept: list[bytes]

    def __repr__(self) -> str:
        return f"Scan({self.found if isinstance(self.found, Refusal) else len(self.found)}, {len(self.kept)} values)"


class CookieScanner:
    """Finds the cookies of the given names, case-sensitive ASCII."""

    __slots__ = ("_kinds", "_lower", "_names")

    def __init__(self, names: Sequence[str]) -> None:
        self._names = [name.encode("ascii") for name in names]
        self._lower = {name.lower() for name in self._names}
        # Raw names as they were cut, blanks included, and what they are; most requests only ever see known ones.
        self._kinds: dict[bytes, int] = {}

    def scan(self, values: Sequence[bytes]) -> Scan:
        """Find and take out our cookies in the values of all `Cookie` lines of one request, in order."""
        found: list[bytes | None] = [None] * len(self._names)
        duplicate = False
        kept = []
        for value in values:
            pieces = value.split(b";")
            others = []
            for piece in pieces:
                name, equals, text = piece.partition(b"=")
                kind = self._kinds.get(name) or self._learn(name)
                if kind == _OTHERS:
                    others.append(piece)
                elif kind > 0 and equals:
                    text = text.strip(_BLANK)
                    duplicate = duplicate or found[kind - 1] not in (None, text)
                    found[kind - 1] = text
            kept.append(value if len(others) == len(pieces) else b";".join(others).strip(_BLANK))
        return Scan(Refusal.DUPLICATE if duplicate else found, kept)

    def _learn(self, raw: bytes) -> int:
        """Classify a name once: the position of ours from 1, a look-alike of ours, or somebody else's."""
        name = raw.lstrip(_BLANK)
        if name in self._names:
            kind = self._names.index(name) + 1
        else:
            kind = _LOOKALIKE if _FRINGE.sub(b"", raw).lower() in self._lower else _OTHERS
        if len(self._kinds) < _KNOWN_NAMES and len(raw) <= _KNOWN_NAME_BYTES:
            self._kinds[raw] = kind
        return kind
