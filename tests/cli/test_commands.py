"""The small commands of `edge`, and `edge run`, as a user types them."""

import asyncio
import json
import os
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
from typer.testing import CliRunner

from edge.cli import app
from passport import DEVICE_PURPOSE, USER_PURPOSE
from passport.builder import PassportBuilder
from passport.keys import PassportKeys
from passport.kms import KmsClient
from passport.parts import NO_DEVICE, NO_USER
from tests.processes import REPOSITORY, Process, make_secrets, process

CONFIG = str(REPOSITORY / "config")
runner = CliRunner()


def test_version_says_which_one() -> None:
    result = runner.invoke(app, ["version"])
    assert result.exit_code == 0
    assert result.output.strip() == "0.1.0"


def test_check_config_says_that_the_shipped_config_is_valid() -> None:
    result = runner.invoke(app, ["check-config", "--config", CONFIG])
    assert result.exit_code == 0
    assert "is valid" in result.output


def test_check_config_says_every_error_with_its_place() -> None:
    sets = ["--set", "timeouts.connect_s=soon", "--set", "nonsense.key=1"]
    result = runner.invoke(app, ["check-config", "--config", CONFIG, *sets])
    assert result.exit_code == 2
    assert "timeouts.connect_s" in result.output
    assert "nonsense" in result.output
    assert "2 errors" in result.output


def test_every_command_that_needs_a_config_says_what_is_wrong_with_it(tmp_path: Path) -> None:
    for command in (["up"], ["run"], ["passport", "inspect", "AAAA"]):
        result = runner.invoke(app, [*command, "--config", str(tmp_path / "none")])
        assert result.exit_code == 2
        assert "is not a directory" in result.output


def test_up_refuses_a_cookie_service_whose_cookies_the_edge_would_refuse(tmp_path: Path) -> None:
    sets = ["--set", "edge.environment=other", "--set", "cookies.secure_name=Another"]
    result = runner.invoke(app, ["up", "--config", CONFIG, "--var", str(tmp_path / "var"), *sets])
    assert result.exit_code == 2
    assert "cookie.yaml: environment: is 'local', but the edge's edge.environment is 'other'" in result.output
    assert (
        "cookie.yaml: names.secure: is 'SecureEdgeId', but the edge's cookies.secure_name is 'Another'" in result.output
    )
    assert not (tmp_path / "var").exists()


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


async def _edge(*arguments: str) -> tuple[int | None, str]:
    """Run the command to its end; return its exit code and all that it said."""
    edge = await asyncio.create_subprocess_exec(
        *_command(*arguments), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    said, _ = await edge.communicate()
    return edge.returncode, said.decode()


def _lines(fd: int) -> list[str]:
    with os.fdopen(fd) as file:
        return file.read().split()
