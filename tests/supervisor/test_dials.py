"""Dials in a real supervisor with worker processes: all of them decide by the same positions, within a second."""

import asyncio
import getpass
import json
import os
import shutil
import signal
import time
from collections.abc import Awaitable
from pathlib import Path

import aiohttp
import pytest
from typer.testing import CliRunner

from edge.control.dial_answer import Agreement, Made
from edge.control.dial_change import Refusal, Refused, Wish
from edge.control.dial_journal import DialJournal
from edge.control.load import load_config
from edge.control.snapshot import Snapshot
from edge.dial_cli import dial_app
from edge.supervisor.config import STAYS, Outcome, Result
from edge.supervisor.control_socket import ask
from edge.supervisor.dial_board import DialBoard
from edge.supervisor.dial_desk import DialDesk
from edge.supervisor.process import WorkerProcess
from edge.supervisor.supervisor import EXIT_BAD_STATE, Plan, Supervisor
from edge.telemetry.control_channel import Message
from tests.processes import write_secret
from tests.supervisor.conftest import CONFIG, Running, plan, supervising

NO_EFFECT = "has no effect: no origin has accepts_legacy: true in origins.yaml, so cookies end at the edge"
TOKEN = "ann-0123456789abcdef"
OPERATOR = "admin.operators={ann: ann.token}"


async def commanded(running: Running, **command: object) -> Outcome:
    """Ask over the control socket, as `edge dial` does."""
    var = running.supervisor._plan.snapshot.var
    outcome = await asyncio.to_thread(ask, var, json.dumps(command))
    assert outcome is not None
    return outcome


async def set_dial(running: Running, percent: str | None, **more: object) -> Outcome:
    asked = {"do": "dial-set", "feature": "terminate-cookie", "percent": percent, "why": "a test", **more}
    return await commanded(running, **asked)


async def served(running: Running) -> float:
    """Return the oldest revision that a worker says it decides by."""
    _, metrics = await running.admin("/metrics")
    lines = [line for line in metrics.splitlines() if line.startswith("edge_dial_revision ")]
    return float(lines[0].split()[1]) if lines else -1


def journal(running: Running) -> list[dict[str, object]]:
    lines = (running.supervisor._plan.snapshot.var / "dials.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def desk_of(snapshot: Snapshot) -> DialDesk:
    return DialDesk(snapshot, DialBoard(), lambda revision: Agreement(revision, 0, 0), lambda _: None)


def snapshot_of(var: Path, *overrides: str) -> Snapshot:
    snapshot = load_config(CONFIG, overrides, var=var)
    assert isinstance(snapshot, Snapshot)
    return snapshot


def wish(percent: str, revision: int | None = None) -> Wish:
    return Wish("shadow-cookie", percent, "a test", "ann", "api", revision=revision)


async def moved_by_another(var: Path) -> Made | Refused:
    """Move a dial with another edge on the same state."""
    desk = desk_of(snapshot_of(var))
    await desk.open()
    made = await desk.change(wish("1"))
    desk.close()
    return made


async def test_a_change_by_command_is_in_all_workers_within_a_second_and_in_the_journal() -> None:
    async with supervising(plan(workers=2)) as running:
        await running.until(lambda: running.ready() == 2)
        began = time.monotonic()
        outcome = await set_dial(running, "12.34", device_type="phone")
        took_s = time.monotonic() - began
        assert outcome.result is Result.APPLIED
        assert outcome.text == (
            "terminate-cookie, device type phone: unset → 12.34 %, revision 1\n2 of 2 workers serve revision 1\n"
            f"hint: terminate-cookie, device type phone {NO_EFFECT}"
        )
        assert await served(running) == 1
        assert took_s < 1
        (line,) = journal(running)
        assert (line["who"], line["how"], line["why"]) == (getpass.getuser(), "cli", "a test")
        _, metrics = await running.admin("/metrics")
        series = 'edge_dial_position_percent{device_type="phone",feature="terminate-cookie",origin="*"} 12.34'
        assert series in metrics
        assert 'edge_dial_changes_total{how="cli",result="applied"} 1.0' in metrics


async def test_the_list_for_people_ends_with_hints() -> None:
    async with supervising(plan(workers=1)) as running:
        await running.until(lambda: running.ready() == 1)
        var = str(running.supervisor._plan.snapshot.var)
        listed = await asyncio.to_thread(CliRunner().invoke, dial_app, ["list", "--var", var])
        assert "hint" not in listed.output
        await set_dial(running, "5")
        listed = await asyncio.to_thread(CliRunner().invoke, dial_app, ["list", "--var", var])
        assert listed.output.endswith(f"\n\nhint: terminate-cookie {NO_EFFECT}\n")
        await set_dial(running, "100")
        assert (await set_dial(running, "5", origin="api")).text.endswith("so cookies end at the edge")
        unset = await set_dial(running, None, origin="api")
        assert "hint" not in unset.text


async def test_what_is_listed_and_told_is_what_was_changed() -> None:
    async with supervising(plan(workers=1)) as running:
        await running.until(lambda: running.ready() == 1)
        await set_dial(running, "5")
        listed = (await commanded(running, do="dial-list")).data
        assert listed is not None
        assert listed["workers"] == {"revision": 1, "served": 1, "all": 1}
        assert listed["hints"] == [f"terminate-cookie {NO_EFFECT}"]
        told = (await commanded(running, do="dial-history", limit=10)).data
        assert told == {"changes": journal(running)}
        assert (await commanded(running, do="dial-history", feature="shadow-cookie", limit=10)).data == {"changes": []}


@pytest.mark.parametrize(
    ("command", "result", "says"),
    [
        ({"do": "dial-set", "feature": "x", "percent": "5", "why": "x"}, Result.INVALID, "no feature 'x'"),
        ({"do": "dial-set", "feature": "terminate-cookie", "percent": 5, "why": "x"}, Result.INVALID, "understand"),
        ({"do": "dial-turn"}, Result.INVALID, "does not understand"),
        (
            {"do": "dial-set", "feature": "terminate-cookie", "percent": "5", "why": "x", "revision": 3},
            Result.REFUSED,
            "dials have moved on to revision 0 from 3: look again",
        ),
    ],
)
async def test_a_command_that_cannot_be_carried_out_says_why(
    command: dict[str, object], result: Result, says: str
) -> None:
    async with supervising(plan()) as running:
        await running.until(lambda: running.ready() == 1)
        outcome = await commanded(running, **command)
        assert (outcome.result, says in outcome.text) == (result, True), outcome.text
        assert journal(running) == []


async def test_of_two_changers_who_saw_the_same_revision_one_wins_each_time() -> None:
    async with supervising(plan()) as running:
        await running.until(lambda: running.ready() == 1)
        for revision in range(10):
            both = await asyncio.gather(*(set_dial(running, percent, revision=revision) for percent in ("1", "2")))
            assert sorted(outcome.result for outcome in both) == [Result.APPLIED, Result.REFUSED]
        assert [line["revision"] for line in journal(running)] == list(range(1, 11))


async def test_a_worker_that_is_killed_is_followed_by_one_that_knows_the_dials() -> None:
    async with supervising(plan(workers=2)) as running:
        await running.until(lambda: running.ready() == 2)
        await set_dial(running, "1")
        pid = running.supervisor.health().workers[0].pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        outcome = await set_dial(running, "2")
        assert outcome.result is Result.APPLIED
        await running.until(
            lambda: running.ready() == 2 and all(worker.pid != pid for worker in running.supervisor.health().workers)
        )
        listed = (await commanded(running, do="dial-list")).data
        assert listed is not None
        assert listed["workers"] == {"revision": 2, "served": 2, "all": 2}
        assert await served(running) == 2


async def test_a_worker_that_has_not_taken_the_newest_revision_is_told_from_the_others() -> None:
    async with supervising(plan(workers=2)) as running:
        await running.until(lambda: running.ready() == 2)
        pid = running.supervisor.health().workers[0].pid
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)
        try:
            outcome = await set_dial(running, "5")
            assert "\n1 of 2 workers serve revision 1\n" in outcome.text
            _, metrics = await running.admin("/metrics")
            assert "edge_dial_workers_behind 1.0" in metrics
        finally:
            os.kill(pid, signal.SIGCONT)
        await running.until(lambda: not running.supervisor._board.behind)


async def test_workers_that_were_replaced_or_stood_by_know_the_dials() -> None:
    async with supervising(plan("edge.standby=true", workers=2)) as running:
        await running.until(lambda: running.ready() == 2)
        await set_dial(running, "1")
        fleet = running.supervisor._fleet
        assert fleet is not None
        await running.until(lambda: fleet.crew.waiting is not None and fleet.crew.waiting.loaded)
        await set_dial(running, "2")
        waiting = fleet.crew.waiting
        assert waiting is not None
        await running.until(lambda: waiting.dials_served == 2)
        assert (await running.supervisor.change("restart")).result is Result.APPLIED
        assert running.supervisor._agreement(2).served == 2


async def test_the_file_has_the_last_word_when_it_changes_and_only_then(tmp_path: Path) -> None:
    config = tmp_path / "config"
    shutil.copytree(CONFIG, config)
    dials = config / "dials.yaml"
    dials.write_text("dials: {terminate-cookie: {device_types: {phone: 5}}}")
    async with supervising(plan(workers=2, config=config)) as running:
        await running.until(lambda: running.ready() == 2)
        assert await served(running) == 1  # the file says something else than what is shipped
        await set_dial(running, "50", device_type="phone")
        assert (await running.supervisor.change("reload")).result is Result.APPLIED
        assert len(journal(running)) == 2  # the file says what it said
        dials.write_text("dials: {terminate-cookie: {device_types: {phone: 7.5}}}")
        outcome = await running.supervisor.change("reload")
        assert "terminate-cookie, device type phone: 50 % → 7.5 %, by the file, revision 3" in outcome.text
        await running.until(lambda: running.supervisor._agreement(3).served == 2)
        line = journal(running)[-1]
        assert (line["who"], line["how"], line["from"], line["to"]) == ("dials.yaml", "file", 50, 7.5)
        dials.write_text("dials: {terminate-cookie: {device_types: {phone: 7.555}}}")
        assert (await running.supervisor.change("reload")).result is Result.INVALID
        assert len(journal(running)) == 3


async def test_an_operator_may_change_dials_by_the_api_and_all_workers_agree() -> None:
    what = plan(OPERATOR, workers=2)
    write_secret(what.snapshot.var / "ann.token", TOKEN)
    async with supervising(what) as running:
        await running.until(lambda: running.ready() == 2)
        host, port = running.supervisor.admin_listening
        headers = {"Authorization": f"Bearer {TOKEN}", "If-Match": '"0"'}
        async with (
            aiohttp.ClientSession(headers=headers) as session,
            session.put(
                f"http://{host}:{port}/dials/shadow-cookie", json={"percent": 0.01, "reason": "a look"}
            ) as response,
        ):
            answer = await response.json()
        assert (response.status, answer["workers"]) == (200, {"revision": 1, "served": 2, "all": 2})
        assert await served(running) == 1


async def test_dials_stand_where_they_stood_after_a_restart_of_the_whole_edge() -> None:
    what = plan()
    async with supervising(what) as running:
        await running.until(lambda: running.ready() == 1)
        await set_dial(running, "5")
    with (what.snapshot.var / "dials.jsonl").open("ab") as torn:
        torn.write(b'{"revision": 2, "at"')
    async with supervising(what) as running:
        await running.until(lambda: running.ready() == 1)
        assert any("cut off, that change was not made" in line for line in running.said)
        assert await served(running) == 1
        assert (await set_dial(running, "6", revision=1)).result is Result.APPLIED
        assert [line["revision"] for line in journal(running)] == [1, 2]


async def test_a_spoilt_journal_stops_the_start_and_says_what_to_do() -> None:
    what, said = plan(), list[str]()
    (what.snapshot.var / "dials.jsonl").write_text("{}\n")
    assert await Supervisor(what, said.append).run() == EXIT_BAD_STATE
    assert "dials.jsonl:1: " in said[0]
    assert "mend it from a backup" in said[0]


async def test_a_reload_that_ends_after_the_edge_leaves_the_journal_to_the_next_one(tmp_path: Path) -> None:
    snapshot = snapshot_of(tmp_path)
    desk = desk_of(snapshot)
    assert await desk.open() == ""
    desk.close()
    assert (await desk.adopt(snapshot, lambda: pytest.fail("it committed"))).problem == "the edge stops"
    journal = DialJournal(tmp_path)
    journal.open()
    assert journal.problem == ""
    journal.close()


async def test_an_edge_that_takes_the_journal_over_late_never_goes_back_to_a_revision_that_it_told(
    tmp_path: Path,
) -> None:
    first, second = desk_of(snapshot_of(tmp_path)), desk_of(snapshot_of(tmp_path))
    assert (await first.open(), await second.open()) == ("", "")
    for percent in (5, 100):  # kept nowhere: the first edge has the journal, in which the file says what it said
        adopted = await second.adopt(snapshot_of(tmp_path, f"dials.terminate-cookie.default={percent}"))
        assert "it is not in the journal" in adopted.lines[0]
    assert second.standing().revision == 2
    assert isinstance(await first.change(wish("1")), Made)
    first.close()
    refused = await second.change(wish("2", revision=2))
    assert isinstance(refused, Refused)
    assert refused.refusal is Refusal.NOT_KEPT
    assert "is at revision 1, and this edge is at 2, which it cannot take back" in refused.text
    assert second.standing().revision == 2
    assert isinstance(
        await moved_by_another(tmp_path), Made
    )  # nobody holds what was not taken up; now it is at revision 2
    refused = await second.change(wish("2", revision=2))
    assert isinstance(refused, Refused)
    assert "has another revision 2" in refused.text
    assert isinstance(await moved_by_another(tmp_path), Made)
    moved_on = await second.change(wish("2", revision=2))
    assert isinstance(moved_on, Refused)
    assert moved_on.refusal is Refusal.MOVED_ON
    made = await second.change(wish("2", revision=3))
    assert isinstance(made, Made)
    assert made.change.revision == 4
    second.close()


async def test_what_the_file_said_while_another_edge_held_the_journal_is_kept_when_it_is_taken_over(
    tmp_path: Path,
) -> None:
    first = desk_of(snapshot_of(tmp_path))
    second = desk_of(snapshot_of(tmp_path, "dials.terminate-cookie.default=5"))
    assert (await first.open(), await second.open()) == ("", "")
    assert second.standing().revision == 1
    first.close()
    made = await second.change(wish("1", revision=1))
    assert isinstance(made, Made)
    second.close()
    lines = [json.loads(line) for line in (tmp_path / "dials.jsonl").read_bytes().splitlines()]
    assert [(line["revision"], line["how"]) for line in lines] == [(1, "file"), (2, "api")]


async def test_a_journal_put_back_from_a_backup_under_a_running_edge_takes_no_revision_back() -> None:
    what = plan(workers=2)
    path = what.snapshot.var / "dials.jsonl"
    async with supervising(what) as running:
        await running.until(lambda: running.ready() == 2)
        await set_dial(running, "1")
        backup = path.read_bytes()
        await set_dial(running, "2")
        newest = path.read_bytes()
        path.write_bytes(backup)
        refused = await set_dial(running, "3")
        assert (refused.result, refused.data) == (Result.REFUSED, {"reason": "not_kept"})
        assert "is at revision 1, and this edge is at 2" in refused.text
        assert (await served(running), path.read_bytes()) == (2, backup)
        path.unlink()
        path.write_bytes(newest)
        assert (await set_dial(running, "3", revision=2)).result is Result.APPLIED
        assert await served(running) == 3
        assert [line["revision"] for line in journal(running)] == [1, 2, 3]
        assert any("dials.jsonl is taken up again, at revision 2" in line for line in running.said)


class Configured:
    """A directory of configuration whose dials and operators a test changes."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "config"
        shutil.copytree(CONFIG, self.path)
        self.edge = self.path / "edge.yaml"
        self.shipped = self.edge.read_text()
        self.operators("ann")

    def dials(self, percent: float) -> None:
        (self.path / "dials.yaml").write_text(f"dials: {{terminate-cookie: {{default: {percent}}}}}")

    def operators(self, *names: str) -> None:
        """Let those change dials by the API who are named; each token is that of `token_of`."""
        files = ", ".join(f"{name}: {name}.token" for name in names)
        assert "\nadmin:\n" in self.shipped
        self.edge.write_text(self.shipped.replace("\nadmin:\n", f"\nadmin:\n  operators: {{{files}}}\n"))


def token_of(name: str) -> str:
    return f"{name}-0123456789abcdef"


async def let_in(running: Running, *names: str) -> list[str]:
    """Return whose token the API takes."""
    host, port = running.supervisor.admin_listening
    found = []
    for name in names:
        headers = {"Authorization": f"Bearer {token_of(name)}"}
        async with running.session.get(f"http://{host}:{port}/dials", headers=headers) as response:
            found += [name] if response.status == 200 else []
    return found


@pytest.fixture
def configured(tmp_path: Path) -> Configured:
    return Configured(tmp_path)


def plan_of(configured: Configured, *arguments: str) -> Plan:
    what = plan(workers=2, config=configured.path, arguments=arguments)
    for name in ("ann", "bob"):
        write_secret(what.snapshot.var / f"{name}.token", token_of(name))
    return what


@pytest.mark.parametrize("kind", ["reload", "restart"])
async def test_a_change_that_is_carried_out_brings_its_dials_and_operators(configured: Configured, kind: str) -> None:
    async with supervising(plan_of(configured)) as running:
        await running.until(lambda: running.ready() == 2)
        assert await let_in(running, "ann", "bob") == ["ann"]
        configured.dials(5)
        configured.operators("bob")
        outcome = await running.supervisor.change(kind)
        assert outcome.result is Result.APPLIED
        assert outcome.text.endswith("dials: terminate-cookie: 100 % → 5 %, by the file, revision 1")
        await running.until(lambda: running.supervisor._agreement(1).served == 2)
        assert await let_in(running, "ann", "bob") == ["bob"]


@pytest.mark.parametrize("kind", ["reload", "restart"])
async def test_a_change_that_a_worker_refuses_changes_no_dial_and_no_operator(
    configured: Configured, kind: str, tmp_path: Path
) -> None:
    gate = tmp_path / "fail"
    async with supervising(plan_of(configured, "--refuse-in", "1", "--fail-if", str(gate))) as running:
        await running.until(lambda: running.ready() == 2)
        gate.touch()
        configured.dials(5)
        configured.operators("bob")
        outcome = await running.supervisor.change(kind)
        assert outcome.result is Result.WORKER_REFUSED
        assert "dial" in outcome.text.splitlines()[-1]
        assert "operator" in outcome.text.splitlines()[-1]
        assert (await served(running), journal(running)) == (0, [])
        assert await let_in(running, "ann", "bob") == ["ann"]


async def test_a_reload_whose_dials_cannot_be_kept_changes_nothing_at_all(
    configured: Configured, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with supervising(plan_of(configured)) as running:
        await running.until(lambda: running.ready() == 2)
        configured.dials(5)
        configured.operators("bob")
        with monkeypatch.context() as patched:
            patched.setattr(DialJournal, "append", lambda *_: "the disk is full")
            outcome = await running.supervisor.change("reload")
        assert (outcome.result, outcome.text) == (
            Result.REFUSED,
            f"the dials cannot be changed as dials.yaml says: the disk is full\n{STAYS}",
        )
        assert [worker.config for worker in running.supervisor.health().workers] == [1, 1]
        _, metrics = await running.admin("/metrics")
        assert "edge_config_revision 1.0" in metrics
        assert (await served(running), await let_in(running, "ann", "bob")) == (0, ["ann"])
        assert (await running.supervisor.change("reload")).result is Result.APPLIED
        assert (await served(running), await let_in(running, "ann", "bob")) == (1, ["bob"])


async def test_a_restart_whose_dials_cannot_be_kept_says_so(
    configured: Configured, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with supervising(plan_of(configured)) as running:
        await running.until(lambda: running.ready() == 2)
        configured.dials(5)
        with monkeypatch.context() as patched:
            patched.setattr(DialJournal, "append", lambda *_: "the disk is full")
            outcome = await running.supervisor.change("restart")
        assert outcome.result is Result.WORKER_REFUSED
        assert outcome.text.startswith("all workers were replaced; they serve configuration 2 ")
        assert outcome.text.endswith("\nthe dials cannot be changed as dials.yaml says: the disk is full")
        assert journal(running) == []
        again = await running.supervisor.change("reload")
        assert again.result is Result.APPLIED
        assert "by the file, revision 1" in again.text
        assert len(journal(running)) == 1


async def test_workers_hear_of_the_dials_of_a_reload_with_its_commit_and_not_before(
    configured: Configured, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: dict[WorkerProcess, list[str]] = {}

    def noting(process: WorkerProcess, message: Message, timeout_s: float) -> Awaitable[Message | None]:
        note(process, message)
        return ask_as_ever(process, message, timeout_s)

    def note(process: WorkerProcess, message: Message) -> None:
        dials = message.get("dials") if message["type"] == "commit" else message
        if isinstance(dials, dict) and dials["type"] == "dials" and dials["revision"] == 1:
            sent.setdefault(process, []).append(str(message["type"]))

    def noting_what_needs_no_answer(process: WorkerProcess, message: Message) -> None:
        note(process, message)
        send_as_ever(process, message)

    ask_as_ever, send_as_ever = WorkerProcess.ask, WorkerProcess.send
    monkeypatch.setattr(WorkerProcess, "ask", noting)
    monkeypatch.setattr(WorkerProcess, "send", noting_what_needs_no_answer)
    async with supervising(plan_of(configured)) as running:
        await running.until(lambda: running.ready() == 2)
        configured.dials(5)
        assert (await running.supervisor.change("reload")).result is Result.APPLIED
        assert [types[0] for types in sent.values()] == ["commit", "commit"]


async def test_operators_and_dials_do_not_wait_for_a_worker_that_is_replaced_since_it_did_not_come_along(
    configured: Configured, tmp_path: Path
) -> None:
    gate = tmp_path / "held"
    async with supervising(plan_of(configured, "--forget-in", "1", "--hold-while", str(gate))) as running:
        await running.until(lambda: running.ready() == 2)
        gate.touch()
        configured.dials(5)
        configured.operators("bob")
        changing = asyncio.create_task(running.supervisor.change("reload"))
        await running.until(lambda: running.supervisor.health().workers[0].config == 2)
        assert await let_in(running, "ann", "bob") == ["bob"]
        await running.until(lambda: running.supervisor._agreement(1).served == 2)
        assert not changing.done()
        gate.unlink()
        assert (await changing).result is Result.APPLIED
        assert [worker.config for worker in running.supervisor.health().workers] == [2, 2]


async def test_a_reload_that_a_worker_does_not_come_along_with_says_so_and_its_dials_and_operators_count(
    configured: Configured, tmp_path: Path
) -> None:
    gate = tmp_path / "fail"
    async with supervising(plan_of(configured, "--forget-in", "1", "--fail-if", str(gate))) as running:
        await running.until(lambda: running.ready() == 2)
        gate.touch()
        configured.dials(5)
        configured.operators("bob")
        outcome = await running.supervisor.change("reload")
        assert outcome.result is Result.WORKER_REFUSED
        refused, accepted, dials = outcome.text.splitlines()
        assert refused.startswith("worker 1: the new one ended with exit code 4")
        assert accepted.endswith(
            "is accepted, with its dials and operators, and served by 1 of 2 workers: reload again"
        )
        assert dials == "dials: terminate-cookie: 100 % → 5 %, by the file, revision 1"
        assert [worker.config for worker in running.supervisor.health().workers] == [2, 1]
        await running.until(lambda: running.supervisor._agreement(1).served == 2)
        assert await let_in(running, "ann", "bob") == ["bob"]
        gate.unlink()
        pid = running.supervisor.health().workers[1].pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        await running.until(lambda: running.ready() == 2 and running.supervisor.health().workers[1].pid != pid)
        assert [worker.config for worker in running.supervisor.health().workers] == [2, 2]
