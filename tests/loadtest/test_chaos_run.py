"""The harness itself: bars, files, and one quick scenario with every process there is."""

import asyncio
import json
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from loadtest.bench.failure import BenchError
from loadtest.bench.tools import find
from loadtest.chaos import __main__ as chaos
from loadtest.chaos import ports, reference
from loadtest.chaos.__main__ import BROKEN, NOT_MET, main, settings_from
from loadtest.chaos.ports import LOWEST, free_port
from loadtest.chaos.report import FIGURES, append
from loadtest.chaos.result import Result, at_least, at_most, is_true, no_slower
from loadtest.chaos.scenarios import Scenario
from loadtest.chaos.scenarios.registry import BY_NAME, REFERENCED, SCENARIOS
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


def _run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *scenarios: Scenario, arguments: Sequence[str] = ()
) -> tuple[int, list[dict[str, object]]]:
    """Run these scenarios on no stage at all; return the exit code and what was kept."""

    @asynccontextmanager
    async def empty(*_: object) -> AsyncIterator[None]:
        yield

    for name, value in {"SCENARIOS": scenarios, "base": empty, "staged": empty}.items():
        monkeypatch.setattr(chaos, name, value)
    monkeypatch.setattr(reference, "staged", empty)
    return main(["--var", str(tmp_path), *arguments]), json.loads((tmp_path / "latest.json").read_text())


async def _good(_: object) -> Result:
    return _result()


async def _broken(_: object) -> Result:
    raise BenchError("No worker stands by")


def test_a_scenario_that_breaks_has_its_row_and_the_others_are_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ("before", "broken", "after")
    scenarios = [Scenario(name, "B1", "harm", _broken if name == "broken" else _good) for name in names]
    code, rows = _run(tmp_path, monkeypatch, *scenarios)
    assert code == BROKEN
    assert [(row["scenario"], row["met"]) for row in rows] == [("before", True), ("broken", False), ("after", True)]
    for row in rows:
        assert {*FIGURES, "scenario", "row", "met", "measured_at"} <= row.keys()
    assert rows[1]["error"] == "BenchError('No worker stands by')"
    assert {rows[1][name] for name in FIGURES} == {None}


def test_what_can_be_compared_is_run_on_the_reference_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chaos, "find_reference", lambda _: ("/usr/sbin/nginx", "nginx/1"))
    compared, alone = (Scenario(name, "B1", "harm", _good) for name in ("origin_killed", "broken_reload"))
    code, rows = _run(tmp_path, monkeypatch, compared, alone, arguments=["--reference", "nginx"])
    assert code == 0
    assert rows[0]["reference"] == {"software": "nginx/1"} | {name: rows[0][name] for name in FIGURES}
    assert rows[1]["reference"] is None


def test_a_reference_that_breaks_takes_nothing_from_the_edge(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chaos, "find_reference", lambda _: ("/usr/sbin/nginx", "nginx/1"))
    turns = iter([_good, _broken])

    async def run(stage: object) -> Result:
        return await next(turns)(stage)

    scenario = Scenario("origin_killed", "B1", "harm", run)
    code, rows = _run(tmp_path, monkeypatch, scenario, arguments=["--reference", "nginx"])
    assert (code, rows[0]["met"], rows[0]["failed"]) == (0, True, 0)
    assert rows[0]["reference"] == {"software": "nginx/1", "error": "BenchError('No worker stands by')"}


def test_a_reference_that_is_not_installed_is_said_to_be_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(reference, "find", lambda _: None)
    code, rows = _run(
        tmp_path, monkeypatch, Scenario("origin_killed", "B1", "harm", _good), arguments=["--reference", "nginx"]
    )
    assert (code, rows[0]["reference"]) == (0, None)
    assert "nginx is not installed" in capsys.readouterr().out


@pytest.mark.skipif(find("nginx") is None, reason="nginx is not installed")
@pytest.mark.parametrize("name", sorted(REFERENCED))
def test_nginx_takes_the_configuration_of_each_scenario_it_is_compared_in(name: str, tmp_path: Path) -> None:
    file = tmp_path / "nginx.conf"
    faulty = ["127.0.0.1:1", "127.0.0.1:2"]
    file.write_text(
        reference.render(BY_NAME[name].setup, tmp_path, port=free_port(), workers=2, faulty=faulty, calm="127.0.0.1:3")
    )
    command = [str(find("nginx")), "-t", "-p", str(tmp_path), "-e", "stderr", "-c", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_scenarios_have_names_of_their_own() -> None:
    assert len(BY_NAME) == len(SCENARIOS)
    assert len(REFERENCED) == 21


def test_the_command_line_knows_lengths_and_names() -> None:
    assert settings_from(["--quick", "origins_down"]).only == ("origins_down",)
    assert settings_from(["--quick"]).quick
    assert settings_from([]).only == ()
    assert settings_from(["C"]).only == ("skewed_service", "edge_clock")
    assert {BY_NAME[name].row[0] for name in settings_from(["K", "S", "flapping"]).only} == {"K", "S", "B"}
    with pytest.raises(SystemExit):
        settings_from(["no_such_scenario"])


def test_no_port_is_given_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = free_port(), free_port()
    places = iter([first - LOWEST, first - LOWEST, second - LOWEST])
    monkeypatch.setattr(secrets, "randbelow", lambda _: next(places))
    monkeypatch.setattr(ports, "_given", {first})
    assert free_port() == second


def test_one_core_is_shared_when_there_is_no_other() -> None:
    assert assign_cores({3}) == Cores(3, 3)
    assert assign_cores({0, 1, 2}) == Cores(0, 2)


@pytest.fixture(scope="module")
def quick_row(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Run a quick scenario once, on nginx too where it is installed; return what was kept of it."""
    var = tmp_path_factory.mktemp("chaos")
    length = ["--quick", "--rate", "100", "--workers", "1"]
    code = main([*length, "--reference", "nginx", "--var", str(var), "origins_down"])
    assert code in {0, NOT_MET}  # the bars are for a machine with nothing else to do
    assert list(var.iterdir()) == [var / "latest.json"]
    (row,) = json.loads((var / "latest.json").read_text())
    return dict(row)


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.timeout(240)
def test_a_quick_scenario_runs_with_every_process_and_writes_its_figures(quick_row: dict[str, Any]) -> None:
    row = quick_row
    assert (row["scenario"], row["row"], row["wrong"], row["dup"]) == ("origins_down", "B2", 0, 0)
    assert row["requests"] > 100
    assert row["failed"] >= row["ideal_failed"] > 0


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.timeout(240)
@pytest.mark.skipif(find("nginx") is None, reason="nginx is not installed")
def test_a_quick_scenario_runs_on_nginx_too(quick_row: dict[str, Any]) -> None:
    figures = quick_row["reference"]
    assert figures["software"].startswith("nginx/")
    assert figures["requests"] > 100
    assert figures["failed"] >= figures["ideal_failed"] > 0
    assert (figures["wrong"], figures["dup"]) == (0, 0)


@pytest.mark.slow
@pytest.mark.long
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
