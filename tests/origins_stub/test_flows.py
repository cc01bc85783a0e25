"""What services say happened, as devices see it: every process real, the edge and the cookie service among them."""

import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio
from yarl import URL

from tests.edge_process.edge import ALONE, running_edge
from tests.origins_stub.conftest import api_arguments, auth_arguments, identity_arguments
from tests.processes import Process, eventually, process
from tests.services.cookie_calls import cookie_arguments, cookies_running
from tests.services.kms_calls import kms_running

pytestmark = pytest.mark.asyncio(loop_scope="module")

DEMO = {"email": "demo@example.com", "password": "correct horse battery staple"}


@dataclass(slots=True)
class Device:
    """A browser or a television, with the cookies that the edge gave it."""

    session: aiohttp.ClientSession
    url: str

    async def ask(self, path: str, body: object = None, method: str = "POST") -> tuple[int, Mapping[str, object]]:
        """Return status and body; no answer ever shows a Passport."""
        async with self.session.request(method, self.url + path, json=body) as answer:
            assert not [name for name in answer.headers if "passport" in name.lower()]
            return answer.status, await answer.json(content_type=None)

    async def done(self, path: str, body: object = None) -> Mapping[str, object]:
        """Ask for what must succeed; return the body."""
        status, said = await self.ask(path, body)
        assert status == 200, said
        return said

    async def user(self) -> Mapping[str, object]:
        """Return who the user of this device's next request is, as an origin sees it."""
        status, seen = await self.ask("/echo", method="GET")
        assert status == 200, seen
        passport = seen["passport"]
        assert isinstance(passport, dict)
        assert passport["verified"] is True
        found: Mapping[str, object] = passport["user"]
        return found

    def cookies(self) -> Mapping[str, str]:
        """Return what the device holds."""
        return {cookie.key: cookie.value for cookie in self.session.cookie_jar}


@dataclass(slots=True, frozen=True)
class Stack:
    """The running processes that a test ends, and how it starts them anew at the same address."""

    edge_url: str
    cookies: Process
    cookies_arguments: list[str]

    def cookies_again(self) -> AbstractAsyncContextManager[Process]:
        return process("services.cookie", *self.cookies_arguments, listen=self.cookies.address)


@asynccontextmanager
async def running_stack(var: Path) -> AsyncIterator[Stack]:
    """Run everything that `edge up` runs."""
    async with (
        kms_running(var) as kms,
        process("origins_stub.subscriber", *identity_arguments(var, kms.process, "subscriber")) as subscriber,
        cookies_running(kms, subscriber.url, var) as cookies,
        process("origins_stub.auth", *auth_arguments(var, kms.process, subscriber.url)) as auth,
        process("origins_stub.api", *api_arguments(var, kms.process, auth.url, subscriber.url)) as api,
        running_edge(kms, var, api.address, ALONE, f"services.cookie.url={cookies.process.url}", workers=1) as edge,
    ):
        again = cookie_arguments(kms.process.url, subscriber.url, kms.secrets, var / "cookie.yaml")
        yield Stack(f"http://{edge.address[0]}:{edge.address[1]}", cookies.process, again)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def edge_url(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    async with running_stack(tmp_path_factory.mktemp("flows")) as stack:
        yield stack.edge_url


@asynccontextmanager
async def device(edge_url: str) -> AsyncIterator[Device]:
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as session:
        yield Device(session, edge_url)


async def activated(television: Device, browser: Device) -> None:
    """Let the browser's user enter the code that the television shows, and the television poll."""
    shown = await television.done("/activation")
    poll = {"poll_token": shown["poll_token"]}
    assert await television.done("/activation/poll", poll) == {"activated": False}
    assert not television.cookies()
    assert await browser.done("/activation/enter", {"code": shown["code"]}) == {"entered": True}
    assert await television.done("/activation/poll", poll) == {"activated": True}


async def test_a_profile_switch_changes_the_profile_that_the_next_request_carries(edge_url: str) -> None:
    async with device(edge_url) as browser:
        assert await browser.done("/login", DEMO) == {"signed_in": True, "member": True}
        before, held = await browser.user(), browser.cookies()
        assert before["profile_id"] is None
        await browser.done("/profile", {"profile_id": "p-1001-kids"})
        assert await browser.user() == {**before, "profile_id": "p-1001-kids"}
        assert not held.items() & browser.cookies().items()


async def test_a_code_entered_in_a_browser_gives_the_television_a_session_of_its_own(edge_url: str) -> None:
    async with device(edge_url) as browser, device(edge_url) as television:
        await browser.done("/login", DEMO)
        await activated(television, browser)
        here, there = await browser.user(), await television.user()
        assert (there["source"], there["level"], there["customer_id"]) == ("COOKIE", "HIGH", 1001)
        assert there["session_id"] not in {None, here["session_id"]}
        assert (await browser.ask("/logout"))[0] == 200
        assert (await television.ask("/account", method="GET"))[0] == 200


async def test_a_poll_that_the_edge_answers_with_a_503_is_repeated_once_the_cookie_service_is_back(
    tmp_path: Path,
) -> None:
    async with (
        running_stack(tmp_path) as stack,
        device(stack.edge_url) as browser,
        device(stack.edge_url) as television,
    ):
        await browser.done("/login", DEMO)
        shown = await television.done("/activation")
        poll = {"poll_token": shown["poll_token"]}
        await browser.done("/activation/enter", {"code": shown["code"]})
        await stack.cookies.kill()
        for _ in range(2):
            assert (await television.ask("/activation/poll", poll))[0] == 503
            assert not television.cookies()

        async with stack.cookies_again():

            async def back() -> bool:
                return (await browser.ask("/profile", {"profile_id": "p-1001-kids"}))[0] == 200

            await eventually(back, "the edge gets cookies again", 30.0)
            assert await television.done("/activation/poll", poll) == {"activated": True}
            user, held = await television.user(), television.cookies()
            assert (user["level"], user["customer_id"]) == ("HIGH", 1001)
            assert await television.done("/activation/poll", poll) == {"activated": True}
            assert television.cookies() == held
            assert (await television.ask("/activation/poll", poll))[0] == 404


async def test_r10_a_sign_out_everywhere_ends_the_televisions_session_within_two_seconds(edge_url: str) -> None:
    login = {"email": "other@example.com", "password": "a passphrase nobody guesses"}
    async with device(edge_url) as browser, device(edge_url) as television, device(edge_url) as stranger:
        await browser.done("/login", login)
        await stranger.done("/login", DEMO)
        await activated(television, browser)
        assert (await television.ask("/account", method="GET"))[0] == 200
        assert await browser.done("/logout-everywhere") == {"signed_in": False}
        began = time.monotonic()
        assert not browser.cookies()

        async def out() -> bool:
            return (await television.ask("/account", method="GET"))[0] == 401

        await eventually(out, "the television is signed out", 30.0)
        assert time.monotonic() - began < 2.0
        assert (await stranger.ask("/account", method="GET"))[0] == 200


async def test_a_sign_up_ends_in_a_members_session_that_is_not_the_one_it_was_made_in(edge_url: str) -> None:
    async with device(edge_url) as browser:
        account = {"email": "new@example.com", "password": "a password of some length"}
        started = await browser.done("/signup", account)
        first = await browser.user()
        assert (first["source"], first["level"], first["customer_id"]) == ("COOKIE", "HIGH", started["customer_id"])
        await browser.done("/signup/plan", {"plan": "premium"})
        assert (await browser.user())["session_id"] == first["session_id"]
        old = browser.cookies()
        assert await browser.done("/signup/complete") == {"signed_in": True, "member": True}
        last = await browser.user()
        assert last["customer_id"] == first["customer_id"]
        assert last["session_id"] != first["session_id"]

    async with device(edge_url) as thief:
        thief.session.cookie_jar.update_cookies(old, URL(edge_url))

        async def ended() -> bool:
            return (await thief.ask("/account", method="GET"))[0] == 401

        await eventually(ended, "the session of the sign-up has ended", 30.0)


async def test_an_anonymous_device_is_stopped_by_the_edge_where_a_user_is_needed(edge_url: str) -> None:
    async with device(edge_url) as nobody:
        for path in ("/logout-everywhere", "/profile", "/signup/plan", "/signup/complete", "/activation/enter"):
            status, said = await nobody.ask(path, {})
            assert (status, said["reason"]) == (401, "authentication_required"), path
