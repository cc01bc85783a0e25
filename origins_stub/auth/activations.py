"""Devices that wait to be activated: a short code for a person to enter elsewhere, a secret to poll with.

After RFC 8628, section 6.1: eight of twenty consonants, so that no code reads two ways or spells a word. Everything is
held in memory, bounded, and for ten minutes at most.
"""

import secrets
from collections import OrderedDict
from dataclasses import dataclass, field
from enum import Enum
from hashlib import sha256

LIFE_S = 600
POLL_AFTER_S = 5
MAX_OPEN = 10_000
MAX_WRONG_CODES = 10
"""How often a user may be wrong in `LIFE_S`. Where a hundred codes are open, one guess in 256 million is right."""
_MAX_GUESSERS = 10_000
_ALPHABET = "BCDFGHJKLMNPQRSTVWXZ"
_HALF = 4
_TOKEN_BYTES = 16


@dataclass(slots=True, frozen=True)
class Begun:
    """What a device gets: the code to show, and the secret to poll with."""

    code: str = field(repr=False)
    poll_token: str = field(repr=False)


@dataclass(slots=True, frozen=True)
class Activator:
    """Whose device it becomes."""

    customer_id: int
    account_owner_id: int


class Entered(Enum):
    """What became of a code that somebody entered."""

    DONE = "done"
    UNKNOWN_CODE = "unknown_code"
    TOO_MANY_GUESSES = "too_many_guesses"


class Waiting(Enum):
    """Why a device is not activated by a poll."""

    PENDING = "pending"
    NOT_OPEN = "no_such_activation"


@dataclass(slots=True)
class _Open:
    code: str
    expires_at: float
    by: Activator | None = None


@dataclass(slots=True)
class _Guesses:
    forgotten_at: float
    wrong: int = 0


class Activations:
    """Every `now` is of one monotonic clock, in seconds."""

    def __init__(self, max_open: int = MAX_OPEN, max_guessers: int = _MAX_GUESSERS) -> None:
        self._max_open = max_open
        self._max_guessers = max_guessers
        # All live equally long, so that those that end first come first.
        self._by_token: OrderedDict[bytes, _Open] = OrderedDict()
        self._by_code: dict[str, _Open] = {}
        self._guesses: OrderedDict[int, _Guesses] = OrderedDict()

    def begin(self, now: float) -> Begun | None:
        """Open an activation; None when too many are open."""
        self._forget(now)
        if len(self._by_token) >= self._max_open:
            return None
        code = _draw_code()
        while code in self._by_code:
            code = _draw_code()
        token = secrets.token_urlsafe(_TOKEN_BYTES)
        self._by_token[_digest(token)] = self._by_code[code] = _Open(code, now + LIFE_S)
        return Begun(f"{code[:_HALF]}-{code[_HALF:]}", token)

    def enter(self, code: str, by: Activator, now: float) -> Entered:
        """Let the device that shows `code` become that of `by`. Case, blanks and hyphens do not count."""
        self._forget(now)
        guesses = self._guesses.get(by.customer_id)
        if guesses is None and len(self._guesses) >= self._max_guessers:
            return Entered.TOO_MANY_GUESSES
        if guesses is not None and guesses.wrong >= MAX_WRONG_CODES:
            return Entered.TOO_MANY_GUESSES
        opened = self._by_code.pop(code.upper().replace("-", "").replace(" ", ""), None)
        if opened is None:
            self._guesses.setdefault(by.customer_id, _Guesses(now + LIFE_S)).wrong += 1
            return Entered.UNKNOWN_CODE
        opened.by = by
        return Entered.DONE

    def poll(self, poll_token: str, now: float) -> Activator | Waiting:
        """Return who has entered the code, once; the activation is then over."""
        self._forget(now)
        key = _digest(poll_token)
        opened = self._by_token.get(key)
        if opened is None:
            return Waiting.NOT_OPEN
        if opened.by is None:
            return Waiting.PENDING
        del self._by_token[key]
        return opened.by

    def drop(self, customer_id: int) -> None:
        """End the activations that this user has entered the code of, and whose device has not polled since."""
        for key, opened in list(self._by_token.items()):
            if opened.by is not None and opened.by.customer_id == customer_id:
                del self._by_token[key]

    def _forget(self, now: float) -> None:
        while (key := next(iter(self._by_token), None)) is not None and self._by_token[key].expires_at <= now:
            self._by_code.pop(self._by_token.pop(key).code, None)
        while (user := next(iter(self._guesses), None)) is not None and self._guesses[user].forgotten_at <= now:
            del self._guesses[user]

    def __repr__(self) -> str:
        return f"Activations({len(self._by_token)} open)"


def _draw_code() -> str:
    return "".join(secrets.choice(_ALPHABET) for _ in range(2 * _HALF))


def _digest(poll_token: str) -> bytes:
    # Looked up by its digest: how long that takes tells nothing of the secret.
    return sha256(poll_token.encode()).digest()
