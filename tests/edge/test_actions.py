"""Every action over the wire, on every kind of route: the device gets the tokens that the catalogue says, no more.

Between device and catalogue stand the data plane and the cookie service themselves; only what must fail is a double.
"""

import asyncio
import base64
import itertools
import os
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
import pytest_asyncio
from edgepb.cookie.v1 import cookie_service_pb2 as pb

from passport import Part, UserAction
from passport.catalogue import CATALOGUE
from passport.effects import CatalogueEntry, Effect, PartIs, Revokes
from tests.edge.cookie_service import RunningCookieService, cookie_service_running
from tests.edge.raw import OriginConnection, RawClient, RawResponse, connected, ok, raw_origin, request, response, until
from tests.edge.running import ENVIRONMENT, NAMES, RunningEdge, running_edge
from tests.edge.test_upgrade import SWITCH, WEBSOCKET
from tests.passport.changing import CHECKED, action_of, changed, fitting_device, fitting_user
from tokens.cookie import Claims, open_pair
from tokens.set_cookie import CookieAttributes, SetCookies

pytestmark = pytest.mark.asyncio(loop_scope="module")

CHECKED_ID = 42
ESN, DEVICE_TYPE, PROFILE, LIFE_S = "NFCDCH-02-TEST", 4, "adult", 14_400
ALL_GRANTED = (
    'grants.passport-auth.parts=["user", "device"]',
    f"grants.passport-auth.actions=[{', '.join(CATALOGUE)}]",
)
# A public one for signing in, one for anybody, for users of either level, a streamed body each way.
ROUTES = ((b"POST", b"/login"), (b"GET", b"/echo"), (b"GET", b"/browse"), (b"GET", b"/account"), (b"POST", b"/upload"))
CLEARED = SetCookies(CookieAttributes(NAMES, secure=False)).clear()
_customers = itertools.count(1_000_000, 10)  # each session is of another, lest what one action does be seen in the next


@dataclass(slots=True, frozen=True)
class Device:
    """A device that is signed in: its cookies, and what they say."""

    insecure: bytes
    secure: bytes
    claims: Claims


@dataclass
class Service:
    """An origin that answers with whatever `change` makes of the Passport that it gets, and of its signing key.

    `held` is the path whose answer waits until `free` is set.
    """

    edge: RunningEdge | None = None
    change: Callable[[bytes], bytes] = lambda sent: sent
    answer: Callable[[bytes], bytes] = lambda line: ok(b"{}", line)
    passports: list[bytes] = field(default_factory=list)
    held: bytes = b""
    free: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self, connection: OriginConnection) -> None:
        """Answer requests until the connection ends."""
        while (seen := await connection.request()) is not None:
            sent = seen.get(b"x-passport") or b""
            self.passports.append(sent)
            if seen.target == self.held:
                await self.free.wait()
            await connection.send(self.answer(b"X-Passport: " + self.change(sent)))

    def acts(self, entry: CatalogueEntry, claims: Claims) -> None:
        """From now on answer with an action, on the part that it asks for, to a device whose cookies say `claims`."""
        if entry.part is Part.USER:
            names = (claims.session_id, claims.customer_id, claims.account_owner_id, claims.profile_id)
            self.returns(actions=[action_of(entry)], user=fitting_user(entry, *names))
        else:
            device = fitting_device(entry, claims.esn, claims.device_type)
            self.returns(actions=[action_of(entry)], device=device)

    def returns(self, purpose: str = "passport-auth", **parts: object) -> None:
        """From now on answer with a Passport that `tests.passport.changing.changed` makes."""

        def change(sent: bytes) -> bytes:
            assert self.edge is not None
            signer = self.edge.keys.passport_keys.signer(purpose)
            assert signer is not None
            return changed(base64.b64decode(sent), signer, now=int(time.time()), **parts)  # type: ignore[arg-type]

        self.change = change


Acting = tuple[Service, RunningEdge, RawClient]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def cookies(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RunningCookieService]:
    async with cookie_service_running(tmp_path_factory.mktemp("cookie")) as running:
        yield running


@asynccontextmanager
async def acting(cookies: RunningCookieService, *overrides: str, double: bool = False) -> AsyncIterator[Acting]:
    """Run an edge before such an origin, whose key may ask for everything unless `overrides` say otherwise.

    Its cookie service is `cookies`, or a double that makes nothing.
    """
    service = Service()
    of = None if double else cookies.client
    async with (
        raw_origin(service) as origin,
        running_edge(
            origin.address, *ALL_GRANTED, *cookies.settings, *overrides, keys=cookies.keys, cookies=of
        ) as edge,
        connected(edge.port) as client,
    ):
        service.edge = edge
        yield service, edge, client


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def everything_granted(cookies: RunningCookieService) -> AsyncIterator[Acting]:
    """One edge for all actions."""
    async with acting(cookies) as running:
        yield running


async def signed_in(cookies: RunningCookieService) -> Device:
    """Have a session begin, of a customer of its own."""
    customer_id = next(_customers)
    pair = await cookies.create(
        customer_id=customer_id,
        account_owner_id=customer_id + 5,
        profile_id=PROFILE,
        esn=ESN,
        device_type=DEVICE_TYPE,
        level=2,
    )
    return Device(pair.insecure, pair.secure, opened(cookies, pair.insecure, pair.secure))


async def ask(client: RawClient, device: Device, method: bytes = b"GET", path: bytes = b"/account") -> RawResponse:
    """Send a request of a device that is signed in; what comes back never has a Passport in it."""
    names = (NAMES.insecure.encode(), NAMES.secure.encode())
    lines = [b"Cookie: %s=%s; %s=%s" % (names[0], device.insecure, names[1], device.secure)]
    body = b"{}" if method == b"POST" else b""
    lines += [b"Content-Length: 2"] if body else []
    answer = await client.ask(request(method, path, *lines, body=body))
    assert answer.get(b"x-passport") is None
    return answer


def opened(cookies: RunningCookieService, insecure: bytes, secure: bytes) -> Claims:
    """Return what a pair says, opened with the edge's keys."""
    claims = open_pair(cookies.keys.ring, NAMES, ENVIRONMENT, (insecure, secure), time.time())
    assert isinstance(claims, Claims)
    return claims


def given(cookies: RunningCookieService, answer: RawResponse) -> Device:
    """Return the device as it is with the pair that a response sets."""
    lines = answer.all(b"set-cookie")
    assert [line.partition(b"=")[0] for line in lines] == [b"EdgeId", b"SecureEdgeId"]
    insecure, secure = (line.partition(b"=")[2].partition(b";")[0] for line in lines)
    return Device(insecure, secure, opened(cookies, insecure, secure))


def begun(claims: Claims, *, esn: str, device_type: int) -> Claims:
    """Return what the cookies of a new session of CHECKED say; which one it is, and since when, is in `claims`."""
    return Claims(
        customer_id=CHECKED_ID,
        account_owner_id=41,
        profile_id="p",
        esn=esn,
        device_type=device_type,
        session_id=claims.session_id,
        issued_at=claims.issued_at,
        renew_after=claims.issued_at + LIFE_S // 2,
        expires_at=claims.issued_at + LIFE_S,
        generation=1,
        level=2,
    )


def updated(entry: CatalogueEntry, claims: Claims) -> Claims:
    """Return what the cookies of the session that goes on say: what may change has, and nothing else.

    Its level is what a cookie can carry, and its times are those from before.
    """
    changes = entry.changes
    return claims._replace(
        customer_id=claims.customer_id + ("customer_id" in changes),
        account_owner_id=claims.account_owner_id + ("account_owner_id" in changes),
        profile_id=claims.profile_id + "-2" * ("profile_id" in changes),
        esn=claims.esn + "-2" * ("esn" in changes),
        device_type=claims.device_type + ("device_type" in changes),
        generation=claims.generation + 1,
    )


def revocations_of(entry: CatalogueEntry, was: Claims, now: Claims | None) -> list[pb.Revocation]:
    """Return what the catalogue says that becomes void, as the feed has it; `now` is the session that has begun."""
    customer_id = was.customer_id if now is None else now.customer_id
    begun = "" if now is None else now.session_id
    return {
        Revokes.NONE: [],
        Revokes.SESSION: [pb.Revocation(kind=pb.SESSION, customer_id=was.customer_id, session_id=was.session_id)],
        Revokes.OTHERS: [
            pb.Revocation(kind=pb.CUSTOMER, customer_id=customer_id, except_session_id=begun or was.session_id)
        ],
        Revokes.CUSTOMER: [pb.Revocation(kind=pb.CUSTOMER, customer_id=customer_id, except_session_id=begun)],
        Revokes.DEVICE: [pb.Revocation(kind=pb.DEVICE, customer_id=was.customer_id, esn=was.esn)],
    }[entry.revokes]


async def revoked_since(cookies: RunningCookieService, cursor: int) -> list[pb.Revocation]:
    """Return what was revoked since, without its ids and times."""
    feed = (await cookies.revoked(cursor)).revocations
    for each in feed:
        assert each.revoked_at >= int(time.time()) - 60
        each.ClearField("id")
        each.ClearField("revoked_at")
    return list(feed)


async def taken(edge: RunningEdge, revocations: int) -> None:
    """Wait until that many have been made known to the cookie service, beside their responses."""
    await until(lambda: edge.metrics.remote_calls.get(("cookie", "revocation_taken"), 0) == revocations)


@pytest.mark.parametrize("entry", CATALOGUE.values(), ids=lambda entry: entry.name)
async def test_each_action_does_to_the_tokens_what_the_catalogue_says(
    entry: CatalogueEntry, cookies: RunningCookieService, everything_granted: Acting
) -> None:
    service, edge, client = everything_granted
    effect, sessions, revoked = entry.effect_on("cookie"), set[str](), list[pb.Revocation]()
    acted, cursor = Counter(edge.metrics.actions), (await cookies.revoked()).cursor
    edge.metrics.remote_calls.clear()
    for method, path in ROUTES:
        device, after = await signed_in(cookies), None
        service.acts(entry, device.claims)
        answer = await ask(client, device, method, path)
        assert answer.status == 200
        assert (answer.get(b"cache-control") == b"no-store") == (effect is not Effect.NOTHING)
        if effect is Effect.NOTHING:
            assert answer.all(b"set-cookie") == []
        elif effect is Effect.CLEAR:
            assert answer.all(b"set-cookie") == CLEARED
        elif effect is Effect.CREATE:
            after = given(cookies, answer).claims
            assert after == begun(after, esn=ESN, device_type=DEVICE_TYPE)
            assert after.issued_at >= device.claims.issued_at
            sessions |= {device.claims.session_id, after.session_id}
        else:
            assert given(cookies, answer).claims == updated(entry, device.claims)
        revoked += revocations_of(entry, device.claims, after)
        await taken(edge, len(revoked))
    assert len(sessions) == (2 * len(ROUTES) if effect is Effect.CREATE else 0)
    assert edge.metrics.actions[(entry.name,)] - acted[(entry.name,)] == len(ROUTES)
    calls = {
        ("cookie", "created"): len(ROUTES) * (effect is Effect.CREATE),
        ("cookie", "updated"): len(ROUTES) * (effect is Effect.UPDATE),
        ("cookie", "revocation_taken"): len(revoked),
    }
    assert edge.metrics.remote_calls == {call: count for call, count in calls.items() if count}
    assert await revoked_since(cookies, cursor) == revoked
    outcome = pb.REVOKED if ends(entry) else pb.RENEWED
    assert (await cookies.renew(device.insecure)).outcome == outcome


def ends(entry: CatalogueEntry) -> bool:
    """Tell whether the session is void in which an action was sent; CHECKED is another user than who was sent."""
    if entry.effect is Effect.CREATE:
        return entry.revokes is Revokes.SESSION
    return entry.revokes in (Revokes.SESSION, Revokes.CUSTOMER, Revokes.DEVICE)


@pytest.mark.parametrize("entry", CATALOGUE.values(), ids=lambda entry: entry.name)
async def test_a_device_without_a_token_gets_one_only_by_a_session_that_begins(
    entry: CatalogueEntry, cookies: RunningCookieService, everything_granted: Acting
) -> None:
    elsewhere, (service, _, client) = await signed_in(cookies), everything_granted
    service.acts(entry, elsewhere.claims)
    answer = await client.ask(request(b"POST", b"/login", b"Content-Length: 2", body=b"{}"))
    assert (answer.status, answer.get(b"x-passport")) == (200, None)
    if entry.part_is is PartIs.CHECKED:
        now = given(cookies, answer).claims
        assert now == begun(now, esn="", device_type=0)
    elif entry.effect is not Effect.CLEAR:
        assert answer.all(b"set-cookie") == []
    assert (await cookies.renew(elsewhere.insecure)).outcome == pb.RENEWED


async def test_an_update_without_the_cookie_service_is_a_503_and_changes_no_cookie(
    cookies: RunningCookieService,
) -> None:
    device = await signed_in(cookies)
    async with acting(cookies, double=True) as (service, _, client):
        service.acts(CATALOGUE["USER_PROFILE_SWITCHED"], device.claims)
        answer = await ask(client, device)
        assert (answer.status, answer.all(b"set-cookie")) == (503, [])
        assert b"token_service_unavailable" in answer.body


async def test_r4_a_slow_update_takes_no_session_that_a_password_reset_has_begun_meanwhile(
    cookies: RunningCookieService,
) -> None:
    ours = await cookies.create(customer_id=CHECKED_ID, esn=ESN, level=2)
    device = Device(ours.insecure, ours.secure, opened(cookies, ours.insecure, ours.secure))
    cursor = (await cookies.revoked()).cursor
    async with acting(cookies) as (service, edge, client), connected(edge.port) as slow:
        service.held = b"/account"
        slowly = asyncio.ensure_future(ask(slow, device))
        await until(lambda: service.passports)
        service.acts(CATALOGUE["USER_PASSWORD_RESET"], device.claims)
        begun = given(cookies, await ask(client, device, b"POST", b"/login"))
        await taken(edge, 1)
        assert len(await revoked_since(cookies, cursor)) == 1
        service.acts(CATALOGUE["USER_PROFILE_SWITCHED"], device.claims)
        service.free.set()
        late = await slowly
        assert (late.status, late.all(b"set-cookie")) == (503, [])
    for pair, outcome in ((device, pb.REVOKED), (begun, pb.RENEWED)):
        assert (await cookies.renew(pair.insecure)).outcome == outcome


# What must change nothing: the device sees none of it.


async def refused(device: Device, edge: RunningEdge, client: RawClient, reason: str) -> None:
    """See that the response goes through, that nothing changes, and that the refusal is counted by its reason."""
    answer = await ask(client, device)
    assert (answer.status, answer.body, answer.all(b"set-cookie")) == (200, b"{}", [])
    assert edge.metrics.actions == {(f"refused:{reason}",): 1}
    assert edge.metrics.remote_calls == {}


async def test_x7_a_passport_of_another_exchange_is_refused(cookies: RunningCookieService) -> None:
    device = await signed_in(cookies)
    async with acting(cookies) as (service, edge, client):
        await ask(client, device)
        signer = edge.keys.passport_keys.signer("passport-auth")
        assert signer is not None
        login = changed(
            base64.b64decode(service.passports[0]), signer, user=CHECKED, actions=[UserAction.USER_LOGIN],
            now=int(time.time()),
        )  # fmt: skip
        service.change = lambda _: login
        await refused(device, edge, client, "header_changed")


@pytest.mark.parametrize("purpose", ["passport-user", "passport-device"])
async def test_x7_a_key_that_no_grant_names_is_refused(purpose: str, cookies: RunningCookieService) -> None:
    device = await signed_in(cookies)
    async with acting(cookies) as (service, edge, client):
        service.returns(purpose, user=CHECKED, actions=[UserAction.USER_LOGIN])
        await refused(device, edge, client, "key_purpose")


async def test_x7_an_action_without_its_grant_is_refused(cookies: RunningCookieService) -> None:
    device = await signed_in(cookies)
    async with acting(cookies, "grants.passport-auth.actions=[USER_LOGIN]") as (service, edge, client):
        service.acts(CATALOGUE["USER_LOGOUT"], device.claims)
        await refused(device, edge, client, "action_not_granted")


async def test_x7_a_part_without_its_grant_is_refused(cookies: RunningCookieService) -> None:
    device = await signed_in(cookies)
    override = ("grants.passport-auth.parts=[user]", "grants.passport-auth.actions=[USER_LOGIN]")
    async with acting(cookies, *override) as (service, edge, client):
        service.acts(CATALOGUE["DEVICE_REGISTERED"], device.claims)
        await refused(device, edge, client, "key_purpose")


async def test_x7_a_stale_passport_is_refused(cookies: RunningCookieService) -> None:
    device = await signed_in(cookies)
    async with acting(cookies) as (service, edge, client):

        def long_ago(sent: bytes) -> bytes:
            signer = edge.keys.passport_keys.signer("passport-auth")
            assert signer is not None
            raw = base64.b64decode(sent)
            return changed(raw, signer, user=CHECKED, actions=[UserAction.USER_LOGIN], now=int(time.time()) - 90)

        service.change = long_ago
        await refused(device, edge, client, "stale")


async def test_x7_ten_thousand_actions_are_refused(cookies: RunningCookieService) -> None:
    device = await signed_in(cookies)
    async with acting(cookies) as (service, edge, client):
        service.returns(user=CHECKED, actions=[UserAction.USER_LOGIN] * 10_000)
        await refused(device, edge, client, "malformed_part")


async def test_x5_two_passports_are_refused(cookies: RunningCookieService) -> None:
    device = await signed_in(cookies)
    async with acting(cookies) as (service, edge, client):
        service.acts(CATALOGUE["USER_LOGOUT"], device.claims)
        service.answer = lambda line: ok(b"{}", line, line)
        await refused(device, edge, client, "repeated")


@pytest.mark.parametrize("value", [b"", b"!!!", b"AAAA", base64.b64encode(os.urandom(300))])
async def test_x1_x11_what_is_no_passport_is_refused_and_stripped(value: bytes, cookies: RunningCookieService) -> None:
    device = await signed_in(cookies)
    reasons = {b"": "missing", b"!!!": "not_canonical", b"AAAA": "malformed"}
    async with acting(cookies) as (service, edge, client):
        service.change = lambda _: value
        answer = await ask(client, device)
        assert (answer.status, answer.body, answer.all(b"set-cookie")) == (200, b"{}", [])
        ((label,),) = edge.metrics.actions
        assert str(label).startswith(f"refused:{reasons.get(value, 'malformed')}")


@pytest.mark.parametrize("text", ["a\r\nSet-Cookie: EdgeId=x", "a; Domain=.com", "a, b", "\N{BELL}"])
async def test_x7_no_text_in_a_passport_gets_into_a_cookie_but_sealed(text: str, cookies: RunningCookieService) -> None:
    device = await signed_in(cookies)
    async with acting(cookies) as (service, _, client):
        entry = CATALOGUE["USER_PROFILE_SWITCHED"]
        was = device.claims
        user = fitting_user(entry, was.session_id, was.customer_id, was.account_owner_id, text)
        service.returns(user=user, actions=[UserAction.USER_PROFILE_SWITCHED])
        answer = await ask(client, device)
        assert given(cookies, answer).claims.profile_id == text + "-2"
        assert all(b"Domain" not in line and b"," not in line for line in answer.all(b"set-cookie"))


async def test_x8_an_action_and_a_cookie_of_the_services_own_of_that_name(cookies: RunningCookieService) -> None:
    device = await signed_in(cookies)
    async with acting(cookies) as (service, _, client):
        service.acts(CATALOGUE["USER_LOGOUT"], device.claims)
        service.answer = lambda line: ok(b"{}", line, b"Set-Cookie: EdgeId=mine; Path=/", b"Set-Cookie: theme=dark")
        answer = await ask(client, device)
        assert answer.all(b"set-cookie") == [b"theme=dark", *CLEARED]


async def test_x9_an_action_in_the_trailers_comes_too_late(cookies: RunningCookieService) -> None:
    device = await signed_in(cookies)

    def late(line: bytes) -> bytes:
        return response(b"200 OK", b"Transfer-Encoding: chunked") + b"2\r\n{}\r\n0\r\n" + line + b"\r\n\r\n"

    async with acting(cookies) as (service, edge, client):
        service.acts(CATALOGUE["USER_LOGOUT"], device.claims)
        service.answer = late
        answer = await ask(client, device)
        assert (answer.status, answer.body, answer.all(b"set-cookie")) == (200, b"{}", [])
        assert edge.metrics.actions == {}


async def test_x9_head_is_as_get_and_304_does_nothing(cookies: RunningCookieService) -> None:
    device = await signed_in(cookies)
    async with acting(cookies) as (service, _, client):
        service.acts(CATALOGUE["USER_LOGOUT"], device.claims)
        service.answer = lambda line: response(b"304 Not Modified", line)
        answer = await ask(client, device)
        assert (answer.status, answer.all(b"set-cookie")) == (304, [])
        service.answer = lambda line: response(b"200 OK", b"Content-Length: 5", line)
        head = await ask(client, device, b"HEAD")
        assert head.all(b"set-cookie") == CLEARED


async def test_x9_an_action_on_an_upgrade_is_refused(cookies: RunningCookieService) -> None:
    device = await signed_in(cookies)
    async with acting(cookies, 'routes.echo.upgrade=["websocket"]') as (service, edge, client):
        service.acts(CATALOGUE["USER_LOGOUT"], device.claims)
        service.answer = lambda line: response(b"101 Switching Protocols", *SWITCH, line)
        await client.send(request(b"GET", b"/echo", *WEBSOCKET))
        head = (await client.receive_until(b"\r\n\r\n")).lower()
        assert head.startswith(b"http/1.1 101 ")
        assert b"set-cookie" not in head
        assert b"x-passport" not in head
        client.writer.close()
        await until(lambda: edge.metrics.actions == {("refused:response_status",): 1})


async def test_c12_a_sign_in_never_goes_on_with_the_session_from_before(cookies: RunningCookieService) -> None:
    device = await signed_in(cookies)
    async with acting(cookies) as (service, _, client):
        for name in ("USER_LOGIN", "USER_ACTIVATED_BY_CODE", "USER_SIGNUP_STARTED", "USER_PASSWORD_RESET"):
            service.acts(CATALOGUE[name], device.claims)
            assert given(cookies, await ask(client, device)).claims.session_id != device.claims.session_id
