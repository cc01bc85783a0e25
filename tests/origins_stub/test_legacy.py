"""The API stub as it was before the edge: it opens cookies, says whom it found, and sets them; or takes a Passport."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http.cookies import SimpleCookie

import aiohttp
import pytest
from edgepb.kms.v1 import kms_pb2

from filters.origin_identity import read_origin_identity
from origins_stub.api.asker import NOBODY, Asker
from origins_stub.api.legacy.cookies import CookieKeys, Names, open_cookies
from origins_stub.api.legacy.mode import IDENTITY_HEADER, report
from passport import Level
from passport.aiohttp import HEADER
from tests.origins_stub.conftest import DEVICE, Edge, Origins, auth_arguments, identity_arguments, user_of_level
from tests.processes import REPOSITORY, Process, process
from tests.tokens.rings import ENVIRONMENT, NAMES, NONCES, NOW, claims, ring_of, version
from tokens.cookie import Claims, seal_pair

KEYS = CookieKeys([kms_pb2.KeySet(purpose="cookie", versions=[version(1)])])
PLACES = Names(NAMES.insecure, NAMES.secure, ENVIRONMENT)
MEMBER = {"email": "demo@example.com", "password": "correct horse battery staple"}


def pair_of(of: Claims) -> dict[str, str]:
    """Return the cookies of a pair, as the edge's own code makes it."""
    insecure, secure = seal_pair(ring_of(version(1)), NAMES, ENVIRONMENT, of, NONCES)
    return {NAMES.insecure: insecure.decode(), NAMES.secure: secure.decode()}


def test_it_opens_what_the_edge_opens() -> None:
    opened = open_cookies(KEYS, PLACES, pair_of(claims()) | {"theirs": "1"}, NOW + 1)
    assert opened is not None
    assert (opened.claims.customer_id, opened.claims.esn) == (4711, "NFANDROID1-PXA-0001")
    assert (opened.paired, opened.expired) == (True, False)
    assert KEYS.uses[1] >= 2


def test_half_a_pair_and_an_expired_one_are_known_for_what_they_are() -> None:
    cookies = pair_of(claims())
    half = open_cookies(KEYS, PLACES, {NAMES.insecure: cookies[NAMES.insecure]}, NOW + 1)
    assert half is not None
    assert not half.paired
    late = open_cookies(KEYS, PLACES, cookies, NOW + 20_000)
    assert late is not None
    assert late.expired


@pytest.mark.parametrize(
    "cookies",
    [
        {},
        {NAMES.insecure: ""},
        {NAMES.insecure: "garbage"},
        {NAMES.insecure: "A" * 5000},
        {NAMES.insecure: "\u00e9" * 80},
        {NAMES.insecure: pair_of(claims())[NAMES.secure]},
        {NAMES.insecure: pair_of(claims())[NAMES.insecure] + "="},
        {NAMES.secure: pair_of(claims())[NAMES.secure]},
        pair_of(claims()) | {NAMES.secure: pair_of(claims(session_id="another"))[NAMES.secure]},
        pair_of(claims(issued_at=NOW + 1000)),
    ],
)
def test_what_is_not_authentic_is_nobody(cookies: dict[str, str]) -> None:
    assert open_cookies(KEYS, PLACES, cookies, NOW) is None


@pytest.mark.parametrize(
    "asker",
    [
        NOBODY,
        Asker(7, 7, "NFCDCH-02-A", Level.HIGH),
        Asker(2**63 - 1, 7, "", Level.LOW),
        Asker(7, 7, "x" * 256, Level.LOW),
        Asker(None, None, "A B", Level.UNSPECIFIED),
        Asker(7, 7, 'quo"ted', Level.LOW),
        Asker(7, 7, "\u00e9", Level.LOW),
        Asker(7, 7, "x" * 257, Level.LOW),
    ],
)
def test_what_it_reports_is_what_the_edge_reads(asker: Asker) -> None:
    read = read_origin_identity([report(asker).encode()])
    assert read is not None
    assert read.customer_id == asker.customer_id
    assert read.esn in (asker.esn, None)
    assert (read.level or 0) == int(asker.level)


@asynccontextmanager
async def legacy_api(origins: Origins) -> AsyncIterator[Process]:
    """Run an API with a legacy mode, and what it asks."""
    var, kms = origins.var, origins.kms
    secrets = ("--secrets", str(var / "secrets"))
    config = ("--config", str(REPOSITORY / "config/cookie.yaml"))
    token = ("--token-file", str(var / "secrets" / "cookie.token"))
    cookie_arguments = ("--kms", kms.url, "--subscriber", origins.subscriber.url, "--var", str(var))
    auth_options = (*auth_arguments(var, kms, origins.subscriber.url), *secrets, "--checkers", "legacy")
    async with (
        process("services.cookie", *config, *cookie_arguments, *token, *secrets) as cookie,
        process("origins_stub.auth", *auth_options) as auth,
        process(
            "origins_stub.api",
            *identity_arguments(var, kms, "legacy"),
            *("--auth", auth.url, "--subscriber", origins.subscriber.url, "--legacy", "--cookie", cookie.url),
        ) as api,
    ):
        yield api


def set_cookies(answer: aiohttp.ClientResponse) -> dict[str, str]:
    """Return the cookies that an answer sets."""
    jar: SimpleCookie = SimpleCookie()
    for line in answer.headers.getall("Set-Cookie", ()):
        jar.load(line)
    return {name: morsel.value for name, morsel in jar.items()}


async def test_a_story_without_a_passport(origins: Origins, edge: Edge) -> None:
    async with legacy_api(origins) as api, aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session:
        nobody = await session.get(f"{api.url}/browse")
        assert (nobody.status, nobody.headers[IDENTITY_HEADER]) == (403, 'v=1, esn=""')
        wrong = await session.post(f"{api.url}/login", json=MEMBER | {"password": "wrong"})
        assert (wrong.status, (await wrong.json())["reason"]) == (401, "wrong_credentials")
        login = await session.post(f"{api.url}/login", json=MEMBER)
        assert (login.status, login.headers[IDENTITY_HEADER]) == (200, 'v=1, esn=""')
        assert login.headers["Cache-Control"] == "no-store"
        held = set_cookies(login)
        assert sorted(held) == ["EdgeId", "SecureEdgeId"]
        account = await session.get(f"{api.url}/account", cookies=held)
        customer_id = (await account.json())["customer_id"]
        assert account.headers[IDENTITY_HEADER] == f'v=1, customer={customer_id}, esn="", level=high'
        half = await session.get(f"{api.url}/account", cookies={"EdgeId": held["EdgeId"]})
        assert (half.status, half.headers[IDENTITY_HEADER]) == (403, f'v=1, customer={customer_id}, esn="", level=low')
        elsewhere = await session.get(f"{api.url}/profile", cookies=held)
        assert (elsewhere.status, (await elsewhere.json())["reason"]) == (501, "not_in_legacy_mode")
        logout = await session.post(f"{api.url}/logout", cookies=held)
        assert set_cookies(logout) == {"EdgeId": "", "SecureEdgeId": ""}
        assert held["EdgeId"] not in api.output()
        await with_a_passport(api, session, edge, held)


async def with_a_passport(api: Process, session: aiohttp.ClientSession, edge: Edge, held: dict[str, str]) -> None:
    """The same process with a Passport: it goes by that, however bad, and never by a cookie beside it."""
    headers = {HEADER: edge.passport(user_of_level(Level.HIGH), DEVICE)}
    account = await session.get(f"{api.url}/account", headers=headers, cookies=held)
    assert (account.status, (await account.json())["customer_id"]) == (200, 1001)
    assert IDENTITY_HEADER not in account.headers
    assert set_cookies(account) == {}
    for bad in ("Zm9yZ2Vk", "", edge.passport(trust_domain="elsewhere"), edge.passport(age_s=3600)):
        refused = await session.get(f"{api.url}/browse", headers={HEADER: bad}, cookies=held)
        assert (refused.status, await refused.json()) == (401, {"reason": "passport_refused"})


async def test_passwords_are_checked_for_nobody_but_a_legacy_origin(origins: Origins) -> None:
    auth_options = (*auth_arguments(origins.var, origins.kms, origins.subscriber.url), "--checkers", "legacy")
    async with process("origins_stub.auth", *auth_options) as auth, aiohttp.ClientSession() as session:
        for token in ("", "nonsense", (origins.var / "secrets" / "api.token").read_text().strip()):
            answer = await session.post(
                f"{auth.url}/v1/check", json=MEMBER, headers={"Authorization": f"Bearer {token}"}
            )
            assert (answer.status, (await answer.json())["reason"]) == (401, "unknown_caller")
        answer = await session.post(f"{origins.auth.url}/v1/check", json=MEMBER)
        assert answer.status == 401
