"""Revocation as its callers see it: what is revoked is not renewed, and the feed tells of it."""

import asyncio
import re
import time
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from edgepb.cookie.v1 import cookie_service_pb2 as pb

from tests.services.cookie_calls import Cookies, cookies_running, sealed
from tests.services.databases import connected, rows
from tests.services.kms_calls import kms_running
from tests.services.subscriber import FAILING, FORMER_MEMBER, MEMBER, Subscribers, subscribers_running

pytestmark = pytest.mark.asyncio(loop_scope="module")
EVERYWHERE, PASSWORD, LOGOUT, DEVICE = (
    pb.SIGN_OUT_EVERYWHERE,
    pb.PASSWORD_CHANGED,
    pb.LOGOUT,
    pb.DEVICE_REMOVED,
)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def subscribers() -> AsyncIterator[Subscribers]:
    async with subscribers_running() as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=["sqlite", "postgresql"])
async def pair(
    request: pytest.FixtureRequest, subscribers: Subscribers, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[tuple[Cookies, Cookies]]:
    """Two instances of the service on one database."""
    first, second = tmp_path_factory.mktemp("first"), tmp_path_factory.mktemp("second")
    url = request.getfixturevalue("postgres").new_database() if request.param == "postgresql" else None
    async with (
        kms_running(first) as kms,
        cookies_running(kms, subscribers.url, first, url) as one,
        cookies_running(kms, subscribers.url, second, one.database_url) as other,
    ):
        yield one, other


@pytest.fixture
def cookies(pair: tuple[Cookies, Cookies]) -> Cookies:
    return pair[0]


@pytest.fixture
def customer_id(cookies: Cookies) -> int:
    """Return a member that no test has done anything to."""
    ((last,),) = rows(cookies.database_url, "SELECT coalesce(max(customer_id), 10000) FROM revocations")
    assert isinstance(last, int)
    return last + 1


async def outcome(cookies: Cookies, made: pb.CookiePair) -> pb.RenewOutcome:
    return (await cookies.renew(made.insecure)).outcome


async def test_c11_a_token_that_is_shown_after_its_logout_is_not_renewed(cookies: Cookies, customer_id: int) -> None:
    stolen, other = await cookies.create(customer_id), await cookies.create(customer_id)
    later = (await cookies.renew(stolen.insecure)).pair
    revocation = await cookies.revoke(LOGOUT, customer_id, session_id=(await cookies.opened(stolen)).session_id)
    assert revocation.kind == pb.SESSION
    assert await outcome(cookies, stolen) == pb.REVOKED
    assert await outcome(cookies, later) == pb.REVOKED
    assert await outcome(cookies, other) == pb.RENEWED


async def test_c11_after_a_password_change_only_the_session_that_changed_it_goes_on(
    cookies: Cookies, customer_id: int
) -> None:
    stolen, own = await cookies.create(customer_id), await cookies.create(customer_id)
    somebody_elses = await cookies.create(MEMBER)
    own_session = (await cookies.opened(own)).session_id
    revocation = await cookies.revoke(PASSWORD, customer_id, except_session_id=own_session)
    assert (revocation.kind, revocation.except_session_id) == (pb.CUSTOMER, own_session)
    assert await outcome(cookies, stolen) == pb.REVOKED
    renewed = await cookies.renew(own.insecure)
    assert renewed.outcome == pb.RENEWED
    assert await outcome(cookies, renewed.pair) == pb.RENEWED
    assert await outcome(cookies, somebody_elses) == pb.RENEWED
    await cookies.revoke(EVERYWHERE, customer_id)
    assert await outcome(cookies, renewed.pair) == pb.REVOKED


async def test_c11_a_removed_device_is_out_in_all_its_sessions_and_no_other_device_is(
    cookies: Cookies, customer_id: int
) -> None:
    lost, again = await cookies.create(customer_id, esn="LOST"), await cookies.create(customer_id, esn="LOST")
    kept, nameless = await cookies.create(customer_id, esn="KEPT"), await cookies.create(customer_id, esn="")
    assert (await cookies.revoke(DEVICE, customer_id, esn="LOST")).kind == pb.DEVICE
    assert await outcome(cookies, lost) == await outcome(cookies, again) == pb.REVOKED
    assert await outcome(cookies, kept) == await outcome(cookies, nameless) == pb.RENEWED


@pytest.mark.parametrize("age_s", [0, 14_400, 86_400, 10 * 365 * 86_400])
async def test_c11_a_revoked_token_stays_revoked_however_old_it_is(
    cookies: Cookies, customer_id: int, age_s: int
) -> None:
    insecure, _ = sealed(await cookies.ring(), customer_id, age_s=age_s)
    await cookies.revoke(EVERYWHERE, customer_id)
    assert (await cookies.renew(insecure)).outcome == pb.REVOKED


async def test_c12_a_login_in_the_second_of_a_revocation_survives_it_and_the_next_one_ends_it(
    cookies: Cookies, customer_id: int
) -> None:
    before = await cookies.create(customer_id)
    for _ in range(5):
        revocation = await cookies.revoke(EVERYWHERE, customer_id)
        after = await cookies.create(customer_id)
        assert (await cookies.opened(after)).issued_at > revocation.revoked_at
        assert await outcome(cookies, before) == pb.REVOKED
        renewed = await cookies.renew(after.insecure)
        assert renewed.outcome == pb.RENEWED
        assert (await cookies.opened(renewed.pair)).issued_at > revocation.revoked_at
        before = renewed.pair
    assert revocation.revoked_at - time.time() < 30


@pytest.mark.parametrize("reason", [EVERYWHERE, DEVICE])
async def test_c11_one_that_comes_late_ends_what_was_there_and_nothing_that_has_begun_since(
    cookies: Cookies, customer_id: int, reason: pb.RevocationReason
) -> None:
    before, _ = sealed(await cookies.ring(), customer_id, age_s=120)
    since = await cookies.create(customer_id)
    request = pb.RevokeRequest(reason=reason, customer_id=customer_id, age_s=60)
    if reason == DEVICE:
        request.esn = (await cookies.opened(since)).esn
    for _ in range(3):  # its answer may have been lost
        status, _ = await cookies.post("/v1/revocations", request, pb.RevokeResponse, "auth")
        assert status == 200
    assert (await cookies.renew(before)).outcome == pb.REVOKED
    assert await outcome(cookies, since) == pb.RENEWED


async def test_many_devices_removed_at_once_do_not_move_the_next_login_into_the_future(
    cookies: Cookies, customer_id: int
) -> None:
    for number in range(50):
        await cookies.revoke(DEVICE, customer_id, esn=f"ESN-{number}")
        await cookies.revoke(LOGOUT, customer_id, session_id=f"{number:032x}")
    made = await cookies.create(customer_id, esn="ESN-7")
    assert (await cookies.opened(made)).issued_at - time.time() < 30
    assert await outcome(cookies, made) == pb.RENEWED


@pytest.mark.parametrize("failing", FAILING)
async def test_a_revoked_user_is_out_also_while_the_subscriber_service_fails(cookies: Cookies, failing: int) -> None:
    made = await cookies.create(failing)
    assert await outcome(cookies, made) == pb.UNAVAILABLE
    await cookies.revoke(EVERYWHERE, failing)
    assert await outcome(cookies, made) == pb.REVOKED


@pytest.mark.parametrize(
    "request_",
    [
        pb.RevokeRequest(customer_id=1),
        pb.RevokeRequest(reason=99, customer_id=1),  # type: ignore[arg-type]
        pb.RevokeRequest(reason=EVERYWHERE),
        pb.RevokeRequest(reason=EVERYWHERE, customer_id=-1),
        pb.RevokeRequest(reason=EVERYWHERE, customer_id=1, session_id="s"),
        pb.RevokeRequest(reason=PASSWORD, customer_id=1, esn="E"),
        pb.RevokeRequest(reason=PASSWORD, customer_id=1, except_session_id="s" * 65),
        pb.RevokeRequest(reason=LOGOUT, customer_id=1),
        pb.RevokeRequest(reason=LOGOUT, session_id="s"),
        pb.RevokeRequest(reason=LOGOUT, customer_id=1, session_id="s" * 65),
        pb.RevokeRequest(reason=LOGOUT, customer_id=1, session_id="s", except_session_id="t"),
        pb.RevokeRequest(reason=DEVICE, customer_id=1),
        pb.RevokeRequest(reason=EVERYWHERE, customer_id=1, age_s=-1),
        pb.RevokeRequest(reason=EVERYWHERE, customer_id=1, age_s=3601),
        pb.RevokeRequest(reason=DEVICE, customer_id=1, esn="é" * 129),
        b"\xff",
    ],
    ids=str,
)
async def test_what_does_not_say_whole_what_to_revoke_revokes_nothing(
    cookies: Cookies, request_: pb.RevokeRequest | bytes
) -> None:
    before = (await cookies.feed()).cursor
    status, error = await cookies.post("/v1/revocations", request_, pb.Error, "auth")
    assert (status, error.reason) == (400, "bad_request")
    assert (await cookies.feed()).cursor == before


async def test_only_who_is_granted_it_revokes_and_follows(cookies: Cookies, customer_id: int) -> None:
    request = pb.RevokeRequest(reason=EVERYWHERE, customer_id=customer_id)
    for identity in ("edge", "auth", "api", "operator"):
        assert (await cookies.post("/v1/revocations", request, pb.RevokeResponse, identity))[0] == 200
    for identity, status in (("edge", 200), ("operator", 200), ("auth", 403), ("api", 403), ("cookie", 401)):
        assert (await cookies.follow("", identity))[0] == status
    async with cookies.kms.session.get(f"{cookies.process.url}/v1/revocations") as response:
        assert response.status == 401
    query = "SELECT revoked_by FROM revocations WHERE customer_id = :id ORDER BY id"
    by = rows(cookies.database_url, query, id=customer_id)
    assert by == [("edge",), ("auth",), ("api",), ("operator",)]


async def test_the_feed_tells_each_revocation_once_oldest_first(cookies: Cookies, customer_id: int) -> None:
    start = (await cookies.feed()).cursor
    stored = [
        await cookies.revoke(EVERYWHERE, customer_id),
        await cookies.revoke(PASSWORD, customer_id, except_session_id="mine"),
        await cookies.revoke(LOGOUT, customer_id, session_id="theirs"),
        await cookies.revoke(DEVICE, customer_id, esn="ESN-1"),
    ]
    page = await cookies.feed(start)
    assert list(page.revocations) == stored
    assert (page.cursor, page.more, page.retention_s) == (stored[-1].id, False, 90_000)
    assert [each.id for each in stored] == sorted({each.id for each in stored})
    rest = await cookies.feed(page.cursor)
    assert (list(rest.revocations), rest.cursor) == ([], page.cursor)


async def test_a_follower_whose_wait_is_over_gets_an_empty_page_and_its_cursor(cookies: Cookies) -> None:
    start = (await cookies.feed()).cursor
    started = time.monotonic()
    page = await cookies.feed(start, wait_s=0.3)
    assert 0.3 <= time.monotonic() - started < 10
    assert (list(page.revocations), page.cursor) == ([], start)


async def test_a_cursor_from_a_database_that_is_lost_begins_again(cookies: Cookies, customer_id: int) -> None:
    stored = await cookies.revoke(EVERYWHERE, customer_id)
    page = await cookies.feed(10**18 - 1)
    assert page.revocations[-1] == stored
    assert page.cursor == stored.id


@pytest.mark.parametrize("query", ["after=-1", "after=x", "after=", "after=1e3", "after=" + "9" * 19, "wait_s=-1",
                                   "wait_s=nan", "wait_s=x", "after=\u0661"])  # fmt: skip
async def test_a_cursor_or_a_wait_that_is_none_is_refused(cookies: Cookies, query: str) -> None:
    assert (await cookies.follow(query))[0] == 400


async def test_a_revocation_stored_by_one_instance_wakes_the_followers_of_all_within_a_second(
    pair: tuple[Cookies, Cookies], customer_id: int
) -> None:
    one, other = pair
    for _ in range(10):
        start = (await one.feed()).cursor
        arrived: list[float] = []

        async def follow(cookies: Cookies, start: int, arrived: list[float]) -> pb.RevocationFeed:
            page = await cookies.feed(start, wait_s=30)
            arrived.append(time.monotonic())
            return page

        following = [asyncio.create_task(follow(each, start, arrived)) for each in (one, other, other)]
        revoked_at = time.monotonic()
        stored = await one.revoke(EVERYWHERE, customer_id)
        pages = await asyncio.gather(*following)
        assert all(list(page.revocations) == [stored] for page in pages)
        assert max(arrived) - revoked_at < 1.0


async def test_nothing_is_missed_by_a_follower_while_instances_store_at_once(
    pair: tuple[Cookies, Cookies], customer_id: int
) -> None:
    one, other = pair
    start = (await one.feed()).cursor

    async def follow() -> list[int]:
        found: list[int] = []
        cursor = start
        while len(found) < 120:
            page = await other.feed(cursor, wait_s=10)
            assert page.revocations, "a wait that long ends with an entry"
            found += [each.id for each in page.revocations]
            cursor = page.cursor
        return found

    following = asyncio.create_task(follow())
    stored = await asyncio.gather(
        *(pair[n % 2].revoke(LOGOUT, customer_id, session_id=f"session-{n}") for n in range(120))
    )
    found = await following
    assert found == sorted(each.id for each in stored)
    assert len(set(found)) == 120


async def test_a_database_that_is_locked_costs_a_renewal_its_deadline_and_nobody_the_session(
    cookies: Cookies, customer_id: int
) -> None:
    sqlite = cookies.database_url.startswith("sqlite")
    made = await cookies.create(customer_id)
    with connected(cookies.database_url) as locking:
        locking.exec_driver_sql("BEGIN IMMEDIATE" if sqlite else "LOCK TABLE revocations IN ACCESS EXCLUSIVE MODE")
        started = time.monotonic()
        answers = await asyncio.gather(*(cookies.renew(made.insecure) for _ in range(20)))
        assert time.monotonic() - started < 10
        # Readers of SQLite wait for nobody.
        assert {answer.outcome for answer in answers} == {pb.RENEWED if sqlite else pb.UNAVAILABLE}
        former = await cookies.create(FORMER_MEMBER)
        assert await outcome(cookies, former) == pb.NOT_A_MEMBER
        request = pb.RevokeRequest(reason=EVERYWHERE, customer_id=customer_id)
        status, error = await cookies.post("/v1/revocations", request, pb.Error, "auth")
        assert (status, error.reason) == (503, "database_unavailable")
        assert (await cookies.follow("after=0"))[0] == (200 if sqlite else 503)
    assert await outcome(cookies, made) == pb.RENEWED


async def test_the_log_tells_of_a_revocation_and_names_nobody(cookies: Cookies, customer_id: int) -> None:
    await cookies.revoke(DEVICE, customer_id, esn="ESN-CANARY")
    output = await cookies.process.said('"reason": "device_removed"')
    assert '"by": "auth"' in output
    assert "ESN-CANARY" not in output
    assert not re.search(rf"\b{customer_id}\b", output)  # as a part of a time it may well be there


async def test_a_service_that_ends_lets_its_followers_have_their_answer(
    cookies: Cookies, subscribers: Subscribers, tmp_path_factory: pytest.TempPathFactory
) -> None:
    directory = tmp_path_factory.mktemp("ending")
    async with cookies_running(cookies.kms, subscribers.url, directory, cookies.database_url) as ending:
        start = (await ending.feed()).cursor
        host, port = ending.process.address.split(":")
        answers, asking = await asyncio.open_connection(host, int(port))
        head = f"Host: {host}\r\nAuthorization: Bearer {cookies.kms.token('edge')}\r\n\r\n"
        # Answered once, the connection is there; what is then sent on it is read before what others send later.
        asking.write(f"GET /health HTTP/1.1\r\n{head}".encode())
        healthy = await answers.readuntil(b"\r\n\r\n")
        await answers.readexactly(int(healthy.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]))
        asking.write(f"GET /v1/revocations?after={start}&wait_s=60 HTTP/1.1\r\n{head}".encode())
        await ending.feed(start)
        started = time.monotonic()
        assert await ending.process.stop() == 0
        assert (await answers.readline()).startswith(b"HTTP/1.1 200 ")
        assert time.monotonic() - started < 4
        asking.close()
        await asking.wait_closed()
