"""The Passport of one exchange as it changes, on its way through a chain of services.

A service that changes a Passport appends its actions. So of two Passports of one exchange that one is older whose
actions are the beginning of the other's; and one that continues neither way was built on an older one, too.
docs/for_service_owners.md, "Call other services".
"""

from binascii import b2a_base64
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from enum import StrEnum
from typing import Final, NamedTuple

from passport.identity import Part
from passport.integrity import split_envelope
from passport.introspector import PassportIntrospector, decode_base64
from passport.refusals import PassportRefusal, PassportRefused


class Adoption(StrEnum):
    """What came of a Passport that a called service returned. All but ADOPTED changes nothing."""

    ADOPTED = "adopted"
    SAME = "same"
    STALE = "stale"
    REFUSED = "refused"  # no Passport, not of this exchange, or not verified where it has to be


Verify = Callable[[bytes], PassportIntrospector]
"""Returns a serialised Passport, verified; raises PassportRefused."""


class _Newest(NamedTuple):
    raw: bytes
    header: bytes
    user_info: bytes
    device_info: bytes
    user_actions: tuple[int, ...]
    device_actions: tuple[int, ...]

    def __repr__(self) -> str:
        return f"_Newest({len(self.raw)} bytes)"


class ExchangePassport:
    """The Passport of one exchange: the one that came, until a service that was called returns a newer one.

    `received` is the one that came. `passport` is the newest one that is verified; `header_value` the newest of all,
    for the next service and for the response. Without `verify` returned Passports are passed on, and not believed here.
    """

    __slots__ = ("_newest", "_on_returned", "_verify", "is_changed", "is_verified", "passport", "received", "stale")

    def __init__(
        self,
        received: PassportIntrospector,
        verify: Verify | None = None,
        on_returned: Callable[[Adoption], None] | None = None,
    ) -> None:
        """Begin with the verified Passport of the request; `on_returned` hears what came of each returned one."""
        self.received: Final = received
        self.passport = received
        self.is_changed = False
        self.is_verified = True  # the newest one
        self.stale = 0
        self._verify = verify
        self._on_returned = on_returned
        self._newest: _Newest | None = None  # made when it is first asked for: most requests never do

    @property
    def raw(self) -> bytes:
        """The newest Passport, serialised."""
        return self.received.received if self._newest is None else self._newest.raw

    @property
    def header_value(self) -> str:
        """The newest Passport as an `X-Passport` value: for calls, and for the response if `is_changed`."""
        return b2a_base64(self.raw, newline=False).decode("ascii")

    def adopt(self, returned: str | bytes) -> Adoption:
        """Take the `X-Passport` value that a called service returned, if it is newer than what is known."""
        try:
            raw = decode_base64(returned)
        except PassportRefused:
            return self._noted(Adoption.REFUSED)
        return self.adopt_bytes(raw)

    def adopt_bytes(self, returned: bytes) -> Adoption:
        """Take a serialised Passport as `adopt` does."""
        if returned == self.raw:
            return self._noted(Adoption.SAME)
        try:
            newest = _read(returned)[1]
            known = self._known()
            if newest.header != known.header:
                return self._noted(Adoption.REFUSED)
            if not _continues(newest, known):
                self.stale += 1
                return self._noted(Adoption.STALE)
            if _changed_silently(newest, known):
                return self._noted(Adoption.REFUSED)
            if self._verify is not None:
                self.passport = self._verify(returned)
        except PassportRefused:
            return self._noted(Adoption.REFUSED)
        self._newest, self.is_changed, self.is_verified = newest, True, self._verify is not None
        return self._noted(Adoption.ADOPTED)

    def adopt_all(self, returned: Sequence[str | bytes]) -> Adoption | None:
        """Take what a response brought in its `X-Passport` headers: none is no news, two are refused."""
        if not returned:
            return None
        return self.adopt(returned[0]) if len(returned) == 1 else self._noted(Adoption.REFUSED)

    def adopt_all_bytes(self, returned: Sequence[bytes]) -> Adoption | None:
        """Take what a response brought in its `passport-bin` metadata, as `adopt_all` does."""
        if not returned:
            return None
        return self.adopt_bytes(returned[0]) if len(returned) == 1 else self._noted(Adoption.REFUSED)

    @property
    def verified(self) -> bytes:
        """The newest Passport, serialised, to be changed: who signs it answers for all that it says.

        Raises PassportRefused (`key_purpose`) when it was adopted without being verified.
        """
        if not self.is_verified:
            raise PassportRefused(PassportRefusal.KEY_PURPOSE)
        return self.raw

    def replace(self, raw: bytes) -> None:
        """Go on with a Passport that this service has made of `verified` itself: for `PassportMutator`."""
        self.passport, self._newest = _read(raw)
        self.is_changed = True

    def _known(self) -> _Newest:
        if self._newest is None:
            self._newest = _read(self.received.received)[1]
        return self._newest

    def _noted(self, adoption: Adoption) -> Adoption:
        if self._on_returned is not None:
            self._on_returned(adoption)
        return adoption

    def __repr__(self) -> str:
        return f"ExchangePassport({self.received!r}, changed {self.is_changed}, stale {self.stale})"


_CURRENT: Final[ContextVar[ExchangePassport | None]] = ContextVar("passport_exchange", default=None)


def serving() -> ExchangePassport | None:
    """Return the exchange that this task or thread serves, or None."""
    return _CURRENT.get()


def current_exchange() -> ExchangePassport:
    """Return the exchange that this task or thread serves; raise LookupError where there is none."""
    exchange = _CURRENT.get()
    if exchange is None:
        raise LookupError("no request with a Passport is being served here: is the middleware in its way?")
    return exchange


def serve(exchange: ExchangePassport | None) -> None:
    """Say which exchange this task or thread serves from now on; None: one without a Passport. For adapters."""
    _CURRENT.set(exchange)


def _read(raw: bytes) -> tuple[PassportIntrospector, _Newest]:
    envelope = split_envelope(raw)
    parsed = PassportIntrospector.from_verified(raw, envelope)
    numbers = parsed.action_numbers
    user, device = numbers(Part.USER), numbers(Part.DEVICE)
    return parsed, _Newest(raw, envelope.header, envelope.user_info, envelope.device_info, user, device)


def _changed_silently(newer: _Newest, older: _Newest) -> bool:
    """Tell whether a part differs though no action was added to it: the signer of one part may not change the other."""
    return (newer.user_info != older.user_info and newer.user_actions == older.user_actions) or (
        newer.device_info != older.device_info and newer.device_actions == older.device_actions
    )


def _continues(newer: _Newest, older: _Newest) -> bool:
    """Tell whether one has all actions of the other, and more after them."""
    user, device = len(older.user_actions), len(older.device_actions)
    return (
        newer.user_actions[:user] == older.user_actions
        and newer.device_actions[:device] == older.device_actions
        and (len(newer.user_actions), len(newer.device_actions)) != (user, device)
    )
