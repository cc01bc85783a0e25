"""rollout: whether this device's token ends here, or at an origin that still takes it. docs/rollout.md.

Decided once for an exchange and kept on it: nothing else reads the dials (THREATS F8). The bucket is that of the
device which an authentic token names, or else of the client's address: no header is asked (THREATS H17). Who cannot
be known, for want of a key, is served the old way wherever any device may be: the origin may have the key.
"""

from collections.abc import Collection
from typing import ClassVar, Final, Protocol

from edge.contract.dials import Dials, DialTable, Feature
from edge.contract.exchange import Exchange, Request
from edge.contract.filters import CONTINUE, LEGACY, Continue, Legacy, OnError, Refuse, Verdict
from edge.contract.identity import DeviceIdentity, Peeked, UserIdentity
from edge.contract.reasons import Reason
from edge.contract.rollout import Rollout
from filters.renewals import Renewals

_UNKNOWN_TYPE: Final = 0
_LEGACY: Final[tuple[str, ...]] = ("none", "legacy", "none")  # a resolution that was not the edge's to make
_UNAVAILABLE: Final = 503


class Authenticator(Protocol):
    """The filter of the tokens that are rolled out."""

    def inbound(self, exchange: Exchange) -> Verdict:
        """Say who is asking, or refuse; it is given an exchange that nobody else sees."""
        ...

    def named(self, exchange: Exchange) -> tuple[UserIdentity | None, DeviceIdentity | None]:
        """Return whom the request's token names, if it is authentic, though it may not count. Changes nothing."""
        ...


class RolloutFilter:
    """Reads the dials of the cookie for origins that accept legacy traffic; for others the edge ends every token."""

    id: ClassVar[str] = "rollout"
    on_error: ClassVar[OnError] = OnError.CLOSED
    deadline_s: ClassVar[float] = 1.0
    concurrency: ClassVar[int] = 1

    def __init__(
        self,
        dials: Dials,
        authenticator: Authenticator,
        device_types: Collection[int],
        rollout: Rollout,
        renewals: Renewals,
    ) -> None:
        """Types that are not among `device_types` count as the unknown one; `rollout` is told what was decided.

        `renewals` knows which tokens were found revoked when they were to be renewed.
        """
        self._dials = dials
        self._authenticator = authenticator
        self._device_types = frozenset(device_types)
        self._rollout = rollout
        self._renewals = renewals

    def inbound(self, exchange: Exchange) -> Continue | Legacy:
        """Go on with the chain, or end it here for a device that is not rolled out yet."""
        if not exchange.route.accepts_legacy:
            return CONTINUE
        table = self._dials.table
        if table.fully_on(Feature.TERMINATE_COOKIE):
            return CONTINUE
        return self._decide(exchange, table)

    def _decide(self, exchange: Exchange, table: DialTable) -> Continue | Legacy:
        aside = _aside(exchange)
        lacks_keys = _lacks_keys(self._authenticator.inbound(aside), aside)
        # What a token is worth does not move its device.
        place = self._place(aside.user, aside.device) or self._place(*self._authenticator.named(exchange))
        device_type, key = place or (_UNKNOWN_TYPE, exchange.request.peer.encode())
        if place is None and lacks_keys:
            on = table.fully_on_at(Feature.TERMINATE_COOKIE, exchange.route.origin)
            self._rollout.decided(Feature.TERMINATE_COOKIE, device_type, on=on)
        else:
            on = self._is_on(table, Feature.TERMINATE_COOKIE, exchange, device_type, key)
        if on:
            return CONTINUE
        exchange.legacy = True
        exchange.resolution = _LEGACY
        if self._is_on(table, Feature.SHADOW_COOKIE, exchange, device_type, key):
            exchange.shadow = self._peeked(aside, lacks_keys=lacks_keys)
        return LEGACY

    def _peeked(self, aside: Exchange, *, lacks_keys: bool) -> Peeked:
        kind, renewals = aside.token_kind.value, self._renewals
        if renewals.any_revoked and renewals.is_revoked(aside.presented):
            return Peeked(None, aside.device, kind, settled=True)
        return Peeked(aside.user, aside.device, kind, settled=not aside.expired and not lacks_keys)

    def _is_on(self, table: DialTable, feature: Feature, exchange: Exchange, device_type: int, key: bytes) -> bool:
        on = table.is_on(feature, exchange.route.origin, device_type, key)
        self._rollout.decided(feature, device_type, on=on)
        return on

    def _place(self, user: UserIdentity | None, device: DeviceIdentity | None) -> tuple[int, bytes] | None:
        """Return the type and key of whom a token names. Who has no serial number keeps its place for a session."""
        if device is not None and device.esn:
            known = device.device_type in self._device_types
            return device.device_type if known else _UNKNOWN_TYPE, device.esn.encode("utf-8", "surrogatepass")
        if user is not None and user.session_id:
            return _UNKNOWN_TYPE, user.session_id.encode("utf-8", "surrogatepass")
        return None


def _aside(exchange: Exchange) -> Exchange:
    """Return an exchange with the same request: what is found out there, or taken off, stays there."""
    asked = exchange.request
    request = Request(asked.method, asked.target, asked.path, asked.host, asked.headers.copy())
    return Exchange(exchange.id, exchange.now, request, exchange.route, secure=exchange.secure)


def _lacks_keys(verdict: Verdict, aside: Exchange) -> bool:
    """Tell whether the token may well be good, under a key that is not here."""
    return aside.bad_token == Reason.KEYS_STALE or (isinstance(verdict, Refuse) and verdict.status == _UNAVAILABLE)
