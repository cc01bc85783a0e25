"""Profiles, sign-ups, activations and sign-outs through API, auth, subscriber and KMS, seen as the edge sees them."""

import os
import signal
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import aiohttp
import pytest
import yaml
from aiohttp import web
from aiohttp.test_utils import TestServer

from origins_stub.auth.activations import MAX_OF_CLIENT
from passport import Level, PassportIntrospector, Source, UserPart
from passport.aiohttp import HEADER
from passport.returned import Accepted, Grant, check_returned
from tests.origins_stub.conftest import DEVICE, Edge, Origins, api_arguments, user_of_level
from tests.processes import REPOSITORY, Process, free_port, process

_GRANTS = yaml.safe_load((REPOSITORY / "config/grants.yaml").read_text())["grants"]
GRANTS = {purpose: Grant.named(grant["parts"], grant["actions"]) for purpose, grant in _GRANTS.items()}
PASSWORD = "a password of nine words or so"
KIDS = {"profile_id": "p-1001-kids"}


class Asked:
    """One exchange: what was sent, what came back, and whom the edge takes the user for from now on."""

    def __init__(self, edge: Edge, sent: str, answer: aiohttp.ClientResponse, body: Mapping[str, object]) -> None:
        self.status = answer.status
        self.body = body
        self.returned = answer.headers.get(HEADER)
        self._edge = edge
        self._sent = sent

    def accepted(self) -> tuple[list[str], PassportIntrospector]:
        """Return the actions that the edge accepts, and the Passport they are on."""
        assert self.returned is not None, (self.status, self.body)
        checked = check_returned(self._sent.encode(), self.returned.encode(), self._edge.keys, GRANTS, now=time.time())
        assert isinstance(checked, Accepted), checked
        return [entry.name for entry in checked.actions], checked.passport

    def refused(self) -> tuple[int, object]:
        """Return status and reason of an answer that changes nothing."""
        assert self.returned is None
        return self.status, self.body["reason"]


class Asking:
    """Asks as an edge does, each time with a Passport of its own."""

    def __init__(self, edge: Edge, session: aiohttp.ClientSession, url: str) -> None:
        self._edge = edge
        self._session = session
        self._url = url

    async def post(self, path: str, user: UserPart | None, body: object = None, method: str = "POST") -> Asked:
        sent = self._edge.passport(device=DEVICE) if user is None else self._edge.passport(user, DEVICE)
        async with self._session.request(method, self._url + path, json=body, headers={HEADER: sent}) as answer:
            return Asked(self._edge, sent, answer, await answer.json(content_type=None))


def user(customer_id: int, level: Level = Level.HIGH) -> UserPart:
    return UserPart.of(Source.COOKIE, level, customer_id, customer_id, session_id="s1")


@pytest.fixture
def asking(origins: Origins, edge: Edge, session: aiohttp.ClientSession) -> Asking:
    return Asking(edge, session, origins.api.url)


HIGH, LOW = user_of_level(Level.HIGH), user_of_level(Level.LOW)


# Membership, asked for with the newer Passport.


async def test_after_a_login_the_subscriber_service_is_asked_with_the_new_passport(asking: Asking) -> None:
    login = {"email": "demo@example.com", "password": "correct horse battery staple"}
    # The Passport that was sent says "nobody", and would be told nothing.
    asked = await asking.post("/login", None, login)
    assert (asked.status, asked.body) == (200, {"signed_in": True, "member": True})
    assert asked.accepted()[0] == ["USER_LOGIN"]


async def test_the_subscriber_service_tells_users_of_themselves(
    origins: Origins, edge: Edge, session: aiohttp.ClientSession
) -> None:
    me = Asking(edge, session, origins.subscriber.url)
    assert (await me.post("/v1/me", LOW, method="GET")).body == {"customer_id": 1001, "member": True}
    assert (await me.post("/v1/me", user(77), method="GET")).body == {"customer_id": 77, "member": False}
    assert (await me.post("/v1/me", None, method="GET")).refused() == (401, "no_user")
    async with session.get(f"{origins.subscriber.url}/v1/me") as answer:
        assert (answer.status, await answer.json()) == (401, {"reason": "passport_refused"})


@asynccontextmanager
async def api_before(origins: Origins, subscriber: web.Application) -> AsyncIterator[Process]:
    """Run an API before a subscriber service of the test's own."""
    async with TestServer(subscriber) as server:
        url = str(server.make_url("")).rstrip("/")
        async with process("origins_stub.api", *api_arguments(origins.var, origins.kms, origins.auth.url, url)) as api:
            yield api


async def test_an_answer_with_an_older_passport_is_ignored_and_counted(
    origins: Origins, edge: Edge, session: aiohttp.ClientSession
) -> None:
    older, seen = edge.passport(device=DEVICE), []

    async def me(request: web.Request) -> web.Response:
        seen.append(request.headers[HEADER])
        return web.json_response({"member": True}, headers={HEADER: older})

    subscriber = web.Application()
    subscriber.router.add_get("/v1/me", me)
    async with api_before(origins, subscriber) as api:
        login = {"email": "demo@example.com", "password": "correct horse battery staple"}
        answer = await session.post(f"{api.url}/login", json=login, headers={HEADER: older})
        assert (answer.status, await answer.json()) == (200, {"signed_in": True, "member": True})
        returned = answer.headers[HEADER]
        assert returned == seen[0] != older
        checked = check_returned(older.encode(), returned.encode(), edge.keys, GRANTS, now=time.time())
        assert isinstance(checked, Accepted)
        assert (checked.passport.customer_id, [entry.name for entry in checked.actions]) == (1001, ["USER_LOGIN"])
        said = await api.said("returned_passport_ignored")
        assert '"outcome": "stale", "times": 1' in said
        assert older not in said


async def test_a_dead_subscriber_service_leaves_the_login_as_it_is(
    origins: Origins, edge: Edge, session: aiohttp.ClientSession
) -> None:
    nowhere = f"http://127.0.0.1:{free_port()}"
    async with process("origins_stub.api", *api_arguments(origins.var, origins.kms, origins.auth.url, nowhere)) as api:
        login = {"email": "demo@example.com", "password": "correct horse battery staple"}
        asked = await Asking(edge, session, api.url).post("/login", None, login)
    assert (asked.status, asked.body) == (200, {"signed_in": True, "member": None})
    assert asked.accepted()[1].customer_id == 1001


# Profiles.


async def test_the_profiles_of_the_account_are_listed(asking: Asking) -> None:
    asked = await asking.post("/profile", HIGH, method="GET")
    assert asked.status == 200
    assert asked.returned is None
    assert asked.body == {
        "profile_id": None,
        "profiles": [
            {"profile_id": "p-1001-demo", "name": "Demo", "kids": False},
            {"profile_id": "p-1001-kids", "name": "Kids", "kids": True},
        ],
    }


async def test_a_profile_switch_changes_the_profile_and_nothing_else(asking: Asking) -> None:
    asked = await asking.post("/profile", HIGH, KIDS)
    assert asked.body == KIDS
    actions, passport = asked.accepted()
    assert actions == ["USER_PROFILE_SWITCHED"]
    assert (passport.profile_id, passport.customer_id, passport.session_id) == ("p-1001-kids", 1001, "s1")
    assert (passport.user_source, passport.user_level, passport.esn) == (Source.COOKIE, Level.HIGH, "ESN-1")


@pytest.mark.parametrize("profile_id", ["p-1002-other", "nobody's", "P-1001-KIDS"])
async def test_a_profile_of_another_account_is_nobodys(asking: Asking, profile_id: str) -> None:
    asked = await asking.post("/profile", HIGH, {"profile_id": profile_id})
    assert asked.refused() == (404, "unknown_profile")


# Signing up.


async def test_a_sign_up_has_three_steps_and_makes_a_member(asking: Asking, origins: Origins) -> None:
    started = await asking.post("/signup", None, {"email": "three@example.com", "password": PASSWORD})
    actions, passport = started.accepted()
    assert actions == ["USER_SIGNUP_STARTED"]
    assert (passport.user_source, passport.user_level) == (Source.USER_CREDENTIALS, Level.HIGHEST)
    customer_id = passport.customer_id
    assert customer_id is not None
    assert started.body == {"customer_id": customer_id, "signed_in": True, "member": False}
    newcomer = user(customer_id)

    assert (await asking.post("/signup/complete", newcomer)).refused() == (409, "plan_missing")
    chosen = await asking.post("/signup/plan", newcomer, {"plan": "standard"})
    actions, passport = chosen.accepted()
    assert (actions, passport.session_id) == (["USER_SIGNUP_STEP_DONE"], "s1")

    done = await asking.post("/signup/complete", newcomer)
    actions, passport = done.accepted()
    assert (actions, passport.customer_id) == (["USER_SIGNUP_COMPLETED"], customer_id)
    assert done.body == {"signed_in": True, "member": True}
    profiles = await asking.post("/profile", newcomer, method="GET")
    assert profiles.body["profiles"] == [{"profile_id": f"p-{customer_id}", "name": "Profile 1", "kids": False}]

    assert (await asking.post("/signup/complete", newcomer)).refused() == (409, "signup_not_open")
    assert (await asking.post("/signup/plan", newcomer, {"plan": "basic"})).refused() == (409, "signup_not_open")
    login = await asking.post("/login", None, {"email": "Three@example.com", "password": PASSWORD})
    assert login.accepted()[1].customer_id == customer_id


@pytest.mark.parametrize("email", ["demo@example.com", "DEMO@Example.com"])
async def test_an_address_has_one_account(asking: Asking, email: str) -> None:
    asked = await asking.post("/signup", None, {"email": email, "password": PASSWORD})
    assert asked.refused() == (409, "email_taken")


async def test_who_has_not_begun_to_sign_up_cannot_go_on(asking: Asking) -> None:
    assert (await asking.post("/signup/plan", HIGH, {"plan": "basic"})).refused() == (409, "signup_not_open")
    assert (await asking.post("/signup/complete", HIGH)).refused() == (409, "signup_not_open")


async def test_a_sign_up_stays_open_until_the_subscriber_service_knows_of_it(asking: Asking, origins: Origins) -> None:
    started = await asking.post("/signup", None, {"email": "patient@example.com", "password": PASSWORD})
    newcomer = user(started.accepted()[1].customer_id or 0)
    await asking.post("/signup/plan", newcomer, {"plan": "basic"})
    os.kill(origins.subscriber.pid, signal.SIGSTOP)
    try:
        assert (await asking.post("/signup/complete", newcomer)).refused() == (503, "auth_unavailable")
    finally:
        os.kill(origins.subscriber.pid, signal.SIGCONT)
    assert (await asking.post("/signup/complete", newcomer)).accepted()[0] == ["USER_SIGNUP_COMPLETED"]


# Activating a device.


async def test_a_code_entered_elsewhere_signs_the_device_in(asking: Asking) -> None:
    begun = await asking.post("/activation", None)
    assert begun.returned is None
    assert (begun.body["expires_in_s"], begun.body["poll_after_s"]) == (600, 5)
    poll = {"poll_token": begun.body["poll_token"]}
    waiting = await asking.post("/activation/poll", None, poll)
    assert (waiting.returned, waiting.body) == (None, {"activated": False})

    entered = await asking.post("/activation/enter", HIGH, {"code": begun.body["code"]})
    assert (entered.returned, entered.body) == (None, {"entered": True})
    activated = await asking.post("/activation/poll", None, poll)
    actions, passport = activated.accepted()
    assert (activated.body, actions) == ({"activated": True}, ["USER_ACTIVATED_BY_CODE"])
    assert (passport.customer_id, passport.session_id) == (1001, None)
    assert (passport.user_source, passport.user_level) == (Source.USER_CREDENTIALS, Level.HIGH)

    again = await asking.post("/activation/enter", HIGH, {"code": begun.body["code"]})
    assert again.refused() == (404, "unknown_code")


async def activated(asking: Asking) -> dict[str, object]:
    """Activate a device by a code; return the body that it polls with."""
    begun = await asking.post("/activation", None)
    poll: dict[str, object] = {"poll_token": begun.body["poll_token"]}
    await asking.post("/activation/enter", HIGH, {"code": begun.body["code"]})
    assert (await asking.post("/activation/poll", None, poll)).accepted()[0] == ["USER_ACTIVATED_BY_CODE"]
    return poll


async def test_a_device_asks_again_until_it_shows_the_session(asking: Asking) -> None:
    poll = await activated(asking)
    for who in (None, LOW, user(1002)):
        repeated = await asking.post("/activation/poll", who, poll)
        assert (repeated.accepted()[0], repeated.body) == (["USER_ACTIVATED_BY_CODE"], {"activated": True})
    has_it = await asking.post("/activation/poll", HIGH, poll)
    assert (has_it.status, has_it.body, has_it.returned) == (200, {"activated": True}, None)
    assert (await asking.post("/activation/poll", None, poll)).refused() == (404, "no_such_activation")


async def test_a_device_that_was_signed_out_does_not_sign_in_again_by_its_poll(asking: Asking) -> None:
    poll = await activated(asking)
    await asking.post("/logout", user(1002))
    assert (await asking.post("/activation/poll", None, poll)).status == 200
    await asking.post("/logout", HIGH)
    assert (await asking.post("/activation/poll", None, poll)).refused() == (404, "no_such_activation")


async def test_an_address_with_too_many_codes_gets_no_more_and_others_do(
    origins: Origins, edge: Edge, session: aiohttp.ClientSession
) -> None:
    async def begin(forwarded_for: str, passport: str) -> tuple[int, object]:
        headers = {HEADER: passport, "X-Forwarded-For": forwarded_for}
        async with session.post(f"{origins.api.url}/activation", json={}, headers=headers) as answer:
            return answer.status, (await answer.json(content_type=None)).get("reason")

    # What stands before the last address, nobody vouches for.
    made_up = [f"203.0.113.{last}, 192.0.2.1" for last in range(MAX_OF_CLIENT)]
    assert {await begin(way, edge.passport()) for way in made_up} == {(200, None)}
    assert await begin("192.0.2.1", edge.passport()) == (429, "too_many_activations")
    assert await begin("192.0.2.2", edge.passport()) == (200, None)
    assert await begin("192.0.2.1", edge.passport(device=DEVICE)) == (200, None)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 200),
        (b"{}", 200),
        (b'{"client_address": null}', 200),
        (b'{"client_address": "192.0.2.1"}', 200),
        (b'{"client_address": "192.0.2.1:4711"}', 400),
        (b'{"address": "192.0.2.1"}', 400),
        (b"null", 400),
    ],
)
async def test_an_api_that_does_not_say_from_where_a_device_asks_gets_its_code_too(
    origins: Origins, edge: Edge, session: aiohttp.ClientSession, body: bytes, status: int
) -> None:
    headers = {HEADER: edge.passport(device=DEVICE)}
    async with session.post(f"{origins.auth.url}/v1/activation", data=body, headers=headers) as answer:
        assert (answer.status, "poll_token" in await answer.json(content_type=None)) == (status, status == 200)


async def test_who_guesses_codes_is_stopped(asking: Asking) -> None:
    guesser = user(1002)
    codes = [f"BBBB-BBB{letter}" for letter in "BCDFGHJKLMN"]
    guesses = [await asking.post("/activation/enter", guesser, {"code": code}) for code in codes]
    assert [guess.refused() for guess in guesses] == [(404, "unknown_code")] * 10 + [(429, "too_many_guesses")]


async def test_a_sign_out_everywhere_takes_a_device_along_that_has_not_polled_yet(asking: Asking) -> None:
    begun = await asking.post("/activation", None)
    await asking.post("/activation/enter", HIGH, {"code": begun.body["code"]})
    out = await asking.post("/logout-everywhere", HIGH)
    actions, passport = out.accepted()
    assert (out.body, actions, passport.customer_id) == ({"signed_in": False}, ["USER_LOGOUT_EVERYWHERE"], None)
    polled = await asking.post("/activation/poll", None, {"poll_token": begun.body["poll_token"]})
    assert polled.refused() == (404, "no_such_activation")


# What all of them ask for.


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/logout-everywhere", None),
        ("/profile", KIDS),
        ("/signup/plan", {"plan": "basic"}),
        ("/signup/complete", None),
        ("/activation/enter", {"code": "BBBB-BBBB"}),
    ],
)
async def test_api_and_auth_each_ask_for_a_user_of_level_high(
    origins: Origins, edge: Edge, session: aiohttp.ClientSession, path: str, body: object
) -> None:
    for url in (origins.api.url, f"{origins.auth.url}/v1"):
        asking = Asking(edge, session, url)
        assert (await asking.post(path, None, body)).refused() == (401, "no_user")
        assert (await asking.post(path, LOW, body)).refused() == (403, "level_too_low")


@pytest.mark.parametrize("path", ["/signup", "/signup/plan", "/profile", "/activation/poll", "/activation/enter"])
@pytest.mark.parametrize("body", [None, [], {}, {"email": "x"}, {"plan": "gold"}, {"profile_id": 1}, {"code": ""}])
async def test_a_body_that_is_not_asked_for_is_a_400(asking: Asking, path: str, body: object) -> None:
    assert (await asking.post(path, HIGH, body)).refused() == (400, "bad_body")


async def test_no_password_no_code_and_no_poll_token_is_ever_logged(asking: Asking, origins: Origins) -> None:
    begun = await asking.post("/activation", None)
    await asking.post("/activation/poll", None, {"poll_token": begun.body["poll_token"]})
    await asking.post("/signup", None, {"email": "quiet@example.com", "password": PASSWORD})
    written = origins.api.output() + origins.auth.output() + origins.subscriber.output()
    secrets = [PASSWORD, str(begun.body["code"]), str(begun.body["poll_token"])]
    assert not [secret for secret in secrets if secret in written]
