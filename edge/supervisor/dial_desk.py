"""Where all changes of dials come together: judged, kept, shown to the workers, one after the other."""

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Final, NamedTuple

from edge.contract.dials import Feature
from edge.control.dial_answer import Agreement, Made, Standing, hints
from edge.control.dial_book import DialBook
from edge.control.dial_change import Change, How, Refusal, Refused, Wish
from edge.control.dial_journal import BadJournal, DialJournal
from edge.control.dial_names import dial_table
from edge.control.snapshot import Snapshot
from edge.supervisor.dial_board import DialBoard
from edge.telemetry.snapshot import Labels

_APPLIED: Final = "applied"
_ANY: Final = "*"
_REFUSED: Final = "refused"
_RESULTS: Final[Mapping[How, Sequence[str]]] = {
    "file": (_APPLIED, Refusal.NOT_KEPT.value),
    "api": (_APPLIED, _REFUSED, *(refusal.value for refusal in Refusal)),
    "cli": (_APPLIED, *(refusal.value for refusal in Refusal)),
}


def _nothing() -> None:
    """Do nothing."""


class Adopted(NamedTuple):
    """What came of the dials of a configuration, in words: why they are not as the file says, and what has changed."""

    problem: str = ""
    lines: Sequence[str] = ()


class DialDesk:
    """Owns the positions of all dials. `agreement` counts the workers that decide by a revision."""

    def __init__(
        self,
        snapshot: Snapshot,
        board: DialBoard,
        agreement: Callable[[int], Agreement],
        say: Callable[[str], None],
    ) -> None:
        self._snapshot = snapshot
        self._board = board
        self._agreement = agreement
        self._say = say
        self._book = DialBook()
        self._journal = DialJournal(snapshot.var)
        self._changing = asyncio.Lock()
        self._results: Counter[tuple[How, str]] = Counter()
        self._under_way: set[asyncio.Task[Change | Refused]] = set()
        self._open = False

    async def open(self) -> str:
        """Take up the journal and what the file says by now; return why the edge must not start, or nothing."""
        try:
            self._book = await asyncio.to_thread(self._journal.open)
        except BadJournal as problem:
            return str(problem)
        self._open = True
        self._say_what_was_cut()
        if self._journal.problem:
            self._say(f"dials cannot be changed: {self._journal.problem}")
        for line in (await self.adopt(self._snapshot)).lines:
            self._say(line)
        return ""

    async def adopt(self, snapshot: Snapshot, commit: Callable[[], None] | None = None) -> Adopted:
        """Take the file's own changes, the operators, and the names of origins and device types.

        `commit` has the workers serve `snapshot`, at the same moment; nothing is taken, and it is not called, if the
        file's changes cannot be written down. Without it, all but these changes is taken then.
        """
        async with self._changing:
            if not self._open:  # the edge stops: another may hold the journal
                return Adopted("the edge stops")
            took = await self._take_file(snapshot, await self._hold())
            if commit is None or not took.problem:
                self._snapshot = snapshot
                self._show(commit or _nothing)
        return took

    def operators(self) -> Mapping[str, Path]:
        """Return who may change dials by the admin API: by name, the file with the token."""
        return self._snapshot.admin.operators

    async def change(self, wish: Wish) -> Made | Refused:
        """Carry out a wish, or say why not. Returns once all workers decide by it, or after a second."""
        changing = asyncio.create_task(self._change(wish), name="dial")
        self._under_way.add(changing)
        changing.add_done_callback(self._under_way.discard)
        made = await asyncio.shield(changing)  # whoever asked may go: what is on the disk is entered all the same
        if isinstance(made, Refused):
            return made
        await self._board.agreed(made.revision)
        moved = {} if made.after is None else {made.dial: made.after}
        return Made(made, self._agreement(made.revision), hints(moved, self._snapshot.origins))

    def refused(self, how: How) -> None:
        """Count a wish that nobody could read, or of somebody who may not wish."""
        self._results[how, _REFUSED] += 1

    def standing(self) -> Standing:
        """Return where everything stands."""
        dials, revision = self._book.dials, self._book.revision
        return Standing(
            revision,
            dials.positions,
            dials.salts,
            dict(self._book.last),
            self._agreement(revision),
            hints(dials.positions, self._snapshot.origins),
        )

    def history(self, feature: Feature | None, limit: int) -> Sequence[Change]:
        """Return the newest changes that are remembered, the newest first; the journal has all of them."""
        newest = (each for each in reversed(self._book.history) if feature in (None, each.dial.feature))
        return list(islice(newest, limit))

    def close(self) -> None:
        """Let go of the journal: the edge stops, and another may start with it."""
        self._open = False
        if not self._changing.locked():
            self._journal.close()

    def values(self) -> dict[str, list[tuple[Labels, float]]]:
        """Return the metrics of the supervisor's own."""
        return {
            "edge_dial_position_percent": [
                ((dial.feature.value, dial.origin or _ANY, dial.device_type or _ANY), at / 100)
                for dial, at in self._book.dials.positions.items()
            ],
            "edge_dial_workers_behind": [((), self._board.behind)],
            "edge_dial_changes_total": [
                ((how, result), self._results[how, result]) for how, results in _RESULTS.items() for result in results
            ],
        }

    async def _change(self, wish: Wish) -> Change | Refused:
        async with self._changing:
            entered = await self._entered(wish)
            self._results[wish.how, _APPLIED if isinstance(entered, Change) else entered.refusal] += 1
            if isinstance(entered, Refused):
                return entered
            self._show()
        self._say(f"dials: {entered}, by {entered.who}, revision {entered.revision}")
        return entered

    async def _entered(self, wish: Wish) -> Change | Refused:
        if not self._open:
            return Refused(Refusal.STOPPING, "the edge stops")
        problem = await self._hold()
        snapshot = self._snapshot
        judged = self._book.judge(wish, datetime.now(UTC), snapshot.origins, snapshot.device_types)
        if isinstance(judged, Refused):
            return judged
        problem = problem or await self._keep([judged])
        return Refused(Refusal.NOT_KEPT, problem) if problem else judged

    async def _hold(self) -> str:
        """Take hold of the journal if another edge had it, or it is not as it was left; return why not, or nothing."""
        try:
            found = await asyncio.to_thread(self._journal.open_again, self._unfit)
        except BadJournal as bad:
            return str(bad)
        if found is not None:
            await self._take_over(found)
        return self._journal.problem

    def _unfit(self, found: DialBook) -> str:
        """Say why a journal cannot be gone on with: a revision that was told stands for what it stood for, for good."""
        changes = found.by_file(self._snapshot.dials, datetime.now(UTC))
        revision, told = found.revision + len(changes), self._book.revision
        if revision > told or (revision == told and found.with_(changes).dials == self._book.dials):
            return ""
        what = f"is at revision {revision}" if revision < told else f"has another revision {told}"
        return (
            f"{self._journal.path} {what}, and this edge is at {told}, which it cannot take back while it runs: "
            "put the newer journal in its place, or stop the edge and start it"
        )

    async def _take_over(self, found: DialBook) -> None:
        """Go on with what another edge has left, and with what the file says on top of it."""
        changes = found.by_file(self._snapshot.dials, datetime.now(UTC))
        problem = await asyncio.to_thread(self._journal.append, changes) if changes else ""
        self._results["file", Refusal.NOT_KEPT if problem else _APPLIED] += len(changes)
        if problem:
            self._journal.close(problem)
            return
        self._say_what_was_cut()
        self._say(f"dials: {self._journal.path} is taken up again, at revision {found.revision}")
        for change in changes:
            found.enter(change)
            self._say(_by_file(change))
        self._book = found
        self._show()

    def _say_what_was_cut(self) -> None:
        if self._journal.cut_bytes:
            cut = f"{self._journal.cut_bytes} bytes of a change that was being written when the edge or machine stopped"
            self._say(f"dials: {self._journal.path} ended in {cut}: cut off, that change was not made")

    async def _take_file(self, snapshot: Snapshot, no_journal: str) -> Adopted:
        """Take what the file says otherwise than last time.

        Without a journal, for a reason that is given, it holds for as long as this edge runs: the file is there still.
        """
        changes = self._book.by_file(snapshot.dials, datetime.now(UTC))
        problem = no_journal or (await self._keep(changes) if changes else "")
        self._results["file", Refusal.NOT_KEPT if problem else _APPLIED] += len(changes)
        if problem and not no_journal:
            not_changed = f"the dials cannot be changed as dials.yaml says: {problem}"
            return Adopted(not_changed, [not_changed])
        if no_journal:
            for change in changes:
                self._book.enter(change)
        not_kept = "; it is not in the journal" if no_journal else ""
        return Adopted("", [_by_file(change) + not_kept for change in changes])

    async def _keep(self, changes: Sequence[Change]) -> str:
        """Put changes on the disk, then enter them; return why they cannot be kept, or nothing."""
        problem = await asyncio.to_thread(self._journal.append, changes)
        if not problem:
            for change in changes:
                self._book.enter(change)
        return problem

    def _show(self, before_all: Callable[[], None] = _nothing) -> None:
        dials = self._book.dials
        table = dial_table(self._book.revision, dials, self._snapshot.device_types)
        self._board.show(table, dials.salts, before_all)


def _by_file(change: Change) -> str:
    return f"dials: {change}, by the file, revision {change.revision}"
