"""passport_actions: takes the returned Passport off the response, and reads what it asks for.

A refused action is noted in `exchange.actions` as `refused:<reason>` and changes nothing; the response goes on.
"""

from typing import ClassVar, Final, Protocol

from edge.contract.exchange import Exchange, Response
from edge.contract.filters import CONTINUE, Continue, OnError
from edge.contract.identity import Level, Source, UserIdentity
from passport import PassportIntrospector, PassportKeys, PassportRefusal, UserAction
from passport.returned import Accepted, Grants, RefusedAction, check_returned

_NAMES: Final = frozenset({b"x-passport", b"passport-bin"})


class PassportKeySource(Protocol):
    """Whoever keeps the keys up to date; None until there are any."""

    @property
    def passport_keys(self) -> PassportKeys | None:
        """The keys of this moment."""
        ...


class PassportActionsFilter:
    """Turns an accepted action into `exchange.signed_in` or `exchange.user_cleared`."""

    id: ClassVar[str] = "passport_actions"
    on_error: ClassVar[OnError] = OnError.CLOSED
    deadline_s: ClassVar[float] = 1.0
    concurrency: ClassVar[int] = 1

    def __init__(self, source: PassportKeySource, grants: Grants) -> None:
        """Check actions against `grants` (key purpose to grant) with the keys of `source`."""
        self._source = source
        self._grants = grants

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
            note = self._act(exchange, response, values)
            if note:
                exchange.actions.append(note)
        return CONTINUE

    def _act(self, exchange: Exchange, response: Response, values: list[bytes]) -> str:
        """Act on the returned Passport; return what to note, empty when nothing was asked for."""
        keys = self._source.passport_keys
        if len(values) > 1:
            return f"refused:{PassportRefusal.REPEATED}"
        if keys is None or not exchange.passport:
            return "refused:not_expected"
        outcome = check_returned(exchange.passport, values[0], keys, self._grants, now=exchange.now)
        if isinstance(outcome, RefusedAction):
            return f"refused:{outcome.reason}"
        if not isinstance(outcome, Accepted):
            return ""
        # A failed response has done nothing that a token could stand for, and a 304 repeats an older answer.
        if response.status >= 500 or response.status == 304:
            return "refused:response_status"
        if outcome.action is UserAction.USER_LOGIN:
            exchange.signed_in = _user(outcome.passport)
        else:
            exchange.user_cleared = True
        return outcome.action.name


def _user(passport: PassportIntrospector) -> UserIdentity:
    customer_id = passport.customer_id or 0
    return UserIdentity(
        source=Source(passport.user_source),
        level=Level(passport.user_level),
        customer_id=customer_id,
        account_owner_id=passport.account_owner_id or customer_id,
        profile_id=passport.profile_id or "",
        session_id=passport.session_id or "",
    )
