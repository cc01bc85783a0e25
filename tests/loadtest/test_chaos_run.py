"""The harness itself: bars, files, and one quick scenario with every process there is."""

import asyncio
import json
import os
import signal
import sys
from pathlib import Path

import psutil
import pytest

from loadtest.chaos.__main__ import NOT_MET, main, settings_from
from loadtest.chaos.report import append
from loadtest.chaos.result import Result, at_least, at_most, is_true, no_slower
from loadtest.chaos.scenarios.registry import BY_NAME, SCENARIOS
from loadtest.chaos.settings import Cores, assign_cores
from loadtest.chaos.trial import with_bars

ROOT = Path(__file__).parents[2]


def _result() -> Result:
    return Result("s", "B1", 1, 0, 0, 0, 0, 0, 1.0, 1.0, 0.0, 1.0)


def test_a_bar_is_met_up_to_its_limit_and_never_by_what_is_not_there() -> None:
    assert at_most("failed", 3, 3).met
    assert not at_most("failed", 4, 3).met
    assert not at_most("recovery_s", None, 5).met
    assert at_least("good", 0.9, 0.9).met
    assert not at_least("good", None, 0.9).met


def test_a_p99_may_grow_by_its_factor_or_by_the_noise_of_the_machine() -> None:
    assert no_slower(7.0, 2.0, 1.2).met
    assert no_slower(120.0, 100.0, 1.2).met
    assert not no_slower(121.0, 100.0, 1.2).met


def test_a_later_bar_replaces_an_earlier_one_of_its_figure() -> None:
    result = with_bars(_result(), [at_most("failed", 1, 0), at_most("failed", 1, 2), is_true("fact", met=True)])
    assert [bar.figure for bar in result.bars] == ["failed", "fact"]
    assert result.met


def test_rows_are_appended(tmp_path: Path) -> None:
    file = tmp_path / "var" / "latest.json"
    append(file, {"scenario": "a"})
    append(file, {"scenario": "b"})
    assert [row["scenario"] for row in json.loads(file.read_text())] == ["a", "b"]


def test_scenarios_have_names_of_their_own() -> None:
    assert len(BY_NAME) == len(SCENARIOS)


def test_the_command_line_knows_lengths_and_names() -> None:
    assert settings_from(["--quick", "origins_down"]).only == ("origins_down",)
    assert settings_from(["--quick"]).quick
    assert settings_from([]).only == ()
    with pytest.raises(SystemExit):
        settings_from(["no_such_scenario"])


def test_one_core_is_shared_when_there_is_no_other() -> None:
    assert assign_cores({3}) == Cores(3, 3)
    assert assign_cores({0, 1, 2}) == Cores(0, 2)


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_a_quick_scenario_runs_with_every_process_and_writes_its_figures(tmp_path: Path) -> None:
    code = main(["--quick", "--rate", "100", "--workers", "1", "--var", str(tmp_path), "origins_down"])
    assert code in {0, NOT_MET}  # the bars are for a machine with nothing else to do
    row = json.loads((tmp_path / "latest.json").read_text())[0]
    assert (row["scenario"], row["row"], row["wrong"], row["dup"]) == ("origins_down", "B2", 0, 0)
    assert row["requests"] > 100
    assert row["failed"] >= row["ideal_failed"] > 0
    assert list(tmp_path.iterdir()) == [tmp_path / "latest.json"]


@pytest.mark.slow
@pytest.mark.timeout(240)
async def test_ctrl_c_stops_everything(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "loadtest.chaos", "--quick", "--rate", "50", "--var", str(tmp_path), "flapping"]
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE, cwd=ROOT, env=os.environ)
    top = psutil.Process(process.pid)
    async with asyncio.timeout(200):
        while len(top.children(recursive=True)) < 9:  # noqa: ASYNC110 - KMS, origins, proxy, edge and its workers
            await asyncio.sleep(0.05)
        family = top.children(recursive=True)
        process.send_signal(signal.SIGINT)
        assert await process.wait() == 130
    assert not [one for one in family if one.is_running() and one.status() != psutil.STATUS_ZOMBIE]
