"""`make load`, whole: a real stack, Locust in processes of its own, and what comes of it."""

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
import yaml

from edge.control.errors import ConfigErrors
from edge.control.load import load_config
from edge.up.agreement import disagreements
from loadtest.demo_stack import Place, RunningStack
from loadtest.locust.__main__ import Settings, locust_command, options, overrides, settings_from, write_config
from loadtest.locust.checks import TOLERANCE
from loadtest.locust.device_table import read_table
from loadtest.locust.scenarios import SCENARIOS
from tests.processes import REPOSITORY, eventually

RUN_S = 180.0  # processes start slowly where all cores are busy, and passwords are checked slowly


class Load:
    """A running `python -m loadtest.locust`, and what it has said."""

    def __init__(self, home: Path, *words: str) -> None:
        self._printed = home / "printed"
        self.var = home / "var"
        where = ["--config", str(REPOSITORY / "config"), "--var", str(self.var)]
        with self._printed.open("wb") as printed:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "loadtest.locust", *words, *where],
                stdin=subprocess.DEVNULL, stdout=printed, stderr=printed, cwd=home,
            )  # fmt: skip

    @property
    def said(self) -> str:
        return self._printed.read_text()

    async def ended(self) -> bool:
        return self.process.poll() is not None

    async def measures(self) -> bool:
        return "Measuring from now on" in self.said or await self.ended()

    def descendants(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)

    def figures(self, scenario: str) -> dict[str, object]:
        read: dict[str, object] = json.loads((self.var / f"{scenario}.json").read_text())
        return read


@pytest.fixture
def load(tmp_path: Path) -> Iterator[Callable[..., Load]]:
    started: list[Load] = []

    def start(*words: str) -> Load:
        started.append(Load(tmp_path, *words))
        return started[-1]

    yield start
    for one in started:
        if one.process.poll() is None:
            one.process.send_signal(signal.SIGTERM)
            one.process.wait(60)


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.timeout(300)
async def test_a_run_with_a_master_and_two_workers_meets_its_checks_and_leaves_reports(
    load: Callable[..., Load],
) -> None:
    # So few devices that chance decides on the local share: it is to be of the right order, and known.
    run = load("-u", "10", "-t", "6", "--warm-up", "1", "--tolerance", "12", "--processes", "2")
    await eventually(run.ended, "the run ends", RUN_S)
    assert run.process.returncode == 0, run.said
    assert run.said.rstrip().endswith("reference.html and .json")
    assert "Every check was met." in run.said
    figures = run.figures("reference")
    assert figures["events"]["devices"] == figures["events"]["signed_in"] == 10  # type: ignore[index]
    assert figures["local_percent"] == pytest.approx(95, abs=12)
    assert figures["unexpected"] == {}
    assert "Locust" in (run.var / "reference.html").read_text()
    assert all(kind in (run.var / "reference.html").read_text() for kind in ("television", "legacy_device"))


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.timeout(300)
async def test_dials_are_turned_under_load_and_every_wrong_identity_is_found(load: Callable[..., Load]) -> None:
    run = load("rollout", "-u", "16", "-t", "28", "--warm-up", "0", "--processes", "2")
    await eventually(run.ended, "the run ends", RUN_S)
    figures = run.figures("rollout")
    not_met = [one["name"] for one in figures["checks"] if not one["met"]]  # type: ignore[attr-defined]
    # Where all cores are busy, five televisions may not come by at each of the positions.
    assert set(not_met) <= {"share_in_legacy"}, run.said
    rollout: dict[str, dict[str, int]] = figures["rollout"]  # type: ignore[assignment]
    assert rollout["seeded"] == rollout["found"] != {}
    page = (run.var / "rollout.html").read_text()
    assert "wrong_identities_found" in page
    assert "2 of 2 workers serve revision" in page


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.timeout(300)
async def test_an_origin_that_is_killed_fails_the_check_of_that_name(load: Callable[..., Load]) -> None:
    run = load("profile_switches", "-u", "12", "-t", "10", "--warm-up", "0")
    await eventually(run.measures, "it is measured", RUN_S)

    async def killed_again_and_ended() -> bool:
        ended = await run.ended()
        for one in [] if ended else run.descendants():
            try:
                if "origins_stub.api" in one.cmdline():
                    one.kill()
            except psutil.NoSuchProcess:
                continue
        return ended

    await eventually(killed_again_and_ended, "the run ends", RUN_S)
    assert run.process.returncode == 3, run.said
    assert "Failed: no_unexpected_answers" in run.said
    failed = [one for one in run.figures("profile_switches")["checks"] if not one["met"]]  # type: ignore[attr-defined]
    assert failed[0]["name"] == "no_unexpected_answers"
    assert "origin_" in failed[0]["says"]
    assert (run.var / "profile_switches.html").exists()


def test_nothing_but_what_locust_loads_imports_locust() -> None:
    plain = "__main__ accounts checks device_table dialled edge_counters expectations factory figures jar report"
    plain += " rollout_checks scenarios tally turning visits"
    lines = [f"import loadtest.locust.{name}" for name in plain.split()]
    lines.append("import sys; assert not {'locust', 'gevent'} & set(sys.modules)")
    subprocess.run([sys.executable, "-c", "\n".join(lines)], check=True, cwd=REPOSITORY)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["nonsense"], "there is no scenario 'nonsense'; there are reference, login_storm"),
        (["-u", "0"], "users must be a whole number from 1 to 5000, not '0'"),
        (["-u", "ten"], "not 'ten'"),
        (["-t", "2"], "must be 5 s to 24 h"),
        (["-t", "1d"], "as in 90, 90s or 2m, not '1d'"),
        (["--processes", "-1"], "processes"),
        (["--ui", "80"], "port must be a whole number from 1024"),
        (["--warm-up", "-1"], "warm-up"),
        (["--tolerance", "nan"], "tolerance"),
    ],
)
def test_options_that_make_no_sense_are_refused(
    words: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        settings_from(words)
    assert ended.value.code == 2
    assert says in capsys.readouterr().err


def _command(settings: Settings) -> str:
    places = {name: Place(f"http://{name}", 1) for name in ("edge", "admin", "cookie")}
    return " ".join(locust_command(settings, RunningStack(places, Path("/var"))))


def test_a_run_is_asked_of_locust_as_it_was_asked_for() -> None:
    settings = settings_from(["login_storm", "-u", "7", "-t", "2m", "--seed", "5"])
    assert settings.time_s == 120
    line = _command(settings)
    assert "--users 7 --spawn-rate 7" in line
    assert "--headless --measure 120" in line
    assert f"--seed 5 --warm-up 5.0 --tolerance {TOLERANCE}" in line
    assert "--processes" not in line
    assert settings_from([]).users == SCENARIOS["reference"].users


def test_a_rollout_turns_the_dials_of_the_stack_with_shadow_on_and_lets_devices_finish() -> None:
    settings = settings_from(["rollout", "--seed", "5"])
    line = _command(settings)
    assert "--edge-var /var --cookie-service http://cookie --cookie-token /var/secrets/legacy.token" in line
    assert "--stop-timeout 30" in line
    assert options(settings) == ["--wrong-identities", "0.02:5"]
    assert "dials.shadow-cookie.default=100" in overrides(read_table(), settings.scenario)
    assert options(settings_from([])) == []
    assert "--edge-var" not in _command(settings_from([]))


def test_workers_and_the_page_stay_on_loopback() -> None:
    line = _command(settings_from(["--processes", "2", "--ui"]))
    assert "--processes 2 --master-bind-host 127.0.0.1" in line
    assert "--web-host 127.0.0.1 --web-port 8089" in line
    assert "--headless" not in line


def test_the_stack_is_the_shipped_one_with_cookies_on_the_runs_clock(tmp_path: Path) -> None:
    table = read_table()
    config = write_config(REPOSITORY / "config", tmp_path, table)
    assert yaml.safe_load((config / "cookie.yaml").read_text())["life_s"] == table.life_s == 12
    assert overrides(table, SCENARIOS["reference"]) == ["renewal.reschedule_life_s=12"]
    for scenario in SCENARIOS.values():
        loaded = load_config(config, overrides(table, scenario), var=tmp_path)
        assert not isinstance(loaded, ConfigErrors), loaded
        assert disagreements(config, loaded) == []
