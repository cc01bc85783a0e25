"""The command line, the tools it looks for, and the cores it takes."""

import subprocess
from pathlib import Path

import pytest

from loadtest.bench import tools
from loadtest.bench.__main__ import settings_from
from loadtest.bench.failure import BenchError
from loadtest.bench.settings import Cores, Settings, assign_cores


def test_without_options_the_usual_run_is_made() -> None:
    assert settings_from([]) == Settings(
        rounds=5, round_s=5, connections=32, tokens=10_000, config=Path("config"), var=Path("var/bench")
    )


def test_only_some_contenders_can_be_asked_for() -> None:
    settings = settings_from(["--only", "edge", "--only", "nginx"])
    assert settings.wants("nginx")
    assert not settings.wants("envoy_jwt_es256")


@pytest.mark.parametrize("options", [["--rounds", "0"], ["--only", "haproxy"]])
def test_options_that_make_no_sense_are_refused(options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        settings_from(options)
    assert options[0] in capsys.readouterr().err


def test_the_proxy_has_a_core_of_its_own() -> None:
    assert assign_cores({0, 1}) == Cores(proxy=0, origin=1, load=1)
    assert assign_cores({3, 5, 7, 9}) == Cores(proxy=3, origin=5, load=7)


def test_one_core_is_not_enough() -> None:
    with pytest.raises(BenchError, match="two cores"):
        assign_cores({0})


def test_a_missing_tool_is_named_with_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tools, "find", lambda name: None if name == "wrk" else f"/usr/bin/{name}")
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with pytest.raises(BenchError, match=r"needs wrk\. Install them: sudo apt-get install -y .* wrk"):
        tools.find_tools(print)


def test_root_gets_what_is_missing_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    commands: list[list[str]] = []

    def run(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        commands.append(command)
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setattr(tools, "find", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr("subprocess.run", run)
    said: list[str] = []
    tools.install(["wrk"], said.append)
    assert [command[:2] for command in commands] == [["apt-get", "update"], ["apt-get", "install"]]
    assert said == ["Installing wrk from Debian"]


def test_a_failed_installation_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setattr(tools, "find", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(
        "subprocess.run", lambda command, **_: subprocess.CompletedProcess(command, 100, "", "no network\n")
    )
    with pytest.raises(BenchError, match="apt-get update failed:\nno network"):
        tools.install(["wrk"], print)


def test_daemons_are_found_outside_the_path_too(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    daemon = tmp_path / "nginx"
    daemon.touch(mode=0o755)
    monkeypatch.setattr(tools, "SYSTEM_PATHS", (str(tmp_path),))
    monkeypatch.setenv("PATH", "/nowhere")
    assert tools.find("nginx") == str(daemon)
