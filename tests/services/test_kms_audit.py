"""The audit log: nothing in it can be changed or removed without a trace, and its size is bounded."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy.exc import DBAPIError

from services.kit.database import Database, DatabaseConfig
from services.kms.access import Access, Action, Caller, Outcome
from services.kms.audit import Place
from services.kms.sealing import Sealer
from services.kms.store import Store
from tests.services.databases import rows, run
from tests.services.kms_calls import kms_running

NOWHERE = Path("/nonexistent/none.sqlite")
OPERATOR = Caller("operator", "127.0.0.1")
# What someone with the database and not the master key would do first.
UNLOCK = {
    "sqlite": ("DROP TRIGGER audit_log_keeps", "DROP TRIGGER audit_log_holds"),
    "postgresql": ("ALTER TABLE audit_log DISABLE TRIGGER ALL",),
}


@contextmanager
def audited(url: str, max_rows: int = 1000) -> Iterator[Store]:
    store = Store(Database(DatabaseConfig(url=url), NOWHERE), Sealer(b"1" * 32), max_rows, 1e9)
    store.check()
    try:
        yield store
    finally:
        store.close()


def access(subject: str = "cookie") -> Access:
    return Access(1e9, "edge", "127.0.0.1", Action.GET_KEY_SETS, subject, Outcome.GRANTED)


def tamper(url: str, *statements: str) -> None:
    run(url, *UNLOCK[url.partition(":")[0].partition("+")[0]], *statements)


def problems(store: Store, after: Place | None = None, limit: int = 3) -> list[str]:
    """Check the whole log, a few rows at a time."""
    found: list[str] = []
    while True:
        check = store.check_audit(OPERATOR, after, limit, 1e9)
        found += check.problems
        after = check.place
        if check.done:
            return found


def test_a_log_that_nobody_has_touched_is_as_it_was_written(database_url: str) -> None:
    with audited(database_url) as store:
        assert problems(store) == []
        for number in range(10):
            store.record(access(f"cookie {number}"))
        assert problems(store) == []
        (newest, before) = store.newest_entries(OPERATOR, 10, 2, 1e9)
        assert (newest.id, newest.access, before.id) == (9, access("cookie 7"), 8)
    with audited(database_url) as store:
        assert problems(store) == []


@pytest.mark.parametrize(
    "statement",
    ["UPDATE audit_log SET outcome = 'granted' WHERE id = 2", "DELETE FROM audit_log WHERE id = 3"],
)
def test_the_database_itself_refuses_to_change_or_remove_a_row(database_url: str, statement: str) -> None:
    with audited(database_url) as store:
        for _ in range(5):
            store.record(access())
        with pytest.raises(DBAPIError, match="append-only"):
            run(database_url, statement)
        assert problems(store) == []


def test_postgresql_does_not_empty_the_log_either(database_url: str) -> None:
    if database_url.startswith("sqlite"):
        return  # it has no such statement
    with audited(database_url) as store:
        store.record(access())
        with pytest.raises(DBAPIError, match="append-only"):
            run(database_url, "TRUNCATE audit_log")


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("UPDATE audit_log SET at = at + 1 WHERE id = 3", "row 3 was changed"),
        ("UPDATE audit_log SET identity = 'api' WHERE id = 3", "row 3 was changed"),
        ("UPDATE audit_log SET identity = 'edge1', peer = '27.0.0.1' WHERE id = 3", "row 3 was changed"),
        ("UPDATE audit_log SET outcome = 'bad_request' WHERE id = 1", "row 1 was changed"),
        ("UPDATE audit_log SET code = (SELECT code_before FROM audit_head) WHERE id = 3", "row 3 was changed"),
        ("DELETE FROM audit_log WHERE id = 3", "rows 3 to 3 are missing"),
        ("DELETE FROM audit_log WHERE id < 3", "rows 1 to 2 are missing"),
        ("DELETE FROM audit_log WHERE id > 3", "rows 4 to 6 are missing"),
        ("UPDATE audit_head SET last_id = 3", "the head was changed"),
        ("UPDATE audit_head SET first_id = 3", "the head was changed"),
        ("DELETE FROM audit_head", "the head is gone"),
    ],
)  # fmt: skip
def test_whatever_was_changed_or_removed_is_found(database_url: str, statement: str, said: str) -> None:
    with audited(database_url) as store:
        for _ in range(6):
            store.record(access())
        tamper(database_url, statement)
        assert said in problems(store, limit=10)


def test_a_row_that_was_put_in_is_found(database_url: str) -> None:
    with audited(database_url) as store:
        for _ in range(3):
            store.record(access())
        copied = "SELECT 4, at, identity, peer, action, subject, outcome, code FROM audit_log WHERE id = 3"
        tamper(database_url, f"INSERT INTO audit_log {copied}")
        assert "row 4 was changed" in problems(store)


def test_what_was_done_to_the_head_stays_in_the_log(database_url: str) -> None:
    with audited(database_url) as store:
        for _ in range(6):
            store.record(access())
        # The end cut off, and the head made to fit as well as it can be without the master key.
        tamper(
            database_url,
            "DELETE FROM audit_log WHERE id > 3",
            "UPDATE audit_head SET last_id = 3, last_code = (SELECT code FROM audit_log WHERE id = 3)",
        )
        store.record(access())
        found = problems(store)
        assert found == ["the end of the log was changed before row 4: head of 3, rows to 3"]
        assert problems(store) == found


def test_an_older_copy_of_the_database_is_found_by_a_code_that_was_noted(database_url: str) -> None:
    with audited(database_url) as store:
        for _ in range(3):
            store.record(access())
        head = rows(database_url, "SELECT last_id, last_code, seal FROM audit_head")[0]
        assert isinstance(head[1], bytes)
        assert isinstance(head[2], bytes)
        for _ in range(3):
            store.record(access())
        (noted,) = store.newest_entries(OPERATOR, 7, 1, 1e9)
        tamper(
            database_url,
            "DELETE FROM audit_log WHERE id > 3",
            "DELETE FROM audit_head",
            "INSERT INTO audit_head VALUES (1, 1, {}, 3, {}, {})".format(  # noqa: S608
                *(literal(database_url, value) for value in (b"", head[1], head[2]))
            ),
        )
        assert problems(store, Place(noted.id, noted.code))[0] == f"row {noted.id} is not the one that was seen"


def test_the_log_keeps_its_newest_rows_only_and_what_is_left_can_be_checked(database_url: str) -> None:
    with audited(database_url, max_rows=100) as store:
        with store._working() as work:
            for _ in range(1099):
                work.record(access())
        count = "SELECT count(*), min(id), max(id) FROM audit_log"
        assert rows(database_url, count) == [(1099, 1, 1099)]
        (seen,) = store.newest_entries(OPERATOR, 500, 1, 1e9)
        assert rows(database_url, count) == [(100, 1001, 1100)]
        assert problems(store, limit=70) == []
        # A place that was pruned since: the check goes on from the oldest row that there is.
        assert problems(store, Place(seen.id, seen.code), limit=70) == []


def test_rows_that_say_the_same_otherwise_divided_have_other_codes(database_url: str) -> None:
    with audited(database_url) as store:
        store.record(Access(1e9, "ab", "c", Action.GET_KEY_SETS, "", Outcome.GRANTED))
        tamper(database_url, "UPDATE audit_log SET identity = 'a', peer = 'bc' WHERE id = 1")
        assert "row 1 was changed" in problems(store)


async def test_an_operator_reads_and_checks_the_log_and_each_call_is_in_it(tmp_path: Path) -> None:
    async with kms_running(tmp_path) as kms:
        await kms.client("edge").key_sets(["cookie"])
        status, page = await kms.operate("/v1/audit?limit=1", method="GET")
        assert status == 200
        entries = page["entries"]
        assert isinstance(entries, list)
        assert [(each["identity"], each["action"], each["subject"]) for each in entries] == [
            ("edge", "get_key_sets", "cookie")
        ]
        assert f'"audit": "{entries[0]["id"]}:{entries[0]["code"]}"' in kms.process.output()
        status, check = await kms.operate("/v1/audit/check", method="GET")
        assert (status, check["problems"], check["done"]) == (200, [], True)
        status, check = await kms.operate(f"/v1/audit/check?after={check['place']}", method="GET")
        assert (status, check["problems"], check["rows"]) == (200, [], 1)
        for path in ("/v1/audit", "/v1/audit/check"):
            assert (await kms.operate(path, identity="edge", method="GET"))[0] == 403
        for path in (
            "/v1/audit?limit=0",
            "/v1/audit?before=x",
            "/v1/audit/check?after=1",
            "/v1/audit/check?after=x:00",
        ):
            assert (await kms.operate(path, method="GET"))[0] == 400
        run(kms.database_url, *UNLOCK["sqlite"], "UPDATE audit_log SET peer = 'x' WHERE id = 2")
        status, check = await kms.operate("/v1/audit/check", method="GET")
        assert (status, check["problems"]) == (200, ["row 2 was changed"])
        await kms.process.said('"outcome": "audit_broken"')


def literal(url: str, value: bytes) -> str:
    return f"x'{value.hex()}'" if url.startswith("sqlite") else f"'\\x{value.hex()}'::bytea"
