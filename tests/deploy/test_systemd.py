"""deploy/systemd: units that systemd takes, confined as docs/deploying.md says, with time to drain."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from edge.control.load import load_config
from edge.control.snapshot import Snapshot
from edge.supervisor.slot import DRAIN_MARGIN_S
from tests.processes import REPOSITORY

DIRECTORY = REPOSITORY / "deploy" / "systemd"
UNITS = sorted(path.name for path in DIRECTORY.glob("*.service"))
MOST_EXPOSED = 1.5
"""Of 10, as `systemd-analyze security` counts: what has to talk to the network is at 1.4 with everything else shut."""
SPARE_S = 5.0
SERVICES_DRAIN_S = 5.0

with_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="there is no systemd-analyze (Debian: systemd), which checks units"
)


def values(unit: str, key: str) -> list[str]:
    """Return every value of a key of [Service], continued lines joined."""
    text = (DIRECTORY / unit).read_text().replace("\\\n", " ")
    service = text.split("[Service]\n")[1].split("\n[")[0]
    return [re.sub(r"\s+", " ", line.partition("=")[2]) for line in service.splitlines() if line.startswith(f"{key}=")]


def value(unit: str, key: str) -> str:
    (only,) = values(unit, key)
    return only


def sandbox(unit: str) -> str:
    return (DIRECTORY / unit).read_text().split("# What it may do on this machine")[1].split("\n", 1)[1]


def test_the_edge_and_the_services_it_calls_have_their_units() -> None:
    assert UNITS == ["edge-cookie.service", "edge-kms.service", "edge-passport.service"]
    assert len({sandbox(unit) for unit in UNITS}) == 1


@with_systemd
def test_systemd_takes_the_units(tmp_path: Path) -> None:
    """Each command has to be there: this one is."""
    commands = tmp_path / "bin"
    commands.mkdir()
    for name in ("edge", "python"):
        (commands / name).symlink_to("/bin/true")
    for path in DIRECTORY.glob("*.service"):
        (tmp_path / path.name).write_text(path.read_text().replace("/opt/edge-passport/bin", str(commands)))
    drop_in = tmp_path / "edge-passport.service.d"
    drop_in.mkdir()
    shutil.copy(DIRECTORY / "privileged_ports.conf", drop_in)
    checked = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *(str(tmp_path / unit) for unit in UNITS)],
        capture_output=True,
        text=True,
        check=False,
        timeout=50,
    )
    ours = [line for line in checked.stderr.splitlines() if str(tmp_path) in line or "edge-" in line]
    assert (checked.returncode, ours) == (0, [])


@pytest.mark.skipif(shutil.which("systemd-sysusers") is None, reason="there is no systemd-sysusers (Debian: systemd)")
def test_systemd_makes_the_users(tmp_path: Path) -> None:
    made = subprocess.run(
        ["systemd-sysusers", "--dry-run", f"--root={tmp_path}", "-"],
        input=(DIRECTORY / "edge-passport.sysusers.conf").read_text(),
        capture_output=True,
        text=True,
        check=False,
        timeout=50,
    )
    assert sorted(re.findall(r"Creating user '([\w-]+)'", made.stderr)) == ["edge-cookie", "edge-kms", "edge-passport"]


@with_systemd
@pytest.mark.parametrize("unit", UNITS)
def test_little_of_the_machine_is_exposed(unit: str) -> None:
    checked = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", f"--threshold={MOST_EXPOSED * 10:g}", str(DIRECTORY / unit)],
        capture_output=True,
        text=True,
        check=False,
        timeout=50,
    )
    found = re.search(r"Overall exposure level for \S+: ([0-9.]+)", checked.stdout)
    assert found, checked.stderr
    assert float(found[1]) <= MOST_EXPOSED, checked.stdout
    assert checked.returncode == 0


@pytest.mark.parametrize("unit", UNITS)
def test_nothing_is_gained_and_no_memory_is_both_written_and_run(unit: str) -> None:
    assert value(unit, "NoNewPrivileges") == "yes"
    assert value(unit, "CapabilityBoundingSet") == value(unit, "AmbientCapabilities") == ""
    assert value(unit, "ProtectSystem") == "strict"
    assert value(unit, "MemoryDenyWriteExecute") == "yes"
    assert values(unit, "SystemCallFilter") == ["@system-service", "~@privileged"]
    assert value(unit, "RestrictAddressFamilies") == "AF_INET AF_INET6 AF_UNIX"
    assert value(unit, "LimitCORE") == "0"
    assert value(unit, "User") == value(unit, "Group") == unit.removesuffix(".service")
    assert value(unit, "StateDirectory") == value(unit, "User")
    assert f"u {value(unit, 'User')} " in re.sub(r" +", " ", (DIRECTORY / "edge-passport.sysusers.conf").read_text())


def test_the_edge_has_time_to_drain_and_is_not_ended_with_one_worker() -> None:
    unit = "edge-passport.service"
    loaded = load_config(REPOSITORY / "config", var="/var/lib/edge-passport")
    assert isinstance(loaded, Snapshot)
    assert float(value(unit, "TimeoutStopSec")) >= loaded.timeouts.drain_s + DRAIN_MARGIN_S + SPARE_S
    assert value(unit, "KillMode") == "mixed"
    assert value(unit, "OOMPolicy") == "continue"
    assert value(unit, "RestartPreventExitStatus") == "2"
    assert value(unit, "Type") == "notify"
    assert float(value(unit, "TimeoutStartSec")) > 2 * loaded.services.kms.start_patience_s
    var = re.search(r"--var (\S+)", value(unit, "ExecStart"))
    assert var
    assert value(unit, "ExecReload") == f"/opt/edge-passport/bin/edge reload --var {var[1]}"
    assert var[1] == f"/var/lib/{value(unit, 'StateDirectory')}"
    assert int(value(unit, "LimitNOFILE")) > 2 * loaded.limits.max_connections


@pytest.mark.parametrize("unit", ["edge-kms.service", "edge-cookie.service"])
def test_each_service_gets_its_callers_tokens_and_time_to_finish(unit: str) -> None:
    name = unit.removesuffix(".service").removeprefix("edge-")
    identities = set(yaml.safe_load((REPOSITORY / "config" / f"{name}.yaml").read_text())["identities"])
    wanted = {f"{identity}.token" for identity in identities} | {{"kms": "master.key", "cookie": "cookie.token"}[name]}
    loaded = dict(credential.split(":") for credential in values(unit, "LoadCredential"))
    assert loaded == {file: f"/etc/edge/secrets/{file}" for file in wanted}
    assert f"services.{name} " in value(unit, "ExecStart")
    assert "--secrets %d" in value(unit, "ExecStart")
    assert float(value(unit, "TimeoutStopSec")) >= SERVICES_DRAIN_S + SPARE_S


def test_ports_below_1024_need_a_drop_in_that_gives_that_and_nothing_else() -> None:
    text = (DIRECTORY / "privileged_ports.conf").read_text()
    given = [line for line in text.splitlines() if "=" in line]
    assert given == [
        "CapabilityBoundingSet=CAP_NET_BIND_SERVICE",
        "AmbientCapabilities=CAP_NET_BIND_SERVICE",
        "PrivateUsers=no",
    ]
