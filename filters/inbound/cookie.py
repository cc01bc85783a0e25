"""Resolve the cookie pair into user and device: docs/tokens.md, "What a request gets".

Our cookies end here: they are taken off the request whatever they turn out to be.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import ClassVar, Final

from edge.contract.exchange import Exchange, TokenKind
from edge.contract.filters import CONTINUE, NOT_MINE, OnError, Refuse, Verdict
from edge.contract.headers import Field, Headers, make_field
from edge.contract.identity import DeviceIdentity, Level, Source, UserIdentity
from edge.contract.on_bad_token import OnBadToken
from edge.contract.ports import Revocations
from edge.contract.reasons import Reason
from filters.recent import Recent
from tokens.cookie import PURPOSE, SKEW_S, Claims, CookieNames, open_insecure, open_pair
from tokens.cookie_header import CookieScanner
from tokens.envelope import Refusal
from tokens.keys.ring import KeyRing, RingSource

_REMEMBERED_LINE_BYTES: Final = 1024
_FRESH: Final[tuple[str, ...]] = ("cookie", "ok", "local")
_EXPIRED: Final[tuple[str, ...]] = ("cookie", "expired", "local")
_REVOKED: Final[tuple[str, ...]] = ("cookie", "revoked", "local")
_RESCHEDULED: Final[tuple[str, ...]] = ("cookie", "rescheduled", "local")
_REFUSED: Final[tuple[str, ...]] = ("cookie", "refused", "local")


class _NothingRevoked:
    """Stands for no revocations at all."""

    revision: ClassVar[int] = 0

    def covers(self, customer_id: int, session_id: str, esn: str, vouched_at: int) -> bool:  # noqa: ARG002
        """Tell that it is not."""
        return False


NOTHING_REVOKED: Final = _NothingRevoked()


class Resolved:
    """What one presented token stands for. Before `settled_until` there is nothing to be said about its times."""

    __slots__ = (
        "device",
        "expires_at",
        "full_until",
        "not_before",
        "paired",
        "renew_after",
        "rescheduled_count",
        "revoked",
        "seen_revision",
        "settled_until",
        "user",
        "vouched_at",
    )

    def __init__(self, claims: Claims, *, paired: bool, trusted: bool) -> None:
        self.paired = paired
        self.user, self.device = identities(claims, high=trusted and paired)
        self.not_before = claims.issued_at - SKEW_S
        self.renew_after = claims.renew_after
        self.expires_at = claims.expires_at
        self.full_until = claims.full_until
        self.rescheduled_count = claims.rescheduled_count
        self.vouched_at = claims.vouched_at
        self.seen_revision = -1  # of the revocations, when they were last asked
        self.revoked = False
        self.settled_until = 0 if claims.rescheduled_count else self.renew_after

    def __repr__(self) -> str:
        return f"Resolved({self.user!r}, {self.device!r}, expires {self.expires_at})"


class _Line:
    """A `Cookie` line that was read before: what its token stands for, and what goes on to the origin."""

    __slots__ = ("kept", "presented", "resolved", "secure")

    def __init__(self, resolved: Resolved, presented: bytes, kept: Field | None, *, secure: bool) -> None:
        self.resolved = resolved
        self.presented = presented
        self.kept = kept
        self.secure = secure

    def __repr__(self) -> str:
        return f"_Line({self.resolved!r})"


class CookieFilter:
    """The authenticator of the cookie pair.

    Verified tokens are kept by their whole text and for one key ring; times are judged anew on every use, and what
    was refused is never kept. So are whole `Cookie` lines, for the device that sends the very line it sent before.
    """

    id: ClassVar[str] = "cookie"
    on_error: ClassVar[OnError] = OnError.CLOSED
    deadline_s: ClassVar[float] = 1.0
    concurrency: ClassVar[int] = 1

    def __init__(
        self,
        rings: RingSource,
        names: CookieNames,
        environment: str,
        cache_entries: int,
        *,
        revocations: Revocations | None = None,
        on_unknown_key: Callable[[], None] | None = None,
        keys_stale: Callable[[], bool] | None = None,
    ) -> None:
        """Make the filter.

        Args:
            rings: holds the newest key ring.
            names: the names of the two cookies.
            environment: the deployment whose tokens are accepted.
            cache_entries: the newest tokens kept verified; at most twice as many are held. 0 keeps none.
            revocations: what is revoked; None asks nobody.
            on_unknown_key: told when a token names a key that the ring lacks; may fetch a newer ring, not too often.
            keys_stale: tells whether there may be keys that the ring lacks, and good tokens under them; None: never.
        """
        self._rings = rings
        self._names = names
        self._environment = environment
        self._on_unknown_key = on_unknown_key
        self._keys_stale = keys_stale
        self._revocations: Revocations = NOTHING_REVOKED if revocations is None else revocations
        self._scanner = CookieScanner((names.insecure, names.secure))
        self._ring: KeyRing = rings.ring
        self._lines: Recent[bytes, _Line] = Recent(cache_entries)
        self._verified: Recent[tuple[bytes, bytes | None, bool], Resolved] = Recent(cache_entries)

    def inbound(self, exchange: Exchange) -> Verdict:
        """Resolve the token, or refuse it; a request without one is not this filter's."""
        fields = exchange.request.headers.fields
        for field in fields:
            if field[0] == b"cookie":
                break
        else:
            return NOT_MINE
        if self._rings.ring is not self._ring:
            self._ring = self._rings.ring
            self._verified.clear()
            self._lines.clear()
        known = self._lines.young.get(field[2])
        if known is None or known.secure is not exchange.secure or exchange.now < known.resolved.not_before:
            return self._read(exchange, fields)
        place = fields.index(field)
        for other in fields[place + 1 :]:
            if other[0] == b"cookie":
                return self._read(exchange, fields)
        if known.kept is None:
            del fields[place]
        else:
            fields[place] = known.kept
        exchange.presented = known.presented
        return self._settle(exchange, known.resolved)

    def _read(self, exchange: Exchange, fields: list[Field]) -> Verdict:
        """Scan `Cookie` lines that have not come just so before, and resolve what they hold."""
        places = [place for place, field in enumerate(fields) if field[0] == b"cookie"]
        values = [fields[place][2] for place in places]
        found, kept = self._scanner.scan(values)
        if kept != values:
            _put_back(fields, places, kept)
        if isinstance(found, Refusal):
            return self._refuse(exchange, found)
        insecure, secure = found
        if insecure is None:
            return NOT_MINE
        resolved = self._resolve(insecure, secure, exchange)
        if isinstance(resolved, Refusal):
            return self._refuse(exchange, resolved)
        if len(places) == 1 and len(values[0]) <= _REMEMBERED_LINE_BYTES:
            rest = fields[places[0]] if kept[0] else None
            self._lines.put(values[0], _Line(resolved, insecure, rest, secure=exchange.secure))
        exchange.presented = insecure
        return self._settle(exchange, resolved)

    def _settle(self, exchange: Exchange, resolved: Resolved) -> Verdict:
        """Put the identities on the exchange, as far as revocations and the token's times allow."""
        exchange.user = resolved.user
        exchange.device = resolved.device
        exchange.token_kind = TokenKind.COOKIE
        exchange.paired = resolved.paired
        exchange.resolution = _FRESH
        if resolved.seen_revision != self._revocations.revision:
            self._ask_whether_revoked(resolved)
        if resolved.revoked:
            exchange.user = None
            exchange.user_cleared = True
            exchange.resolution = _REVOKED
        elif exchange.now >= resolved.settled_until:
            _judge_times(exchange, resolved)
        return CONTINUE

    def _ask_whether_revoked(self, resolved: Resolved) -> None:
        """Find out once for each state of the revocations: a token that is kept is not asked about every time."""
        resolved.seen_revision = self._revocations.revision
        user, device = resolved.user, resolved.device
        if user is not None:
            esn = "" if device is None else device.esn
            resolved.revoked = self._revocations.covers(user.customer_id, user.session_id, esn, resolved.vouched_at)

    def named(self, exchange: Exchange) -> tuple[UserIdentity | None, DeviceIdentity | None]:
        """Return whom the `EdgeId` of a request names at level LOW, also when it is revoked or its other half is bad.

        Not for who may do what: for what must not change when a token ceases to count. Changes nothing.
        """
        values = [field[2] for field in exchange.request.headers.fields if field[0] == b"cookie"]
        found, _ = self._scanner.scan(values)
        if isinstance(found, Refusal) or found[0] is None:
            return None, None
        claims = open_insecure(self._rings.ring, self._names, self._environment, found[0], exchange.now)
        return (None, None) if isinstance(claims, Refusal) else identities(claims, high=False)

    def trailers(self, exchange: Exchange, trailers: Headers) -> None:  # noqa: ARG002
        """Take cookies out of the request's trailers: nothing that identifies comes that late."""
        trailers.remove(b"cookie")

    def _resolve(self, insecure: bytes, secure: bytes | None, exchange: Exchange) -> Resolved | Refusal:
        """Return what the token stands for, from the kept ones or by opening it."""
        ring = self._ring
        key = (insecure, secure, exchange.secure)
        known = self._verified.young.get(key) or self._verified.get(key)
        if known is not None and exchange.now >= known.not_before:
            return known
        opened = self._open(ring, insecure, secure, exchange)
        if isinstance(opened, Resolved):
            self._verified.put(key, opened)
        return opened

    def _open(self, ring: KeyRing, insecure: bytes, secure: bytes | None, exchange: Exchange) -> Resolved | Refusal:
        if secure is None:
            claims = open_insecure(ring, self._names, self._environment, insecure, exchange.now)
        else:
            claims = open_pair(ring, self._names, self._environment, (insecure, secure), exchange.now)
        if isinstance(claims, Refusal):
            return claims
        return Resolved(claims, paired=secure is not None, trusted=exchange.secure)

    def _refuse(self, exchange: Exchange, refusal: Refusal) -> Verdict:
        """Refuse a bad token, or leave the request anonymous where the route says so."""
        if refusal is Refusal.UNKNOWN_KEY:
            if self._on_unknown_key is not None:
                self._on_unknown_key()
            if not self._ring.has_keys(PURPOSE):
                return Refuse(503, Reason.KEYS_UNAVAILABLE, refusal)
            if self._keys_stale is not None and self._keys_stale():
                return _not_checked(exchange)
        return refuse_token(exchange, refusal)


def refuse_token(exchange: Exchange, detail: str) -> Verdict:
    """Refuse a token that is recognised but bad, or go on with nobody where the route wants that.

    `detail` is private; without a refusal it is left on the exchange for the log.
    """
    exchange.user = exchange.device = None
    exchange.token_kind = TokenKind.COOKIE
    exchange.resolution = _REFUSED
    exchange.bad_token = detail
    if exchange.route.auth.on_bad_token is OnBadToken.ANONYMOUS:
        exchange.reason_detail = detail
        return CONTINUE
    return Refuse(401, Reason.TOKEN_REFUSED, detail)


def _not_checked(exchange: Exchange) -> Verdict:
    """Let nobody be asked to sign in again for a token that newer keys than ours may well open.

    Only where the route asks for nobody and takes bad tokens for nobody's does the request go on.
    """
    policy = exchange.route.auth
    if policy.on_bad_token is OnBadToken.ANONYMOUS and not policy.user and not policy.device:
        return refuse_token(exchange, Reason.KEYS_STALE.value)
    return Refuse(503, Reason.KEYS_STALE, Refusal.UNKNOWN_KEY)


def identities(claims: Claims, *, high: bool) -> tuple[UserIdentity | None, DeviceIdentity | None]:
    """Return who the claims name; `high` says that both halves came, over a transport that can be trusted."""
    source, level = (
        (Source.COOKIE, max(Level.LOW, min(Level.HIGH, Level(claims.level))))
        if high
        else (Source.COOKIE_INSECURE, Level.LOW)
    )
    user = device = None
    if claims.customer_id:
        user = UserIdentity(
            source,
            level,
            claims.customer_id,
            claims.account_owner_id,
            claims.profile_id,
            claims.session_id,
            rescheduled=claims.rescheduled_count > 0,
        )
    if claims.esn:
        device = DeviceIdentity(source, level, claims.esn, claims.device_type)
    return user, device


def at_low(
    user: UserIdentity | None, device: DeviceIdentity | None
) -> tuple[UserIdentity | None, DeviceIdentity | None]:
    """Return the same user and device at level LOW."""
    return (
        user and replace(user, level=Level.LOW),
        device and replace(device, level=Level.LOW),
    )


def _judge_times(exchange: Exchange, resolved: Resolved) -> None:
    """Say of a token that is expired, due or rescheduled what follows from that."""
    exchange.expires_at = resolved.expires_at
    exchange.full_until = resolved.full_until
    exchange.rescheduled_count = resolved.rescheduled_count
    if exchange.now >= resolved.expires_at or exchange.now < resolved.not_before:
        exchange.expired = True
        exchange.user, exchange.device = at_low(resolved.user, resolved.device)
        exchange.resolution = _EXPIRED
        return
    exchange.renew_due = exchange.now >= resolved.renew_after
    if resolved.rescheduled_count:
        exchange.resolution = _RESCHEDULED
        if is_stale(exchange):
            exchange.user, exchange.device = at_low(resolved.user, resolved.device)


def is_stale(exchange: Exchange) -> bool:
    """Tell whether the last full token expired longer ago than the route allows for more than level LOW."""
    return exchange.now - exchange.full_until > exchange.route.auth.max_staleness_s


def _put_back(fields: list[Field], places: list[int], kept: list[bytes]) -> None:
    """Replace the `Cookie` fields at `places` by what is kept of them; what is empty goes."""
    for place, value in zip(reversed(places), reversed(kept), strict=True):
        if value:
            fields[place] = make_field(fields[place][1][: len(b"cookie")], value)
        else:
            del fields[place]
