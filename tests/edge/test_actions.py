"""Every action over the wire, on every kind of route: the device gets the tokens that the catalogue says, no more."""

import base64
import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial

import pytest

from edge.contract.ports import CookiePair, Revocation, RevocationReason
from passport import Part, UserAction
from passport.catalogue import CATALOGUE
from passport.effects import CatalogueEntry, Effect, PartIs, Revokes
from tests.edge.raw import OriginConnection, RawClient, RawResponse, connected, ok, raw_origin, request, response, until
from tests.edge.running import ENVIRONMENT, NAMES, RunningEdge, running_edge
from tests.edge.test_upgrade import SWITCH, WEBSOCKET
from tests.passport.changing import CHECKED, action_of, changed, fitting_device, fitting_user
from tokens.cookie import Claims, open_pair

CUSTOMER, SESSION, ESN = 7, "session", "NFCDCH-02-TEST"
ALL_GRANTED = (
    'grants.passport-auth.parts=["user", "device"]',
    f"grants.passport-auth.actions=[{', '.join(CATALOGUE)}]",
)
# A public one for signing in, one for anybody, for users of either level, a streamed body each way.
ROUTES = ((b"POST", b"/login"), (b"GET", b"/echo"), (b"GET", b"/browse"), (b"GET", b"/account"), (b"POST", b"/upload"))
CLEARED = [b"EdgeId=", b"SecureEdgeId="]


@dataclass
class Service:
    """An origin that answers with whatever `change` makes of the Passport that it gets, and of its signing key."""

    edge: RunningEdge | None = None
    change: Callable[[bytes], bytes] = lambda sent: sent
    answer: Callable[[bytes], bytes] = lambda line: ok(b"{}", line)
    passports: list[bytes] = field(default_factory=list)

    async def __call__(self, connection: OriginConnection) -> None:
        """Answer requests until the connection ends."""
        while (seen := await connection.request()) is not None:
            self.passports.append(seen.get(b"x-passport") or b"")
            await connection.send(self.answer(b"X-Passport: " + self.change(self.passports[-1])))

    def acts(self, entry: CatalogueEntry) -> None:
        """From now on answer with an action, on the part that it asks for."""
        if entry.part is Part.USER:
            self.returns(actions=[action_of(entry)], user=fitting_user(entry, SESSION, CUSTOMER, CUSTOMER, ""))
        else:
            self.returns(actions=[action_of(entry)], device=fitting_device(entry, ESN, 0))

    def returns(self, purpose: str = "passport-auth", **parts: object) -> None:
        """From now on answer with a Passport that `tests.passport.changing.changed` makes."""

        def change(sent: bytes) -> bytes:
            assert self.edge is not None
            signer = self.edge.keys.passport_keys.signer(purpose)
            assert signer is not None
            return changed(base64.b64decode(sent), signer, now=int(time.time()), **parts)  # type: ignore[arg-type]

        self.change = change


@asynccontextmanager
async def acting(*overrides: str) -> AsyncIterator[tuple[Service, RunningEdge, RawClient]]:
    """Run an edge before such an origin, whose key may ask for everything unless `overrides` say otherwise."""
    service = Service()
    async with (
        raw_origin(service) as origin,
        running_edge(origin.address, *ALL_GRANTED, *overrides) as edge,
        connected(edge.port) as client,
    ):
        service.edge = edge
        edge.service.keys = edge.keys
        edge.service.pair = pair_for(edge, 42)
        yield service, edge, client


def pair_for(edge: RunningEdge, customer_id: int) -> CookiePair:
    """Return the pair of a new session as the cookie service would make it."""
    halves = [
        piece.partition("=")[2].encode() for piece in edge.keys.cookies(customer_id, session_id="new").split("; ")
    ]
    return CookiePair(halves[0], halves[1], int(time.time()) + 14400, 1)


async def ask(client: RawClient, edge: RunningEdge, method: bytes = b"GET", path: bytes = b"/account") -> RawResponse:
    """Send a request of a device that is signed in; what comes back never has a Passport in it."""
    lines = [b"Cookie: " + edge.keys.cookies(CUSTOMER).encode()]
    body = b"{}" if method == b"POST" else b""
    lines += [b"Content-Length: 2"] if body else []
    answer = await client.ask(request(method, path, *lines, body=body))
    assert answer.get(b"x-passport") is None
    return answer


def given(edge: RunningEdge, answer: RawResponse) -> Claims:
    """Return what the pair says that a response sets."""
    lines = answer.all(b"set-cookie")
    assert [line.partition(b"=")[0] for line in lines] == [b"EdgeId", b"SecureEdgeId"]
    first, second = (line.partition(b"=")[2].partition(b";")[0] for line in lines)
    opened = open_pair(edge.keys.ring, NAMES, ENVIRONMENT, (first, second), time.time())
    assert isinstance(opened, Claims)
    return opened


def revocations_of(entry: CatalogueEntry) -> list[Revocation]:
    """Return what the catalogue says that becomes void."""
    everywhere = RevocationReason.SIGN_OUT_EVERYWHERE
    customer, kept = (42, "new") if entry.effect is Effect.CREATE else (CUSTOMER, "")
    return {
        Revokes.NONE: [],
        Revokes.SESSION: [Revocation(RevocationReason.LOGOUT, CUSTOMER, session_id=SESSION)],
        Revokes.OTHERS: [Revocation(everywhere, customer, except_session_id=kept or SESSION)],
        Revokes.CUSTOMER: [Revocation(everywhere, customer, except_session_id=kept)],
        Revokes.DEVICE: [Revocation(RevocationReason.DEVICE_REMOVED, CUSTOMER, esn=ESN)],
    }[entry.revokes]


@pytest.mark.parametrize("entry", CATALOGUE.values(), ids=lambda entry: entry.name)
async def test_each_action_does_to_the_tokens_what_the_catalogue_says(entry: CatalogueEntry) -> None:
    async with acting() as (service, edge, client):
        service.acts(entry)
        for method, path in ROUTES:
            edge.service.revoked.clear()
            answer = await ask(client, edge, method, path)
            assert answer.status == 200
            effect = entry.effect_on("cookie")
            lines = answer.all(b"set-cookie")
            assert (answer.get(b"cache-control") == b"no-store") == (effect is not Effect.NOTHING)
            if effect is Effect.NOTHING:
                assert lines == []
            elif effect is Effect.CLEAR:
                assert [line.partition(b";")[0] for line in lines] == CLEARED
            elif effect is Effect.CREATE:
                assert (given(edge, answer).customer_id, given(edge, answer).session_id) == (42, "new")
            else:
                _is_updated(given(edge, answer), entry)
            wanted = revocations_of(entry)
            await until(partial(_equal, edge.service.revoked, wanted))
            assert edge.metrics.actions[(entry.name,)] > 0


def _equal(revoked: list[Revocation], wanted: list[Revocation]) -> bool:
    return revoked == wanted


def _is_updated(now: Claims, entry: CatalogueEntry) -> None:
    """See that the session goes on with what has changed, and nothing else; its level is what a cookie can carry."""
    assert (now.session_id, now.generation, now.level) == (SESSION, 2, 2)
    assert now.customer_id == CUSTOMER + ("customer_id" in entry.changes)
    assert now.account_owner_id == CUSTOMER + ("account_owner_id" in entry.changes)
    assert now.profile_id == ("-2" if "profile_id" in entry.changes else "")
    assert now.esn == ESN + "-2" * ("esn" in entry.changes)
    assert now.device_type == ("device_type" in entry.changes)


@pytest.mark.parametrize("entry", CATALOGUE.values(), ids=lambda entry: entry.name)
async def test_a_device_without_a_token_gets_one_only_by_a_session_that_begins(entry: CatalogueEntry) -> None:
    async with acting() as (service, _, client):
        service.acts(entry)
        answer = await client.ask(request(b"POST", b"/login", b"Content-Length: 2", body=b"{}"))
        assert (answer.status, answer.get(b"x-passport")) == (200, None)
        names = [line.partition(b"=")[0] for line in answer.all(b"set-cookie")]
        if entry.part_is is PartIs.CHECKED:
            assert names == [b"EdgeId", b"SecureEdgeId"]
        elif entry.effect is not Effect.CLEAR:
            assert names == []


async def test_an_update_without_the_cookie_service_is_a_503_and_changes_no_cookie() -> None:
    async with acting() as (service, edge, client):
        service.acts(CATALOGUE["USER_PROFILE_SWITCHED"])
        edge.service.keys = None
        answer = await ask(client, edge)
        assert (answer.status, answer.all(b"set-cookie")) == (503, [])
        assert b"token_service_unavailable" in answer.body


# What must change nothing: the device sees none of it.


async def refused(service: Service, edge: RunningEdge, client: RawClient, reason: str) -> None:
    """See that the response goes through, that nothing changes, and that the refusal is counted by its reason."""
    calls = edge.service.calls
    answer = await ask(client, edge)
    assert (answer.status, answer.body, answer.all(b"set-cookie")) == (200, b"{}", [])
    assert edge.metrics.actions == {(f"refused:{reason}",): 1}
    assert (edge.service.calls, edge.service.revoked) == (calls, [])


async def test_x7_a_passport_of_another_exchange_is_refused() -> None:
    async with acting() as (service, edge, client):
        await ask(client, edge)
        signer = edge.keys.passport_keys.signer("passport-auth")
        assert signer is not None
        login = changed(
            base64.b64decode(service.passports[0]), signer, user=CHECKED, actions=[UserAction.USER_LOGIN],
            now=int(time.time()),
        )  # fmt: skip
        service.change = lambda _: login
        await refused(service, edge, client, "header_changed")


@pytest.mark.parametrize("purpose", ["passport-user", "passport-device"])
async def test_x7_a_key_that_no_grant_names_is_refused(purpose: str) -> None:
    async with acting() as (service, edge, client):
        service.returns(purpose, user=CHECKED, actions=[UserAction.USER_LOGIN])
        await refused(service, edge, client, "key_purpose")


async def test_x7_an_action_without_its_grant_is_refused() -> None:
    async with acting("grants.passport-auth.actions=[USER_LOGIN]") as (service, edge, client):
        service.acts(CATALOGUE["USER_LOGOUT"])
        await refused(service, edge, client, "action_not_granted")


async def test_x7_a_part_without_its_grant_is_refused() -> None:
    override = ("grants.passport-auth.parts=[user]", "grants.passport-auth.actions=[USER_LOGIN]")
    async with acting(*override) as (service, edge, client):
        service.acts(CATALOGUE["DEVICE_REGISTERED"])
        await refused(service, edge, client, "key_purpose")


async def test_x7_a_stale_passport_is_refused() -> None:
    async with acting() as (service, edge, client):

        def long_ago(sent: bytes) -> bytes:
            signer = edge.keys.passport_keys.signer("passport-auth")
            assert signer is not None
            raw = base64.b64decode(sent)
            return changed(raw, signer, user=CHECKED, actions=[UserAction.USER_LOGIN], now=int(time.time()) - 90)

        service.change = long_ago
        await refused(service, edge, client, "stale")


async def test_x7_ten_thousand_actions_are_refused() -> None:
    async with acting() as (service, edge, client):
        service.returns(user=CHECKED, actions=[UserAction.USER_LOGIN] * 10_000)
        await refused(service, edge, client, "malformed_part")


async def test_x5_two_passports_are_refused() -> None:
    async with acting() as (service, edge, client):
        service.acts(CATALOGUE["USER_LOGOUT"])
        service.answer = lambda line: ok(b"{}", line, line)
        await refused(service, edge, client, "repeated")


@pytest.mark.parametrize("value", [b"", b"!!!", b"AAAA", base64.b64encode(os.urandom(300))])
async def test_x1_x11_what_is_no_passport_is_refused_and_stripped(value: bytes) -> None:
    reasons = {b"": "missing", b"!!!": "not_canonical", b"AAAA": "malformed"}
    async with acting() as (service, edge, client):
        service.change = lambda _: value
        answer = await ask(client, edge)
        assert (answer.status, answer.body, answer.all(b"set-cookie")) == (200, b"{}", [])
        ((label,),) = edge.metrics.actions
        assert str(label).startswith(f"refused:{reasons.get(value, 'malformed')}")


@pytest.mark.parametrize("text", ["a\r\nSet-Cookie: EdgeId=x", "a; Domain=.com", "a, b", "\N{BELL}"])
async def test_x7_no_text_in_a_passport_gets_into_a_cookie_but_sealed(text: str) -> None:
    async with acting() as (service, edge, client):
        entry = CATALOGUE["USER_PROFILE_SWITCHED"]
        user = fitting_user(entry, SESSION, CUSTOMER, CUSTOMER, text)
        service.returns(user=user, actions=[UserAction.USER_PROFILE_SWITCHED])
        answer = await ask(client, edge)
        assert given(edge, answer).profile_id == text + "-2"
        assert all(b"Domain" not in line and b"," not in line for line in answer.all(b"set-cookie"))


async def test_x8_an_action_and_a_cookie_of_the_services_own_of_that_name() -> None:
    async with acting() as (service, edge, client):
        service.acts(CATALOGUE["USER_LOGOUT"])
        service.answer = lambda line: ok(b"{}", line, b"Set-Cookie: EdgeId=mine; Path=/", b"Set-Cookie: theme=dark")
        answer = await ask(client, edge)
        assert [line.partition(b";")[0] for line in answer.all(b"set-cookie")] == [b"theme=dark", *CLEARED]


async def test_x9_an_action_in_the_trailers_comes_too_late() -> None:
    def late(line: bytes) -> bytes:
        return response(b"200 OK", b"Transfer-Encoding: chunked") + b"2\r\n{}\r\n0\r\n" + line + b"\r\n\r\n"

    async with acting() as (service, edge, client):
        service.acts(CATALOGUE["USER_LOGOUT"])
        service.answer = late
        answer = await ask(client, edge)
        assert (answer.status, answer.body, answer.all(b"set-cookie")) == (200, b"{}", [])
        assert edge.metrics.actions == {}


async def test_x9_head_is_as_get_and_304_does_nothing() -> None:
    async with acting() as (service, edge, client):
        service.acts(CATALOGUE["USER_LOGOUT"])
        service.answer = lambda line: response(b"304 Not Modified", line)
        answer = await ask(client, edge)
        assert (answer.status, answer.all(b"set-cookie")) == (304, [])
        service.answer = lambda line: response(b"200 OK", b"Content-Length: 5", line)
        head = await ask(client, edge, b"HEAD")
        assert [line.partition(b";")[0] for line in head.all(b"set-cookie")] == CLEARED


async def test_x9_an_action_on_an_upgrade_is_refused() -> None:
    async with acting('routes.echo.upgrade=["websocket"]') as (service, edge, client):
        service.acts(CATALOGUE["USER_LOGOUT"])
        service.answer = lambda line: response(b"101 Switching Protocols", *SWITCH, line)
        await client.send(request(b"GET", b"/echo", *WEBSOCKET))
        head = (await client.receive_until(b"\r\n\r\n")).lower()
        assert head.startswith(b"http/1.1 101 ")
        assert b"set-cookie" not in head
        assert b"x-passport" not in head
        client.writer.close()
        await until(lambda: edge.metrics.actions == {("refused:response_status",): 1})


async def test_c12_a_sign_in_never_goes_on_with_the_session_from_before() -> None:
    async with acting() as (service, edge, client):
        for name in ("USER_LOGIN", "USER_ACTIVATED_BY_CODE", "USER_SIGNUP_STARTED", "USER_PASSWORD_RESET"):
            service.acts(CATALOGUE[name])
            assert given(edge, await ask(client, edge)).session_id != SESSION
