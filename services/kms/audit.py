"""The audit log: rows that are appended only, each authenticated together with the one before (docs/keys.md).

The code of a row is an HMAC over the code before it and all that it says, under a key that is derived from the master
key: whoever can write the database, but has not that key, cannot change, add or remove a row without a trace. A head
row, authenticated in the same way, says where the log begins and ends, so that neither end can be cut off; pruning
moves its beginning first. Who puts an older copy of the whole database back is found by a code that was noted
elsewhere: each access is also logged on stderr with its id and code.
"""

import hmac
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import structlog
from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from services.kms.access import Access, Action, Caller, Outcome
from services.kms.tables import AuditHeadRow, AuditRow

_MOST_PROBLEMS: Final = 100
# Rows are dropped many at a time, and a limit that was lowered is reached in steps, each short.
_PRUNE_AT_LEAST: Final = 1_000
_PRUNE_AT_MOST: Final = 5_000
_THE_LOG_ITSELF: Final = Caller("(audit)", "")
_log = structlog.get_logger()


@dataclass(slots=True, frozen=True)
class Entry:
    """A row of the log. `code` is 32 bytes."""

    id: int
    code: bytes
    access: Access


@dataclass(slots=True, frozen=True)
class Place:
    """A row that was seen: checking goes on after it."""

    id: int
    code: bytes


@dataclass(slots=True, frozen=True)
class Check:
    """What the check of some rows found: how many were looked at, the last of them, whether that was the end."""

    rows: int
    place: Place
    done: bool
    problems: Sequence[str]


class AuditLog:
    """Appends, reads and checks rows, in transactions that have the database to themselves."""

    def __init__(self, code: Callable[[bytes], bytes], max_rows: int) -> None:
        """Take the function that authenticates bytes, and how many rows are kept."""
        self._code = code
        self._max_rows = max_rows

    def begin(self, session: Session) -> None:
        """Make the head of a log that has no row yet, unless it is there."""
        if session.get(AuditHeadRow, 1) is None and session.scalar(select(func.max(AuditRow.id))) is None:
            self._write_head(session, AuditHeadRow(id=1, first_id=1, code_before=b"", last_id=0, last_code=b""))

    def append(self, session: Session, access: Access) -> list[Entry]:
        """Append a row, and drop the oldest beyond the limit; return what was appended.

        That is two rows where the end of the log is not as this service left it: the first says so, and stays.
        """
        head = session.get(AuditHeadRow, 1)
        newest = session.scalar(select(func.max(AuditRow.id))) or 0
        added = []
        if head is None or head.last_id != newest or not self._authentic(head):
            what = f"head of {head.last_id}, rows to {newest}" if head is not None else "no head"
            head = _found_head(session, head)
            broken = _THE_LOG_ITSELF.access(access.at, Action.CHECK_AUDIT, what, Outcome.AUDIT_BROKEN)
            added.append(self._add(session, head, broken))
        added.append(self._add(session, head, access))
        beyond = head.last_id - head.first_id + 1 - self._max_rows
        if beyond >= _PRUNE_AT_LEAST:
            last = session.get(AuditRow, head.first_id + min(beyond, _PRUNE_AT_MOST) - 1)
            if last is not None:
                head.first_id, head.code_before = last.id + 1, last.code
        self._write_head(session, head)
        if beyond >= _PRUNE_AT_LEAST:
            # The database lets go only of rows that the head no longer counts.
            session.execute(delete(AuditRow).where(AuditRow.id < head.first_id))
        return added

    def newest(self, session: Session, before: int, limit: int) -> list[Entry]:
        """Return the newest rows whose id is less than `before`, newest first."""
        found = select(AuditRow).where(AuditRow.id < before).order_by(AuditRow.id.desc()).limit(limit)
        return [_entry(row) for row in session.scalars(found)]

    def check(self, session: Session, after: Place | None, limit: int) -> Check:
        """Check up to `limit` rows after a place that was seen, or from the oldest on."""
        head = session.get(AuditHeadRow, 1)
        if head is None:
            return Check(0, Place(0, b""), done=True, problems=["the head is gone"])
        problems = [] if self._authentic(head) else ["the head was changed"]
        place = Place(head.first_id - 1, head.code_before)
        if after is not None and after.id >= place.id:
            place, seen = after, place.code if after.id == place.id else _code_of(session, after.id)
            if not hmac.compare_digest(seen, after.code):
                problems.append(f"row {after.id} is not the one that was seen")
        found = session.scalars(select(AuditRow).where(AuditRow.id > place.id).order_by(AuditRow.id).limit(limit)).all()
        for row in found:
            if row.id != place.id + 1:
                problems.append(f"rows {place.id + 1} to {row.id - 1} are missing")
            elif not hmac.compare_digest(row.code, self._code_after(place.code, _entry(row))):
                problems.append(f"row {row.id} was changed")
            if row.identity == _THE_LOG_ITSELF.identity:
                problems.append(f"the end of the log was changed before row {row.id}: {row.subject}")
            place = Place(row.id, row.code)
        done = len(found) < limit
        if done and place.id < head.last_id:
            problems.append(f"rows {place.id + 1} to {head.last_id} are missing")
        elif done and (place.id, place.code) != (head.last_id, head.last_code):
            problems.append("the last row is not the one that the head names")
        return Check(len(found), place, done, problems[:_MOST_PROBLEMS])

    def _add(self, session: Session, head: AuditHeadRow, access: Access) -> Entry:
        unsigned = Entry(head.last_id + 1, b"", access)
        entry = Entry(unsigned.id, self._code_after(head.last_code, unsigned), access)
        session.add(
            AuditRow(
                id=entry.id,
                at=access.at,
                identity=access.identity,
                peer=access.peer,
                action=str(access.action),
                subject=access.subject,
                outcome=str(access.outcome),
                code=entry.code,
            )
        )
        head.last_id, head.last_code = entry.id, entry.code
        return entry

    def _code_after(self, code_before: bytes, entry: Entry) -> bytes:
        said = entry.access
        texts = (said.identity, said.peer, said.action, said.subject, said.outcome)
        fields = [code_before, struct.pack(">qd", entry.id, said.at), *(each.encode("utf-8") for each in texts)]
        return self._code(b"row" + _unambiguous(fields))

    def _write_head(self, session: Session, head: AuditHeadRow) -> None:
        head.seal = self._code(_head_bytes(head))
        session.add(head)
        session.flush()

    def _authentic(self, head: AuditHeadRow) -> bool:
        return hmac.compare_digest(head.seal, self._code(_head_bytes(head)))


def log_entry(entry: Entry) -> None:
    """Write a row that is in the database to stderr as well."""
    access = entry.access
    log = _log.info if access.outcome == Outcome.GRANTED else _log.warning
    log(
        "access",
        identity=access.identity,
        peer=access.peer,
        action=access.action,
        subject=access.subject,
        outcome=access.outcome,
        audit=f"{entry.id}:{entry.code.hex()}",
    )


def _found_head(session: Session, head: AuditHeadRow | None) -> AuditHeadRow:
    """Return a head for the rows that are there, after someone has changed or removed it."""
    oldest = session.scalars(select(AuditRow).order_by(AuditRow.id).limit(1)).first()
    newest = session.scalars(select(AuditRow).order_by(AuditRow.id.desc()).limit(1)).first()
    found = AuditHeadRow(id=1, code_before=b"") if head is None else head
    found.first_id = 1 if oldest is None else oldest.id
    found.last_id, found.last_code = (0, b"") if newest is None else (newest.id, newest.code)
    return found


def _entry(row: AuditRow) -> Entry:
    return Entry(row.id, row.code, Access(row.at, row.identity, row.peer, row.action, row.subject, row.outcome))


def _code_of(session: Session, row_id: int) -> bytes:
    row = session.get(AuditRow, row_id)
    return b"" if row is None else row.code


def _head_bytes(head: AuditHeadRow) -> bytes:
    return b"head" + _unambiguous([struct.pack(">qq", head.first_id, head.last_id), head.code_before, head.last_code])


def _unambiguous(fields: Sequence[bytes]) -> bytes:
    return b"".join(len(field).to_bytes(4, "big") + field for field in fields)
