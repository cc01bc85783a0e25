"""The demo's own parts: what it shows of secrets, how its device keeps cookies."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from loadtest.demo_device import Device, Json, Received, Sent, shorten, shorten_cookies
from loadtest.demo_stack import Place, read_places
from origins_stub.auth.users import SEED, read_seed
from tests.processes import REPOSITORY, free_port

TOKEN = "AbCdEfGhIjKlMnOpQrStUvWxYz0123456789"


def test_a_cookie_is_shown_by_its_first_characters_and_its_length() -> None:
    assert shorten(TOKEN) == "AbCdEfGh… (36 characters)"
    line = shorten_cookies(f"EdgeId={TOKEN}; SecureEdgeId={TOKEN}; theme=dark")
    assert line == "EdgeId=AbCdEfGh… (36 characters); SecureEdgeId=AbCdEfGh… (36 characters); theme=dark"


def test_the_attributes_of_a_cookie_are_shown_whole() -> None:
    attributes = "Path=/; Max-Age=14400; HttpOnly; SameSite=Lax; Expires=Thu, 01 Jan 1970 00:00:00 GMT"
    assert shorten_cookies(f"EdgeId={TOKEN}; {attributes}") == f"EdgeId=AbCdEfGh… (36 characters); {attributes}"


def test_no_secret_is_in_a_repr() -> None:
    device = Device(urlsplit("http://127.0.0.1:1"))
    device.cookies["EdgeId"] = TOKEN
    sent = Sent("GET", "/", [("Cookie", TOKEN)], {"password": TOKEN})
    received = Received(200, [("Set-Cookie", TOKEN)], TOKEN.encode())
    assert TOKEN not in f"{device!r} {sent!r} {received!r}"


def test_json_is_read_by_paths_and_never_raises() -> None:
    seen = Json({"passport": {"user": {"level": "HIGH"}}, "headers": [["A", "b"], ["odd"]]})
    assert seen.text("passport.user.level") == "HIGH"
    assert seen.at("passport.device.esn") is None
    assert seen.pairs("headers") == [("A", "b")]
    assert Received(200, [], b"no json").json == Json({})


@pytest.fixture
async def site() -> AsyncIterator[TestServer]:
    async def serve(request: web.Request) -> web.Response:
        answer = web.json_response({"cookie": request.headers.get("Cookie", ""), "body": await request.text()})
        if request.path == "/in":
            answer.set_cookie("EdgeId", "one", path="/")
            answer.set_cookie("SecureEdgeId", "two", path="/")
        if request.path == "/out":
            answer.del_cookie("EdgeId")
            answer.headers.add("Set-Cookie", "SecureEdgeId=; Path=/")
        return answer

    app = web.Application()
    app.router.add_route("*", "/{path}", serve)
    server = TestServer(app)
    await server.start_server()
    yield server
    await server.close()


async def test_a_device_keeps_and_drops_the_cookies_it_is_told_to(site: TestServer) -> None:
    device = Device(urlsplit(str(site.make_url("/"))))
    sent, received = await asyncio.to_thread(device.send, "POST", "/in", body={"email": "x"})
    assert (sent.method, received.status) == ("POST", 200)
    assert received.json.text("body") == '{"email": "x"}'
    assert device.cookies == {"EdgeId": "one", "SecureEdgeId": "two"}
    _, received = await asyncio.to_thread(device.send, "GET", "/echo")
    assert received.json.text("cookie") == "EdgeId=one; SecureEdgeId=two"
    await asyncio.to_thread(device.send, "GET", "/out")
    assert device.cookies == {}


def run_demo(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "loadtest.demo", *arguments]
    return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=55, check=False)


@pytest.mark.slow
def test_the_demo_plays_the_login_story_through_a_stack_of_its_own() -> None:
    told = run_demo()
    assert told.returncode == 0, told.stdout + told.stderr
    assert "Every step came out as told." in told.stdout
    assert "✗" not in told.stdout
    assert "correct horse" not in told.stdout


async def test_the_demo_fails_where_its_expectations_do_not_hold(site: TestServer) -> None:
    told = await asyncio.to_thread(run_demo, "--edge", str(site.make_url("/")))
    assert told.returncode == 1
    assert "✗ status 401, not 200" in told.stdout
    assert "expectations did not hold" in told.stdout


def test_the_demo_says_that_there_is_no_edge() -> None:
    told = run_demo("--edge", f"http://127.0.0.1:{free_port()}")
    assert told.returncode == 1
    assert "could not run" in told.stdout
    assert "Traceback" not in told.stderr


def test_a_stack_that_does_not_start_is_said_with_its_last_lines(tmp_path: Path) -> None:
    told = run_demo("--config", str(tmp_path))
    assert told.returncode == 1
    assert "the stack did not start" in told.stdout


def test_places_are_read_from_whole_lines_only() -> None:
    places = read_places("kms 127.0.0.1:1 10\nedge 127.0.0.1:2 11\nadm")
    assert places == {"kms": Place("http://127.0.0.1:1", 10), "edge": Place("http://127.0.0.1:2", 11)}


def test_the_demo_users_in_the_docs_are_those_of_the_seed() -> None:
    page = (REPOSITORY / "docs/origins.md").read_text()
    for user in read_seed(SEED):
        assert f"| {user.email} | {user.password.get_secret_value()} | {user.customer_id} |" in page
