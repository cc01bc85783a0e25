"""The journal of the dials: audit and state at once, through crashes, full disks and strange hands."""

import errno
import json
import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.contract.dials import BUCKETS, Feature
from edge.control.dial_book import REMEMBERED, DialBook
from edge.control.dial_change import Change, Refusal, Refused, Wish, read_line
from edge.control.dial_journal import BadJournal, DialJournal
from edge.control.dial_names import SHIPPED_DIALS, DialName, FileDials

NOW = datetime(2026, 11, 22, 17, 30, tzinfo=UTC)
TERMINATE, SHADOW = Feature.TERMINATE_COOKIE, Feature.SHADOW_COOKIE
DEFAULT = DialName(TERMINATE)
TYPES = {2: "phone", 4: "television"}


def change(revision: int, after: int | None = 500, dial: DialName = DEFAULT) -> Change:
    return Change(revision, NOW, "ann", "cli", "first step", dial, before=BUCKETS, after=after)


def wish(percent: str | None = "5", **more: str | int | None) -> Wish:
    asked = {"feature": "terminate-cookie", "why": "first step", **more}
    return Wish(percent=percent, who="ann", how="cli", **asked)  # type: ignore[arg-type]


def judged(book: DialBook, what: Wish) -> Change | Refused:
    return book.judge(what, NOW, ["api", "ui"], TYPES)


def file_of(*positions: tuple[DialName, int], salt: str = "terminate-cookie") -> FileDials:
    return FileDials({**SHIPPED_DIALS.positions, **dict(positions)}, {**SHIPPED_DIALS.salts, TERMINATE: salt})


def kept(var: Path, changes: Sequence[Change]) -> bytes:
    journal = DialJournal(var)
    journal.open()
    assert journal.append(changes) == ""
    journal.close()
    return journal.path.read_bytes()


def test_what_was_kept_is_what_the_next_start_finds(tmp_path: Path) -> None:
    phone = DialName(TERMINATE, "api", "phone")
    kept(tmp_path, [change(1), change(2, 1234, phone)])
    journal = DialJournal(tmp_path)
    book = journal.open()
    assert (book.revision, book.dials.positions) == (2, {DialName(TERMINATE): 500, DialName(SHADOW): 0, phone: 1234})
    assert book.last[phone] == change(2, 1234, phone)
    assert journal.append([change(3, None, phone)]) == ""
    journal.close()
    assert phone not in DialJournal(tmp_path).open().dials.positions


def test_a_line_says_who_when_how_why_and_from_where_to_where(tmp_path: Path) -> None:
    line = kept(tmp_path, [change(1, 1234, DialName(TERMINATE, None, "phone"))])
    assert json.loads(line) == {
        "revision": 1,
        "at": "2026-11-22T17:30:00.000Z",
        "who": "ann",
        "how": "cli",
        "why": "first step",
        "feature": "terminate-cookie",
        "origin": None,
        "device_type": "phone",
        "from": 100,
        "to": 12.34,
    }
    assert oct((tmp_path / "dials.jsonl").stat().st_mode & 0o777) == "0o600"


def test_a_torn_last_line_is_cut_off_wherever_it_was_torn_and_the_change_was_not_made(tmp_path: Path) -> None:
    whole = kept(tmp_path, [change(1)])
    torn = change(2, 700).line()
    for length in range(1, len(torn)):
        (tmp_path / "dials.jsonl").write_bytes(whole + torn[:length])
        journal = DialJournal(tmp_path)
        book = journal.open()
        assert (book.revision, journal.cut_bytes) == (1, length)
        assert journal.append([change(2, 300)]) == ""
        journal.close()
        assert (tmp_path / "dials.jsonl").read_bytes() == whole + change(2, 300).line()


def test_a_journal_that_was_found_bad_takes_no_change_the_next_time_either(tmp_path: Path) -> None:
    (tmp_path / "dials.jsonl").write_bytes(b"what is this\n")
    journal = DialJournal(tmp_path)
    for _ in range(2):
        with pytest.raises(BadJournal):
            journal.open()
        assert "dials.jsonl:1" in journal.append([change(1)])
    assert (tmp_path / "dials.jsonl").read_bytes() == b"what is this\n"
    other = DialJournal(tmp_path)
    with pytest.raises(BadJournal):  # and not: another edge holds it
        other.open()


@pytest.mark.parametrize(
    ("spoilt", "says"),
    [
        (b"{}\n", ":2: revision: Field required"),
        (b"\n", ":2: it is no JSON"),
        (b"\x00\x00\n", ":2: it is no JSON"),
        (b"\xff\n", ":2: it is no JSON"),
        (b"[" * 5000 + b"\n", ":2: it is no JSON"),
        (change(3).line(), ":2: revision 3 follows 1: a line is missing"),
        (change(1).line(), ":2: revision 1 follows 1"),
        (change(2).line().replace(b'"to": 5', b'"to": 5.001'), ":2: it is no JSON of a change"),
        (change(2).line().replace(b"terminate-", b"x-"), ":2: it is no JSON of a change"),
        (change(2).line().replace(b'"why"', b'"because"'), ":2: "),
    ],
)
def test_a_line_that_is_no_change_stops_the_start_and_says_what_to_do(tmp_path: Path, spoilt: bytes, says: str) -> None:
    whole = kept(tmp_path, [change(1)])
    (tmp_path / "dials.jsonl").write_bytes(whole + spoilt + change(3).line())
    with pytest.raises(BadJournal, match="mend it from a backup, or move the file away") as raised:
        DialJournal(tmp_path).open()
    assert says in str(raised.value)
    assert (tmp_path / "dials.jsonl").read_bytes() == whole + spoilt + change(3).line()


@given(st.binary(max_size=200))
def test_any_bytes_are_a_change_or_are_said_to_be_none(line: bytes) -> None:
    assert isinstance(read_line(line), str)


@given(
    st.integers(1, 10**17),
    st.text(max_size=30),
    st.text(max_size=200),
    st.none() | st.integers(0, BUCKETS),
    st.sampled_from(["api", None]),
)
def test_a_change_is_read_as_it_was_written(
    revision: int, who: str, why: str, after: int | None, origin: str | None
) -> None:
    made = Change(revision, NOW, who, "api", why, DialName(TERMINATE, origin, "set-top box"), before=1, after=after)
    line = made.line()
    assert line.count(b"\n") == 1
    if (who + why).isascii() or not any("\ud800" <= letter <= "\udfff" for letter in who + why):
        assert read_line(line[:-1]) == made


def test_a_change_that_does_not_reach_the_disk_is_not_made_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = kept(tmp_path, [change(1)])
    journal = DialJournal(tmp_path)
    journal.open()

    def full(fd: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        assert "No space left" in journal.append([change(2)])
    assert journal.path.read_bytes() == whole
    assert journal.append([change(2)]) == ""
    journal.close()


def test_one_edge_holds_the_journal_at_a_time(tmp_path: Path) -> None:
    first, second = DialJournal(tmp_path), DialJournal(tmp_path)
    first.open()
    first.append([change(1)])
    (tmp_path / "dials.jsonl").write_bytes((tmp_path / "dials.jsonl").read_bytes() + b"torn")
    assert second.open().revision == 1
    assert "another edge holds" in second.append([change(2)])
    assert (tmp_path / "dials.jsonl").read_bytes().endswith(b"torn")
    first.close()
    assert second.open().revision == 1
    assert second.append([change(2)]) == ""
    second.close()


@pytest.mark.parametrize("hand", ["moved away", "replaced", "written to", "written over", "cut"])
def test_a_journal_that_is_not_as_it_was_left_is_opened_again(tmp_path: Path, hand: str) -> None:
    path, journal = tmp_path / "dials.jsonl", DialJournal(tmp_path)
    journal.open()
    journal.append([change(1)])
    assert journal.open_again(lambda _: "") is None
    expected, other = 1, change(1, 700).line()
    if hand == "moved away":
        path.rename(tmp_path / "away")
        expected = 0
    elif hand == "replaced":
        (tmp_path / "copy").write_bytes(path.read_bytes())
        (tmp_path / "copy").replace(path)
    elif hand == "written to":
        path.write_bytes(path.read_bytes() + change(2).line())
        expected = 2
    elif hand == "written over":
        assert len(other) == path.stat().st_size
        path.write_bytes(other)
    else:
        os.truncate(path, 0)
        expected = 0
    found = journal.open_again(lambda _: "")
    assert found is not None
    assert (found.revision, journal.append([change(expected + 1)])) == (expected, "")
    assert DialJournal(tmp_path).open().revision == expected + 1
    assert journal.open_again(lambda _: "") is None
    journal.close()


def test_a_journal_that_is_unfit_is_left_to_others_as_it_is(tmp_path: Path) -> None:
    torn = kept(tmp_path, [change(1)]) + b"torn"
    (tmp_path / "dials.jsonl").write_bytes(torn)
    journal, other = DialJournal(tmp_path), DialJournal(tmp_path)
    assert journal.open_again(lambda book: f"not {book.revision}") is None
    assert (journal.problem, journal.append([change(2)])) == ("not 1", "not 1")
    assert (tmp_path / "dials.jsonl").read_bytes() == torn
    other.open()
    assert other.problem == ""
    other.close()


def test_a_directory_that_takes_no_file_leaves_the_dials_where_they_are(tmp_path: Path) -> None:
    journal = DialJournal(tmp_path / "missing")
    assert journal.open().revision == 0
    assert "cannot be opened for writing" in journal.append([change(1)])


def test_the_file_changes_what_it_says_otherwise_than_last_time_and_nothing_else() -> None:
    book, phone = DialBook(), DialName(TERMINATE, None, "phone")
    assert book.by_file(file_of(), NOW) == []
    first = book.by_file(file_of((phone, 500)), NOW)
    assert [(each.dial, each.before, each.after, each.how, each.who) for each in first] == [
        (phone, None, 500, "file", "dials.yaml")
    ]
    book.enter(first[0])
    moved = judged(book, wish("50", device_type="phone"))
    assert isinstance(moved, Change)
    book.enter(moved)
    assert book.by_file(file_of((phone, 500)), NOW) == []  # the file has not changed: the last word was ann's
    (again,) = book.by_file(file_of((phone, 700)), NOW)
    assert (again.before, again.after) == (5000, 700)
    (gone,) = book.by_file(file_of(), NOW)
    assert (gone.before, gone.after, gone.why) == (5000, None, "the file no longer names it")


def test_what_the_file_said_last_is_known_after_a_restart(tmp_path: Path) -> None:
    phone = DialName(TERMINATE, None, "phone")
    kept(tmp_path, DialBook().by_file(file_of((phone, 500), salt="other"), NOW))
    journal = DialJournal(tmp_path)
    book = journal.open()
    journal.close()
    assert book.by_file(file_of((phone, 500), salt="other"), NOW) == []
    assert book.dials.salts[TERMINATE] == "other"
    assert len(book.by_file(file_of(), NOW)) == 2


@pytest.mark.parametrize(
    ("asked", "refusal"),
    [
        (wish(feature="terminate-cooky"), Refusal.UNKNOWN_FEATURE),
        (wish(feature="x" * 10_000), Refusal.UNKNOWN_FEATURE),
        (wish(origin="apy"), Refusal.UNKNOWN_ORIGIN),
        (wish(device_type="fone"), Refusal.UNKNOWN_DEVICE_TYPE),
        (wish("5.001"), Refusal.BAD_PERCENT),
        (wish("101"), Refusal.BAD_PERCENT),
        (wish(why=""), Refusal.BAD_REASON),
        (wish(why="  "), Refusal.BAD_REASON),
        (wish(why="x" * 201), Refusal.BAD_REASON),
        (wish(why="a\nb"), Refusal.BAD_REASON),
        (wish(why="a\x1b[31m"), Refusal.BAD_REASON),
        (wish(why="\ud800"), Refusal.BAD_REASON),
        (wish(None), Refusal.NOT_SET),
        (wish(None, device_type="phone"), Refusal.NOT_SET),
        (wish(revision=1), Refusal.MOVED_ON),
    ],
)
def test_a_wish_that_cannot_be_granted_is_refused_for_a_stable_reason(asked: Wish, refusal: Refusal) -> None:
    found = judged(DialBook(), asked)
    assert isinstance(found, Refused)
    assert found.refusal is refusal
    assert found.text.isprintable()
    assert len(found.text) < 300


def test_of_two_who_saw_the_same_revision_one_wins() -> None:
    book = DialBook()
    first, second = judged(book, wish("5", revision=0)), judged(book, wish("6", revision=0))
    assert isinstance(first, Change)
    book.enter(first)
    assert isinstance(second, Change)  # judged before the first was entered, which the desk's lock rules out
    with pytest.raises(ValueError, match="revision 1 follows 1"):
        book.enter(second)
    assert isinstance(judged(book, wish("6", revision=0)), Refused)


def test_a_dial_of_a_type_that_the_configuration_dropped_can_still_be_unset() -> None:
    pager = DialName(TERMINATE, "old", "pager")
    book = DialBook([change(1, 500, pager)])
    unset = judged(book, wish(None, origin="old", device_type="pager"))
    assert isinstance(unset, Change)
    book.enter(unset)
    assert pager not in book.dials.positions


def test_memory_holds_the_newest_changes_only() -> None:
    book = DialBook(change(number) for number in range(1, REMEMBERED + 11))
    assert (len(book.history), book.history[0].revision) == (REMEMBERED, 11)
