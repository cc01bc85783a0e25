"""What the client makes of an answer, and when it sends."""

import random
from pathlib import Path

import pytest

from loadtest.chaos.connection import Connection, Request
from loadtest.chaos.outcomes import Ending
from loadtest.chaos.plan import Plan, Stream, arrivals, read_plan

ID = b"get-7"
BODY = (ID + b"\n").ljust(64, b".")
HEAD = b"HTTP/1.1 200 OK\r\nx-chaos-id: get-7\r\n"
SIZED = HEAD + b"content-length: 64\r\n\r\n"
PROBLEM = b'{"status":503,"reason":"overloaded"}'
REFUSAL = b"HTTP/1.1 503 No\r\nretry-after: 1\r\ncontent-length: 36\r\n\r\n" + PROBLEM


class _Owner:
    def __init__(self) -> None:
        self.open = 1
        self.verdicts: list[Ending] = []
        self.idle: list[Connection] = []

    def finish(self, request: Request, kind: Ending) -> None:
        assert request.outcome(kind, request.due).id == request.id
        self.verdicts.append(kind)

    def take_back(self, connection: Connection) -> None:
        self.idle.append(connection)


class _Transport:
    def __init__(self) -> None:
        self.sent = b""

    def write(self, data: bytes) -> None:
        self.sent += data

    def close(self) -> None: ...

    def abort(self) -> None: ...


def _chance() -> random.Random:
    return random.Random(1)  # noqa: S311 - repeatable, not secret


def _asked() -> tuple[_Owner, Connection, Request]:
    owner = _Owner()
    connection = Connection(owner, 0)
    connection.connection_made(_Transport())  # type: ignore[arg-type]
    request = Request("get-7", Stream("get", 1, "/faulty", size=64), 0.0, b"Cookie: a=b")
    connection.send(request)
    return owner, connection, request


@pytest.mark.parametrize(
    ("answer", "ending"),
    [
        (SIZED + BODY, Ending.OK),
        (HEAD + b"transfer-encoding: chunked\r\n\r\n40\r\n" + BODY + b"\r\n0\r\n\r\n", Ending.OK),
        (b"HTTP/1.1 103 Hint\r\nlink: </a>\r\n\r\n" + SIZED + BODY, Ending.OK),
        (SIZED.replace(b"64", b"50") + BODY[:50], Ending.TRUNCATED),
        ((SIZED + BODY).replace(b"get-7", b"get-8"), Ending.CROSSED),
        (SIZED + BODY.replace(b"get-7", b"get-8"), Ending.ALTERED),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello", Ending.ALTERED),
        ((SIZED + BODY).replace(b"200 OK", b"500 Chaos"), Ending.ORIGIN_ERROR),
        (REFUSAL, Ending.REFUSED),
        (b"garbage\r\n\r\n", Ending.ALTERED),
    ],
)
def test_an_answer_is_good_only_if_it_is_whole_and_the_one_asked_for(answer: bytes, ending: Ending) -> None:
    for size in (1, 7, len(answer)):
        owner, connection, _ = _asked()
        for start in range(0, len(answer), size):
            connection.data_received(answer[start : start + size])
        assert owner.verdicts == [ending]


def test_an_answer_that_ends_early_is_cut_and_one_that_shows_its_end_by_closing_is_not() -> None:
    for head, body, error, ending in [
        (SIZED, BODY[:20], None, Ending.CUT),
        (SIZED, BODY[:20], ConnectionResetError(), Ending.CUT),
        (HEAD + b"\r\n", BODY, None, Ending.OK),
        (HEAD + b"\r\n", BODY[:20], None, Ending.TRUNCATED),
        (b"", b"", None, Ending.CLOSED),
    ]:
        owner, connection, _ = _asked()
        connection.data_received(head + body)
        connection.connection_lost(error)
        assert owner.verdicts == [ending]
        assert owner.open == 0


def test_what_the_edge_says_is_kept() -> None:
    _, connection, request = _asked()
    connection.data_received(REFUSAL)
    assert (request.status, request.reason, request.retry_after) == (503, "overloaded", True)


def test_a_connection_remembers_which_worker_has_it() -> None:
    _, connection, first = _asked()
    connection.data_received(HEAD + b"x-chaos-worker: 123\r\ncontent-length: 64\r\n\r\n" + BODY)
    second = Request("get-8", first.stream, 0.0, b"")
    connection.send(second)
    assert second.outcome(Ending.CLOSED, 1.0).worker == "123"


def test_a_cookie_that_is_taken_away_is_noticed() -> None:
    _, connection, request = _asked()
    connection.data_received(HEAD + b"set-cookie: EdgeId=; Max-Age=0\r\ncontent-length: 64\r\n\r\n" + BODY)
    assert request.outcome(Ending.OK, 1.0).signed_out


def test_a_kept_connection_is_used_again_and_says_so() -> None:
    owner, connection, first = _asked()
    connection.data_received(SIZED + BODY)
    assert owner.idle == [connection]
    second = Request("get-8", first.stream, 0.0, b"")
    connection.send(second)
    assert second.reused
    connection.connection_lost(None)
    assert owner.verdicts == [Ending.OK, Ending.CLOSED]


def test_arrivals_keep_their_rate_and_are_the_same_for_a_seed() -> None:
    stream = Stream("get", 1000, "/", start_s=1.0, stop_s=11.0)
    times = list(arrivals(stream, 100.0, 60.0, _chance()))
    assert times == list(arrivals(stream, 100.0, 60.0, _chance()))
    assert 9_500 < len(times) < 10_500
    assert times == sorted(times)
    assert 101.0 < times[0] < times[-1] < 111.0
    assert list(arrivals(Stream("none", 0, "/"), 0.0, 60.0, _chance())) == []


def test_a_plan_survives_its_file(tmp_path: Path) -> None:
    plan = Plan(1, 2.0, 3.0, 4, (Stream("get", 1, "/"), Stream("post", 2, "/", method="POST")), "cookies", "log")
    plan.write(tmp_path / "plan")
    assert read_plan(tmp_path / "plan") == plan
