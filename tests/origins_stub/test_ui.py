"""The pages of the profile that is signed in, served by Node: real processes, the KMS's real keys."""

import contextlib
import os
import re
import signal
import socket
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import aiohttp
import pytest
from multidict import CIMultiDict

from passport import DevicePart, Level, Source, UserPart
from tests.origins_stub.conftest import Edge, Origins, edge_of, running_kms, user_of_level
from tests.passport_js.node import node
from tests.processes import REPOSITORY, Process, eventually, free_port, make_secrets

UI = REPOSITORY / "origins_stub" / "ui"
EVIL = "<img src=x onerror=alert(1)>\"'&"


@contextlib.contextmanager
def started(*arguments: str, listen: str = "127.0.0.1:0") -> Iterator[tuple[Process, int]]:
    """Start the stub; yields it, and the reading end of its ready pipe."""
    reading, writing = os.pipe()
    line = [node(), str(UI / "main.js"), "--listen", listen, "--ready-fd", str(writing), *arguments]
    with tempfile.TemporaryFile() as log:
        popen = subprocess.Popen(line, stdin=subprocess.DEVNULL, stdout=log, stderr=log, pass_fds=(writing,))
        os.close(writing)
        try:
            yield Process(popen, log), reading
        finally:
            os.close(reading)
            popen.kill()
            popen.wait()


def ready(stub: Process, reading: int) -> str:
    """Wait until the stub serves; return its address."""
    said = os.read(reading, 256).decode()
    assert said.endswith("\n"), stub.output()
    stub.address = said.strip()
    return stub.address


def identity(origins: Origins) -> tuple[str, ...]:
    return ("--kms", origins.kms.url, "--token-file", str(origins.var / "secrets" / "ui.token"))


@pytest.fixture
async def ui(origins: Origins) -> AsyncIterator[Process]:
    with started(*identity(origins)) as (stub, reading):
        ready(stub, reading)
        yield stub


async def get(
    ui: Process, *passports: str, path: str = "/ui", method: str = "GET"
) -> tuple[int, str, CIMultiDict[str]]:
    headers = CIMultiDict([("X-Passport", value) for value in passports])
    async with aiohttp.ClientSession() as session, session.request(method, ui.url + path, headers=headers) as answer:
        return answer.status, await answer.text(), CIMultiDict(answer.headers)


async def test_the_page_says_who_is_signed_in(ui: Process, edge: Edge) -> None:
    user = UserPart.of(Source.COOKIE, Level.HIGH, 9_007_199_254_740_993, 17, profile_id="profil-ü")
    status, page, headers = await get(ui, edge.passport(user, DevicePart.of(Source.COOKIE, Level.HIGH, "ESN-1", 7)))
    assert status == 200
    assert "<h1>Hello, profil-ü</h1>" in page
    for text in ("9007199254740993", "17", "COOKIE, level HIGH", "ESN-1"):
        assert f"<td>{text}</td>" in page
    assert headers["Content-Type"] == "text/html; charset=utf-8"
    assert headers["Cache-Control"] == "no-store"
    assert headers["Content-Security-Policy"].startswith("default-src 'none'")


async def test_nobody_is_greeted_too(ui: Process, edge: Edge) -> None:
    status, page, _ = await get(ui, edge.passport())
    assert (status, "Nobody is signed in" in page) == (200, True)


async def test_an_identity_that_could_not_be_renewed_is_said_to_be(ui: Process, edge: Edge) -> None:
    user = UserPart.of(Source.COOKIE, Level.LOW, 1, 1, rescheduled=True)
    _, page, _ = await get(ui, edge.passport(user))
    assert "could not be renewed" in page
    assert "sign in again" in page


async def test_what_is_in_a_passport_is_text_on_the_page(ui: Process, edge: Edge) -> None:
    user = UserPart.of(Source.COOKIE, Level.HIGH, 1, 1, profile_id=EVIL)
    _, page, _ = await get(ui, edge.passport(user, DevicePart.of(Source.COOKIE, Level.HIGH, EVIL)))
    assert page.count("&lt;img src=x onerror=alert(1)&gt;&quot;&#39;&amp;") == 4
    assert "<img" not in page


async def test_x5_a_page_needs_exactly_one_valid_passport(ui: Process, edge: Edge) -> None:
    good = edge.passport(user_of_level(Level.HIGH))
    for values in ([], [good, good], [good[:-4]], [edge.passport(age_s=200)], [edge.passport(trust_domain="other")]):
        status, body, _ = await get(ui, *values)
        assert (status, body) == (401, '{"reason":"passport_refused"}')
    said = await ui.said('"trust_domain"')
    reasons = re.findall(r'"reason":"(\w+)"', said)
    assert [reasons[0], reasons[1], *reasons[3:]] == ["missing", "repeated", "expired", "trust_domain"]
    assert good not in said


async def test_other_paths_and_methods_are_refused(ui: Process, edge: Edge) -> None:
    assert (await get(ui, path="/health"))[:2] == (200, '{"status":"ok"}')
    assert (await get(ui, edge.passport(), path="/ui/x"))[0] == 404
    status, _, headers = await get(ui, edge.passport(), method="POST")
    assert (status, headers["Allow"]) == (405, "GET, HEAD")
    assert (await get(ui, edge.passport(), method="HEAD"))[:2] == (200, "")


async def test_it_leaves_cleanly_on_sigterm_and_has_said_no_secret(origins: Origins, ui: Process) -> None:
    assert await ui.stop() == 0
    assert ui.output() == f"ui listening on {ui.address}\n"
    assert (origins.var / "secrets" / "ui.token").read_text().strip() not in ui.output()


async def test_it_keeps_its_keys_while_the_kms_is_away(tmp_path: Path, session: aiohttp.ClientSession) -> None:
    async with running_kms(tmp_path) as kms:
        arguments = ("--kms", kms.url, "--var", str(tmp_path), "--key-refresh-s", "0.05")
        with started(*arguments) as (stub, reading):
            ready(stub, reading)
            made = await edge_of(tmp_path, kms, session)
            await kms.kill()
            await stub.said("keys_not_refreshed")
            assert (await get(stub, made.passport()))[0] == 200


async def test_without_keys_nothing_is_served(tmp_path: Path) -> None:
    make_secrets(tmp_path / "secrets")
    listen = f"127.0.0.1:{free_port()}"
    with started("--var", str(tmp_path), "--kms", f"http://127.0.0.1:{free_port()}", listen=listen) as (stub, _):
        stub.address = listen

        async def refuses() -> bool:
            try:
                return (await get(stub, "AAAA"))[:2] == (503, '{"reason":"keys_unavailable"}')
            except aiohttp.ClientError:
                return False

        await eventually(refuses, "it listens")
        assert await stub.stop(signal.SIGINT) == 0
        assert "ui listening" not in stub.output()


async def test_what_keeps_it_from_starting_is_said_in_one_line(origins: Origins, tmp_path: Path) -> None:
    forged = tmp_path / "forged.token"
    forged.write_text("forged-token\n")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        cases = [
            (["--var", str(tmp_path)], "127.0.0.1:0", "cannot be read; `edge up` makes it on its first run"),
            (["--kms", origins.kms.url, "--token-file", str(forged)], "127.0.0.1:0", "refused the key sets"),
            ([*identity(origins)], address, f"{address} cannot be listened on (EADDRINUSE); choose another --listen"),
            (["--nonsense"], "127.0.0.1:0", "Unknown option '--nonsense'"),
            ([], "8095", "8095 is not HOST:PORT"),
        ]
        for arguments, listen, why in cases:
            with started(*arguments, listen=listen) as (stub, _):
                assert await stub.wait() == 2
                assert stub.output().startswith("ui cannot start: ")
                assert why in stub.output()
                assert stub.output().count("\n") == 1
                assert "forged-token" not in stub.output()


def test_it_knows_the_passport_library_and_node_and_nothing_else() -> None:
    """No token code: what it imports is its own, Node's, or the library's."""
    for file in UI.glob("*.js"):
        text = file.read_text()
        for module in re.findall(r'from "([^"]+)";', text):
            assert module.startswith(("node:", "./", "../../passport/js/src/")), f"{file.name} imports {module}"
        assert not re.search(r"cookie|authorization|crypto|import\(|require\(", text, re.IGNORECASE), file.name
