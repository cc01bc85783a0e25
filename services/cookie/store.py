"""What the cookie service remembers: revocations, updates, which rescheduled tokens it has renewed, which are used up.

Every method raises DatabaseUnavailable. Times are epoch seconds; `clock` gives them.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict
from functools import partial
from operator import itemgetter
from pathlib import Path
from typing import Any, Final, TypedDict, TypeVar

from edgepb.cookie.v1 import cookie_service_pb2 as pb
from sqlalchemy import Connection, Delete, Row, TextClause, bindparam, delete, func, or_, orm, select, text, tuple_

from resilience.breaker import Breaker
from services.cookie.config import Revocations
from services.cookie.revocation import Known, Revocation, Revoked, Session, revoked_at, revoked_of
from services.cookie.session_update import NOTHING_SAID, SessionUpdate
from services.cookie.tables import RescheduledRenewalRow, RevocationRow, SessionUpdateRow
from services.kit.database_calls import DatabaseCalls, DatabaseUnavailable
from services.kit.together import Together

T = TypeVar("T")

MIGRATIONS: Final = Path(__file__).parent / "migrations"
MAX_PAGE: Final = 10_000
_PRUNED_AT_ONCE: Final = 1000
_MICROSECONDS: Final = 1_000_000

# Looked up together: as many customers times as many sessions are looked for in the index, some microseconds each.
_AT_ONCE: Final = 32

_row: Final = RevocationRow
_customer_id = _row.customer_id == bindparam("customer_id")
# Those of a session are found by it, all others by the empty one: either way few rows of one index.
REVOKED = (
    select(_row.customer_id, _row.kind, _row.session_id, _row.esn, _row.except_session_id, func.max(_row.revoked_at))
    .where(
        _row.customer_id.in_(bindparam("customer_ids", expanding=True)),
        _row.session_id.in_(bindparam("session_ids", expanding=True)),
    )
    .group_by(_row.customer_id, _row.kind, _row.session_id, _row.esn, _row.except_session_id)
)
_NEWEST_OF_CUSTOMER = select(func.max(_row.revoked_at)).where(_customer_id, _row.session_id == "")
_NEWEST_OF_DEVICE = _NEWEST_OF_CUSTOMER.where(or_(_row.kind == pb.CUSTOMER, _row.esn == bindparam("esn")))
_NEWEST_ID = select(func.coalesce(func.max(_row.id), 0))
_renewal: Final = RescheduledRenewalRow
_RENEWED = select(_renewal.session_id, _renewal.generation, _renewal.succeeded_at).where(
    _renewal.session_id.in_(bindparam("session_ids", expanding=True))
)
_REMEMBER = text(
    "INSERT INTO rescheduled_renewals (session_id, generation, renewed_at) VALUES (:session_id, :generation, :now) "
    "ON CONFLICT (session_id, generation) DO UPDATE SET renewed_at = :now"
)
_update: Final = SessionUpdateRow
_SAID = (
    _update.customer_id,
    _update.profile_id,
    _update.esn,
    _update.device_type,
    _update.level,
    _update.vouched_at,
)
_UPDATED = select(_update.session_id, *_SAID).where(_update.session_id.in_(bindparam("session_ids", expanding=True)))
# What several instances say at once of different things is all remembered; of one thing, what was said last.
_UPDATE = text(
    "INSERT INTO session_updates "
    "(session_id, customer_id, profile_id, esn, device_type, level, vouched_at, updated_at) "
    "VALUES (:session_id, :customer_id, :profile_id, :esn, :device_type, :level, :vouched_at, :now) "
    "ON CONFLICT (session_id) DO UPDATE SET "
    "customer_id = COALESCE(excluded.customer_id, session_updates.customer_id), "
    "profile_id = COALESCE(excluded.profile_id, session_updates.profile_id), "
    "esn = COALESCE(excluded.esn, session_updates.esn), "
    "device_type = COALESCE(excluded.device_type, session_updates.device_type), "
    "level = COALESCE(excluded.level, session_updates.level), "
    "vouched_at = COALESCE(excluded.vouched_at, session_updates.vouched_at), "
    "updated_at = excluded.updated_at"
)
# Whoever is first among several instances, and no other, says when that was.
_SUCCEED = text(
    "UPDATE rescheduled_renewals SET succeeded_at = :now "
    "WHERE session_id = :session_id AND generation < :generation AND succeeded_at IS NULL"
)


class _RenewalNow(TypedDict):
    """The parameters of what is remembered of a renewal."""

    session_id: str
    generation: int
    now: int


class Store:
    """The tables behind the answers. What a renewal waits for is waited for `check_timeout_s`, under the breaker."""

    def __init__(self, calls: DatabaseCalls, clock: Callable[[], float], config: Revocations, breaker: Breaker) -> None:
        self._calls = calls
        self._clock = clock
        self._config = config
        self._breaker = breaker
        # After an outage there are very many of either at once.
        self._look_up = Together(self._look_up_all, most=_AT_ONCE, at_once=2)
        self._remember = Together(partial(self._write_all, _REMEMBER), most=_AT_ONCE, at_once=1)
        self._succeed = Together(partial(self._write_all, _SUCCEED), most=_AT_ONCE, at_once=1)

    async def known(self, customer_id: int, session_id: str, esn: str) -> Known:
        """Return what is known of a session."""
        return await self._in_time(lambda: self._look_up(Session(customer_id, session_id, esn)))

    async def revoked(self, customer_id: int, session_id: str, esn: str) -> Revoked:
        """Return what is revoked of a session."""
        return (await self.known(customer_id, session_id, esn)).revoked

    async def revoke(self, request: pb.RevokeRequest, kind: pb.RevocationKind, by: str) -> pb.Revocation:
        """Store a revocation; `kind` is what `kind_of` says of it, `by` the identity that asked for it."""
        return await self._calls.exclusive(lambda session: self._revoke(session, request, kind, by))

    async def newest(self) -> int:
        """Return the id of the newest revocation, 0 for none."""
        return await self._calls.reading(_newest)

    async def page(self, after: int) -> pb.RevocationFeed:
        """Return the feed after a cursor: what there is now."""
        return await self._calls.reading(lambda connection: self._page(connection, after))

    async def remember_rescheduled_renewal(self, session_id: str, generation: int) -> None:
        """Remember that the rescheduled token of this session and generation was renewed now."""
        row = _RenewalNow(session_id=session_id, generation=generation, now=int(self._clock()))
        await self._in_time(lambda: self._remember(row))

    async def succeed_rescheduled_renewals(self, session_id: str, generation: int) -> None:
        """Remember that a token of this generation was presented now, of those before it that were renewed."""
        row = _RenewalNow(session_id=session_id, generation=generation, now=int(self._clock()))
        await self._in_time(lambda: self._succeed(row))

    async def remember_update(self, session_id: str, update: SessionUpdate) -> None:
        """Remember what an update said of a session, beside what others did."""
        row = {**asdict(update), "session_id": session_id, "now": int(self._clock())}
        await self._in_time(lambda: self._calls.writing(lambda connection: connection.execute(_UPDATE, row)))

    async def prune(self, rescheduled_keep_s: int, updates_keep_s: int) -> int:
        """Remove what is older than that, and what is too old of revocations; return how many rows that were."""
        now = int(self._clock())
        old = select(_row.id).where(_row.id < (now - self._config.keep_s) * _MICROSECONDS)
        key = tuple_(_renewal.session_id, _renewal.generation)
        before = now - rescheduled_keep_s
        # What is used up is remembered for as long from then on: forgotten, it would be renewed once more.
        succeeded = or_(_renewal.succeeded_at.is_(None), _renewal.succeeded_at < before)
        renewed = select(_renewal.session_id, _renewal.generation).where(_renewal.renewed_at < before, succeeded)
        updated = select(_update.session_id).where(_update.updated_at < now - updates_keep_s)
        removed = 0
        for some in (
            delete(_row).where(_row.id.in_(old.limit(_PRUNED_AT_ONCE))),
            delete(_renewal).where(key.in_(renewed.limit(_PRUNED_AT_ONCE))),
            delete(_update).where(_update.session_id.in_(updated.limit(_PRUNED_AT_ONCE))),
        ):
            removed += await self._removed(some)
        return removed

    async def _removed(self, some: Delete) -> int:
        # In steps, so that a revocation that is to be stored meanwhile does not wait for all of them.
        total, removed = 0, -1
        while removed:
            removed = await self._calls.writing(lambda connection: connection.execute(some).rowcount)
            total += removed
        return total

    async def _look_up_all(self, sessions: Sequence[Session]) -> list[Known]:
        customer_ids = [each.customer_id for each in sessions]
        session_ids = [each.session_id for each in sessions]
        wanted = {"customer_ids": customer_ids, "session_ids": ["", *session_ids]}
        revoked, renewed, updated = await self._calls.reading(
            lambda connection: (
                connection.execute(REVOKED, wanted).all(),
                connection.execute(_RENEWED, {"session_ids": session_ids}).all(),
                connection.execute(_UPDATED, {"session_ids": session_ids}).all(),
            )
        )
        of_customer: dict[int, list[Revocation]] = {}
        for row in revoked:
            of_customer.setdefault(row[0], []).append(Revocation(*row[1:]))
        of_session: dict[str, dict[int, int | None]] = {}
        for session_id, generation, succeeded_at in renewed:
            of_session.setdefault(session_id, {})[generation] = succeeded_at
        updates = {row[0]: SessionUpdate(*row[1:]) for row in updated}
        return [
            Known(
                revoked_of(each, of_customer.get(each.customer_id, ())),
                of_session.get(each.session_id, {}),
                updates.get(each.session_id, NOTHING_SAID),
            )
            for each in sessions
        ]

    async def _write_all(self, statement: TextClause, renewals: Sequence[_RenewalNow]) -> list[None]:
        # In one order everywhere, lest instances wait for each other's rows.
        ordered = sorted(renewals, key=itemgetter("session_id", "generation"))
        await self._calls.writing(lambda connection: connection.execute(statement, ordered))
        return [None] * len(renewals)

    def health(self) -> str:
        """Return whether renewals ask the database: `closed`, `open` or `half_open`."""
        return self._breaker.state.value

    async def _in_time(self, ask: Callable[[], Awaitable[T]]) -> T:
        permit = self._breaker.permit()
        if permit is None:
            raise DatabaseUnavailable("breaker open")
        try:
            with permit:
                async with asyncio.timeout(self._config.check_timeout_s):
                    return await ask()
        except TimeoutError:
            raise DatabaseUnavailable("timeout") from None

    def _revoke(
        self, session: orm.Session, request: pb.RevokeRequest, kind: pb.RevocationKind, by: str
    ) -> pb.Revocation:
        wanted = {"customer_id": request.customer_id, "esn": request.esn}
        newest = session.scalar(_NEWEST_OF_DEVICE if kind == pb.DEVICE else _NEWEST_OF_CUSTOMER, wanted)
        # Read once the transaction has begun, so that ids and times are in the order of the transactions.
        newest_id, now = _newest(session.connection()), self._clock()
        row = _row(
            id=max(int(now * _MICROSECONDS), newest_id + 1),
            kind=kind,
            reason=request.reason,
            customer_id=request.customer_id,
            session_id=request.session_id,
            esn=request.esn,
            except_session_id=request.except_session_id,
            revoked_at=revoked_at(newest or 0, now, self._config.margin_s, request.age_s),
            revoked_by=by,
        )
        session.add(row)
        return _message(row)

    def _page(self, connection: Connection, after: int) -> pb.RevocationFeed:
        newest = _newest(connection)
        # A cursor beyond the newest is of a database that was lost or restored since: begin at the beginning.
        known = after if after <= newest else 0
        oldest = int((self._clock() - self._config.feed_s) * _MICROSECONDS)
        found = select(_row.__table__).where(_row.id > max(known, oldest)).order_by(_row.id).limit(MAX_PAGE + 1)
        rows = connection.execute(found).all()
        page = [_message(row) for row in rows[:MAX_PAGE]]
        cursor = page[-1].id if page else known
        more = len(rows) > MAX_PAGE
        return pb.RevocationFeed(revocations=page, cursor=cursor, more=more, retention_s=self._config.feed_s)


def _newest(connection: Connection) -> int:
    return connection.execute(_NEWEST_ID).scalar_one()


def _message(row: RevocationRow | Row[Any]) -> pb.Revocation:
    return pb.Revocation(
        id=row.id,
        kind=pb.RevocationKind.Name(row.kind),
        customer_id=row.customer_id,
        session_id=row.session_id,
        esn=row.esn,
        except_session_id=row.except_session_id,
        revoked_at=row.revoked_at,
    )
