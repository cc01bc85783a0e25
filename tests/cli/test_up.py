"""`edge up`, whole: every real process on free ports, in one stack for all tests of this module."""

import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest

from edge.control.values import Address
from edge.up.node import NoNode, find_node
from edge.up.screen import DEMO_USER, curl_lines
from tests.cli.test_up_parts import alive
from tests.processes import REPOSITORY, eventually


@dataclass
class Stack:
    """A running `edge up`: its process, the file it prints to, and name → (address, pid)."""

    process: subprocess.Popen[bytes]
    printed: Path
    parts: dict[str, tuple[str, int]]

    def url(self, name: str, path: str) -> str:
        return f"http://{self.parts[name][0]}{path}"


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with running_stack(tmp_path_factory.mktemp("up")) as running:
        yield running


@contextmanager
def running_stack(home: Path, *overrides: str) -> Iterator[Stack]:
    """Run `edge up` until the block ends."""
    reading, writing = os.pipe()
    where = ["--config", str(REPOSITORY / "config"), "--var", str(home / "var"), "--set", "edge.workers=1"]
    sets = [word for override in overrides for word in ("--set", override)]
    line = [sys.executable, "-m", "edge.cli", "up", "--ephemeral", *where, *sets, "--ready-fd", str(writing)]
    with (home / "printed").open("wb") as printed:
        process = subprocess.Popen(line, stdout=printed, stderr=printed, pass_fds=(writing,), cwd=home)
    os.close(writing)
    try:
        with os.fdopen(reading) as ready:
            rows = [row.split() for row in ready.read().splitlines()]
        yield Stack(process, home / "printed", {name: (address, int(pid)) for name, address, pid in rows})
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


def test_everything_runs_and_says_where(stack: Stack) -> None:
    pages = set() if isinstance(find_node(), NoNode) else {"ui"}
    assert set(stack.parts) == {"kms", "subscriber", "cookie", "auth", "api", "edge", "admin"} | pages
    printed = stack.printed.read_text()
    assert "first run: made 9 secrets" in printed
    assert ("the pages of ui are not served" in printed) is (not pages)
    for address, _ in stack.parts.values():
        assert f"http://{address}" in printed
    with urllib.request.urlopen(stack.url("admin", "/health")) as health:  # noqa: S310 - loopback
        assert json.load(health)["status"] == "ready"


async def test_the_three_curl_lines_do_what_they_say(stack: Stack) -> None:
    printed = stack.printed.read_text()
    base = f"http://{stack.parts['edge'][0]}"
    assert re.findall(r"curl .* (http://\S+)", printed) == [f"{base}/echo", f"{base}/login", f"{base}/browse"]
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as device:
        async with device.get(f"{base}/echo") as nobody:
            passport = (await nobody.json())["passport"]
            assert (passport["verified"], passport["user"]["customer_id"]) == (True, None)
        headers = {"Content-Type": "application/json"}
        async with device.post(f"{base}/login", data=DEMO_USER, headers=headers) as signed_in:
            assert (signed_in.status, len(signed_in.headers.getall("Set-Cookie"))) == (200, 2)
        async with device.get(f"{base}/browse") as browsed:
            assert (browsed.status, (await browsed.json())["customer_id"]) == (200, 1001)


def test_with_tls_the_curl_lines_say_so_and_whom_to_trust(tmp_path: Path) -> None:
    edge, ca = Address("127.0.0.1", 8443), tmp_path / "ca.crt"
    assert {line.rpartition(" ")[2] for line in curl_lines(edge, False, ca)} == {
        f"http://{edge}{path}" for path in ("/echo", "/login", "/browse")
    }
    assert curl_lines(edge, True, ca)[0] == f"curl -s https://{edge}/echo"
    ca.touch()
    assert all(line.startswith(f"curl -s --cacert {ca} ") for line in curl_lines(edge, True, ca))


async def test_a_valid_cookie_needs_no_remote_call(stack: Stack) -> None:
    base = f"http://{stack.parts['edge'][0]}"
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as device:
        async with device.post(f"{base}/login", data=DEMO_USER) as signed_in:
            assert signed_in.status == 200
        before = await _calls(device, stack)
        for _ in range(20):
            async with device.get(f"{base}/browse") as browsed:
                assert browsed.status == 200
        assert await _calls(device, stack) == before


async def test_the_page_of_who_is_signed_in_is_served_by_node(stack: Stack) -> None:
    if "ui" not in stack.parts:
        pytest.skip("there is no Node that is new enough")
    base = f"http://{stack.parts['edge'][0]}"
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as device:
        async with device.get(f"{base}/ui") as nobody:
            assert (nobody.status, "Nobody is signed in" in await nobody.text()) == (200, True)
        async with device.post(f"{base}/login", data=DEMO_USER) as signed_in:
            assert signed_in.status == 200
        async with device.get(f"{base}/ui") as page:
            assert (page.status, page.content_type) == (200, "text/html")
            assert "<tr><th>Customer</th><td>1001</td></tr>" in await page.text()
            assert "X-Passport" not in page.headers
    async with aiohttp.ClientSession() as stranger, stranger.get(stack.url("ui", "/ui")) as refused:
        assert refused.status == 401


async def test_a_service_that_dies_is_said_and_comes_back_where_it_was(stack: Stack) -> None:
    os.kill(stack.parts["subscriber"][1], signal.SIGKILL)

    async def back() -> bool:
        return stack.printed.read_text().count(f"subscriber listening on {stack.parts['subscriber'][0]}") == 2

    await eventually(back, "the subscriber service listens again")
    assert "subscriber was ended by signal 9; it is started again in 0.1 s" in stack.printed.read_text()


async def test_key_fetches_are_not_printed_and_a_refused_one_is(stack: Stack) -> None:
    store = stack.printed.parent / "var" / "kms.sqlite"
    with closing(sqlite3.connect(f"file:{store}?mode=ro", uri=True)) as kept:
        rows = kept.execute("SELECT DISTINCT identity, outcome FROM audit_log").fetchall()
    assert {("edge", "granted"), ("cookie", "granted")} <= set(rows)
    assert '"outcome": "granted"' not in stack.printed.read_text()
    async with aiohttp.ClientSession() as stranger, stranger.post(stack.url("kms", "/v1/key-sets")) as refused:
        assert refused.status == 401

    async def said() -> bool:
        lines = stack.printed.read_text().splitlines()
        return any(line.startswith("kms ") and '"outcome": "unknown_identity"' in line for line in lines)

    await eventually(said, "the refused access is printed")


def test_a2_no_secret_is_ever_printed(stack: Stack) -> None:
    printed = stack.printed.read_text()
    secrets = stack.printed.parent / "var" / "secrets"
    for path in secrets.iterdir():
        text = path.read_bytes().strip()
        assert text not in printed.encode()
    assert "correct horse" not in printed.replace(DEMO_USER, "")


def test_stores_and_secrets_are_for_their_owner_only(stack: Stack) -> None:
    var = stack.printed.parent / "var"
    assert [path for path in var.rglob("*") if path.stat().st_mode & 0o077] == []


async def test_sighup_is_passed_on_to_the_edge_which_reloads(stack: Stack) -> None:
    stack.process.send_signal(signal.SIGHUP)

    async def reloaded() -> bool:
        return "is served by all workers" in stack.printed.read_text()

    await eventually(reloaded, "the edge has reloaded")
    async with aiohttp.ClientSession() as session, session.get(stack.url("admin", "/health")) as health:
        assert (await health.json())["workers"][0]["config"] == 2
    assert stack.process.poll() is None


def test_ctrl_c_stops_all_of_it(stack: Stack) -> None:
    stack.process.send_signal(signal.SIGINT)
    assert stack.process.wait(30) == 0
    assert not any(alive(pid) for _, pid in stack.parts.values())


async def _calls(session: aiohttp.ClientSession, stack: Stack) -> list[str]:
    """Return the counters of calls to token services."""
    async with session.get(stack.url("admin", "/metrics")) as metrics:
        lines = (await metrics.text()).splitlines()
    return [line for line in lines if line.startswith("edge_remote_calls_total") and "cookie" in line]
