"""Who holds which revision of the keys, and what they say of their use of them (docs/keys.md, Holders and uses).

A holder is a process that fetches keys. What it says is believed as far as its grants go: it can hold a rotation up,
and nothing else.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from services.kms.tables import HolderRow, UseRow, VersionRow

_FORGET_AFTER_S: Final = 86_400
_MOST_OF_ONE_IDENTITY: Final = 10_000
_MOST: Final = 2**63 - 1


@dataclass(slots=True, frozen=True)
class Use:
    """The use of one key: when last, in epoch seconds, how often, and by whom last."""

    last_used: int
    count: int
    by: str = ""


@dataclass(slots=True, frozen=True)
class Report:
    """What a holder says with its request for keys. `name` is empty when it does not say who it is."""

    name: str = ""
    revision_held: int = 0
    uses: Mapping[int, Use] | None = None


NOTHING_REPORTED: Final = Report()


@dataclass(slots=True, frozen=True)
class Holder:
    """A process that has fetched `purposes`, and which revision it worked with when it was last `seen`."""

    identity: str
    name: str
    purposes: tuple[str, ...]
    seen: int
    revision_held: int

    def __str__(self) -> str:
        return f"{self.identity}/{self.name}"


def note(session: Session, identity: str, purposes: Sequence[str], report: Report, now: int) -> None:
    """Take down a report that came with a request for `purposes`."""
    if report.name:
        _note_holder(session, identity, purposes, report, now)
    if report.uses:
        of_purposes = select(VersionRow.key_id).where(
            VersionRow.key_id.in_(list(report.uses)), VersionRow.purpose.in_(purposes)
        )
        key_ids = session.scalars(of_purposes).all()
        # All at once: a holder reports often, and a statement for each key would be most of the work.
        known = {row.key_id: row for row in session.scalars(select(UseRow).where(UseRow.key_id.in_(key_ids)))}
        for key_id in key_ids:
            row = known.get(key_id) or UseRow(key_id=key_id, last_used=0, last_used_by="", count=0)
            _note_use(row, report.uses[key_id], f"{identity}/{report.name}", now)
            session.add(row)


def holders(session: Session, now: int, live_s: int) -> list[Holder]:
    """Return the holders that were seen within `live_s`, by name."""
    live = select(HolderRow).where(HolderRow.seen >= now - live_s)
    return [
        Holder(row.identity, row.holder, tuple(row.purposes.split(",")), row.seen, row.revision_held)
        for row in session.scalars(live.order_by(HolderRow.identity, HolderRow.holder, HolderRow.purposes))
    ]


def uses(session: Session) -> dict[int, Use]:
    """Return what is known of the use of each key."""
    return {row.key_id: Use(row.last_used, row.count, row.last_used_by) for row in session.scalars(select(UseRow))}


def lagging(live: Iterable[Holder], purpose: str, since: int, revision: int) -> tuple[Holder, ...]:
    """Return who fetches `purpose` and does not work with revision `since` or a later one, up to the present one.

    A holder that is ahead of the present one has keys of a store that was lost, and is behind too.
    """
    return tuple(each for each in live if purpose in each.purposes and not since <= each.revision_held <= revision)


def _note_holder(session: Session, identity: str, purposes: Sequence[str], report: Report, now: int) -> None:
    key = (identity, report.name, ",".join(sorted(purposes)))
    row = session.get(HolderRow, key)
    if row is None:
        session.execute(delete(HolderRow).where(HolderRow.seen < now - _FORGET_AFTER_S))
        _make_room(session, identity)
        row = HolderRow(identity=key[0], holder=key[1], purposes=key[2])
        session.add(row)
    row.seen, row.revision_held = now, min(report.revision_held, _MOST)


def _make_room(session: Session, identity: str) -> None:
    of_identity = select(HolderRow).where(HolderRow.identity == identity)
    for row in session.scalars(of_identity.order_by(HolderRow.seen.desc()).offset(_MOST_OF_ONE_IDENTITY - 1)):
        session.delete(row)


def _note_use(row: UseRow, use: Use, by: str, now: int) -> None:
    row.count = min(row.count + use.count, _MOST)
    last_used = min(use.last_used, now)
    if last_used >= row.last_used:
        row.last_used, row.last_used_by = last_used, by
