"""The small commands of `edge`, and `edge run`, as a user types them."""

import asyncio
import json
import os
import re
import shutil
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from typer.testing import CliRunner

from edge.cli import app
from passport import DEVICE_PURPOSE, USER_PURPOSE
from passport.builder import PassportBuilder
from passport.keys import PassportKeys
from passport.kms import KmsClient
from passport.parts import NO_DEVICE, NO_USER
from tests.processes import REPOSITORY, Process, make_secrets, process, ran

CONFIG = str(REPOSITORY / "config")
runner = CliRunner()


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Return a copy of the shipped configuration that a test may spoil."""
    return Path(shutil.copytree(CONFIG, tmp_path / "config"))


@pytest.fixture
def alone(directory: Path) -> str:
    """Return such a copy without the files of services, which each service checks in a process of its own."""
    (directory / "cookie.yaml").unlink()
    (directory / "kms.yaml").unlink()
    return str(directory)


def replace(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new, 1))


def test_version_says_which_one() -> None:
    result = runner.invoke(app, ["version"])
    assert result.exit_code == 0
    assert result.output.strip() in {"0.1.0, compiled", "0.1.0, interpreted"}


def test_check_config_says_that_the_shipped_config_is_valid(tmp_path: Path) -> None:
    make_secrets(tmp_path / "secrets")
    result = runner.invoke(app, ["check-config", "--config", CONFIG, "--var", str(tmp_path)])
    assert result.exit_code == 0
    assert result.output == f"{CONFIG} is valid: 18 routes to 3 origins.\n"


def test_check_config_says_every_error_with_its_place(alone: str) -> None:
    sets = ["--set", "timeouts.connect_s=soon", "--set", "nonsense.key=1"]
    result = runner.invoke(app, ["check-config", "--config", alone, *sets])
    assert result.exit_code == 2
    assert "timeouts.connect_s" in result.output
    assert "nonsense" in result.output
    assert "2 errors" in result.output


def test_check_config_warns_of_token_files_that_are_not_there_yet(tmp_path: Path, alone: str) -> None:
    result = runner.invoke(app, ["check-config", "--config", alone, "--var", str(tmp_path)])
    assert result.exit_code == 0
    kms, cookie, valid = result.output.splitlines()
    missing = f"{tmp_path}/secrets/edge.token is not there: put the edge's token there; `edge up` makes"
    assert re.match(rf"warning: {alone}/edge\.yaml:\d+: services\.kms\.token_file: {re.escape(missing)}", kms)
    assert re.match(rf"warning: {alone}/edge\.yaml:\d+: services\.cookie\.token_file: {re.escape(missing)}", cookie)
    assert "is valid" in valid


def test_check_config_has_the_services_check_their_files_and_compares_them_with_the_edges(directory: Path) -> None:
    replace(directory / "cookie.yaml", "environment: local", "environment: elsewhere")
    replace(directory / "cookie.yaml", "life_s: 14400", "life_s: 1\nlives: 9")
    replace(directory / "kms.yaml", "cookie: [open]", "cooky: [open]")
    replace(directory / "routes.yaml", "origin: api", "origin: apu")
    result = runner.invoke(app, ["check-config", "--config", str(directory)])
    assert result.exit_code == 2
    cookie = f"{directory}/cookie.yaml"
    assert f"{cookie}: life_s: Input should be greater than or equal to 2\n" in result.output
    assert f"{cookie}: lives: Extra inputs are not permitted\n" in result.output
    assert "kms.yaml: the whole file: Value error, identities.edge is granted cooky" in result.output
    assert "routes[0].origin" in result.output
    assert result.output.endswith("\n4 errors in the configuration.\n")
    replace(directory / "routes.yaml", "origin: apu", "origin: api")
    result = runner.invoke(app, ["check-config", "--config", str(directory)])
    assert result.exit_code == 2
    differs = "environment: is 'elsewhere', but the edge's edge.environment is 'local': make them the same"
    assert f"{cookie}:3: {differs}\n" in result.output
    assert result.output.endswith("\n4 errors in the configuration.\n")


def test_check_config_says_that_a_services_file_cannot_be_read(directory: Path) -> None:
    (directory / "cookie.yaml").write_text("names: {")
    (directory / "kms.yaml").unlink()
    (directory / "kms.yaml").mkdir()
    result = runner.invoke(app, ["check-config", "--config", str(directory)])
    assert result.exit_code == 2
    assert f"{directory}/cookie.yaml: is not YAML: " in result.output
    assert f"{directory}/kms.yaml: cannot be read: Is a directory\n" in result.output
    assert "2 errors" in result.output


def test_check_config_does_without_the_files_of_services_that_run_elsewhere(alone: str) -> None:
    assert runner.invoke(app, ["check-config", "--config", alone]).exit_code == 0


@pytest.mark.parametrize("token", ["", "\n", "first-part\nsecond-part", "first-part second-part", "geheimnisträger"])
async def test_run_with_a_file_that_holds_no_token_says_so_without_its_content(tmp_path: Path, token: str) -> None:
    make_secrets(tmp_path / "secrets", ["edge"])
    (tmp_path / "other.token").write_text(token, encoding="utf-8")
    said = await _refused_token_file(tmp_path)
    assert said == (
        "holds no token: one line of printable ASCII without blanks is expected: write the edge's token into it"
    )
    assert all(part not in said for part in token.split())


async def test_run_without_a_token_file_says_so_before_any_worker_starts(tmp_path: Path) -> None:
    make_secrets(tmp_path / "secrets", ["edge"])
    assert (await _refused_token_file(tmp_path)).startswith("is not there: put the edge's token there; ")
    (tmp_path / "other.token").mkdir()
    assert (await _refused_token_file(tmp_path)).startswith("cannot be read (Is a directory): let the edge's user ")


async def _refused_token_file(var: Path) -> str:
    """Run with `other.token` as token file of the cookie service; return what is said of it, and that is all."""
    named = var / "other.token"
    where = ("--config", CONFIG, "--var", str(var))
    code, said = await _edge("run", *where, "--set", "services.cookie.token_file=other.token")
    assert code == 2
    place = f"--set services.cookie.token_file: services.cookie.token_file: {named} "
    assert said.startswith(place)
    line, count = said.removeprefix(place).splitlines()
    assert count == "1 error in the configuration."
    return line


def test_every_command_that_needs_a_config_says_what_is_wrong_with_it(tmp_path: Path) -> None:
    for command in (["up"], ["run"], ["passport", "inspect", "AAAA"]):
        result = runner.invoke(app, [*command, "--config", str(tmp_path / "none")])
        assert result.exit_code == 2
        assert "is not a directory" in result.output


def test_up_refuses_a_cookie_service_whose_cookies_the_edge_would_refuse(tmp_path: Path) -> None:
    sets = ["--set", "edge.environment=other", "--set", "cookies.secure_name=Another"]
    result = runner.invoke(app, ["up", "--config", CONFIG, "--var", str(tmp_path / "var"), *sets])
    assert result.exit_code == 2
    assert "cookie.yaml:3: environment: is 'local', but the edge's edge.environment is 'other'" in result.output
    assert (
        "cookie.yaml:6: names.secure: is 'SecureEdgeId', but the edge's cookies.secure_name is 'Another'"
        in result.output
    )
    assert not (tmp_path / "var").exists()


def test_a_kms_that_waits_less_for_a_silent_edge_than_the_edge_believes_is_refused(directory: Path) -> None:
    check = ["check-config", "--config", str(directory)]
    assert runner.invoke(app, [*check, "--set", "keys.stale_after_s=299"]).exit_code == 0
    refused = runner.invoke(app, [*check, "--set", "keys.stale_after_s=301"])
    assert refused.exit_code == 2
    assert "holder_live_s: is 300, but the edge's keys.stale_after_s is 301: that must not be more" in refused.output
    replace(directory / "kms.yaml", "holder_live_s: 300", "holder_live_s: 120")
    assert "kms.yaml:60: holder_live_s: is 120, but" in runner.invoke(app, check).output


def test_up_says_that_its_var_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    result = runner.invoke(app, ["up", "--config", CONFIG, "--var", str(tmp_path / "file")])
    assert result.exit_code == 2
    assert "secrets cannot be made in" in result.output
    assert "Not a directory" in result.output


def test_schema_writes_one_file_for_each_config_file(tmp_path: Path) -> None:
    result = runner.invoke(app, ["schema", "--out", str(tmp_path)])
    assert result.exit_code == 0
    assert {"edge.json", "routes.json", "origins.json"} <= {path.name for path in tmp_path.iterdir()}
    assert json.loads((tmp_path / "edge.json").read_text())["type"] == "object"


def test_inspect_without_a_kms_decodes_but_does_not_verify(tmp_path: Path) -> None:
    result = runner.invoke(
        app, ["passport", "inspect", "bm90IGEgcGFzc3BvcnQ=", "--config", CONFIG, "--var", str(tmp_path)]
    )
    assert result.exit_code == 1
    assert "keys cannot be had" in result.output
    assert "not a Passport" in result.output


async def test_inspect_verifies_with_the_keys_of_the_kms(tmp_path: Path) -> None:
    async with kms(tmp_path) as running:
        value = await _passport(running.url, tmp_path)
        good = await _edge("passport", "inspect", value, *_at(running, tmp_path))
        assert good[0] == 0
        assert "verified          yes" in good[1]
        bad = await _edge(
            "passport", "inspect", value, *_at(running, tmp_path), "--set", "edge.trust_domain=other.test"
        )
        assert bad[0] == 1
        assert "nothing below may be believed" in bad[1]


async def test_a_passport_that_was_made_is_good_and_differs_from_another(tmp_path: Path) -> None:
    async with kms(tmp_path) as running:
        at = _at(running, tmp_path)
        code, made = await _edge("passport", "make", "--customer-id", "42", "--esn", "TV-1", "--device-type", "4", *at)
        assert code == 0
        code, shown = await _edge("passport", "inspect", made.strip(), *at)
        assert code == 0
        assert "user level        HIGH: a secure token" in shown
        assert "42" in shown
        _, other = await _edge("passport", "make", *at)
        code, said = await _edge("passport", "diff", made.strip(), other.strip(), *at)
        assert (code, "REFUSED: header_changed" in said) == (1, True)
        code, said = await _edge("passport", "diff", made.strip(), made.strip(), *at)
        assert (code, "asks for nothing" in said) == (0, True)


def test_no_passport_is_made_without_keys(tmp_path: Path) -> None:
    result = runner.invoke(app, ["passport", "make", "--config", CONFIG, "--var", str(tmp_path)])
    assert result.exit_code == 3
    assert "there are no keys to sign with" in result.output


async def test_run_serves_until_sigterm(tmp_path: Path) -> None:
    async with kms(tmp_path) as running:
        ready, writing = os.pipe()
        edge = await asyncio.create_subprocess_exec(
            *_command("run", *_at(running, tmp_path), "--ready-fd", str(writing), "--set", "edge.workers=1"),
            *("--set", "listener.address=127.0.0.1:0", "--set", "admin.address=127.0.0.1:0"),
            pass_fds=(writing,),
            stderr=asyncio.subprocess.PIPE,
        )
        os.close(writing)
        listening, admin = await asyncio.to_thread(_lines, ready)
        async with aiohttp.ClientSession() as session:
            async with session.get(f"http://{admin}/health") as health:
                assert (health.status, (await health.json())["status"]) == (200, "ready")
            async with session.get(f"http://{listening}/account") as answer:
                assert (answer.status, (await answer.json(content_type=None))["reason"]) == (
                    401,
                    "authentication_required",
                )
            async with session.get(f"http://{admin}/metrics") as metrics:
                assert "edge_requests_total{" in await metrics.text()
        edge.send_signal(signal.SIGTERM)
        _, said = await edge.communicate()
        assert edge.returncode == 0
        assert f"edge listening on {listening} with 1 workers" in said.decode()


async def test_run_says_that_its_port_is_taken(tmp_path: Path) -> None:
    make_secrets(tmp_path / "secrets")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, said = await _edge(
            "run", "--config", CONFIG, "--var", str(tmp_path), "--set", f"listener.address=127.0.0.1:{port}"
        )
    assert code == 2
    assert f"port {port} on 127.0.0.1 is taken" in said


@asynccontextmanager
async def kms(var: Path) -> AsyncIterator[Process]:
    """Run the KMS on secrets of its own."""
    make_secrets(var / "secrets")
    arguments = ("--config", f"{CONFIG}/kms.yaml", "--secrets", str(var / "secrets"), "--var", str(var))
    async with process("services.kms", *arguments) as running:
        yield running


async def _passport(kms_url: str, var: Path) -> str:
    token = (var / "secrets" / "edge.token").read_text().strip()
    async with aiohttp.ClientSession() as session:
        answer = await KmsClient(session, kms_url, token).key_sets([USER_PURPOSE, DEVICE_PURPOSE])
    keys = PassportKeys.from_key_sets(answer.key_sets)
    user, device = keys.signer(USER_PURPOSE), keys.signer(DEVICE_PURPOSE)
    assert user is not None
    assert device is not None
    builder = PassportBuilder("edge-1", "edge-passport.local", user, device, ttl_s=60)
    return builder.header_value(b"0" * 32, NO_USER, NO_DEVICE, int(time.time())).decode()


def _at(kms_process: Process, var: Path) -> list[str]:
    return ["--config", CONFIG, "--var", str(var), "--set", f"services.kms.url={kms_process.url}"]


def _command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "edge.cli", *arguments]


async def _edge(*arguments: str) -> tuple[int, str]:
    """Run the command to its end; return its exit code and all that it said."""
    return await ran("edge.cli", *arguments)


def _lines(fd: int) -> list[str]:
    with os.fdopen(fd) as file:
        return file.read().split()
