"""The sealed store: key versions, their revision and the access log in one database.

Every call is one exclusive transaction that is on the disk when the call returns: a killed service has lost nothing it
answered for, and a revision never comes with the versions of another, however many instances share the database.
Calls block: the server makes them on a thread of their own, one at a time.
"""

import os
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from services.kit.database import Database
from services.kms.access import Access
from services.kms.sealing import Sealer
from services.kms.states import State, may_move
from services.kms.tables import AccessRow, RevisionRow, VersionRow

MATERIAL_LENGTH = 32
MIGRATIONS: Final = Path(__file__).parent / "migrations"
_PRUNE_EVERY = 1000


@dataclass(slots=True, frozen=True)
class Version:
    """What may be said of a key version: everything but its material."""

    key_id: int
    purpose: str
    state: State
    primary: bool
    created: int


@dataclass(slots=True, frozen=True, repr=False)
class OpenVersion:
    """A key version with its material; that is empty once destroyed."""

    version: Version
    material: bytes


class Store:
    """The key versions and the access log."""

    def __init__(self, database: Database, sealer: Sealer, access_log_max_rows: int, now: float) -> None:
        """Bring the schema up to date. `now` is epoch seconds, the first revision of a new store."""
        self._sealer = sealer
        self._max_rows = access_log_max_rows
        self._database = database
        database.upgrade(MIGRATIONS, adopt=VersionRow.__tablename__)
        with self._database.exclusive() as session:
            if session.get(RevisionRow, 1) is None:
                # Not from 1: whoever remembers the revision of a lost store must see that this is another one.
                session.add(RevisionRow(id=1, revision=int(now)))

    def check(self) -> None:
        """Open every version once; raise Unsealable when one was sealed under another master key."""
        with self._database.exclusive() as session:
            for row in session.scalars(select(VersionRow)):
                self._opened(row)

    def ensure_primaries(self, purposes: Sequence[str], now: float) -> list[Version]:
        """Give each key set that has no primary a new active one; return those."""
        with self._database.exclusive() as session:
            have = set(session.scalars(select(VersionRow.purpose).where(VersionRow.is_primary)))
            rows = [
                self._new_row(session, purpose, State.ACTIVE, now, primary=True)
                for purpose in purposes
                if purpose not in have
            ]
            return [_version(row) for row in rows]

    def versions(self, purposes: Sequence[str]) -> tuple[list[Version], int]:
        """Return all versions of `purposes`, oldest first, and the revision."""
        with self._database.exclusive() as session:
            return [_version(row) for row in _rows(session, purposes)], _revision(session).revision

    def open_versions(self, purposes: Sequence[str]) -> tuple[list[OpenVersion], int]:
        """Return all versions of `purposes` with their material, oldest first, and the revision."""
        with self._database.exclusive() as session:
            return [self._opened(row) for row in _rows(session, purposes)], _revision(session).revision

    def add_version(self, purpose: str, now: float) -> Version:
        """Add a version that is distributed but not used yet."""
        with self._database.exclusive() as session:
            return _version(self._new_row(session, purpose, State.PRE_ACTIVE, now, primary=False))

    def move(self, key_id: int, wanted: State) -> Version | None:
        """Move a version to another state; None, and nothing changed, when that move is not legal.

        Activating makes it the primary of its set and deactivates the one before. Raises KeyError for no such key.
        """
        with self._database.exclusive() as session:
            row = session.get(VersionRow, key_id)
            if row is None:
                raise KeyError(key_id)
            if not may_move(row.state, wanted):
                return None
            if wanted is State.ACTIVE:
                _retire_primary(session, row.purpose)
            elif wanted is State.DESTROYED:
                row.sealed = None
            row.state = wanted
            row.is_primary = wanted is State.ACTIVE
            _revision(session).revision += 1
            moved = _version(row)
        if wanted is State.DESTROYED:
            self._database.erase_traces(VersionRow.__tablename__)
        return moved

    def record(self, access: Access) -> None:
        """Append to the access log; the oldest rows beyond its limit are dropped."""
        with self._database.exclusive() as session:
            row = AccessRow(
                at=access.at,
                identity=access.identity,
                peer=access.peer,
                action=access.action.value,
                subject=access.subject,
                outcome=access.outcome.value,
            )
            session.add(row)
            session.flush()
            if row.id % _PRUNE_EVERY == 0:
                session.execute(delete(AccessRow).where(AccessRow.id <= row.id - self._max_rows))

    def close(self) -> None:
        """Close the database."""
        self._database.close()

    def _new_row(self, session: Session, purpose: str, state: State, now: float, *, primary: bool) -> VersionRow:
        key_id = _free_key_id(session)
        row = VersionRow(
            key_id=key_id,
            purpose=purpose,
            state=state,
            is_primary=primary,
            created=int(now),
            sealed=self._sealer.seal(purpose, key_id, os.urandom(MATERIAL_LENGTH)),
        )
        session.add(row)
        session.flush()
        _revision(session).revision += 1
        return row

    def _opened(self, row: VersionRow) -> OpenVersion:
        material = b"" if row.sealed is None else self._sealer.open(row.purpose, row.key_id, row.sealed)
        return OpenVersion(_version(row), material)


def _rows(session: Session, purposes: Sequence[str]) -> Sequence[VersionRow]:
    chosen = select(VersionRow).where(VersionRow.purpose.in_(purposes))
    return session.scalars(chosen.order_by(VersionRow.created, VersionRow.key_id)).all()


def _revision(session: Session) -> RevisionRow:
    return session.get_one(RevisionRow, 1)


def _free_key_id(session: Session) -> int:
    while True:
        key_id = secrets.randbits(32)
        if key_id and session.get(VersionRow, key_id) is None:
            return key_id


def _retire_primary(session: Session, purpose: str) -> None:
    former = session.scalars(select(VersionRow).where(VersionRow.purpose == purpose, VersionRow.is_primary)).first()
    if former is not None:
        former.state = State.DEACTIVATED
        former.is_primary = False
        session.flush()  # before the next one becomes primary: the index allows one


def _version(row: VersionRow) -> Version:
    return Version(row.key_id, row.purpose, row.state, row.is_primary, row.created)
