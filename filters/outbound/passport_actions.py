"""passport_actions: takes the returned Passport off the response, and reads what it asks for.

Actions are noted in `exchange.actions`. What is refused is noted there as `refused:<reason>` and changes nothing; the
response goes on.
"""

from collections.abc import Callable
from typing import ClassVar, Final, Protocol

from edge.contract.change import Revoked, TokenChange, TokenEffect
from edge.contract.exchange import Exchange, Response, TokenKind
from edge.contract.filters import CONTINUE, Continue, OnError
from edge.contract.identity import DeviceIdentity, Level, Source, UserIdentity
from passport import Part, PassportIntrospector, PassportKeys, PassportRefusal
from passport.effects import Revokes
from passport.returned import Accepted, Grants, RefusedAction, check_returned

_NAMES: Final = frozenset({b"x-passport", b"passport-bin"})
# A failed response has done nothing that a token could stand for, a 304 repeats an older answer, and after a 101 the
# connection is not HTTP any more.
_FIRST_FAILURE: Final = 500
_NOTHING_DONE: Final = frozenset({101, 304})


class PassportKeySource(Protocol):
    """Whoever keeps the keys up to date; None until there are any."""

    @property
    def passport_keys(self) -> PassportKeys | None:
        """The keys of this moment."""
        ...


class PassportActionsFilter:
    """Turns the accepted actions into `exchange.change`."""

    id: ClassVar[str] = "passport_actions"
    on_error: ClassVar[OnError] = OnError.CLOSED
    deadline_s: ClassVar[float] = 1.0
    concurrency: ClassVar[int] = 1

    def __init__(
        self, source: PassportKeySource, grants: Grants, returned: Callable[[str], None] | None = None
    ) -> None:
        """Check actions against `grants` (key purpose to grant) with the keys of `source`.

        `returned` is told of each returned Passport: `accepted`, `nothing_asked` or `refused`.
        """
        self._source = source
        self._grants = grants
        self._returned = returned

    def outbound(self, exchange: Exchange) -> Continue:
        """Remove every Passport from the response; act on it if there is exactly one and an origin sent it."""
        response = exchange.response
        if response is None:
            return CONTINUE
        for field in response.headers.fields:
            if field[0] in _NAMES:
                break
        else:
            return CONTINUE
        values = response.headers.get_all(b"x-passport")
        for name in _NAMES:
            response.headers.remove(name)
        if not response.local and values:
            noted = self._act(exchange, response, values)
            if self._returned is not None:
                self._returned(_result(noted))
            exchange.actions += noted
        return CONTINUE

    def _act(self, exchange: Exchange, response: Response, values: list[bytes]) -> list[str]:
        """Act on the returned Passport; return what to note, nothing when nothing was asked for."""
        keys = self._source.passport_keys
        if len(values) > 1:
            return [f"refused:{PassportRefusal.REPEATED}"]
        if keys is None or not exchange.passport:
            return ["refused:not_expected"]
        outcome = check_returned(exchange.passport, values[0], keys, self._grants, now=exchange.now)
        if isinstance(outcome, RefusedAction):
            return [f"refused:{outcome.reason}"]
        if not isinstance(outcome, Accepted):
            return []
        if response.status >= _FIRST_FAILURE or response.status in _NOTHING_DONE:
            return ["refused:response_status"]
        exchange.change = _change(outcome, exchange.token_kind)
        return [entry.name for entry in outcome.actions]


def _result(noted: list[str]) -> str:
    if not noted:
        return "nothing_asked"
    return "refused" if noted[0].startswith("refused:") else "accepted"


def _change(accepted: Accepted, kind: TokenKind) -> TokenChange:
    """Return what accepted actions come to for a device that speaks one kind of token; without one it gets cookies."""
    spoken = (TokenKind.COOKIE if kind is TokenKind.NONE else kind).value
    actions, passport = accepted.actions, accepted.passport
    return TokenChange(
        effect=TokenEffect(max(entry.effect_on(spoken) for entry in actions)),
        user=_user(passport),
        device=_device(passport) if any(entry.part is Part.DEVICE for entry in actions) else None,
        revoked=frozenset(Revoked(entry.revokes) for entry in actions if entry.revokes is not Revokes.NONE),
    )


def _device(passport: PassportIntrospector) -> DeviceIdentity | None:
    if passport.esn is None:
        return None
    return DeviceIdentity(
        source=Source(passport.device_source),
        level=Level(passport.device_level),
        esn=passport.esn,
        device_type=passport.device_type or 0,
    )


def _user(passport: PassportIntrospector) -> UserIdentity | None:
    customer_id = passport.customer_id
    if customer_id is None:
        return None
    return UserIdentity(
        source=Source(passport.user_source),
        level=Level(passport.user_level),
        customer_id=customer_id,
        account_owner_id=passport.account_owner_id or customer_id,
        profile_id=passport.profile_id or "",
        session_id=passport.session_id or "",
    )
