"""`python -m loadtest.locust`: start a stack, put load on it with Locust, and say whether it held.

Exits with 0 when every check was met, 3 when one was not, 1 when it could not be run, 130 when it was interrupted.
"""

import argparse
import json
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from types import FrameType
from typing import Final

import yaml

from loadtest.chaos.ports import free_port
from loadtest.demo_stack import RunningStack, StackFailedError, own_stack
from loadtest.locust.checks import TOLERANCE
from loadtest.locust.device_table import DeviceTable, read_table
from loadtest.locust.report import html_section
from loadtest.locust.scenarios import SCENARIOS, Scenario

LOCUSTFILE: Final = Path(__file__).with_name("locustfile.py")
BROKEN, NOT_MET, INTERRUPTED = 1, 3, 130
MAX_USERS: Final = 5000  # a process of Locust has one core, and each device an open connection
SPAWN_PER_S: Final = 100  # Locust's own limit of what it does reliably
_UNITS: Final = {"": 1, "s": 1, "m": 60, "h": 3600}
_STOP_S: Final = 30.0


@dataclass(slots=True, frozen=True)
class Settings:
    """One run, as it was asked for."""

    scenario: Scenario
    users: int
    time_s: int
    seed: int
    warm_up_s: float
    tolerance: float
    processes: int
    ui_port: int | None
    config: Path
    var: Path


def main(arguments: Sequence[str] | None = None) -> int:
    """Run; return the exit code."""
    settings = settings_from(arguments)
    if find_spec("gevent") is None:
        print("Locust is not installed: pip install 'edge-passport[load]', or use `make load`", file=sys.stderr)
        return BROKEN
    signal.signal(signal.SIGTERM, _interrupt)
    table = read_table()
    try:
        with tempfile.TemporaryDirectory(prefix="edge-load-") as home:
            config = write_config(settings.config, Path(home), table)
            print("Starting keys, services, origins and the edge on free ports …", flush=True)
            with own_stack(config, overrides(table, settings.scenario), options(settings)) as stack:
                return _run(settings, stack, table)
    except (StackFailedError, OSError, yaml.YAMLError) as problem:
        print(f"The load test could not be run: {problem}", file=sys.stderr)
        return BROKEN
    except KeyboardInterrupt:
        print("Interrupted: everything is stopped", file=sys.stderr)
        return INTERRUPTED


def settings_from(arguments: Sequence[str] | None) -> Settings:
    """Read the command line; say what is wrong with it, and exit with 2."""
    parser = argparse.ArgumentParser(
        prog="python -m loadtest.locust", description="Put load on an edge, with devices that behave like devices.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="scenarios:\n" + "\n".join(f"  {one.name:17} {one.says}" for one in SCENARIOS.values()),
    )  # fmt: skip
    parser.add_argument("scenario", nargs="?", default="reference", metavar="SCENARIO", type=_scenario)
    parser.add_argument("-u", "--users", type=_users, help="how many devices (by default what the scenario says)")
    parser.add_argument("-t", "--time", type=_time, default=60, help="how long is measured: 90, 90s, 2m (60 s)")
    parser.add_argument("--seed", type=int, default=1, help="of everything that is left to chance (%(default)s)")
    parser.add_argument(
        "--warm-up", type=_seconds, default=5.0, metavar="S", help="before it is measured (%(default)s)"
    )
    parser.add_argument(
        "--tolerance", type=_points, default=TOLERANCE, metavar="POINTS", help="of the local share (%(default)s)"
    )
    parser.add_argument("--processes", type=_processes, default=0, help="workers of Locust, with a master; 0: neither")
    parser.add_argument(
        "--ui", type=_port, nargs="?", const=8089, metavar="PORT", help="Locust's web page instead (port 8089)"
    )
    parser.add_argument("--config", type=Path, default=Path("config"), metavar="DIR", help="for the stack")
    parser.add_argument("--var", type=Path, default=Path("var/load"), metavar="DIR", help="for reports (%(default)s)")
    read = parser.parse_args(arguments)
    scenario = SCENARIOS[read.scenario]
    return Settings(
        scenario, read.users or scenario.users, read.time, read.seed, read.warm_up, read.tolerance, read.processes,
        read.ui, read.config, read.var,
    )  # fmt: skip


def write_config(shipped: Path, home: Path, table: DeviceTable) -> Path:
    """Return a copy of the configuration in which cookies live on the run's clock."""
    config = home / "config"
    config.mkdir()
    for file in shipped.glob("*.yaml"):
        shutil.copy(file, config)
    file = config / "cookie.yaml"
    cookie = yaml.safe_load(file.read_text(encoding="utf-8"))
    lives = {"life_s": table.life_s, "renew_after_share": table.token.renew_after_share}
    file.write_text(yaml.safe_dump({**cookie, **lives}), encoding="utf-8")
    return config


def overrides(table: DeviceTable, scenario: Scenario) -> list[str]:
    """Return what else differs from the shipped configuration: the cookie for one not renewed is on this clock, too."""
    found = [f"renewal.reschedule_life_s={table.life_s}"]
    if scenario.rollout is not None:
        found += [f"origins.{name}.accepts_legacy=true" for name in ("api", "sign_in")]
        found += ["dials.terminate-cookie.default=0", "dials.shadow-cookie.default=100"]
    return found


def options(settings: Settings) -> list[str]:
    """Return what `edge up` is told besides."""
    rollout = settings.scenario.rollout
    return [] if rollout is None else ["--wrong-identities", f"{rollout.wrong_share}:{settings.seed}"]


def locust_command(settings: Settings, stack: RunningStack) -> list[str]:
    """Return the command line of Locust for a stack that runs."""
    edge, admin = stack.edge_url, stack.admin_url
    var, name = settings.var.absolute(), settings.scenario.name
    line = [sys.executable, "-m", "locust", "-f", str(LOCUSTFILE), "--host", edge, "--admin", admin]
    line += ["--scenario", name, "--users", str(settings.users), "--spawn-rate", str(min(settings.users, SPAWN_PER_S))]
    line += ["--seed", str(settings.seed), "--warm-up", str(settings.warm_up_s)]
    line += ["--tolerance", str(settings.tolerance), "--loglevel", "WARNING", "--only-summary"]
    # With its own statistics in a file, Locust does not print them all below the checks.
    line += ["--json-file", str(var / f"{name}.locust")]
    line += ["--html", str(var / f"{name}.html"), "--figures", str(var / f"{name}.json")]
    if settings.scenario.rollout is not None:
        line += ["--edge-var", str(stack.var), "--cookie-service", stack.places["cookie"].url]
        line += ["--cookie-token", str(stack.var / "secrets" / "legacy.token"), "--stop-timeout", f"{_STOP_S:g}"]
    if settings.processes:
        port = str(free_port())
        line += ["--processes", str(settings.processes), "--master-bind-host", "127.0.0.1"]
        line += ["--master-bind-port", port, "--master-host", "127.0.0.1", "--master-port", port]
    if settings.ui_port is not None:
        return [*line, "--web-host", "127.0.0.1", "--web-port", str(settings.ui_port)]
    return [*line, "--headless", "--measure", str(settings.time_s)]


def _run(settings: Settings, stack: RunningStack, table: DeviceTable) -> int:
    settings.var.mkdir(parents=True, exist_ok=True)
    print(f"The edge is {stack.edge_url}, its cookies live {table.life_s} s: {table.speed_up:g} times the usual pace")
    if settings.ui_port is not None:
        print(f"Locust's page is http://127.0.0.1:{settings.ui_port}; Ctrl-C ends it", flush=True)
    else:
        shape = f"{settings.users} devices sign in, then {settings.time_s} s are measured"
        print(f"{settings.scenario.name}: {settings.scenario.says}. {shape}", flush=True)
    # Its own session: Ctrl-C reaches this process alone, which stops Locust first and then the stack.
    locust = subprocess.Popen(locust_command(settings, stack), stdin=subprocess.DEVNULL, start_new_session=True)
    try:
        code = locust.wait()
    except KeyboardInterrupt:
        _stop(locust)
        if settings.ui_port is None:
            raise
        code = locust.returncode  # that is how the page is ended
    if settings.ui_port is None and code in {0, NOT_MET}:
        complete_html(settings.var / f"{settings.scenario.name}.html", settings.var / f"{settings.scenario.name}.json")
        print(f"Written: {settings.var / settings.scenario.name}.html and .json")
    return code if code in {0, NOT_MET} else BROKEN


def complete_html(page: Path, figures: Path) -> None:
    """Add the checks to Locust's page, which knows nothing of them."""
    if page.exists() and figures.exists():
        section = html_section(json.loads(figures.read_text(encoding="utf-8")))
        before, end, after = page.read_text(encoding="utf-8").rpartition("</body>")
        page.write_text(f"{before}{section}{end}{after}", encoding="utf-8")


def _stop(locust: "subprocess.Popen[bytes]") -> None:
    locust.send_signal(signal.SIGINT)
    with suppress(subprocess.TimeoutExpired):
        locust.wait(_STOP_S)
        return
    locust.kill()
    locust.wait()


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _scenario(text: str) -> str:
    if text not in SCENARIOS:
        raise argparse.ArgumentTypeError(f"there is no scenario {text!r}; there are {', '.join(SCENARIOS)}")
    return text


def _users(text: str) -> int:
    return _whole(text, "users", 1, MAX_USERS)


def _processes(text: str) -> int:
    return _whole(text, "processes", 0, 64)


def _port(text: str) -> int:
    return _whole(text, "port", 1024, 65_535)


def _seconds(text: str) -> float:
    return _between(text, "warm-up", 0, 3600)


def _points(text: str) -> float:
    return _between(text, "tolerance", 0, 100)


def _between(text: str, what: str, lowest: float, highest: float) -> float:
    try:
        number = float(text)
    except ValueError:
        number = float("nan")
    if not lowest <= number <= highest:
        raise argparse.ArgumentTypeError(f"{what} must be a number from {lowest:g} to {highest:g}, not {text!r}")
    return number


def _whole(text: str, what: str, lowest: int, highest: int) -> int:
    if not text.isascii() or not text.isdigit() or not lowest <= int(text) <= highest:
        raise argparse.ArgumentTypeError(f"{what} must be a whole number from {lowest} to {highest}, not {text!r}")
    return int(text)


def _time(text: str) -> int:
    match = re.fullmatch(r"([0-9]{1,6})([smh]?)", text)
    seconds = int(match[1]) * _UNITS[match[2]] if match else 0
    if not 5 <= seconds <= 86_400:
        raise argparse.ArgumentTypeError(f"must be 5 s to 24 h, as in 90, 90s or 2m, not {text!r}")
    return seconds


if __name__ == "__main__":
    sys.exit(main())
