"""Devices that wait to be activated: a short code for a person to enter elsewhere, a secret to poll with.

After RFC 8628, section 6.1: eight of twenty consonants, so that no code reads two ways or spells a word. Everything is
held in memory, bounded, and for ten minutes at most.

An activation is *open* until its device has first been told whose it is, and *told* for a minute after that: the
session that the telling should begin may not come to be, or its cookies not arrive, and then the device asks again.
"""

import secrets
from collections import Counter, OrderedDict
from dataclasses import dataclass, field
from enum import Enum
from hashlib import sha256

LIFE_S = 600
POLL_AFTER_S = 5
REPEAT_S = 60
"""How long a device that was told may ask again: a service restarts in less, and a person still stands there."""
MAX_TELLINGS = 24
"""How often it is told. Each time may begin one more session of the same user on the same device: twice as many as a
device needs that keeps to `POLL_AFTER_S`."""
MAX_OPEN = 10_000
MAX_OF_CLIENT = 50
"""A client's share of `MAX_OPEN`: enough for all who are behind one address, and a two-hundredth of the whole."""
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


class NotBegun(Enum):
    """Why no activation was opened."""

    TOO_MANY_OF_CLIENT = "too_many_activations"
    TOO_MANY = "overloaded"


class Entered(Enum):
    """What became of a code that somebody entered."""

    DONE = "done"
    UNKNOWN_CODE = "unknown_code"
    TOO_MANY_GUESSES = "too_many_guesses"


class Waiting(Enum):
    """Why a poll activates no device."""

    PENDING = "pending"
    HAS_SESSION = "has_session"
    NOT_OPEN = "no_such_activation"


@dataclass(slots=True)
class _Activation:
    key: bytes
    client: str
    code: str
    expires_at: float
    by: Activator | None = None
    tellings: int = 0


@dataclass(slots=True)
class _Guesses:
    forgotten_at: float
    wrong: int = 0


class Activations:
    """Every `now` is of one monotonic clock, in seconds."""

    def __init__(
        self, max_open: int = MAX_OPEN, max_of_client: int = MAX_OF_CLIENT, max_guessers: int = _MAX_GUESSERS
    ) -> None:
        self._max_open = max_open
        self._max_of_client = max_of_client
        self._max_guessers = max_guessers
        # By the poll token's digest. Those that are open live equally long, so that those that end first come first; of
        # those that are told a few end earlier than their turn comes.
        self._open: OrderedDict[bytes, _Activation] = OrderedDict()
        self._told: OrderedDict[bytes, _Activation] = OrderedDict()
        self._by_code: dict[str, _Activation] = {}
        self._entered: dict[int, set[bytes]] = {}  # by customer
        self._of_client: Counter[str] = Counter()
        self._guesses: OrderedDict[int, _Guesses] = OrderedDict()

    def begin(self, client: str, now: float) -> Begun | NotBegun:
        """Open an activation for `client`, within its share. One more never ends another that is under way."""
        self._forget(now)
        if self._of_client[client] >= self._max_of_client:
            return NotBegun.TOO_MANY_OF_CLIENT
        if len(self._open) + len(self._told) >= self._max_open:
            return NotBegun.TOO_MANY
        code = _draw_code()
        while code in self._by_code:
            code = _draw_code()
        token = secrets.token_urlsafe(_TOKEN_BYTES)
        key = _digest(token)
        self._open[key] = self._by_code[code] = _Activation(key, client, code, now + LIFE_S)
        self._of_client[client] += 1
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
        self._entered.setdefault(by.customer_id, set()).add(opened.key)
        return Entered.DONE

    def poll(self, poll_token: str, now: float, signed_in: int | None = None) -> Activator | Waiting:
        """Return who has entered the code: again for `REPEAT_S` and `MAX_TELLINGS`, but not beyond the code's life.

        `signed_in` is the customer whose session the device shows to have. Where that is who it was told, it has what
        it polls for, and the activation is over.
        """
        self._forget(now)
        key = _digest(poll_token)
        activation = self._told.get(key) or self._open.get(key)
        if activation is None or activation.expires_at <= now or activation.tellings >= MAX_TELLINGS:
            return Waiting.NOT_OPEN
        if activation.by is None:
            return Waiting.PENDING
        if activation.tellings == 0:
            self._told[key] = self._open.pop(key)
            activation.expires_at = min(activation.expires_at, now + REPEAT_S)
        elif activation.by.customer_id == signed_in:
            self._end(self._told, key)
            return Waiting.HAS_SESSION
        activation.tellings += 1
        return activation.by

    def drop(self, customer_id: int) -> None:
        """End the activations that this user has entered the code of, told or not."""
        self._drop(customer_id, self._open)
        self._drop(customer_id, self._told)

    def drop_told(self, customer_id: int) -> None:
        """End those of this user whose device was told: it asks for the session no more, and gets it no more."""
        self._drop(customer_id, self._told)

    def _drop(self, customer_id: int, held: OrderedDict[bytes, _Activation]) -> None:
        for key in held.keys() & self._entered.get(customer_id, ()):
            self._end(held, key)

    def _end(self, held: OrderedDict[bytes, _Activation], key: bytes) -> None:
        ended = held.pop(key)
        if self._by_code.get(ended.code) is ended:  # else it was entered, and may have been drawn anew
            del self._by_code[ended.code]
        if ended.by is not None:
            self._entered[ended.by.customer_id].remove(key)
            if not self._entered[ended.by.customer_id]:
                del self._entered[ended.by.customer_id]
        self._of_client[ended.client] -= 1
        if not self._of_client[ended.client]:
            del self._of_client[ended.client]

    def _forget(self, now: float) -> None:
        for held in (self._open, self._told):
            while (key := next(iter(held), None)) is not None and held[key].expires_at <= now:
                self._end(held, key)
        while (user := next(iter(self._guesses), None)) is not None and self._guesses[user].forgotten_at <= now:
            del self._guesses[user]

    def __repr__(self) -> str:
        return f"Activations({len(self._open)} open, {len(self._told)} told)"


def _draw_code() -> str:
    return "".join(secrets.choice(_ALPHABET) for _ in range(2 * _HALF))


def _digest(poll_token: str) -> bytes:
    # Looked up by its digest: how long that takes tells nothing of the secret.
    return sha256(poll_token.encode()).digest()
