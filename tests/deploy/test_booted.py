"""The units of deploy/systemd, installed by the commands of docs/deploying.md, in a systemd that runs them."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from loadtest.compiled import compiled_packages
from tests.deploy.booted import CannotBootError, Machine, booted, check, until
from tests.processes import REPOSITORY

pytestmark = [
    pytest.mark.slow,
    pytest.mark.long,
    pytest.mark.timeout(600),  # the packages are compiled first, unless they have been
    pytest.mark.skipif(shutil.which("gcc") is None, reason="there is no C compiler for the wheel (Debian: gcc)"),
    pytest.mark.skipif(shutil.which("openssl") is None, reason="there is no openssl, which makes the secrets"),
]

SITE = "https://www.example.com:8443"
ADMIN = "http://127.0.0.1:8081"
UNITS = ("edge-kms", "edge-cookie", "edge-passport")
PASSWORD = "correct horse battery staple"
STUBS = {"subscriber": 8093, "auth": 8092, "api": 8094}
INSTALLED = Path("opt", "edge-passport")
CHECKOUT = Path("root", "edge-passport")
CERTIFICATE = (
    "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=www.example.com "
    "-addext subjectAltName=DNS:www.example.com -keyout /etc/edge/certs/www.key -out /etc/edge/certs/www.crt"
)
ASK = """
import http.client, json, ssl, sys
scheme, host, port, path, cookies, body = sys.argv[1:]
if scheme == "https":
    trusted = ssl.create_default_context(cafile="/etc/edge/certs/www.crt")
    connection = http.client.HTTPSConnection(host, int(port), context=trusted, timeout=30)
else:
    connection = http.client.HTTPConnection(host, int(port), timeout=30)
headers = {"Content-Type": "application/json"} if body else {}
if cookies:
    headers["Cookie"] = cookies
connection.request("POST" if body else "GET", path, body or None, headers)
answer = connection.getresponse()
print(json.dumps([answer.status, answer.getheaders(), answer.read().decode()]))
"""


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    cookies: str
    body: str


def asking(machine: Machine, url: str, cookies: str = "", body: str = "") -> "subprocess.Popen[str]":
    parts = urlsplit(url)
    target = f"{parts.path or '/'}?{parts.query}"
    command = ("/opt/edge-passport/bin/python", "-I", "-c", ASK)
    return machine.start(*command, parts.scheme, str(parts.hostname), str(parts.port), target, cookies, body)


def answer(process: "subprocess.Popen[str]") -> Answer:
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 0, said
    status, headers, body = json.loads(said)
    cookies = [value.partition(";")[0] for name, value in headers if name.lower() == "set-cookie"]
    return Answer(status, {name.lower(): value for name, value in headers}, "; ".join(cookies), body)


def ask(machine: Machine, url: str, cookies: str = "", body: str = "") -> Answer:
    return answer(asking(machine, url, cookies, body))


def answers(machine: Machine, url: str) -> bool:
    """Whether somebody answers there, and well."""
    process = asking(machine, url)
    process.communicate(timeout=60)
    return process.returncode == 0 and ask(machine, url).status == 200


def login(machine: Machine) -> Answer:
    return ask(machine, f"{SITE}/login", body=json.dumps({"email": "demo@example.com", "password": PASSWORD}))


def sign_in(machine: Machine) -> str:
    signed_in = login(machine)
    assert signed_in.status == 200, signed_in
    return signed_in.cookies


def health(machine: Machine) -> Any:
    return json.loads(ask(machine, f"{ADMIN}/health").body)


def main_pid(machine: Machine, unit: str = "edge-passport") -> int:
    """Return the unit's main process, as those inside see it."""
    return int(machine.shows(unit, "MainPID")["MainPID"])


def page() -> dict[str, str]:
    """Return the page's blocks that the test runs or writes, by what they are for."""
    text = (REPOSITORY / "docs" / "deploying.md").read_text()
    blocks = re.findall(r"((?:^    .*\n)+)", text, re.MULTILINE)
    found = {
        "install": next(block for block in blocks if "systemd-sysusers" in block).partition("    cp deploy/")[1:],
        "secrets": [next(block for block in blocks if "openssl rand" in block)],
        "rights": [next(block for block in blocks if "chgrp edge-passport" in block)],
        "start": [next(block for block in blocks if "systemctl enable --now" in block)],
        "edge.yaml": re.findall(r"```yaml\n(.*?)```", text, re.DOTALL),
    }
    return {name: "".join(parts) for name, parts in found.items()}


def install(stage: Path) -> dict[Path, str]:
    """Lay what `pip install` of the compiled wheel makes below `stage`; return what is to be mounted beside it."""
    packages = compiled_packages(REPOSITORY / "var" / "compiled", print)
    version = f"python3.{sys.version_info.minor}"
    site = stage / INSTALLED / "lib" / version / "site-packages"
    shutil.copytree(packages, site, ignore=shutil.ignore_patterns("tests", "config", "docs", "deploy", "__pycache__"))
    subprocess.run([sys.executable, "-m", "compileall", "-q", "-s", str(stage), str(site)], check=True)
    (site / "dependencies.pth").write_text("/opt/dependencies\n")
    mounted = {Path(pytest.__file__).parents[1]: "/opt/dependencies"}
    home = Path(sys.base_prefix)
    if home != Path("/usr"):  # ProtectHome= takes away what stands in somebody's home
        mounted[home], home = "/opt/python", Path("/opt/python")
        loader = stage / "etc" / "ld.so.conf.d" / "00-python.conf"
        loader.parent.mkdir(parents=True)
        loader.write_text("/opt/python/lib\n")
    binaries = stage / INSTALLED / "bin"
    binaries.mkdir()
    for name in ("python", "python3"):
        (binaries / name).symlink_to(home / "bin" / version)
    (stage / INSTALLED / "pyvenv.cfg").write_text(f"home = {home}/bin\ninclude-system-site-packages = false\n")
    (binaries / "edge").write_text("#!/opt/edge-passport/bin/python\nfrom edge.cli import main\nmain()\n")
    (binaries / "edge").chmod(0o755)
    for name in ("deploy", "config"):
        shutil.copytree(REPOSITORY / name, stage / CHECKOUT / name)
    return mounted


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """Boot, install by the page's commands, start; and the stubs as the services behind the edge."""
    try:
        check()
    except CannotBootError as why:
        pytest.skip(str(why))
    stage, root = tmp_path_factory.mktemp("stage"), tmp_path_factory.mktemp("root")
    with booted(stage, root, install(stage)) as running:
        commands = page()
        running.shell(f"cd /{CHECKOUT}\n{commands['install']}")
        running.shell(f"cd /etc/edge/secrets\n{commands['secrets']}")
        running.shell(f"{CERTIFICATE}\n{commands['rights']}")
        running.run("tee", "/etc/edge/edge.yaml", stdin=commands["edge.yaml"])
        running.shell("sed -i 's/^environment: .*/environment: production/' /etc/edge/cookie.yaml")
        running.shell("cp -a /etc/edge/secrets /root/secrets")
        for name, port in STUBS.items():
            command = f"/opt/edge-passport/bin/python -P -m origins_stub.{name} --listen 127.0.0.1:{port}"
            where = f"--secrets /root/secrets --var /root/stub-{name} --trust-domain example.com"
            running.shell(f"systemd-run --quiet --unit=stub-{name} --property=Restart=on-failure {command} {where}")
        running.shell(commands["start"])
        yield running


@pytest.fixture
def serving(machine: Machine) -> Machine:
    """Return the machine with the edge started, and the stubs behind it."""
    machine.run("systemctl", "start", "edge-passport")
    until(lambda: answers(machine, SITE), "the API answers through the edge")
    return machine


def test_all_three_run_as_users_of_their_own_and_nothing_else_has_failed(serving: Machine) -> None:
    for unit in UNITS:
        shown = serving.shows(unit, "ActiveState", "NRestarts", "UnitFileState", "User")
        assert shown == {"ActiveState": "active", "NRestarts": "0", "UnitFileState": "enabled", "User": unit}
        owner = serving.run("stat", "--format=%U", f"/proc/{main_pid(serving, unit)}").strip()
        assert owner == unit
    assert serving.run("edge", "version").strip().endswith(", compiled")
    assert serving.run("systemctl", "list-units", "--failed", "--no-legend", "--plain", "edge-*").strip() == ""


def test_somebody_signs_in_over_tls_and_is_known(serving: Machine) -> None:
    cookies = sign_in(serving)
    account = ask(serving, f"{SITE}/account", cookies)
    assert (account.status, json.loads(account.body)["level"]) == (200, "HIGH")
    assert ask(serving, f"{SITE}/account").status == 401


def test_each_is_confined_as_its_unit_says(serving: Machine) -> None:
    for unit in UNITS:
        pid = main_pid(serving, unit)
        status = dict(re.findall(r"^(\w+):\s*(.+)$", serving.run("cat", f"/proc/{pid}/status"), re.MULTILINE))
        assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")
        assert {int(status[name], 16) for name in ("CapPrm", "CapEff", "CapBnd", "CapAmb")} == {0}
        inside = ("nsenter", f"--target={pid}", "--mount", "--root")
        mine = f"/var/lib/{unit}"
        for path, writable in {"/etc/edge": False, "/opt/edge-passport": False, "/var/lib": False, mine: True}.items():
            code, said = serving.ends(*inside, "touch", f"{path}/tried")
            assert (code == 0) is writable, said
            assert writable or "Read-only file system" in said
        assert "rwxp" not in serving.run("cat", f"/proc/{pid}/maps")
    for file in ("master.key", "cookie.token", "operator.token"):
        code, said = serving.ends("setpriv", "--reuid=edge-passport", "--regid=edge-passport", "--clear-groups",
                                  "cat", f"/etc/edge/secrets/{file}")  # fmt: skip
        assert code
        assert "Permission denied" in said
    credentials = serving.run("stat", "--format=%U %a", *(f"/run/credentials/{unit}.service" for unit in UNITS[:2]))
    assert credentials.split("\n")[:2] == ["edge-kms 500", "edge-cookie 500"]


def test_a_reload_is_told_of_and_leaves_the_process(serving: Machine) -> None:
    pid, before = main_pid(serving), health(serving)["workers"][0]["config"]
    serving.run("systemctl", "reload", "edge-passport")
    assert main_pid(serving) == pid
    assert {worker["config"] for worker in health(serving)["workers"]} == {before + 1}


def test_a_reload_that_is_refused_fails_and_the_edge_goes_on(serving: Machine) -> None:
    serving.shell("cp /etc/edge/edge.yaml /root/edge.yaml && echo 'nonsense: 1' >>/etc/edge/edge.yaml")
    try:
        code, _ = serving.ends("systemctl", "reload", "edge-passport")
        assert code
        assert serving.shows("edge-passport", "ActiveState") == {"ActiveState": "active"}
        assert ask(serving, SITE).status == 200
    finally:
        serving.shell("cp /root/edge.yaml /etc/edge/edge.yaml")


@pytest.mark.parametrize("unit", UNITS)
def test_one_that_is_killed_is_started_again(serving: Machine, unit: str) -> None:
    cookies = sign_in(serving)
    pid, restarts = main_pid(serving, unit), int(serving.shows(unit, "NRestarts")["NRestarts"])
    serving.run("kill", "-KILL", str(pid))
    until(lambda: int(serving.shows(unit, "NRestarts")["NRestarts"]) == restarts + 1, "it is started again")
    until(lambda: serving.shows(unit, "ActiveState")["ActiveState"] == "active", "it is active again")
    assert main_pid(serving, unit) not in {0, pid}
    until(lambda: answers(serving, SITE) and login(serving).status == 200, "somebody can sign in")
    assert ask(serving, f"{SITE}/account", cookies).status == 200


def test_a_supervisor_that_hangs_is_ended_by_the_watchdog_and_started_again(serving: Machine) -> None:
    drop_in = "/run/systemd/system/edge-passport.service.d"
    assert serving.shows("edge-passport", "WatchdogUSec") == {"WatchdogUSec": "30s"}
    serving.shell(f"mkdir -p {drop_in} && printf '[Service]\\nWatchdogSec=3\\n' >{drop_in}/soon.conf")
    serving.shell("systemctl daemon-reload && systemctl restart edge-passport")
    try:
        pid = main_pid(serving)
        # By then one that nobody heard of would have been ended.
        assert ask(serving, f"{SITE}/slow?seconds=4").status == 200
        assert main_pid(serving) == pid
        serving.run("kill", "-STOP", str(pid))
        until(lambda: serving.shows("edge-passport", "NRestarts") != {"NRestarts": "0"}, "the watchdog has acted")
        assert "Failed with result 'watchdog'" in serving.journal("--unit=edge-passport")
        until(lambda: answers(serving, SITE), "it serves again")
        assert main_pid(serving) != pid
    finally:
        serving.shell(f"rm {drop_in}/soon.conf && systemctl daemon-reload && systemctl restart edge-passport")


def test_stopping_finishes_what_is_in_flight(serving: Machine) -> None:
    late = asking(serving, f"{SITE}/slow?seconds=2")
    waiting = 'edge_concurrency_in_flight{origin="api"} 1'
    until(lambda: waiting in ask(serving, f"{ADMIN}/metrics").body, "the request is in flight")
    serving.run("systemctl", "stop", "edge-passport")
    answered = answer(late)
    assert (answered.status, answered.body, answered.headers["connection"]) == (200, '{"slept_s":2.0}', "close")
    shown = serving.shows("edge-passport", "ActiveState", "Result", "ExecMainStatus")
    assert shown == {"ActiveState": "inactive", "Result": "success", "ExecMainStatus": "0"}


def test_a_wrong_configuration_is_not_tried_again(serving: Machine) -> None:
    serving.shell("cp /etc/edge/edge.yaml /root/edge.yaml && echo 'nonsense: 1' >>/etc/edge/edge.yaml")
    try:
        code, _ = serving.ends("systemctl", "restart", "edge-passport")
        assert code
        shown = serving.shows("edge-passport", "ActiveState", "NRestarts", "ExecMainStatus")
        assert shown == {"ActiveState": "failed", "NRestarts": "0", "ExecMainStatus": "2"}
        assert "nonsense" in serving.journal("--unit=edge-passport")
    finally:
        serving.shell("cp /root/edge.yaml /etc/edge/edge.yaml && systemctl reset-failed edge-passport")


def test_a_port_below_1024_takes_the_drop_in(serving: Machine) -> None:
    drop_in = "/etc/systemd/system/edge-passport.service.d"
    serving.shell("cp /etc/edge/edge.yaml /root/edge.yaml && sed -i s/:8443/:443/ /etc/edge/edge.yaml")
    try:
        code, _ = serving.ends("systemctl", "restart", "edge-passport")
        assert code
        serving.shell(f"mkdir -p {drop_in} && cp /{CHECKOUT}/deploy/systemd/privileged_ports.conf {drop_in}")
        serving.shell("systemctl daemon-reload && systemctl restart edge-passport")
        assert ask(serving, "https://www.example.com:443").status == 200
    finally:
        serving.shell(f"cp /root/edge.yaml /etc/edge/edge.yaml; rm -rf {drop_in}; systemctl daemon-reload")
        serving.shell("systemctl reset-failed edge-passport; systemctl restart edge-passport")


def test_no_secret_is_in_the_journal_the_access_log_or_a_command_line(serving: Machine) -> None:
    cookies = sign_in(serving)
    assert ask(serving, f"{SITE}/account", cookies).status == 200
    secrets = serving.shell("cat /etc/edge/secrets/*").split()
    secrets += [cookie.partition("=")[2] for cookie in cookies.split("; ")]
    access_log = "/var/log/edge-passport/access.log"
    until(lambda: "/account" in serving.run("cat", access_log), "the request is in the access log")
    said = {
        "journal": serving.journal(),
        "access log": serving.run("cat", access_log),
        "command lines": serving.shell("cat /proc/[0-9]*/cmdline || true"),
    }
    assert len(secrets) == 11
    for place, text in said.items():
        found = [secret[:4] for secret in (*secrets, PASSWORD) if secret in text]
        assert not found, place
