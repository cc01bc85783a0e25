"""The sealed store: key versions, their revision, holders and the audit log in one database.

Every call is one exclusive transaction that is on the disk when the call returns: a killed service has lost nothing it
answered for, a change comes with its row in the audit log or not at all, and a revision never comes with the versions
of another, however many instances share the database. Calls block: the server makes them on a thread of their own, one
at a time.
"""

import os
import secrets
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from services.kit.database import Database
from services.kms import holders
from services.kms.access import Access, Action, Caller, Outcome
from services.kms.audit import AuditLog, Check, Entry, Place, log_entry
from services.kms.config import Rotation
from services.kms.holders import Holder, Report, lagging
from services.kms.metrics import Standings
from services.kms.rotation import Standing, Version, Wait, due, obstacle
from services.kms.sealing import Sealer
from services.kms.states import State, may_move
from services.kms.tables import HolderRow, RevisionRow, VersionRow

MATERIAL_LENGTH = 32
MIGRATIONS: Final = Path(__file__).parent / "migrations"
_AT_START: Final = Caller("(start)", "")
_BY_AGE: Final = Caller("(rotation)", "")


@dataclass(slots=True, frozen=True)
class Patience:
    """How long a holder counts as alive after it was seen, and how long a key must be unused before it is destroyed."""

    live_s: int = 300
    unused_s: int = 86_400


@dataclass(slots=True, frozen=True, repr=False)
class OpenVersion:
    """A key version with its material; that is empty once destroyed."""

    version: Version
    material: bytes


@dataclass(slots=True, frozen=True)
class Listing:
    """All that an operator sees: what stands where, and who is alive."""

    revision: int
    standings: Sequence[Standing]
    holders: Sequence[Holder]


@dataclass(slots=True, frozen=True)
class Moved:
    """How a move ended. `standing` is None for no such key; the version's state is the new one if it was granted."""

    outcome: Outcome
    standing: Standing | None = None


class _Work:
    """A transaction, and the rows of the audit log that it has appended."""

    __slots__ = ("_audit", "entries", "session")

    def __init__(self, session: Session, audit: AuditLog) -> None:
        self.session = session
        self.entries: list[Entry] = []
        self._audit = audit

    def record(self, access: Access) -> None:
        self.entries += self._audit.append(self.session, access)


class Store:
    """The key versions, their holders and the audit log."""

    def __init__(
        self, database: Database, sealer: Sealer, max_rows: int, now: float, patience: Patience = Patience()
    ) -> None:
        """Bring the schema up to date. `now` is epoch seconds, the first revision of a new store."""
        self._sealer = sealer
        self._audit = AuditLog(sealer.audit_code, max_rows)
        self._patience = patience
        self._database = database
        self._unerased = False
        self.accesses: Counter[tuple[str, str]] = Counter()  # rows of the audit log, by action and outcome
        upgrade(database)
        with self._database.exclusive() as session:
            if session.get(RevisionRow, 1) is None:
                # Not from 1: whoever remembers the revision of a lost store must see that this is another one.
                session.add(RevisionRow(id=1, revision=int(now)))

    def check(self) -> None:
        """Open every version once, and begin the audit log of a new store.

        Raises Unsealable when a version was sealed under another master key.
        """
        with self._database.exclusive() as session:
            for row in session.scalars(select(VersionRow)):
                self._opened(row)
            self._audit.begin(session)

    def ensure_primaries(self, purposes: Sequence[str], now: float) -> list[Version]:
        """Give each key set that has no primary a new active one; return those."""
        with self._working() as work:
            have = set(work.session.scalars(select(VersionRow.purpose).where(VersionRow.is_primary)))
            return [
                self._add(work, _AT_START, purpose, State.ACTIVE, now) for purpose in purposes if purpose not in have
            ]

    def open_versions(self, purposes: Sequence[str]) -> tuple[list[OpenVersion], int]:
        """Return all versions of `purposes` with their material, oldest first, and the revision."""
        with self._database.exclusive() as session:
            return [self._opened(row) for row in _rows(session, purposes)], _revision(session).revision

    def fetch(
        self, caller: Caller, purposes: Sequence[str], report: Report, now: float
    ) -> tuple[list[OpenVersion], int]:
        """Return what `open_versions` does to a caller that has the grants, and take down its report."""
        with self._working() as work:
            work.record(caller.access(now, Action.GET_KEY_SETS, ",".join(purposes), Outcome.GRANTED))
            holders.note(work.session, caller.identity, purposes, report, int(now))
            return [self._opened(row) for row in _rows(work.session, purposes)], _revision(work.session).revision

    def listing(self, caller: Caller, purposes: Sequence[str], now: float) -> Listing:
        """Return all versions of `purposes`, oldest first, and the holders that are alive."""
        with self._working() as work:
            work.record(caller.access(now, Action.LIST_VERSIONS, "", Outcome.GRANTED))
            live = holders.holders(work.session, int(now), self._patience.live_s)
            standings = self._standings(work.session, purposes, live)
            return Listing(_revision(work.session).revision, standings, live)

    def add_version(self, caller: Caller, purpose: str, now: float) -> Version:
        """Add a version that is distributed but not used yet."""
        with self._working() as work:
            return self._add(work, caller, purpose, State.PRE_ACTIVE, now)

    def move(self, caller: Caller, key_id: int, wanted: State, now: float, *, force: bool = False) -> Moved:
        """Move a version to another state, if that is legal and, unless forced, harms no holder.

        Activating makes it the primary of its set and deactivates the one before.
        """
        with self._working() as work:
            row = work.session.get(VersionRow, key_id)
            moved = Moved(Outcome.NO_SUCH_KEY)
            if row is not None:
                moved = self._moved(work.session, row, wanted, int(now), force=force)
            forced = " forced" if force else ""
            work.record(caller.access(now, Action.MOVE_VERSION, f"{key_id:08x} {wanted}{forced}", moved.outcome))
        self.erase_traces()
        return moved

    def rotate(self, policies: Mapping[str, Rotation], now: float) -> list[Wait]:
        """Make the moves that are due by age and harm no holder; return those that must wait."""
        with self._working() as work:
            live = holders.holders(work.session, int(now), self._patience.live_s)
            waits = [
                wait for purpose, policy in policies.items() for wait in self._rotate(work, purpose, policy, live, now)
            ]
        self.erase_traces()
        return waits

    def record(self, access: Access) -> None:
        """Append to the audit log; the oldest rows beyond its limit are dropped."""
        with self._working() as work:
            work.record(access)

    def newest_entries(self, caller: Caller, before: int, limit: int, now: float) -> list[Entry]:
        """Return the newest rows of the audit log whose id is less than `before`, newest first."""
        with self._working() as work:
            found = self._audit.newest(work.session, before, limit)
            work.record(caller.access(now, Action.READ_AUDIT, "", Outcome.GRANTED))
            return found

    def check_audit(self, caller: Caller, after: Place | None, limit: int, now: float) -> Check:
        """Check some rows of the audit log, from the oldest on or after a place that was seen."""
        with self._working() as work:
            check = self._audit.check(work.session, after, limit)
            outcome = Outcome.AUDIT_BROKEN if check.problems else Outcome.GRANTED
            work.record(caller.access(now, Action.CHECK_AUDIT, f"to {check.place.id}", outcome))
            return check

    def standings(self, now: float) -> Standings:
        """Return what may be said of the keys to anybody. It is no access: no row tells of it."""
        with self._database.reading() as connection:
            counted = select(VersionRow.purpose, VersionRow.state, func.count()).group_by(
                VersionRow.purpose, VersionRow.state
            )
            since = func.coalesce(VersionRow.state_since, VersionRow.created)
            primaries = select(VersionRow.purpose, since).where(VersionRow.is_primary)
            seen = select(func.count()).where(HolderRow.seen >= int(now) - self._patience.live_s)
            return Standings(
                {(purpose, state): count for purpose, state, count in connection.execute(counted)},
                {purpose: max(0.0, now - active_since) for purpose, active_since in connection.execute(primaries)},
                connection.scalar(seen) or 0,
            )

    def erase_traces(self) -> None:
        """Leave nothing of destroyed material in the database's files, if any was destroyed since this was done."""
        if self._unerased:
            self._database.erase_traces(VersionRow.__tablename__)
            self._unerased = False

    def close(self) -> None:
        """Close the database."""
        self._database.close()

    @contextmanager
    def _working(self) -> Iterator[_Work]:
        with self._database.exclusive() as session:
            work = _Work(session, self._audit)
            yield work
        for entry in work.entries:
            log_entry(entry)
            self.accesses[entry.access.action, entry.access.outcome] += 1

    def _rotate(
        self, work: _Work, purpose: str, policy: Rotation, live: Sequence[Holder], now: float
    ) -> Iterator[Wait]:
        for step in due(policy, self._standings(work.session, [purpose], live), int(now)):
            if step.standing is None:
                self._add(work, _BY_AGE, purpose, step.wanted, now)
                continue
            row = work.session.get_one(VersionRow, step.standing.version.key_id)
            moved = self._moved(work.session, row, step.wanted, int(now), force=False)
            if moved.outcome is Outcome.GRANTED:
                subject = f"{row.key_id:08x} {step.wanted}"
                work.record(_BY_AGE.access(now, Action.MOVE_VERSION, subject, moved.outcome))
            else:
                yield Wait(row.key_id, step.wanted, moved.outcome)

    def _add(self, work: _Work, caller: Caller, purpose: str, state: State, now: float) -> Version:
        key_id = _free_key_id(work.session)
        row = VersionRow(
            key_id=key_id,
            purpose=purpose,
            state=state,
            is_primary=state is State.ACTIVE,
            created=int(now),
            sealed=self._sealer.seal(purpose, key_id, os.urandom(MATERIAL_LENGTH)),
            state_since=int(now),
            state_revision=_next_revision(work.session, int(now)),
        )
        work.session.add(row)
        work.session.flush()
        work.record(caller.access(now, Action.ADD_VERSION, f"{purpose} {key_id:08x}", Outcome.GRANTED))
        return _version(row)

    def _moved(self, session: Session, row: VersionRow, wanted: State, now: int, *, force: bool) -> Moved:
        live = holders.holders(session, now, self._patience.live_s)
        (standing,) = self._standings(session, [row.purpose], live, key_id=row.key_id)
        if not may_move(row.state, wanted):
            return Moved(Outcome.ILLEGAL_MOVE, standing)
        harm = None if force else obstacle(standing, wanted, now, self._patience.unused_s)
        if harm is not None:
            return Moved(harm, standing)
        revision = _next_revision(session, now)
        if wanted is State.ACTIVE:
            _retire_primary(session, row.purpose, now, revision)
        elif wanted is State.DESTROYED:
            row.sealed = None
            self._unerased = True
        _set_state(row, wanted, now, revision)
        return Moved(Outcome.GRANTED, Standing(_version(row), standing.lagging, standing.use))

    def _standings(
        self, session: Session, purposes: Sequence[str], live: Sequence[Holder], key_id: int | None = None
    ) -> list[Standing]:
        revision, known = _revision(session).revision, holders.uses(session)
        return [
            Standing(
                _version(row),
                () if row.state is State.DESTROYED else lagging(live, row.purpose, row.state_revision or 0, revision),
                known.get(row.key_id),
            )
            for row in _rows(session, purposes)
            if key_id in (None, row.key_id)
        ]

    def _opened(self, row: VersionRow) -> OpenVersion:
        material = b"" if row.sealed is None else self._sealer.open(row.purpose, row.key_id, row.sealed)
        return OpenVersion(_version(row), material)


def upgrade(database: Database) -> None:
    """Bring the schema of a store up to date."""
    database.upgrade(MIGRATIONS, adopt=VersionRow.__tablename__)


def _rows(session: Session, purposes: Sequence[str]) -> Sequence[VersionRow]:
    chosen = select(VersionRow).where(VersionRow.purpose.in_(purposes))
    return session.scalars(chosen.order_by(VersionRow.created, VersionRow.key_id)).all()


def _revision(session: Session) -> RevisionRow:
    return session.get_one(RevisionRow, 1)


def _next_revision(session: Session, now: int) -> int:
    row = _revision(session)
    # Never one that a store had which was restored to an earlier copy of itself.
    row.revision = max(row.revision + 1, now)
    return row.revision


def _free_key_id(session: Session) -> int:
    while True:
        key_id = secrets.randbits(32)
        if key_id and session.get(VersionRow, key_id) is None:
            return key_id


def _retire_primary(session: Session, purpose: str, now: int, revision: int) -> None:
    former = session.scalars(select(VersionRow).where(VersionRow.purpose == purpose, VersionRow.is_primary)).first()
    if former is not None:
        _set_state(former, State.DEACTIVATED, now, revision)
        session.flush()  # before the next one becomes primary: the index allows one


def _set_state(row: VersionRow, state: State, now: int, revision: int) -> None:
    row.state = state
    row.is_primary = state is State.ACTIVE
    row.state_since, row.state_revision = now, revision


def _version(row: VersionRow) -> Version:
    since = row.created if row.state_since is None else row.state_since
    return Version(row.key_id, row.purpose, row.state, row.is_primary, row.created, since)
