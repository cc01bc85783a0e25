"""The cookie service as the edge sees it: its own process, a real key management service, a real subscriber service."""

import base64
import re
import time
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import pytest
import pytest_asyncio
from edgepb.cookie.v1 import cookie_service_pb2 as pb

from edge.clients.cookie_service import CookieServiceClient
from edge.contract.identity import Level
from edge.contract.ports import RenewalOutcome
from edge.contract.session_changes import SessionChanges
from edge.telemetry.metrics import WorkerMetrics
from tests.clients.serving import breaker
from tests.processes import eventually, started, write_secret
from tests.services.cookie_calls import NAMES, Cookies, cookie_arguments, cookies_running, sealed
from tests.services.kms_calls import kms_running
from tests.services.subscriber import (
    FAILING,
    FORMER_MEMBER,
    MEMBER,
    MEMBER_WITH_NEW_OWNER,
    Subscribers,
    subscribers_running,
)
from tests.tokens.rings import key_id_of, open_secure
from tokens.cookie import Claims, CookieNames, open_insecure
from tokens.envelope import Refusal

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def subscribers() -> AsyncIterator[Subscribers]:
    async with subscribers_running() as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=["sqlite", "postgresql"])
async def cookies(
    request: pytest.FixtureRequest, subscribers: Subscribers, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Cookies]:
    subscribers.asked_with.clear()
    directory = tmp_path_factory.mktemp("cookie")
    url = request.getfixturevalue("postgres").new_database() if request.param == "postgresql" else None
    async with kms_running(directory) as kms, cookies_running(kms, subscribers.url, directory, url) as running:
        yield running


async def test_a_new_pair_says_who_signed_in_and_opens_at_the_edge(cookies: Cookies) -> None:
    now = time.time()
    pair = await cookies.create(profile_id="profile")
    claims = await cookies.opened(pair)
    assert (claims.customer_id, claims.account_owner_id, claims.profile_id) == (MEMBER, 7, "profile")
    assert (claims.esn, claims.device_type, claims.level, claims.generation) == ("ESN-1", 3, 3, 1)
    assert now - 2 < claims.issued_at <= time.time()
    assert claims.renew_after == claims.issued_at + 7200
    assert pair.expires_at == claims.expires_at == claims.issued_at + 14400
    assert pair.generation == 1


async def test_each_half_opens_under_its_own_name_only(cookies: Cookies) -> None:
    pair, ring, now = await cookies.create(), await cookies.ring(), time.time()
    assert open_insecure(ring, NAMES, "local", pair.secure, now) is Refusal.BAD_TAG
    assert open_secure(ring, NAMES, "local", pair.insecure, now) is Refusal.BAD_TAG


async def test_c12_every_sign_in_starts_a_session_of_its_own(cookies: Cookies) -> None:
    sessions = {(await cookies.opened(await cookies.create())).session_id for _ in range(5)}
    assert len(sessions) == 5
    assert all(len(bytes.fromhex(session)) == 16 for session in sessions)


async def test_renewal_goes_on_with_the_session_one_generation_later(cookies: Cookies) -> None:
    first = await cookies.create(profile_id="profile", level=2)
    answer = await cookies.renew(first.insecure)
    assert answer.outcome == pb.RENEWED
    assert answer.pair.generation == 2
    before, after = await cookies.opened(first), await cookies.opened(answer.pair)
    assert after.session_id == before.session_id
    assert after.issued_at >= before.issued_at
    assert after[:5] == (MEMBER, MEMBER, "profile", "ESN-1", 3)
    assert after.level == 2


async def test_renewal_takes_over_the_account_owner_that_the_subscriber_service_names(cookies: Cookies) -> None:
    answer = await cookies.renew((await cookies.create(MEMBER_WITH_NEW_OWNER)).insecure)
    assert (await cookies.opened(answer.pair)).account_owner_id == 77


@pytest.mark.parametrize("age_s", [7200, 14400, 86_400, 10 * 365 * 86_400])
async def test_an_authentic_cookie_is_renewed_however_old_it_is(cookies: Cookies, age_s: int) -> None:
    insecure, _ = sealed(await cookies.ring(), age_s=age_s)
    answer = await cookies.renew(insecure)
    assert answer.outcome == pb.RENEWED
    assert not (await cookies.opened(answer.pair)).due(time.time())


async def test_a_former_member_is_not_renewed_and_that_is_definitive(cookies: Cookies) -> None:
    assert (await cookies.renew((await cookies.create(FORMER_MEMBER)).insecure)).outcome == pb.NOT_A_MEMBER


@pytest.mark.parametrize("customer_id", FAILING)
async def test_r6_r7_a_subscriber_service_that_fails_in_any_way_is_unavailable_and_signs_nobody_out(
    cookies: Cookies, customer_id: int
) -> None:
    started = time.monotonic()
    assert (await cookies.renew((await cookies.create(customer_id)).insecure)).outcome == pb.UNAVAILABLE
    assert time.monotonic() - started < 5


async def test_the_subscriber_service_is_asked_in_the_cookie_service_s_own_name(
    cookies: Cookies, subscribers: Subscribers
) -> None:
    await cookies.renew((await cookies.create()).insecure)
    assert set(subscribers.asked_with) == {f"Bearer {cookies.kms.token('cookie')}"}


async def test_an_update_makes_a_pair_of_the_same_session_and_asks_nobody_whether_the_user_is_a_member(
    cookies: Cookies, subscribers: Subscribers
) -> None:
    first = await cookies.create(FORMER_MEMBER, profile_id="adult", level=2)
    before, asked = await cookies.opened(first), len(subscribers.asked_with)
    answer = await cookies.update(first.insecure, profile_id="child")
    assert answer.outcome == pb.UPDATED
    assert await cookies.opened(answer.pair) == before._replace(profile_id="child", generation=2)
    assert len(subscribers.asked_with) == asked
    assert (await cookies.renew(answer.pair.insecure)).outcome == pb.NOT_A_MEMBER


async def test_r4_a_renewal_of_an_older_token_says_what_the_session_is_by_its_updates(cookies: Cookies) -> None:
    old = await cookies.create(profile_id="adult")
    await cookies.update(old.insecure, profile_id="child")
    assert (await cookies.opened((await cookies.renew(old.insecure)).pair)).profile_id == "child"
    moved = await cookies.update(old.insecure, customer_id=MEMBER_WITH_NEW_OWNER)
    assert (await cookies.opened(moved.pair)).profile_id == "child"
    renewed = await cookies.renew(old.insecure)
    assert (renewed.outcome, renewed.moved_to) == (pb.RENEWED, MEMBER_WITH_NEW_OWNER)
    claims = await cookies.opened(renewed.pair)
    assert (claims.customer_id, claims.account_owner_id, claims.profile_id) == (MEMBER_WITH_NEW_OWNER, 77, "child")


async def test_c11_a_revoked_token_is_not_updated(cookies: Cookies) -> None:
    pair = await cookies.create(MEMBER_WITH_NEW_OWNER)
    session_id = (await cookies.opened(pair)).session_id
    await cookies.revoke(pb.LOGOUT, MEMBER_WITH_NEW_OWNER, session_id=session_id)
    assert (await cookies.update(pair.insecure, profile_id="p")).outcome == pb.REVOKED


async def test_the_client_of_the_edge_gets_what_it_asks_for(cookies: Cookies) -> None:
    none = WorkerMetrics()
    client = CookieServiceClient(
        cookies.kms.session,
        cookies.process.url,
        cookies.kms.token("edge"),
        timeout_s=10.0,
        create_timeout_s=10.0,
        concurrency=4,
        breaker=breaker(none),
        sign_in_breaker=breaker(none),
        sign_out_breaker=breaker(none),
        metrics=none,
    )
    old = (await cookies.create(profile_id="adult")).insecure
    for changes, moved_to, expected in (
        (SessionChanges(profile_id=""), 0, (MEMBER, "", "ESN-1", 3)),
        (
            SessionChanges(MEMBER_WITH_NEW_OWNER, 5, "child", "ESN-2", 0, Level.LOW),
            MEMBER_WITH_NEW_OWNER,
            (MEMBER_WITH_NEW_OWNER, "child", "ESN-2", 0),
        ),
    ):
        for result in (await client.update(old, changes), await client.renew(old)):
            assert (result.outcome, result.moved_to) == (RenewalOutcome.RENEWED, moved_to)
            assert result.pair is not None
            said = open_insecure(await cookies.ring(), NAMES, "local", result.pair.insecure, time.time())
            assert isinstance(said, Claims)
            assert (said.customer_id, said.profile_id, said.esn, said.device_type) == expected
    assert (await client.update(b"forged", SessionChanges())).outcome is RenewalOutcome.REFUSED
    assert (await client.update(old, SessionChanges(esn="E" * 300))).outcome is RenewalOutcome.UNAVAILABLE


@pytest.mark.parametrize(
    ("field", "value"),
    [("customer_id", 0), ("account_owner_id", -1), ("profile_id", "é" * 65), ("esn", "E" * 257), ("level", 4)],
)
async def test_an_update_to_what_no_cookie_may_carry_is_refused_by_the_name_of_the_field(
    cookies: Cookies, field: str, value: str | int
) -> None:
    request = pb.UpdateRequest(insecure=(await cookies.create()).insecure)
    setattr(request, field, value)
    status, error = await cookies.post("/v1/update", request, pb.Error)
    assert (status, error.reason) == (400, f"bad_{field}")


async def test_c1_a_cookie_with_any_byte_changed_is_refused(cookies: Cookies) -> None:
    insecure = (await cookies.create()).insecure
    raw = bytearray(base64.urlsafe_b64decode(insecure + b"=" * (-len(insecure) % 4)))
    for at in range(len(raw)):
        changed = raw.copy()
        changed[at] ^= 1
        forged = base64.urlsafe_b64encode(changed).rstrip(b"=")
        assert (await cookies.renew(forged)).outcome == pb.REFUSED, at


async def test_c2_c3_what_is_no_cookie_of_this_name_and_place_is_refused(cookies: Cookies) -> None:
    pair, ring = await cookies.create(), await cookies.ring()
    for forged in (
        b"",
        b"\x00\xff" * 40,
        pair.secure,
        pair.insecure[:-1],
        pair.insecure + b"A",
        pair.insecure + b"=",
        pair.insecure * 40,
        sealed(ring, environment="test")[0],
        sealed(ring, names=CookieNames(insecure="Other"))[0],
        sealed(ring, age_s=-3600)[0],
        sealed(ring, customer_id=0)[0],
    ):
        assert (await cookies.renew(forged)).outcome == pb.REFUSED, forged
        assert (await cookies.update(forged, profile_id="p")).outcome == pb.REFUSED, forged


async def test_callers_that_are_not_listed_get_nothing_and_others_what_they_are_granted(cookies: Cookies) -> None:
    for path in ("/v1/create", "/v1/renew", "/v1/update", "/v1/revocations"):
        status, error = await cookies.post(path, b"", pb.Error, "cookie")
        assert (status, error.reason) == (401, "unknown_identity")
    for identity in ("auth", "api", "operator"):
        for path in ("/v1/create", "/v1/renew", "/v1/update"):
            status, error = await cookies.post(path, b"", pb.Error, identity)
            assert (status, error.reason) == (403, "not_granted")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("customer_id", 0),
        ("customer_id", -1),
        ("account_owner_id", -1),
        ("device_type", -1),
        ("level", 0),
        ("level", 4),
        ("esn", "E" * 257),
        ("profile_id", "é" * 65),
    ],
)
async def test_no_pair_is_made_of_claims_that_no_cookie_may_carry(
    cookies: Cookies, field: str, value: str | int
) -> None:
    request = pb.CreateRequest(customer_id=MEMBER, account_owner_id=7, esn="ESN-1", device_type=3, level=3)
    setattr(request, field, value)
    status, error = await cookies.post("/v1/create", request, pb.Error)
    assert (status, error.reason) == (400, "bad_request")


async def test_the_largest_pair_leaves_room_for_the_attributes_in_a_set_cookie_header(cookies: Cookies) -> None:
    largest = 2**63 - 1
    pair = await cookies.create(
        largest, account_owner_id=largest, esn="E" * 256, profile_id="p" * 128, device_type=2**31 - 1
    )
    assert len(pair.insecure) < 1024
    assert len(pair.secure) < 256


async def test_a_body_that_is_no_message_is_refused_with_400(cookies: Cookies) -> None:
    for path in ("/v1/create", "/v1/renew", "/v1/update"):
        status, error = await cookies.post(path, b"\xff\xff\xff", pb.Error)
        assert (status, error.reason) == (400, "bad_request")
        headers = {"Authorization": f"Bearer {cookies.kms.token('edge')}"}
        async with cookies.kms.session.post(cookies.process.url + path, data="{}", headers=headers) as response:
            assert response.status == 400


async def test_c6_renewal_moves_a_cookie_to_the_newest_key_and_a_destroyed_key_ends_it(cookies: Cookies) -> None:
    old = await cookies.create()
    former = await cookies.kms.primary("cookie")
    newest = await cookies.kms.add("cookie")
    await cookies.kms.activate(newest)
    assert not (await cookies.opened(old)).due(time.time())

    async def moved() -> bool:
        # Deactivated keys open: every answer on the way is a renewal.
        answer = await cookies.renew(old.insecure)
        assert answer.outcome == pb.RENEWED
        return f"{key_id_of(answer.pair.insecure):08x}" == newest

    await eventually(moved, "renewals are under the newest key")
    assert await cookies.kms.move(f"{former.key_id:08x}", "DESTROYED", force=True) == 200

    async def ended() -> bool:
        outcome = (await cookies.renew(old.insecure)).outcome
        assert outcome in {pb.RENEWED, pb.REFUSED}
        return outcome == pb.REFUSED

    await eventually(ended, "the destroyed key opens nothing")


async def test_without_a_primary_key_nothing_is_sealed_and_nobody_signed_out(cookies: Cookies) -> None:
    old = await cookies.create()
    former = await cookies.kms.primary("cookie")
    assert await cookies.kms.move(f"{former.key_id:08x}", "DEACTIVATED") == 200
    request = pb.CreateRequest(customer_id=MEMBER, level=3)

    async def made(wanted: int) -> bool:
        return (await cookies.send("/v1/create", request.SerializeToString()))[0] == wanted

    await eventually(partial(made, 503), "no pair is made")
    assert (await cookies.post("/v1/create", request, pb.Error))[1].reason == "keys_unavailable"
    assert (await cookies.renew(old.insecure)).outcome == pb.UNAVAILABLE
    await cookies.kms.activate(await cookies.kms.add("cookie"))
    await eventually(partial(made, 200), "pairs are made again")
    assert (await cookies.renew(old.insecure)).outcome == pb.RENEWED


async def test_a_token_that_the_key_service_refuses_stops_the_start(cookies: Cookies, tmp_path: Path) -> None:
    write_secret(tmp_path / "wrong.token", "x" * 43)
    arguments = cookie_arguments(cookies.kms.process.url, "http://127.0.0.1:1", cookies.kms.secrets)
    async with started("services.cookie", *arguments, "--token-file", str(tmp_path / "wrong.token")) as (refused, _):
        assert await refused.wait() == 1
        assert "refused the key sets cookie, cookie-rescheduled: status 401" in refused.output()
        assert "x" * 43 not in refused.output()


async def test_the_log_tells_outcomes_and_names_nobody(cookies: Cookies) -> None:
    pair = await cookies.create(esn="ESN-CANARY")
    renewed = (await cookies.renew(pair.insecure)).pair
    updated = (await cookies.update(pair.insecure, profile_id="profile-canary", esn="ESN-CANARY-2")).pair
    output = cookies.process.output()
    assert '"outcome": "renewed"' in output
    assert '"detail": "subscriber: timeout"' in output
    assert '"outcome": "updated"' in output
    for secret in (each for of in (pair, renewed, updated) for each in (of.insecure, of.secure)):
        assert secret.decode() not in output
    assert re.search(rf"(?<!\d){MEMBER}(?!\d)", output) is None  # nor as part of a time
    for name in ("ESN-CANARY", "profile-canary", cookies.kms.token("edge"), cookies.kms.token("cookie")):
        assert name not in output
