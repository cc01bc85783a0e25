"""Where the dials stand, and why: what the journal says, line by line, on top of what is shipped. Pure."""

from collections import deque
from collections.abc import Collection, Iterable, Mapping
from copy import deepcopy
from dataclasses import replace
from datetime import datetime
from difflib import get_close_matches
from itertools import count
from typing import Final

from edge.contract.dials import Feature, parse_percent
from edge.control.dial_change import MAX_WHY_CHARACTERS, Change, Refusal, Refused, Wish
from edge.control.dial_names import NO_PERCENTAGE, SHIPPED_DIALS, DialName, FileDials, type_numbers

REMEMBERED: Final = 1_000
"""Changes that are told without reading the journal again."""
_THE_FILE: Final = "dials.yaml"
_WHY_POSITION: Final = "the file says so"
_WHY_GONE: Final = "the file no longer names it"
_WHY_SALT: Final = "the file has another salt"


class DialBook:
    """The state that changes add up to. The file's own positions are remembered, to tell when the file has changed."""

    def __init__(self, changes: Iterable[Change] = ()) -> None:
        self.revision = 0
        self.last: dict[DialName, Change] = {}
        self.history: deque[Change] = deque(maxlen=REMEMBERED)
        self._positions = dict(SHIPPED_DIALS.positions)
        self._salts = dict(SHIPPED_DIALS.salts)
        self._file_said = dict(SHIPPED_DIALS.positions)
        for change in changes:
            self.enter(change)

    @property
    def dials(self) -> FileDials:
        """Return positions and salts as they are now."""
        return FileDials(dict(self._positions), dict(self._salts))

    def enter(self, change: Change) -> None:
        """Take a change that the journal holds. Raises ValueError when its revision is not the next one."""
        if change.revision != self.revision + 1:
            raise ValueError(f"revision {change.revision} follows {self.revision}: a line is missing, or was put in")
        self.revision = change.revision
        self.history.append(change)
        if change.salt is not None:
            self._salts[change.dial.feature] = change.salt
            return
        self.last[change.dial] = change
        _put(self._positions, change.dial, change.after)
        if change.how == "file":
            _put(self._file_said, change.dial, change.after)

    def with_(self, changes: Iterable[Change]) -> "DialBook":
        """Return another book, with `changes` entered."""
        book = deepcopy(self)
        for change in changes:
            book.enter(change)
        return book

    def by_file(self, file: FileDials, now: datetime) -> list[Change]:
        """Return the changes that the file makes: where it says something else than it did last time."""
        revisions = count(self.revision + 1)
        made = Change(0, now, _THE_FILE, "file", _WHY_POSITION, DialName(Feature.TERMINATE_COOKIE))
        changes: list[Change] = []
        for dial in sorted({*file.positions, *self._file_said}, key=str):
            after = file.positions.get(dial)
            if after != self._file_said.get(dial):
                why = _WHY_GONE if after is None else _WHY_POSITION
                before = self._positions.get(dial)
                changes.append(replace(made, revision=next(revisions), why=why, dial=dial, before=before, after=after))
        for feature, salt in sorted(file.salts.items()):
            if salt != self._salts[feature]:
                dial = DialName(feature)
                changes.append(replace(made, revision=next(revisions), why=_WHY_SALT, dial=dial, salt=salt))
        return changes

    def judge(
        self, wish: Wish, now: datetime, origins: Collection[str], device_types: Mapping[int, str]
    ) -> Change | Refused:
        """Return the change that a wish comes to, not entered yet, or why it is not granted."""
        if wish.feature not in set(Feature):
            return _unknown(Refusal.UNKNOWN_FEATURE, "feature", wish.feature, set(Feature))
        dial = DialName(Feature(wish.feature), wish.origin, wish.device_type)
        known = dial in self._positions  # also where the configuration has dropped its origin or device type
        if dial.origin is not None and dial.origin not in origins and not known:
            return _unknown(Refusal.UNKNOWN_ORIGIN, "origin", dial.origin, origins)
        types = type_numbers(device_types)
        if dial.device_type is not None and dial.device_type not in types and not known:
            return _unknown(Refusal.UNKNOWN_DEVICE_TYPE, "device type", dial.device_type, types)
        after = None if wish.percent is None else parse_percent(wish.percent)
        if after is None and wish.percent is not None:
            return Refused(Refusal.BAD_PERCENT, f"the percentage {NO_PERCENTAGE}")
        if not (0 < len(wish.why) <= MAX_WHY_CHARACTERS and wish.why.isprintable() and not wish.why.isspace()):
            return Refused(
                Refusal.BAD_REASON, f"a reason is needed: 1 to {MAX_WHY_CHARACTERS} printable characters, on one line"
            )
        if after is None and not known:
            return Refused(Refusal.NOT_SET, f"{dial} has no position of its own")
        if after is None and dial == (dial.feature, None, None):
            return Refused(Refusal.NOT_SET, f"the default of {dial} cannot be unset: there is nothing less specific")
        if wish.revision is not None and wish.revision != self.revision:
            text = f"dials have moved on to revision {self.revision} from {wish.revision}: look again"
            return Refused(Refusal.MOVED_ON, text)
        before = self._positions.get(dial)
        return Change(self.revision + 1, now, wish.who, wish.how, wish.why, dial, before=before, after=after)


def _put(positions: dict[DialName, int], dial: DialName, at: int | None) -> None:
    if at is None:
        positions.pop(dial, None)
    else:
        positions[dial] = at


def _unknown(refusal: Refusal, what: str, name: str, known: Collection[str]) -> Refused:
    close = get_close_matches(name[:100], known, n=1)
    hint = f"did you mean {close[0]}?" if close else f"known are {', '.join(sorted(known))}"
    return Refused(refusal, f"there is no {what} {name[:100]!a}: {hint}")
