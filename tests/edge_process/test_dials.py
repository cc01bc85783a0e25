"""Dials of a whole edge under load: turned all the time, by several hands, and no request notices."""

import asyncio
import json
import os
import signal
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from itertools import pairwise

import pytest
import pytest_asyncio

from edge.supervisor.config import Outcome, Result
from edge.supervisor.control_socket import ask
from tests.edge_process.edge import Edge, Load, running_edge
from tests.edge_process.origin import Origin
from tests.processes import beside, eventually, ran
from tests.services.kms_calls import Kms

pytestmark = pytest.mark.asyncio(loop_scope="module")

CHANGES = 1_000
CHANGERS = 4
TICK_S = 0.01


class Clock:
    """Ticks beside an edge and has no part in it: late where the machine stood still, or had no processor free."""

    def __init__(self) -> None:
        self.ticks = [time.monotonic()]
        self.over = threading.Event()

    def run(self) -> None:
        while not self.over.wait(TICK_S):
            self.ticks.append(time.monotonic())

    def held_up_s(self, since: float) -> float:
        """Return by how many seconds the latest tick since then was late."""
        ticks = [*self.ticks, time.monotonic()]
        return max(after - max(before, since) - TICK_S for before, after in pairwise(ticks) if after > since)


@contextmanager
def ticking() -> Iterator[Clock]:
    clock = Clock()
    thread = threading.Thread(target=clock.run)
    thread.start()
    try:
        yield clock
    finally:
        clock.over.set()
        thread.join()


def all_agree(told: Outcome) -> bool:
    """Say whether both workers decide by the revision that was told."""
    assert told.data is not None
    agreement = told.data["workers"]
    assert isinstance(agreement, dict)
    return bool(agreement["served"] == agreement["all"] == 2)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def edge(kms: Kms, origin: Origin, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Edge]:
    """An edge whose requests go by the dials: their origin takes them either way."""
    home = tmp_path_factory.mktemp("edge")
    async with running_edge(kms, home, origin.address, "origins.api.accepts_legacy=true") as running:
        yield running


async def test_the_command_moves_a_dial_lists_it_and_tells_who_moved_it(edge: Edge) -> None:
    await edge.pids()
    var = ("--var", str(edge.var))
    code, said = await ran("edge.cli", "dial", "set", "shadow-cookie", "0.25", "--reason", "a look", *var)
    assert (code, said.splitlines()) == (
        0,
        ["shadow-cookie: 0 % → 0.25 %, revision 1", "2 of 2 workers serve revision 1"],
    )
    both = await asyncio.gather(ran("edge.cli", "dial", "list", *var), ran("edge.cli", "dial", "history", *var))
    (listed, listing), (told, history) = both
    assert (listed, told) == (0, 0)
    assert "2 of 2 workers serve revision 1" in listing
    assert "a look" in listing
    assert "a look" in history
    code, said = await ran("edge.cli", "dial", "set", "shadow-cookie", "1", "--reason", "x", "--revision", "0", *var)
    assert (code, said.strip()) == (1, "dials have moved on to revision 1 from 0: look again")
    code, said = await ran("edge.cli", "dial", "unset", "shadow-cookie", "--reason", "x", *var)
    assert code == 2
    assert "cannot be unset" in said


async def test_a_thousand_changes_under_load_fail_no_request_and_each_is_in_the_journal(edge: Edge) -> None:
    await edge.pids()
    before = len((edge.var / "dials.jsonl").read_bytes().splitlines())
    late: list[str] = []

    def turn(number: int) -> tuple[Result, float]:
        percent = f"{number * 7 % 10_001 / 100:.2f}"
        asked = {"do": "dial-set", "feature": "terminate-cookie", "percent": percent, "why": f"turn {number}"}
        began = time.monotonic()
        outcome = told = ask(edge.var, json.dumps(asked))
        took_s = time.monotonic() - began
        assert outcome is not None
        if not all_agree(outcome):  # a second after the change was on the disk, by the edge's own clock
            while told is None or not all_agree(told):
                told = ask(edge.var, '{"do": "dial-list"}')
            agreed_s, held_up_s = time.monotonic() - began, clock.held_up_s(began)
            if agreed_s - held_up_s >= 1.0:
                late.append(f"turn {number}: {agreed_s:.3f} s, of which the machine stood still for {held_up_s:.3f} s")
        return outcome.result, took_s

    def changer(which: int) -> list[tuple[Result, float]]:
        return [turn(number) for number in range(which, CHANGES, CHANGERS)]

    load = Load(edge.address)
    async with load.of(8):
        with ticking() as clock:
            done = await asyncio.gather(*(asyncio.to_thread(changer, which) for which in range(CHANGERS)))
    results = [result for each in done for result, _ in each]
    assert (load.failures, load.refused) == ([], 0)
    assert results == [Result.APPLIED] * CHANGES
    took_s = sorted(took for each in done for _, took in each)
    assert late == []
    assert took_s[CHANGES * 99 // 100] < 1.0
    lines = [json.loads(line) for line in (edge.var / "dials.jsonl").read_bytes().splitlines()][before:]
    assert {line["why"] for line in lines} == {f"turn {number}" for number in range(CHANGES)}
    assert [line["revision"] for line in lines] == list(range(before + 1, before + 1 + CHANGES))
    assert all(one["to"] == other["from"] for one, other in pairwise(lines))
    assert await edge.metric("edge_dial_revision") == before + CHANGES
    decided = 'edge_rollout_decisions_total{device_type="unknown",feature="terminate-cookie",on="%s"}'
    assert (await edge.metric(decided % "true") or 0) > 0
    assert (await edge.metric(decided % "false") or 0) > 0


async def test_a_worker_that_is_killed_between_changes_is_followed_by_one_that_knows_them(edge: Edge) -> None:
    pids = await edge.pids()
    await edge.standby()

    def turn(number: int) -> Result:
        asked = {"do": "dial-set", "feature": "shadow-cookie", "percent": f"{number}", "why": "while one is killed"}
        outcome = ask(edge.var, json.dumps(asked))
        assert outcome is not None
        return outcome.result

    async with beside(asyncio.to_thread(lambda: [turn(number) for number in range(60)])) as turning:
        os.kill(pids[1], signal.SIGKILL)
        assert set(await turning) == {Result.APPLIED}
    assert (await edge.pids())[0] == pids[0]
    newest = int(json.loads((edge.var / "dials.jsonl").read_bytes().splitlines()[-1])["revision"])

    async def all_know() -> bool:
        return await edge.metric("edge_dial_revision") == newest

    await eventually(all_know, "all workers decide by the newest revision")
    assert (await edge.pids())[1] != pids[1]
